/* SPDX-License-Identifier: BSD-3-Clause
 * Which CPU targets are compiled in, which of them run here, and which one is in use.
 */
#include "fastnn.h"

/* Best first. setup.py defines FNN_HAVE_<target> for each target that it compiled. */
#ifdef FNN_HAVE_avx512
extern const fnn_target fnn_target_avx512;
static int runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
}
#endif
#ifdef FNN_HAVE_avx2
extern const fnn_target fnn_target_avx2;
static int runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
extern const fnn_target fnn_target_portable;
static int runs_portable(void) { return 1; }

static const struct {
    const fnn_target *target;
    int (*runs)(void);
} targets[] = {
#ifdef FNN_HAVE_avx512
    {&fnn_target_avx512, runs_avx512},
#endif
#ifdef FNN_HAVE_avx2
    {&fnn_target_avx2, runs_avx2},
#endif
    {&fnn_target_portable, runs_portable},
};

static int current = (int)(sizeof targets / sizeof *targets) - 1;

int fnn_target_count(void) { return (int)(sizeof targets / sizeof *targets); }
const char *fnn_target_name(int i) { return targets[i].target->name; }
int fnn_target_runnable(int i) { return targets[i].runs() != 0; }
int fnn_target_current(void) { return current; }
int fnn_lanes(void) { return targets[current].target->lanes; }

int fnn_target_select(int i)
{
    if (!fnn_target_runnable(i))
        return -1;
    current = i;
    return 0;
}

const fnn_kernels *fnn_kernels_for(int dtype)
{
    const fnn_target *t = targets[current].target;
    return dtype == FNN_F32 ? &t->f32 : &t->f64;
}

#define BINARY(name)
#define KERNEL(name, args)
#define UNARY(name, saved) #name,
const char *const fnn_unary_names[] = {
#include "kernels.def"
};
#undef UNARY
enum { X = 'X', Y = 'Y', N = 'N' };
#define UNARY(name, saved) saved,
const char fnn_unary_saved[] = {
#include "kernels.def"
};
#undef UNARY
#undef BINARY
#define UNARY(name, saved)
#define BINARY(name) #name,
const char *const fnn_binary_names[] = {
#include "kernels.def"
};
