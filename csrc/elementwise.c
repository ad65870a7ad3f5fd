/* SPDX-License-Identifier: BSD-3-Clause
 * Drivers around the table's element-wise rows: broadcasting, strided copies, cutting, threading.
 *
 * Rows give the same bits however an array is cut, so cutting is free to follow the machine. Small
 * arrays go straight to the row.
 */
#include "fastnn.h"
#include <assert.h>
#include <string.h>

#define CHUNK 16384 /* elements per task, of long arrays FNN_LONG_ROW */

/* Estimated ns per float element on one thread with 8 lanes or more; a row that is not listed counts
 * as a function of the exponential's kind. */
static const double unary_cost[FNN_UNARY_COUNT] = {
    [FNN_UNARY_relu] = 0.08,  [FNN_UNARY_leaky_relu] = 0.08, [FNN_UNARY_neg] = 0.08,
    [FNN_UNARY_abs] = 0.08,   [FNN_UNARY_square] = 0.08,     [FNN_UNARY_clip] = 0.08,
    [FNN_UNARY_sqrt] = 0.15,  [FNN_UNARY_hardtanh] = 0.08,   [FNN_UNARY_threshold] = 0.08,
    [FNN_UNARY_softsign] = 0.1, [FNN_UNARY_hardsigmoid] = 0.08, [FNN_UNARY_hardswish] = 0.08,
    [FNN_UNARY_smooth_l1] = 0.1, [FNN_UNARY_gelu] = 0.4,     [FNN_UNARY_softplus] = 0.6,
    [FNN_UNARY_logsigmoid] = 0.5, [FNN_UNARY_gelu_tanh] = 0.5,
};
static const double binary_cost[FNN_BINARY_COUNT] = {[FNN_BINARY_pow] = 5.0};

static double unary_ns(int dtype, int op, ptrdiff_t n)
{
    double each = unary_cost[op] > 0.0 ? unary_cost[op] : 0.3;
    each *= fnn_lanes() < 8 ? 8.0 / fnn_lanes() : 1.0;
    return (double)n * each * (dtype == FNN_F32 ? 1.0 : 2.0);
}

static ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t cuts(ptrdiff_t n, ptrdiff_t size) { return (n + size - 1) / size; }

/* --- unary ----------------------------------------------------------------------------------- */

typedef struct {
    fnn_unary_fwd_fn fwd;
    fnn_unary_bwd_fn bwd;
    char *out;
    const char *a, *b;
    ptrdiff_t n, chunk;
    size_t item;
    const double *p;
} unary_job;

static void unary_task(void *ctx, ptrdiff_t i)
{
    const unary_job *j = ctx;
    ptrdiff_t n = min_size(j->chunk, j->n - i * j->chunk);
    size_t at = (size_t)(i * j->chunk) * j->item;
    if (j->fwd)
        j->fwd(j->out + at, j->a + at, n, j->p);
    else
        j->bwd(j->out + at, j->a + at, j->b ? j->b + at : NULL, n, j->p);
}

/* In long rows, as long as each thread has some of them to begin with and to take over. */
static void unary_run(unary_job *j, double cost)
{
    const int threads = j->n <= CHUNK ? 1 : fnn_threads(cost);
    if (threads == 1) {
        j->chunk = j->n;
        unary_task(j, 0);
        return;
    }
    j->chunk = j->n / FNN_LONG_ROW >= 8 * threads ? FNN_LONG_ROW : CHUNK;
    fnn_parallel_for(cuts(j->n, j->chunk), cost, FNN_STATIC, unary_task, j);
}

void fnn_unary_fwd(int dtype, int op, void *y, const void *x, ptrdiff_t n, const double *p)
{
    fnn_unary_fwd_fn fwd = fnn_kernels_for(dtype)->unary_fwd[op];
    unary_job j = {fwd, NULL, y, x, NULL, n, 0, dtype == FNN_F32 ? 4 : 8, p};
    unary_run(&j, unary_ns(dtype, op, n));
}

void fnn_unary_bwd(int dtype, int op, void *dx, const void *dy, const void *s, ptrdiff_t n,
                   const double *p)
{
    fnn_unary_bwd_fn bwd = fnn_kernels_for(dtype)->unary_bwd[op];
    unary_job j = {NULL, bwd, dx, dy, s, n, 0, dtype == FNN_F32 ? 4 : 8, p};
    unary_run(&j, unary_ns(dtype, op, n));
}

/* --- merging dimensions ---------------------------------------------------------------------- */

typedef struct {
    int ndim;
    ptrdiff_t n[FNN_MAX_DIMS], a[FNN_MAX_DIMS], b[FNN_MAX_DIMS]; /* sizes, strides of two arrays */
} dims;

/* Drops dimensions of size 1 and merges neighbours that one stride can walk; at least two remain,
 * the first of size 1 if need be. Returns the number of elements. */
static ptrdiff_t merge(dims *d, int ndim, const ptrdiff_t *shape, const ptrdiff_t *a,
                       const ptrdiff_t *b)
{
    ptrdiff_t total = 1;
    int k = 0; /* dims 1..k of d are in use: d->n[0] stays free */
    d->n[0] = 1;
    d->a[0] = d->b[0] = 0;
    for (int i = 0; i < ndim; i++) {
        total *= shape[i];
        if (shape[i] == 1)
            continue;
        if (k > 0 && d->a[k - 1] == a[i] * shape[i] && d->b[k - 1] == b[i] * shape[i]) {
            d->n[k - 1] *= shape[i];
            d->a[k - 1] = a[i];
            d->b[k - 1] = b[i];
            continue;
        }
        d->n[k] = shape[i];
        d->a[k] = a[i];
        d->b[k] = b[i];
        k++;
    }
    while (k < 2) { /* a leading dimension of size 1 */
        d->n[1] = k ? d->n[0] : 1;
        d->a[1] = k ? d->a[0] : 1;
        d->b[1] = k ? d->b[0] : 1;
        d->n[0] = 1;
        d->a[0] = d->b[0] = 0;
        k = 2;
    }
    d->ndim = k;
    return total;
}

/* Offsets of outer item i (the index over all but the last two dimensions). */
static void outer_offsets(const dims *d, ptrdiff_t i, ptrdiff_t *a, ptrdiff_t *b)
{
    *a = *b = 0;
    for (int k = d->ndim - 3; k >= 0; k--) {
        ptrdiff_t at = i % d->n[k];
        i /= d->n[k];
        *a += at * d->a[k];
        *b += at * d->b[k];
    }
}

/* --- binary ---------------------------------------------------------------------------------- */

#define SHORT 48   /* rows below this length are joined before they reach the row */
#define JOIN 1024  /* into runs of at most this length */

typedef struct {
    fnn_binary_fn row;
    char *z;
    const char *a, *b;
    size_t item;
    dims d;
    ptrdiff_t rows, cols;        /* all rows (outer dimensions times the last but one), columns */
    ptrdiff_t band, wide, wides; /* rows and columns per task, column cuts */
} binary_job;

#define EXPAND(T)                                                                                \
    for (ptrdiff_t r = 0; r < rows; r++)                                                         \
        for (ptrdiff_t c = 0; c < cols; c++)                                                     \
            ((T *)to)[r * cols + c] = ((const T *)from)[r * row_step + c * step];

/* The operand of `rows` short rows as one contiguous run: in place, or expanded into `to`. */
static const char *joined(void *to, const void *from, size_t item, ptrdiff_t rows, ptrdiff_t cols,
                          ptrdiff_t row_step, ptrdiff_t step)
{
    if (step == 1 && row_step == cols)
        return from;
    if (item == 4) {
        EXPAND(uint32_t)
    }
    else {
        EXPAND(uint64_t)
    }
    return to;
}
#undef EXPAND

/* Rows shorter than SHORT, several per call of the row function. */
static void binary_short(const binary_job *j, char *z, const char *a, const char *b, ptrdiff_t rows)
{
    const dims *d = &j->d;
    const ptrdiff_t cols = j->cols, item = (ptrdiff_t)j->item, group = JOIN / cols;
    const ptrdiff_t ra = d->a[d->ndim - 2], rb = d->b[d->ndim - 2];
    const ptrdiff_t sa = d->a[d->ndim - 1], sb = d->b[d->ndim - 1];
    uint64_t copy_a[JOIN], copy_b[JOIN];
    const char *run_a = NULL, *run_b = NULL;
    for (ptrdiff_t r = 0; r < rows; r += group) {
        ptrdiff_t n = min_size(group, rows - r);
        if (r == 0 || ra != 0) /* an operand that repeats is expanded once */
            run_a = joined(copy_a, a + r * ra * item, j->item, n, cols, ra, sa);
        if (r == 0 || rb != 0)
            run_b = joined(copy_b, b + r * rb * item, j->item, n, cols, rb, sb);
        j->row(z + r * cols * item, run_a, 1, run_b, 1, n * cols);
    }
}

static void binary_task(void *ctx, ptrdiff_t i)
{
    const binary_job *j = ctx;
    const dims *d = &j->d;
    const ptrdiff_t item = (ptrdiff_t)j->item, inner = d->n[d->ndim - 2];
    const ptrdiff_t ra = d->a[d->ndim - 2], rb = d->b[d->ndim - 2];
    const ptrdiff_t sa = d->a[d->ndim - 1], sb = d->b[d->ndim - 1];
    ptrdiff_t c = i % j->wides * j->wide, n = min_size(j->wide, j->cols - c);
    ptrdiff_t row = i / j->wides * j->band, end = min_size(row + j->band, j->rows);
    while (row < end) {
        ptrdiff_t oa, ob, first = row % inner, count = min_size(inner - first, end - row);
        outer_offsets(d, row / inner, &oa, &ob);
        const char *a = j->a + (oa + first * ra + c * sa) * item;
        const char *b = j->b + (ob + first * rb + c * sb) * item;
        char *z = j->z + (row * j->cols + c) * item;
        row += count;
        if (j->cols < SHORT && inner > 1) { /* by shape alone: pow has two ways */
            binary_short(j, z, a, b, count);
            continue;
        }
        for (ptrdiff_t r = 0; r < count; r++)
            j->row(z + r * j->cols * item, a + r * ra * item, (int)sa, b + r * rb * item, (int)sb,
                   n);
    }
}

void fnn_binary(int dtype, int op, void *z, const void *a, const void *b, int ndim,
                const ptrdiff_t *shape, const ptrdiff_t *stride_a, const ptrdiff_t *stride_b)
{
    binary_job j = {fnn_kernels_for(dtype)->binary[op], z, a, b, dtype == FNN_F32 ? 4 : 8,
                    .band = 1};
    ptrdiff_t total = merge(&j.d, ndim, shape, stride_a, stride_b);
    if (total == 0)
        return;
    j.cols = j.d.n[j.d.ndim - 1];
    j.rows = total / j.cols;
    j.wide = min_size(j.cols, CHUNK);
    j.wides = cuts(j.cols, j.wide);
    j.band = CHUNK / j.wide;
    assert(j.d.a[j.d.ndim - 1] == 0 || j.d.a[j.d.ndim - 1] == 1);
    assert(j.d.b[j.d.ndim - 1] == 0 || j.d.b[j.d.ndim - 1] == 1);
    double each = binary_cost[op] > 0.0 ? binary_cost[op] : 0.13;
    double cost = (double)total * each * (dtype == FNN_F32 ? 1.0 : 2.0);
    if (fnn_threads(cost) == 1) { /* one task */
        j.wide = j.cols;
        j.wides = 1;
        j.band = j.rows;
    }
    fnn_parallel_for(j.wides * cuts(j.rows, j.band), cost, FNN_STATIC, binary_task, &j);
}

/* --- strided copies -------------------------------------------------------------------------- */

/* Copies n0 x n1 items; d0, d1 and s0, s1 are strides of the target and the source, in items. */
typedef struct {
    char *to;
    const char *from;
    size_t item;
    dims d;             /* a: target, b: source */
    ptrdiff_t b0, b1;   /* block of the last two dimensions */
    ptrdiff_t k0, k1;   /* blocks along each */
    ptrdiff_t group, units;
} copy_job;

#define RUN 64 /* bytes per step of a plain copy: memcpy of a constant size is a few moves */

/* Tiles keep whole cache lines of both sides in use: T x T items pass through a buffer. */
#define COPY(T, TILE)                                                                            \
    static void copy_##T(T *to, const T *from, ptrdiff_t n0, ptrdiff_t n1, ptrdiff_t d0,         \
                         ptrdiff_t d1, ptrdiff_t s0, ptrdiff_t s1)                               \
    {                                                                                            \
        if (d1 == 1 && s1 == 1) {                                                                \
            for (ptrdiff_t i = 0; i < n0; i++) {                                                 \
                ptrdiff_t k = 0;                                                                 \
                for (; k + RUN / (int)sizeof(T) <= n1; k += RUN / (int)sizeof(T))                \
                    memcpy(to + i * d0 + k, from + i * s0 + k, RUN);                             \
                for (; k < n1; k++)                                                              \
                    to[i * d0 + k] = from[i * s0 + k];                                           \
            }                                                                                    \
            return;                                                                              \
        }                                                                                        \
        if (d1 != 1 || s0 != 1) {                                                                \
            for (ptrdiff_t i = 0; i < n0; i++)                                                   \
                for (ptrdiff_t k = 0; k < n1; k++)                                               \
                    to[i * d0 + k * d1] = from[i * s0 + k * s1];                                 \
            return;                                                                              \
        }                                                                                        \
        T tile[TILE][TILE];                                                                      \
        for (ptrdiff_t k = 0; k < n1; k += TILE)                                                 \
            for (ptrdiff_t i = 0; i < n0; i += TILE) {                                           \
                ptrdiff_t h = min_size(TILE, n0 - i), w = min_size(TILE, n1 - k);                \
                const T *f = from + i + k * s1;                                                  \
                T *t = to + i * d0 + k;                                                          \
                if (h == TILE && w == TILE) {                                                    \
                    for (int c = 0; c < TILE; c++)                                               \
                        memcpy(tile[c], f + c * s1, sizeof tile[c]);                             \
                    for (int r = 0; r < TILE; r++) {                                             \
                        T line[TILE];                                                            \
                        for (int c = 0; c < TILE; c++)                                           \
                            line[c] = tile[c][r];                                                \
                        memcpy(t + r * d0, line, sizeof line);                                   \
                    }                                                                            \
                }                                                                                \
                else                                                                             \
                    for (ptrdiff_t r = 0; r < h; r++)                                            \
                        for (ptrdiff_t c = 0; c < w; c++)                                        \
                            t[r * d0 + c] = f[r + c * s1];                                       \
            }                                                                                    \
    }
COPY(uint8_t, 64)
COPY(uint32_t, 16)
COPY(uint64_t, 8)
#undef COPY

static void copy_task(void *ctx, ptrdiff_t t)
{
    const copy_job *j = ctx;
    const dims *d = &j->d;
    const int p = d->ndim - 2, q = d->ndim - 1;
    const ptrdiff_t item = (ptrdiff_t)j->item;
    ptrdiff_t end = min_size((t + 1) * j->group, j->units);
    for (ptrdiff_t u = t * j->group; u < end; u++) {
        ptrdiff_t to, from, i = u / j->k1 % j->k0 * j->b0, k = u % j->k1 * j->b1;
        outer_offsets(d, u / j->k1 / j->k0, &to, &from);
        char *a = j->to + (to + i * d->a[p] + k * d->a[q]) * item;
        const char *b = j->from + (from + i * d->b[p] + k * d->b[q]) * item;
        ptrdiff_t n0 = min_size(j->b0, d->n[p] - i), n1 = min_size(j->b1, d->n[q] - k);
        if (item == 4)
            copy_uint32_t((uint32_t *)(void *)a, (const uint32_t *)(const void *)b, n0, n1, d->a[p],
                          d->a[q], d->b[p], d->b[q]);
        else if (item == 8)
            copy_uint64_t((uint64_t *)(void *)a, (const uint64_t *)(const void *)b, n0, n1, d->a[p],
                          d->a[q], d->b[p], d->b[q]);
        else
            copy_uint8_t((uint8_t *)a, (const uint8_t *)b, n0, n1, d->a[p], d->a[q], d->b[p],
                         d->b[q]);
    }
}

static ptrdiff_t size_of(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

static void swap_dims(dims *d, int i, int k)
{
    ptrdiff_t n = d->n[i], a = d->a[i], b = d->b[i];
    d->n[i] = d->n[k];
    d->a[i] = d->a[k];
    d->b[i] = d->b[k];
    d->n[k] = n;
    d->a[k] = a;
    d->b[k] = b;
}

static void copy_strided(void *to, const void *from, size_t item, int ndim, const ptrdiff_t *shape,
                         const ptrdiff_t *stride_to, const ptrdiff_t *stride_from)
{
    assert(item == 1 || item == 4 || item == 8);
    copy_job j = {to, from, item, .group = 1};
    ptrdiff_t total = merge(&j.d, ndim, shape, stride_to, stride_from);
    if (total == 0)
        return;
    dims *d = &j.d;
    /* Last: the dimension along which the target is densest. Before it: the one along which the
     * source is, unless that is the same. The order of a copy is free. */
    const int p = d->ndim - 2, q = d->ndim - 1;
    for (int i = 0; i < q; i++)
        if (d->n[i] > 1 && size_of(d->a[i]) < size_of(d->a[q]))
            swap_dims(d, i, q);
    for (int i = 0; i < p; i++)
        if (d->n[i] > 1 && (d->n[p] == 1 || size_of(d->b[i]) < size_of(d->b[p])))
            swap_dims(d, i, p);
    if (d->a[q] == 1 && d->b[p] == 1 && d->b[q] != 1) { /* tiles: square blocks */
        j.b1 = min_size(d->n[q], 128);
        j.b0 = min_size(d->n[p], CHUNK / j.b1);
        j.b1 = min_size(d->n[q], CHUNK / j.b0);
    }
    else { /* whole rows */
        j.b1 = min_size(d->n[q], CHUNK);
        j.b0 = min_size(d->n[p], CHUNK / j.b1);
    }
    j.k0 = cuts(d->n[p], j.b0);
    j.k1 = cuts(d->n[q], j.b1);
    j.units = total / (d->n[p] * d->n[q]) * j.k0 * j.k1;
    j.group = 1 + CHUNK / (j.b0 * j.b1);
    fnn_parallel_for(cuts(j.units, j.group), (double)total * 0.1 * (1.0 + (double)item / 4.0),
                     FNN_STATIC, copy_task, &j);
}

static void contiguous(ptrdiff_t *stride, int ndim, const ptrdiff_t *shape)
{
    ptrdiff_t step = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i];
    }
}

void fnn_gather_strided(void *y, const void *x, size_t item, int ndim, const ptrdiff_t *shape,
                        const ptrdiff_t *stride)
{
    ptrdiff_t own[FNN_MAX_DIMS];
    contiguous(own, ndim, shape);
    copy_strided(y, x, item, ndim, shape, own, stride);
}
