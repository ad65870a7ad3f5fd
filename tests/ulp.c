/* Measures float32 functions against the C library in double precision, for tests/ulp.py.
 *
 * An error is |y - truth| in units of the float32 spacing at the truth (denormals included).
 * A wrong class (NaN or infinity where the other is not) counts as WRONG_CLASS.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WRONG_CLASS 1e30

enum {
    EXP, TANH, SIGMOID, LOG, LOG1P, EXPM1, ELU, SILU, GELU, GELU_TANH, MISH, SOFTPLUS, LOGSIGMOID,
    SOFTSIGN, HARDSIGMOID, HARDSWISH
};

/* x[i] = the float whose bits are first + i * step */
void ulp_fill(float *x, uint32_t first, uint32_t step, ptrdiff_t n)
{
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bits = first + (uint32_t)i * step;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static double clip(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* x times a gate between 0 and 1; the limits at the infinities. */
static double gated(double x, double gate) { return isinf(x) ? (x > 0 ? x : 0) : x * gate; }

static double truth_of(int function, double x)
{
    double e = exp(-fabs(x)), w = exp(fmin(x, 100));
    w *= w + 2;
    switch (function) {
    case EXP: return exp(x);
    case TANH: return tanh(x);
    case SIGMOID: return 1 / (1 + exp(-x));
    case LOG: return log(x);
    case LOG1P: return log1p(x);
    case EXPM1: return expm1(x);
    case ELU: return x > 0 ? x : expm1(x);
    case SILU: return gated(x, 1 / (1 + exp(-x)));
    case GELU: return gated(x, erfc(-x * sqrt(0.5)) / 2);
    case GELU_TANH: return gated(x, 1 / (1 + exp(-sqrt(8 / acos(-1)) * (x + 0.044715 * x * x * x))));
    case MISH: return gated(x, w / (w + 2));
    case SOFTPLUS: return x > 20 ? x : fmax(x, 0) + log1p(e);
    case LOGSIGMOID: return (x < 0 ? x : 0 * e) - log1p(e);
    case SOFTSIGN: return isinf(x) ? copysign(1, x) : x / (1 + fabs(x));
    case HARDSIGMOID: return clip(x + 3, 0, 6) / 6;
    case HARDSWISH: return gated(x, clip(x + 3, 0, 6) / 6);
    default: return NAN;
    }
}

/* truth[i] = function(x[i]) */
void ulp_truth(double *truth, const float *x, ptrdiff_t n, int function)
{
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++)
        truth[i] = truth_of(function, x[i]);
}

static double ulp_error(double truth, float y)
{
    const double limit = 0x1p128; /* where float32 has run out */
    if (isnan(truth) || isnan(y))
        return isnan(truth) && isnan(y) ? 0 : WRONG_CLASS;
    if (fabs(truth) >= limit)
        return isinf(y) && (y > 0) == (truth > 0) ? 0 : WRONG_CLASS;
    double value = isinf(y) ? copysign(limit, y) : y, lowest = 0x1p-126, inverse;
    double size = fabs(truth) < lowest ? lowest : fabs(truth);
    uint64_t bits; /* of size, and then of 1 / spacing = 2^(23 - exponent): no call of ldexp */
    memcpy(&bits, &size, sizeof bits);
    bits = (uint64_t)(2 * 1023 + 23) * ((uint64_t)1 << 52) - (bits & 0x7ff0000000000000);
    memcpy(&inverse, &bits, sizeof inverse);
    return fabs(value - truth) * inverse;
}

/* The largest error over n elements; *worst is the first index that has it. */
double ulp_max(ptrdiff_t *worst, const double *truth, const float *y, ptrdiff_t n)
{
    double max_error = -1;
    ptrdiff_t max_at = 0;
#pragma omp parallel
    {
        double error = -1;
        ptrdiff_t at = 0;
#pragma omp for schedule(static) nowait
        for (ptrdiff_t i = 0; i < n; i++) {
            double e = ulp_error(truth[i], y[i]);
            if (!(e <= error)) {
                error = e;
                at = i;
            }
        }
#pragma omp critical
        if (error > max_error || (error == max_error && at < max_at)) {
            max_error = error;
            max_at = at;
        }
    }
    *worst = max_at;
    return max_error;
}
