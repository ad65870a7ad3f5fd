/* SPDX-License-Identifier: BSD-3-Clause
 * All kernels compiled for the avx2 target. */
#define TARGET avx2
#include "../simd/avx2.h"
#include "all.inc"
