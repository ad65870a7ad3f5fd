/* SPDX-License-Identifier: BSD-3-Clause
 * All kernels compiled for the avx512 target. */
#define TARGET avx512
#include "../simd/avx512.h"
#include "all.inc"
