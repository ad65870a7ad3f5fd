/* SPDX-License-Identifier: BSD-3-Clause
 * All that the Cython bridge sees of csrc: statuses, argument structures, the kernel table, threads,
 * memory. Callers check; C asserts. No function prints, exits or aborts.
 */
#ifndef FASTNN_H
#define FASTNN_H
#include <stddef.h>
#include <stdint.h>

typedef enum { FNN_OK = 0, FNN_NO_MEMORY = 1 } fnn_status;
enum { FNN_F32 = 0, FNN_F64 = 1 };
#define FNN_MAX_DIMS 8

/* --- arguments ------------------------------------------------------------------------------ */

/* An element-wise function as the last step of gemm and conv: a UNARY row that saves Y; -1: none. */
typedef struct {
    int unary;
    double p[2];
} fnn_act;

/* c[m,n] = act(op(a) op(b) + bias); op(a) is m by k, op(b) is k by n, row-major with leading
 * dimensions lda, ldb, ldc; trans_a: a is stored k by m; trans_b: b is stored n by k.
 * bias (n) or NULL. accumulate: c += op(a) op(b), with neither bias nor act.
 * Each element is summed over k in blocks of a fixed size, in order, whatever the thread count. */
typedef struct {
    void *c;
    const void *a, *b, *bias;
    ptrdiff_t m, n, k, lda, ldb, ldc;
    int trans_a, trans_b, accumulate;
    fnn_act act;
} fnn_gemm;

/* How a convolution is computed. AUTO: by estimated time; WINOGRAD where it is impossible: DIRECT. */
enum { FNN_CONV_AUTO = 0, FNN_CONV_DIRECT = 1, FNN_CONV_WINOGRAD = 2 };
enum { FNN_PASS_FWD = 0, FNN_PASS_DATA = 1, FNN_PASS_WEIGHTS = 2 };

/* Convolution geometry; c and k are totals over all groups. oh = (h + 2 pad_h - dil_h (r-1) - 1) /
 * stride_h + 1. act applies to the forward pass only. */
typedef struct {
    ptrdiff_t n, h, w, c, k, r, s, oh, ow;
    ptrdiff_t stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups;
    fnn_act act;
    int algo; /* FNN_CONV_* */
} fnn_conv;

/* Pooling geometry: window r by s (at most 255 elements for max). count_include_pad for average. */
typedef struct {
    ptrdiff_t n, h, w, c, r, s, oh, ow;
    ptrdiff_t stride_h, stride_w, pad_h, pad_w;
    int count_include_pad;
} fnn_pool;

/* Normalization of x [outer, rows, c] with statistics for each of the outer samples and each of
 * `groups` equal groups of channels. */
typedef struct {
    ptrdiff_t outer, rows, c, groups;
    fnn_act act;
} fnn_norm;

/* How tensors change, with the numbers that the rule knows; optim.inc has the formulas.
 * _bridge/optim.pxi names the rules in this order. */
enum {
    FNN_SGD,
    FNN_ADAM,
    FNN_NADAM,
    FNN_RMSPROP,
    FNN_ADAGRAD,
    FNN_ADADELTA,
    FNN_LERP,
    FNN_SCALE,
    FNN_CLAMP
};
typedef struct {
    int rule, maximize, nesterov;
    double lr, l1, l2, decay, eps, beta1, beta2, extra;
} fnn_rule;

/* One tensor of an optimizer step: n elements. state: arrays like param, NULL where the rule has
 * none. count: the number of steps so far and NAdam's product, which the step renews, or NULL.
 * first: this is the momentum buffer's first step. c is scratch. */
typedef struct {
    void *param;
    const void *grad;
    void *state[3];
    double *count[2];
    ptrdiff_t n;
    int first;
    double c[3];
} fnn_param;

/* --- kernel table ---------------------------------------------------------------------------- */

/* Arrays of so many elements are not expected in a cache: element-wise rows ask for them ahead. */
#define FNN_LONG_ROW 65536
typedef void (*fnn_unary_fwd_fn)(void *y, const void *x, ptrdiff_t n, const double *p);
typedef void (*fnn_unary_bwd_fn)(void *dx, const void *dy, const void *s, ptrdiff_t n,
                                 const double *p);
typedef void (*fnn_binary_fn)(void *z, const void *a, int sa, const void *b, int sb, ptrdiff_t n);

enum {
#define UNARY(name, saved) FNN_UNARY_##name,
#define BINARY(name)
#define KERNEL(name, args)
#include "kernels.def"
#undef UNARY
#undef BINARY
    FNN_UNARY_COUNT
};
enum {
#define UNARY(name, saved)
#define BINARY(name) FNN_BINARY_##name,
#include "kernels.def"
#undef UNARY
#undef BINARY
#undef KERNEL
    FNN_BINARY_COUNT
};

typedef struct {
    fnn_unary_fwd_fn unary_fwd[FNN_UNARY_COUNT];
    fnn_unary_bwd_fn unary_bwd[FNN_UNARY_COUNT]; /* NULL where `saved` is N */
    fnn_binary_fn binary[FNN_BINARY_COUNT];
#define UNARY(name, saved)
#define BINARY(name)
#define KERNEL(name, args) fnn_status(*name) args;
#include "kernels.def"
#undef UNARY
#undef BINARY
#undef KERNEL
} fnn_kernels;

typedef struct {
    const char *name;
    int lanes; /* floats in a vector */
    fnn_kernels f32, f64;
} fnn_target;

extern const char *const fnn_unary_names[FNN_UNARY_COUNT];
extern const char fnn_unary_saved[FNN_UNARY_COUNT]; /* 'X', 'Y' or 'N' */
extern const char *const fnn_binary_names[FNN_BINARY_COUNT];

/* --- dispatch -------------------------------------------------------------------------------- */

int fnn_target_count(void);                 /* targets compiled in, best first */
const char *fnn_target_name(int i);
int fnn_target_runnable(int i);             /* does this CPU have its instructions? */
int fnn_target_select(int i);               /* 0, or -1 if not runnable */
int fnn_target_current(void);
int fnn_lanes(void);                        /* of the current target */
const fnn_kernels *fnn_kernels_for(int dtype);

/* --- element-wise drivers: broadcasting, cutting and threading around the table's rows --------- */

void fnn_unary_fwd(int dtype, int op, void *y, const void *x, ptrdiff_t n, const double *p);
void fnn_unary_bwd(int dtype, int op, void *dx, const void *dy, const void *s, ptrdiff_t n,
                   const double *p);
/* z has `shape`; stride 0 marks a broadcast dimension of a or b (strides in elements). */
void fnn_binary(int dtype, int op, void *z, const void *a, const void *b, int ndim,
                const ptrdiff_t *shape, const ptrdiff_t *stride_a, const ptrdiff_t *stride_b);
/* y (contiguous, `shape`) = x read through `stride` (elements), item bytes each. */
void fnn_gather_strided(void *y, const void *x, size_t item, int ndim, const ptrdiff_t *shape,
                        const ptrdiff_t *stride);

/* --- threads --------------------------------------------------------------------------------- */

/* Calls task(ctx, i) for 0 <= i < count, on up to fnn_threads(cost) threads; cost is the whole
 * region's estimated time in nanoseconds on one thread. Tasks must be independent, and results must
 * not depend on which thread runs which. With FNN_FTZ, denormals are flushed to zero inside. Each
 * thread begins with a run of neighbouring tasks, so that the hardware's prefetchers see long runs and
 * a core finds again what it wrote; in a team only with FNN_STATIC, which is for equal tasks. */
enum { FNN_FTZ = 1, FNN_STATIC = 2 };
typedef void (*fnn_task)(void *ctx, ptrdiff_t i);
void fnn_parallel_for(ptrdiff_t count, double cost, int flags, fnn_task task, void *ctx);
int fnn_threads(double cost);
/* Calls body(ctx, 0) with a team of threads at its side, which wait for its fnn_parallel_for without
 * leaving in between: entering a region costs a tenth of what it does elsewhere. */
void fnn_with_team(fnn_task body, void *ctx);
void fnn_set_num_threads(int n);
int fnn_get_num_threads(void);
int fnn_has_openmp(void);
void fnn_threads_init(void);

/* --- memory ---------------------------------------------------------------------------------- */

/* 64-byte aligned blocks from a pool that keeps what is freed; NULL when out of memory. */
void *fnn_alloc(size_t bytes);
void *fnn_scratch(size_t bytes); /* for a task of fnn_parallel_for, which frees it */
void fnn_free(void *p);
/* An arena keeps the blocks that were taken through it until it is dropped; those in use outlive it. */
typedef struct fnn_arena fnn_arena;
fnn_arena *fnn_arena_new(void); /* NULL when out of memory */
void *fnn_arena_alloc(fnn_arena *arena, size_t bytes);
int fnn_arena_has(const fnn_arena *arena, const void *p); /* p: from an arena or from fnn_alloc */
void fnn_arena_drop(fnn_arena *arena);
void fnn_empty_cache(void);
void fnn_memory_stats(size_t *in_use, size_t *cached, size_t *system_allocations);
void fnn_memory_init(void);
#endif
