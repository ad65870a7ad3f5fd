/* SPDX-License-Identifier: BSD-3-Clause
 * All kernels compiled for the portable target. */
#define TARGET portable
#include "../simd/portable.h"
#include "all.inc"
