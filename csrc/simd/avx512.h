/* SPDX-License-Identifier: BSD-3-Clause
 * AVX-512 (F, DQ, BW, VL): the vector operations that kernels are written in.
 * The same set, with the same meaning, stands in avx2.h and portable.h; see portable.h for it.
 */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VL_f32 16
#define VL_f64 8
typedef __m512 vf32;
typedef __m512d vf64;
typedef __m512i vi32;
typedef __m512i vi64;
typedef __mmask16 vm32;
typedef __mmask8 vm64;

/* GEMM register tile: GEMM_MR rows by GEMM_NV vectors. */
#define GEMM_MR 14
#define GEMM_NV 2

#define FNN_SIMD_OPS(S, T, V, VI, M, I, P, ITYPE) \
    static inline V v_load_##S(const T *p) { return _mm512_loadu_##P(p); }                       \
    static inline void v_store_##S(T *p, V a) { _mm512_storeu_##P(p, a); }                       \
    static inline M v_tail_##S(ptrdiff_t n) { return (M)((1u << n) - 1u); }                      \
    static inline V v_loadn_##S(const T *p, ptrdiff_t n)                                         \
    {                                                                                            \
        return _mm512_maskz_loadu_##P(v_tail_##S(n), p);                                         \
    }                                                                                            \
    static inline void v_storen_##S(T *p, V a, ptrdiff_t n)                                      \
    {                                                                                            \
        _mm512_mask_storeu_##P(p, v_tail_##S(n), a);                                             \
    }                                                                                            \
    static inline V v_set1_##S(T a) { return _mm512_set1_##P(a); }                               \
    static inline V v_zero_##S(void) { return _mm512_setzero_##P(); }                            \
    static inline V v_add_##S(V a, V b) { return _mm512_add_##P(a, b); }                         \
    static inline V v_sub_##S(V a, V b) { return _mm512_sub_##P(a, b); }                         \
    static inline V v_mul_##S(V a, V b) { return _mm512_mul_##P(a, b); }                         \
    static inline V v_div_##S(V a, V b) { return _mm512_div_##P(a, b); }                         \
    static inline V v_fma_##S(V a, V b, V c) { return _mm512_fmadd_##P(a, b, c); }               \
    static inline V v_fnma_##S(V a, V b, V c) { return _mm512_fnmadd_##P(a, b, c); }             \
    static inline V v_fms_##S(V a, V b, V c) { return _mm512_fmsub_##P(a, b, c); }               \
    static inline V v_mul_low_##S(V a, V b, V p) { return _mm512_fmsub_##P(a, b, p); }           \
    static inline V v_max_##S(V a, V b) { return _mm512_max_##P(a, b); }                         \
    static inline V v_min_##S(V a, V b) { return _mm512_min_##P(a, b); }                         \
    static inline V v_sqrt_##S(V a) { return _mm512_sqrt_##P(a); }                               \
    static inline V v_abs_##S(V a) { return _mm512_abs_##P(a); }                                 \
    static inline V v_and_##S(V a, V b) { return _mm512_and_##P(a, b); }                         \
    static inline V v_or_##S(V a, V b) { return _mm512_or_##P(a, b); }                           \
    static inline V v_xor_##S(V a, V b) { return _mm512_xor_##P(a, b); }                         \
    static inline V v_round_##S(V a) { return _mm512_roundscale_##P(a, 8); }                     \
    static inline M v_lt_##S(V a, V b) { return _mm512_cmp_##P##_mask(a, b, _CMP_LT_OQ); }       \
    static inline M v_le_##S(V a, V b) { return _mm512_cmp_##P##_mask(a, b, _CMP_LE_OQ); }       \
    static inline M v_gt_##S(V a, V b) { return _mm512_cmp_##P##_mask(a, b, _CMP_GT_OQ); }       \
    static inline M v_ge_##S(V a, V b) { return _mm512_cmp_##P##_mask(a, b, _CMP_GE_OQ); }       \
    static inline M v_eq_##S(V a, V b) { return _mm512_cmp_##P##_mask(a, b, _CMP_EQ_OQ); }       \
    static inline M v_isnan_##S(V a) { return _mm512_cmp_##P##_mask(a, a, _CMP_UNORD_Q); }       \
    static inline V v_select_##S(M m, V a, V b) { return _mm512_mask_blend_##P(m, b, a); }       \
    static inline V v_ldexp_##S(V a, V n) { return _mm512_scalef_##P(a, n); }                     \
    static inline M v_lanes_##S(ptrdiff_t n) { return v_tail_##S(n); }                           \
    static inline T v_hsum_##S(V a) { return _mm512_reduce_add_##P(a); }                         \
    static inline T v_hmax_##S(V a) { return _mm512_reduce_max_##P(a); }                         \
    static inline VI v_bits_##S(V a) { return _mm512_cast##P##_si512(a); }                       \
    static inline V v_frombits_##S(VI a) { return _mm512_castsi512_##P(a); }                     \
    static inline VI v_iset1_##S(ITYPE a) { return _mm512_set1_##I(a); }                         \
    static inline VI v_iadd_##S(VI a, VI b) { return _mm512_add_##I(a, b); }                     \
    static inline VI v_isub_##S(VI a, VI b) { return _mm512_sub_##I(a, b); }

FNN_SIMD_OPS(f32, float, vf32, vi32, vm32, epi32, ps, int32_t)
FNN_SIMD_OPS(f64, double, vf64, vi64, vm64, epi64, pd, int64_t)
#undef FNN_SIMD_OPS

/* Shifts of integer lanes by a constant. */
#define v_ishl_f32(a, n) _mm512_slli_epi32(a, n)
#define v_ishr_f32(a, n) _mm512_srli_epi32(a, n)
#define v_ishl_f64(a, n) _mm512_slli_epi64(a, n)
#define v_ishr_f64(a, n) _mm512_srli_epi64(a, n)
static inline vf32 v_fromint_f32(vi32 a) { return _mm512_cvtepi32_ps(a); }
static inline vf64 v_fromint_f64(vi64 a) { return _mm512_cvtepi64_pd(a); }
/* Transposes 4 by 4 blocks inside the 128-bit quarters, then the quarters. */
static inline void v_transpose_f32(vf32 *r)
{
    vf32 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
        a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0xdd);
    }
}
static inline void v_transpose_f64(vf64 *r)
{
    vf64 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[i] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0x88);
        b[i + 2] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0xdd);
        b[i + 4] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0x88);
        b[i + 6] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0xdd);
    }
}

static inline vm32 v_mor_f32(vm32 a, vm32 b) { return (vm32)(a | b); }
static inline vm64 v_mor_f64(vm64 a, vm64 b) { return (vm64)(a | b); }
static inline int v_any_f32(vm32 a) { return a != 0; }
static inline int v_any_f64(vm64 a) { return a != 0; }

/* Lanes from and to bytes. */
static inline vf32 v_load_u8_f32(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vf32 v_loadn_u8_f32(const uint8_t *p, ptrdiff_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(v_tail_f32(n), p)));
}
static inline void v_store_u8_f32(uint8_t *p, vf32 a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
static inline void v_storen_u8_f32(uint8_t *p, vf32 a, ptrdiff_t n)
{
    _mm_mask_storeu_epi8(p, v_tail_f32(n), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
static inline vf64 v_load_u8_f64(const uint8_t *p)
{
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline vf64 v_loadn_u8_f64(const uint8_t *p, ptrdiff_t n)
{
    __m128i a = _mm_maskz_loadu_epi8((__mmask16)v_tail_f64(n), p);
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(a));
}
static inline void v_store_u8_f64(uint8_t *p, vf64 a)
{
    _mm_storel_epi64((__m128i *)p, _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(a)));
}
static inline void v_storen_u8_f64(uint8_t *p, vf64 a, ptrdiff_t n)
{
    _mm_mask_storeu_epi8(p, (__mmask16)v_tail_f64(n),
                         _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(a)));
}

static inline vi32 v_ixor_f32(vi32 a, vi32 b) { return _mm512_xor_si512(a, b); }
static inline vi32 v_mul_even_u32(vi32 a, vi32 b) { return _mm512_mul_epu32(a, b); }
static inline vi32 v_reverse4_u32(vi32 a) { return _mm512_shuffle_epi32(a, (_MM_PERM_ENUM)0x1b); }
static inline unsigned v_mask_bits_f32(vm32 a) { return a; }
/* Each lane the one of t that the low bits of i say. */
static inline vf32 v_permute_f32(vf32 t, vi32 i)
{
    return _mm512_permutexvar_ps(i, t);
}
static inline vf32 v_permute2_f32(vf32 t, vf32 u, vi32 i)
{
    return _mm512_permutex2var_ps(t, i, u);
}
#endif
