/* SPDX-License-Identifier: BSD-3-Clause
 * The one place that starts threads (OpenMP, or none where the compiler lacks it).
 *
 * Work is cut by the callers into tasks of fixed size, so that the thread count changes only who
 * computes a task, never what is computed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "fastnn.h"
#include <pthread.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

/* Below this much work (ns on one thread) a region costs more than it saves: entering and leaving
 * one takes 1 to 5 us while the workers still spin. bench: threads. */
#define MIN_COST_PER_THREAD 8000.0

static int num_threads = 1;
#ifdef _OPENMP
static int initial_max = 1; /* what OpenMP would use before anyone changed it */
#endif
static volatile int forked = 0;

static void in_child(void) { forked = 1; }

void fnn_threads_init(void)
{
#ifdef _OPENMP
    initial_max = omp_get_max_threads();
#endif
    pthread_atfork(NULL, NULL, in_child);
}

int fnn_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

void fnn_set_num_threads(int n)
{
    num_threads = n;
}

/* The limit in force on this thread. OpenMP's own limit counts where somebody lowered it
 * (threadpoolctl). A forked child has lost the workers, so it computes alone instead of hanging. */
int fnn_get_num_threads(void)
{
    int n = num_threads;
#ifdef _OPENMP
    int limit = omp_get_max_threads();
    if (forked)
        return 1;
    if (limit < n && limit < initial_max)
        n = limit;
    return n;
#else
    (void)n;
    return 1;
#endif
}

int fnn_threads(double cost)
{
    int n = fnn_get_num_threads();
    if (cost < MIN_COST_PER_THREAD * 2)
        return 1;
    if (cost < MIN_COST_PER_THREAD * n)
        n = (int)(cost / MIN_COST_PER_THREAD);
    return n;
}

/* Flush-to-zero and denormals-are-zero are per-thread CPU state: set here for the region, and put
 * back, so that the caller's own arithmetic is not touched. */
static unsigned ftz_enter(int flags)
{
#if defined(__SSE__)
    unsigned old = _mm_getcsr();
    if (flags & FNN_FTZ)
        _mm_setcsr(old | 0x8040u);
    return old;
#else
    (void)flags;
    return 0;
#endif
}

static void ftz_leave(int flags, unsigned old)
{
#if defined(__SSE__)
    if (flags & FNN_FTZ)
        _mm_setcsr(old);
#else
    (void)flags;
    (void)old;
#endif
}

#ifdef _OPENMP
/* A region ends when its last thread does. Where another process holds a core, one of our threads is
 * off it for 4 ms or more while the others spin: a step of 1.5 ms took 80. As results do not depend
 * on the thread count, we compute alone for a while when that happens: `alone_for` ns, which doubles
 * with each bad region and shrinks with each good one. docs/performance.md has the measurement. */
#define LATE 1e6
#define ALONE_MIN 10e6
#define ALONE_MAX 160e6
static _Atomic(double) alone_until, alone_for;

/* Which thread gets which task is chance; without this, so would be when its stack grows. */
#define STACK_BYTES 65536
static _Thread_local int stack_touched;
static void __attribute__((noinline)) touch_stack(void)
{
    volatile char bytes[STACK_BYTES];
    for (int i = 0; i < STACK_BYTES; i += 4096)
        bytes[i] = 0;
    stack_touched = 1;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* `task` is the time of one task on the fastest thread of the region. */
static void judge_region(double start, double end, double task, ptrdiff_t count, int threads)
{
    if (end - start < LATE + 3.0 * task * (1.0 + (double)count / threads)) {
        alone_for = 0.9 * alone_for;
        return;
    }
    double next = 2.0 * alone_for;
    alone_for = next < ALONE_MIN ? ALONE_MIN : next > ALONE_MAX ? ALONE_MAX : next;
    alone_until = end + alone_for;
}
#endif

void fnn_parallel_for(ptrdiff_t count, double cost, int flags, fnn_task task, void *ctx)
{
    int threads = fnn_threads(cost);
    if (threads > count)
        threads = (int)count;
#ifdef _OPENMP
    double start = threads > 1 ? now() : 0.0;
    if (threads > 1 && start >= alone_until && !omp_in_parallel()) {
        double fastest = 1e300;
#pragma omp parallel num_threads(threads) reduction(min : fastest)
        {
            if (!stack_touched)
                touch_stack();
            unsigned old = ftz_enter(flags);
            double begin = now();
            ptrdiff_t done = 0;
            if (flags & FNN_STATIC) {
#pragma omp for schedule(static) nowait
                for (ptrdiff_t i = 0; i < count; i++) {
                    task(ctx, i);
                    done++;
                }
            }
            else {
#pragma omp for schedule(dynamic, 1) nowait
                for (ptrdiff_t i = 0; i < count; i++) {
                    task(ctx, i);
                    done++;
                }
            }
            if (done)
                fastest = (now() - begin) / (double)done;
            ftz_leave(flags, old);
        }
        judge_region(start, now(), fastest, count, threads);
        return;
    }
#endif
    unsigned old = ftz_enter(flags);
    for (ptrdiff_t i = 0; i < count; i++)
        task(ctx, i);
    ftz_leave(flags, old);
}
