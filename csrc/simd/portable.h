/* SPDX-License-Identifier: BSD-3-Clause
 * Portable target: 128-bit vectors of the GNU C extension, which gcc and clang turn into SSE2,
 * NEON or scalar code. It also documents the set of operations; avx2.h and avx512.h hold the same.
 *
 *   v_OP_f32, v_OP_f64      one operation on a whole vector of VL_f32 or VL_f64 lanes
 *   load store              unaligned
 *   loadn storen            the first n lanes, 0 < n <= VL; other lanes load as 0; never over-reads
 *   fma fnma fms (a,b,c)    a*b+c, c-a*b, a*b-c (one rounding where the target has FMA, else two)
 *   mul_low(a,b,p)          a*b - p for p = mul(a,b): exact (f64 without FMA: to one part in 2^105)
 *   ldexp(a, n)             a * 2^n, rounded once, for whole n: |n| <= 250 (f32), 2000 (f64)
 *   max min                 b where either is NaN: max(a, b) = a > b ? a : b
 *   lt le gt ge eq isnan    masks; select(m, a, b) = m ? a : b; lanes(n): the first n lanes
 *   hsum hmax               sum (in a fixed order) and maximum (NaN: any lane) of the lanes
 *   round                   to nearest, ties to even, for |a| < 2^22 (f32) and 2^51 (f64)
 *   bits frombits           reinterpretation; iset1 iadd isub ishl ishr on integer lanes
 *                           (ishr is logical)
 *   fromint                 conversion, for |a| < 2^22 (f32), 2^51 (f64)
 *   transpose(r)            the VL by VL matrix whose rows are r[0 .. VL)
 *   mor any                 either mask; is any lane of a mask set?
 *   load_u8 store_u8        lanes from and to bytes (whole numbers 0 to 255); loadn_u8 storen_u8
 *   ixor_f32 mul_even_u32   32-bit lanes: exclusive or; products of the even lanes, 64 bits wide
 *   reverse4_u32            32-bit lanes of each 128 bits in reverse order
 *   permute_f32(t, i)       lane i of t for each lane; i's higher bits do not count. Not here
 *   permute2_f32(t, u, i)   the same for 32 lanes, those of t and of u. Only in avx512.h
 *   mask_bits_f32           a mask's lanes as bits, the first lane's lowest. Not here
 */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define VL_f32 4
#define VL_f64 2
typedef float vf32 __attribute__((vector_size(16)));
typedef double vf64 __attribute__((vector_size(16)));
typedef int32_t vi32 __attribute__((vector_size(16)));
typedef int64_t vi64 __attribute__((vector_size(16)));
typedef uint32_t vu32 __attribute__((vector_size(16)));
typedef uint64_t vu64 __attribute__((vector_size(16)));
typedef vi32 vm32;
typedef vi64 vm64;

/* GEMM register tile: GEMM_MR rows by GEMM_NV vectors. */
#define GEMM_MR 4
#define GEMM_NV 2

#define FNN_SIMD_OPS(S, T, V, VI, VU, ITYPE, MAGIC, HALF)                                        \
    static inline V v_load_##S(const T *p)                                                       \
    {                                                                                            \
        V a;                                                                                     \
        memcpy(&a, p, sizeof a);                                                                 \
        return a;                                                                                \
    }                                                                                            \
    static inline void v_store_##S(T *p, V a) { memcpy(p, &a, sizeof a); }                       \
    static inline V v_loadn_##S(const T *p, ptrdiff_t n)                                         \
    {                                                                                            \
        V a = {0};                                                                               \
        for (ptrdiff_t i = 0; i < n; i++)                                                        \
            a[i] = p[i];                                                                         \
        return a;                                                                                \
    }                                                                                            \
    static inline void v_storen_##S(T *p, V a, ptrdiff_t n)                                      \
    {                                                                                            \
        for (ptrdiff_t i = 0; i < n; i++)                                                        \
            p[i] = a[i];                                                                         \
    }                                                                                            \
    static inline V v_set1_##S(T a)                                                              \
    {                                                                                            \
        V r;                                                                                     \
        for (int i = 0; i < VL_##S; i++)                                                         \
            r[i] = a;                                                                            \
        return r;                                                                                \
    }                                                                                            \
    static inline V v_zero_##S(void) { return (V){0}; }                                          \
    static inline V v_add_##S(V a, V b) { return a + b; }                                        \
    static inline V v_sub_##S(V a, V b) { return a - b; }                                        \
    static inline V v_mul_##S(V a, V b) { return a * b; }                                        \
    static inline V v_div_##S(V a, V b) { return a / b; }                                        \
    static inline V v_fma_##S(V a, V b, V c) { return a * b + c; }                               \
    static inline V v_fnma_##S(V a, V b, V c) { return c - a * b; }                              \
    static inline V v_fms_##S(V a, V b, V c) { return a * b - c; }                               \
    static inline V v_mul_low_##S(V a, V b, V p)                                                 \
    {                                                                                            \
        V ah = (V)((VI)a & HALF), bh = (V)((VI)b & HALF), al = a - ah, bl = b - bh;              \
        return ((ah * bh - p) + (ah * bl + al * bh)) + al * bl;                                  \
    }                                                                                            \
    static inline VI v_lt_##S(V a, V b) { return a < b; }                                        \
    static inline VI v_le_##S(V a, V b) { return a <= b; }                                       \
    static inline VI v_gt_##S(V a, V b) { return a > b; }                                        \
    static inline VI v_ge_##S(V a, V b) { return a >= b; }                                       \
    static inline VI v_eq_##S(V a, V b) { return a == b; }                                       \
    static inline VI v_isnan_##S(V a) { return a != a; }                                         \
    static inline VI v_bits_##S(V a) { return (VI)a; }                                           \
    static inline V v_frombits_##S(VI a) { return (V)a; }                                        \
    static inline V v_select_##S(VI m, V a, V b) { return (V)((m & (VI)a) | (~m & (VI)b)); }     \
    static inline V v_and_##S(V a, V b) { return (V)((VI)a & (VI)b); }                           \
    static inline V v_or_##S(V a, V b) { return (V)((VI)a | (VI)b); }                            \
    static inline V v_xor_##S(V a, V b) { return (V)((VI)a ^ (VI)b); }                           \
    static inline V v_abs_##S(V a) { return (V)((VI)a & ~(VI)v_set1_##S((T)-0.0)); }             \
    static inline VI v_iset1_##S(ITYPE a) { return (VI){0} + a; }                                \
    static inline VI v_iadd_##S(VI a, VI b) { return (VI)((VU)a + (VU)b); }                      \
    static inline VI v_isub_##S(VI a, VI b) { return (VI)((VU)a - (VU)b); }                      \
    static inline V v_round_##S(V a)                                                             \
    {                                                                                            \
        const V magic = v_set1_##S(MAGIC);                                                       \
        return (a + magic) - magic;                                                              \
    }                                                                                            \
    static inline VI v_lanes_##S(ptrdiff_t n)                                                    \
    {                                                                                            \
        VI m;                                                                                    \
        for (int i = 0; i < VL_##S; i++)                                                         \
            m[i] = -(i < n);                                                                     \
        return m;                                                                                \
    }                                                                                            \
    static inline T v_hsum_##S(V a)                                                              \
    {                                                                                            \
        T s = a[0];                                                                              \
        for (int i = 1; i < VL_##S; i++)                                                         \
            s += a[i];                                                                           \
        return s;                                                                                \
    }                                                                                            \
    static inline T v_hmax_##S(V a)                                                              \
    {                                                                                            \
        T m = a[0];                                                                              \
        for (int i = 1; i < VL_##S; i++)                                                         \
            m = a[i] > m ? a[i] : m;                                                             \
        return m;                                                                                \
    }                                                                                            \
    static inline V v_fromint_##S(VI a)                                                          \
    {                                                                                            \
        const V magic = v_set1_##S(MAGIC);                                                       \
        return (V)v_iadd_##S(a, (VI)magic) - magic;                                              \
    }

/* 1.5 * 2^23 and 1.5 * 2^52: adding one leaves the nearest integer in the low mantissa bits. HALF
 * keeps the upper half of a mantissa. */
FNN_SIMD_OPS(f32, float, vf32, vi32, vu32, int32_t, 12582912.0f, -0x1000)
FNN_SIMD_OPS(f64, double, vf64, vi64, vu64, int64_t, 6755399441055744.0, -0x8000000)
#undef FNN_SIMD_OPS

/* What compilers do not find in expressions of vectors. */
#ifdef __SSE2__
static inline vf32 v_max_f32(vf32 a, vf32 b) { return (vf32)_mm_max_ps((__m128)a, (__m128)b); }
static inline vf32 v_min_f32(vf32 a, vf32 b) { return (vf32)_mm_min_ps((__m128)a, (__m128)b); }
static inline vf32 v_sqrt_f32(vf32 a) { return (vf32)_mm_sqrt_ps((__m128)a); }
static inline vf64 v_max_f64(vf64 a, vf64 b) { return (vf64)_mm_max_pd((__m128d)a, (__m128d)b); }
static inline vf64 v_min_f64(vf64 a, vf64 b) { return (vf64)_mm_min_pd((__m128d)a, (__m128d)b); }
static inline vf64 v_sqrt_f64(vf64 a) { return (vf64)_mm_sqrt_pd((__m128d)a); }
#else
#define FNN_PLAIN_OPS(S, V, SQRT)                                                                \
    static inline V v_max_##S(V a, V b) { return v_select_##S(a > b, a, b); }                    \
    static inline V v_min_##S(V a, V b) { return v_select_##S(a < b, a, b); }                    \
    static inline V v_sqrt_##S(V a)                                                              \
    {                                                                                            \
        for (int i = 0; i < VL_##S; i++)                                                         \
            a[i] = SQRT(a[i]);                                                                   \
        return a;                                                                                \
    }
FNN_PLAIN_OPS(f32, vf32, sqrtf)
FNN_PLAIN_OPS(f64, vf64, sqrt)
#undef FNN_PLAIN_OPS
#endif

#define v_ishl_f32(a, n) ((vi32)((vu32)(a) << (n)))
#define v_ishr_f32(a, n) ((vi32)((vu32)(a) >> (n)))
#define v_ishl_f64(a, n) ((vi64)((vu64)(a) << (n)))
#define v_ishr_f64(a, n) ((vi64)((vu64)(a) >> (n)))

/* Two factors of about half the exponent each: only the second can round. The addition leaves n
 * plus twice the exponent bias in the low mantissa bits. */
static inline vf32 v_ldexp_f32(vf32 a, vf32 n)
{
    vi32 e = v_bits_f32(v_add_f32(n, v_set1_f32(0x1.8p23f + 254))), half = v_ishr_f32(e, 1);
    a = v_mul_f32(a, v_frombits_f32(v_ishl_f32(half, 23)));
    return v_mul_f32(a, v_frombits_f32(v_ishl_f32(v_isub_f32(e, half), 23)));
}
static inline vf64 v_ldexp_f64(vf64 a, vf64 n)
{
    vi64 e = v_bits_f64(v_add_f64(n, v_set1_f64(0x1.8p52 + 2046))), half = v_ishr_f64(e, 1);
    a = v_mul_f64(a, v_frombits_f64(v_ishl_f64(half, 52)));
    return v_mul_f64(a, v_frombits_f64(v_ishl_f64(v_isub_f64(e, half), 52)));
}

#define FNN_TRANSPOSE(S, T, V)                                                                   \
    static inline void v_transpose_##S(V *r)                                                     \
    {                                                                                            \
        T a[VL_##S][VL_##S], b[VL_##S][VL_##S];                                                  \
        memcpy(a, r, sizeof a);                                                                  \
        for (int i = 0; i < VL_##S; i++)                                                         \
            for (int j = 0; j < VL_##S; j++)                                                     \
                b[i][j] = a[j][i];                                                               \
        memcpy(r, b, sizeof b);                                                                  \
    }
FNN_TRANSPOSE(f32, float, vf32)
FNN_TRANSPOSE(f64, double, vf64)
#undef FNN_TRANSPOSE

#define FNN_BYTE_OPS(S, T, V, VI)                                                                \
    static inline VI v_mor_##S(VI a, VI b) { return a | b; }                                     \
    static inline int v_any_##S(VI a)                                                            \
    {                                                                                            \
        vi64 b = (vi64)a;                                                                        \
        return (b[0] | b[1]) != 0;                                                               \
    }                                                                                            \
    static inline V v_loadn_u8_##S(const uint8_t *p, ptrdiff_t n)                                \
    {                                                                                            \
        V a = {0};                                                                               \
        for (ptrdiff_t i = 0; i < n; i++)                                                        \
            a[i] = (T)p[i];                                                                      \
        return a;                                                                                \
    }                                                                                            \
    static inline void v_storen_u8_##S(uint8_t *p, V a, ptrdiff_t n)                             \
    {                                                                                            \
        for (ptrdiff_t i = 0; i < n; i++)                                                        \
            p[i] = (uint8_t)a[i];                                                                \
    }                                                                                            \
    static inline V v_load_u8_##S(const uint8_t *p) { return v_loadn_u8_##S(p, VL_##S); }        \
    static inline void v_store_u8_##S(uint8_t *p, V a) { v_storen_u8_##S(p, a, VL_##S); }
FNN_BYTE_OPS(f32, float, vf32, vi32)
FNN_BYTE_OPS(f64, double, vf64, vi64)
#undef FNN_BYTE_OPS

static inline vi32 v_ixor_f32(vi32 a, vi32 b) { return a ^ b; }
static inline vi32 v_mul_even_u32(vi32 a, vi32 b)
{
    const vu64 low = {0xffffffffu, 0xffffffffu};
    return (vi32)(((vu64)a & low) * ((vu64)b & low));
}
static inline vi32 v_reverse4_u32(vi32 a) { return (vi32){a[3], a[2], a[1], a[0]}; }
#endif
