/* SPDX-License-Identifier: BSD-3-Clause
 * AVX2 + FMA: the vector operations that kernels are written in.
 * The same set, with the same meaning, stands in avx512.h and portable.h; see portable.h for it.
 */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VL_f32 8
#define VL_f64 4
typedef __m256 vf32;
typedef __m256d vf64;
typedef __m256i vi32;
typedef __m256i vi64;
typedef __m256 vm32;
typedef __m256d vm64;

/* GEMM register tile: GEMM_MR rows by GEMM_NV vectors. */
#define GEMM_MR 6
#define GEMM_NV 2

static inline __m256i v_tail_f32(ptrdiff_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline __m256i v_tail_f64(ptrdiff_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), _mm256_setr_epi64x(0, 1, 2, 3));
}

#define FNN_SIMD_OPS(S, T, V, VI, M, I, ISET, P, ITYPE) \
    static inline V v_load_##S(const T *p) { return _mm256_loadu_##P(p); }                       \
    static inline void v_store_##S(T *p, V a) { _mm256_storeu_##P(p, a); }                       \
    static inline V v_loadn_##S(const T *p, ptrdiff_t n)                                         \
    {                                                                                            \
        return _mm256_maskload_##P(p, v_tail_##S(n));                                            \
    }                                                                                            \
    static inline void v_storen_##S(T *p, V a, ptrdiff_t n)                                      \
    {                                                                                            \
        _mm256_maskstore_##P(p, v_tail_##S(n), a);                                               \
    }                                                                                            \
    static inline V v_set1_##S(T a) { return _mm256_set1_##P(a); }                               \
    static inline V v_zero_##S(void) { return _mm256_setzero_##P(); }                            \
    static inline V v_add_##S(V a, V b) { return _mm256_add_##P(a, b); }                         \
    static inline V v_sub_##S(V a, V b) { return _mm256_sub_##P(a, b); }                         \
    static inline V v_mul_##S(V a, V b) { return _mm256_mul_##P(a, b); }                         \
    static inline V v_div_##S(V a, V b) { return _mm256_div_##P(a, b); }                         \
    static inline V v_fma_##S(V a, V b, V c) { return _mm256_fmadd_##P(a, b, c); }               \
    static inline V v_fnma_##S(V a, V b, V c) { return _mm256_fnmadd_##P(a, b, c); }             \
    static inline V v_fms_##S(V a, V b, V c) { return _mm256_fmsub_##P(a, b, c); }               \
    static inline V v_mul_low_##S(V a, V b, V p) { return _mm256_fmsub_##P(a, b, p); }           \
    static inline V v_max_##S(V a, V b) { return _mm256_max_##P(a, b); }                         \
    static inline V v_min_##S(V a, V b) { return _mm256_min_##P(a, b); }                         \
    static inline V v_sqrt_##S(V a) { return _mm256_sqrt_##P(a); }                               \
    static inline V v_and_##S(V a, V b) { return _mm256_and_##P(a, b); }                         \
    static inline V v_or_##S(V a, V b) { return _mm256_or_##P(a, b); }                           \
    static inline V v_xor_##S(V a, V b) { return _mm256_xor_##P(a, b); }                         \
    static inline V v_abs_##S(V a) { return _mm256_andnot_##P(_mm256_set1_##P((T)-0.0), a); }    \
    static inline V v_round_##S(V a) { return _mm256_round_##P(a, 8); }                          \
    static inline M v_lt_##S(V a, V b) { return _mm256_cmp_##P(a, b, _CMP_LT_OQ); }              \
    static inline M v_le_##S(V a, V b) { return _mm256_cmp_##P(a, b, _CMP_LE_OQ); }              \
    static inline M v_gt_##S(V a, V b) { return _mm256_cmp_##P(a, b, _CMP_GT_OQ); }              \
    static inline M v_ge_##S(V a, V b) { return _mm256_cmp_##P(a, b, _CMP_GE_OQ); }              \
    static inline M v_eq_##S(V a, V b) { return _mm256_cmp_##P(a, b, _CMP_EQ_OQ); }              \
    static inline M v_isnan_##S(V a) { return _mm256_cmp_##P(a, a, _CMP_UNORD_Q); }              \
    static inline V v_select_##S(M m, V a, V b) { return _mm256_blendv_##P(b, a, m); }           \
    static inline M v_lanes_##S(ptrdiff_t n) { return _mm256_castsi256_##P(v_tail_##S(n)); }     \
    static inline VI v_bits_##S(V a) { return _mm256_cast##P##_si256(a); }                       \
    static inline V v_frombits_##S(VI a) { return _mm256_castsi256_##P(a); }                     \
    static inline VI v_iset1_##S(ITYPE a) { return _mm256_set1_##ISET(a); }                      \
    static inline VI v_iadd_##S(VI a, VI b) { return _mm256_add_##I(a, b); }                     \
    static inline VI v_isub_##S(VI a, VI b) { return _mm256_sub_##I(a, b); }

FNN_SIMD_OPS(f32, float, vf32, vi32, vm32, epi32, epi32, ps, int32_t)
FNN_SIMD_OPS(f64, double, vf64, vi64, vm64, epi64, epi64x, pd, int64_t)
#undef FNN_SIMD_OPS

static inline float v_hsum_f32(vf32 a)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
static inline float v_hmax_f32(vf32 a)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
static inline double v_hsum_f64(vf64 a)
{
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}
static inline double v_hmax_f64(vf64 a)
{
    __m128d b = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(b, _mm_unpackhi_pd(b, b)));
}

/* Shifts of integer lanes by a constant. */
#define v_ishl_f32(a, n) _mm256_slli_epi32(a, n)
#define v_ishr_f32(a, n) _mm256_srli_epi32(a, n)
#define v_ishl_f64(a, n) _mm256_slli_epi64(a, n)
#define v_ishr_f64(a, n) _mm256_srli_epi64(a, n)
static inline vf32 v_fromint_f32(vi32 a) { return _mm256_cvtepi32_ps(a); }
/* No 64-bit conversion in AVX2: 1.5 * 2^52 plus an integer has it in the low mantissa bits. */
static inline vf64 v_fromint_f64(vi64 a)
{
    const __m256d magic = _mm256_set1_pd(6755399441055744.0);
    return _mm256_sub_pd(
        _mm256_castsi256_pd(_mm256_add_epi64(a, _mm256_castpd_si256(magic))), magic);
}
static inline void v_transpose_f32(vf32 *r)
{
    vf32 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}
static inline void v_transpose_f64(vf64 *r)
{
    const vf64 a0 = _mm256_unpacklo_pd(r[0], r[1]), a1 = _mm256_unpackhi_pd(r[0], r[1]);
    const vf64 a2 = _mm256_unpacklo_pd(r[2], r[3]), a3 = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a0, a2, 0x20);
    r[1] = _mm256_permute2f128_pd(a1, a3, 0x20);
    r[2] = _mm256_permute2f128_pd(a0, a2, 0x31);
    r[3] = _mm256_permute2f128_pd(a1, a3, 0x31);
}

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

static inline vm32 v_mor_f32(vm32 a, vm32 b) { return _mm256_or_ps(a, b); }
static inline vm64 v_mor_f64(vm64 a, vm64 b) { return _mm256_or_pd(a, b); }
static inline int v_any_f32(vm32 a) { return _mm256_movemask_ps(a) != 0; }
static inline int v_any_f64(vm64 a) { return _mm256_movemask_pd(a) != 0; }

/* Lanes from and to bytes. */
static inline __m128i v_bytes_f32(vf32 a)
{
    __m256i i = _mm256_cvtps_epi32(a);
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    return _mm_packus_epi16(w, w);
}
static inline __m128i v_bytes_f64(vf64 a)
{
    __m128i w = _mm_packs_epi32(_mm256_cvtpd_epi32(a), _mm_setzero_si128());
    return _mm_packus_epi16(w, w);
}
static inline vf32 v_from_bytes_f32(__m128i a)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a));
}
static inline vf64 v_from_bytes_f64(__m128i a) { return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(a)); }

#define FNN_BYTE_OPS(S, V)                                                                       \
    static inline V v_loadn_u8_##S(const uint8_t *p, ptrdiff_t n)                                \
    {                                                                                            \
        uint64_t b = 0;                                                                          \
        memcpy(&b, p, (size_t)n);                                                                \
        return v_from_bytes_##S(_mm_cvtsi64_si128((long long)b));                                \
    }                                                                                            \
    static inline void v_storen_u8_##S(uint8_t *p, V a, ptrdiff_t n)                             \
    {                                                                                            \
        uint64_t b = (uint64_t)_mm_cvtsi128_si64(v_bytes_##S(a));                                \
        memcpy(p, &b, (size_t)n);                                                                \
    }                                                                                            \
    static inline V v_load_u8_##S(const uint8_t *p) { return v_loadn_u8_##S(p, VL_##S); }        \
    static inline void v_store_u8_##S(uint8_t *p, V a) { v_storen_u8_##S(p, a, VL_##S); }
FNN_BYTE_OPS(f32, vf32)
FNN_BYTE_OPS(f64, vf64)
#undef FNN_BYTE_OPS

static inline vi32 v_ixor_f32(vi32 a, vi32 b) { return _mm256_xor_si256(a, b); }
static inline vi32 v_mul_even_u32(vi32 a, vi32 b) { return _mm256_mul_epu32(a, b); }
static inline vi32 v_reverse4_u32(vi32 a) { return _mm256_shuffle_epi32(a, 0x1b); }
static inline unsigned v_mask_bits_f32(vm32 a) { return (unsigned)_mm256_movemask_ps(a); }
/* Each lane the one of t that the low bits of i say. */
static inline vf32 v_permute_f32(vf32 t, vi32 i)
{
    return _mm256_permutevar8x32_ps(t, i);
}
#endif
