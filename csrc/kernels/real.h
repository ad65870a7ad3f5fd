/* SPDX-License-Identifier: BSD-3-Clause
 * How one kernel source serves float and double. Before including a .inc file, targets/all.inc
 * defines SFX (f32 or f64), REAL (float or double) and VREAL; in the source
 *   FN(name)    is the name with the type's suffix: relu_fwd_f32
 *   V(op)(...)  is a vector operation of that type: v_add_f32
 *   VL          is the number of lanes
 */
#ifndef FNN_REAL_H
#define FNN_REAL_H
/* A loop that gcc would unroll until it spills, and one that it would leave (to 16 rounds). */
#if defined(__clang__)
#define ROLLED _Pragma("nounroll")
#define UNROLLED _Pragma("unroll")
#else
#define ROLLED _Pragma("GCC unroll 1")
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define FNN_PASTE_(a, b) a##_##b
#define FNN_PASTE(a, b) FNN_PASTE_(a, b)
#define FN(name) FNN_PASTE(name, SFX)
#define V(op) FNN_PASTE(v_##op, SFX)
#define VL FNN_PASTE(VL, SFX)
#define VMASK FNN_PASTE(fnn_vmask, SFX)
#define VINT FNN_PASTE(fnn_vint, SFX)
typedef vm32 fnn_vmask_f32;
typedef vm64 fnn_vmask_f64;
typedef vi32 fnn_vint_f32;
typedef vi64 fnn_vint_f64;
#endif
