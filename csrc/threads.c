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
#include <stdatomic.h>
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
#define MIN_COST_IN_TEAM 1000.0

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

typedef struct team team;
static _Thread_local team *my_team; /* which this thread leads, outside of its regions */

int fnn_threads(double cost)
{
    const double least = my_team ? MIN_COST_IN_TEAM : MIN_COST_PER_THREAD;
    int n = fnn_get_num_threads();
    if (cost < least * 2)
        return 1;
    if (cost < least * n)
        n = (int)(cost / least);
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
#define STACK_BYTES 81920
static _Thread_local int stack_touched;
static void __attribute__((noinline)) touch_stack(void)
{
    volatile char bytes[STACK_BYTES];
    for (int i = 0; i < STACK_BYTES; i += 4096)
        bytes[i] = 1;
    stack_touched = bytes[0];
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void judge(int late, double end)
{
    if (!late) {
        alone_for = 0.9 * alone_for;
        return;
    }
    double next = 2.0 * alone_for;
    alone_for = next < ALONE_MIN ? ALONE_MIN : next > ALONE_MAX ? ALONE_MAX : next;
    alone_until = end + alone_for;
}

/* A thread begins with a run of neighbouring tasks of its own, so that a core finds what it wrote in
 * the region before, and then takes over what others have not begun. */
#define MAX_RUNS 64
typedef struct {
    _Alignas(64) _Atomic(ptrdiff_t) begun;
} run;

static ptrdiff_t run_of(run *runs, int at, int threads, ptrdiff_t count, fnn_task task, void *ctx)
{
    const ptrdiff_t share = count / threads, more = count % threads;
    const ptrdiff_t first = at * share + (at < more ? at : more), size = share + (at < more);
    ptrdiff_t done = 0, i;
    while ((i = atomic_fetch_add_explicit(&runs[at].begun, 1, memory_order_relaxed)) < size) {
        task(ctx, first + i);
        done++;
    }
    return done;
}

/* --- teams ------------------------------------------------------------------------------------- */

/* The leader opens a region: it fills in the fields, then publishes `next`, the region's number and
 * its next task. Whoever advances `next` runs that task; a stale number cannot be advanced, and while
 * no region is open there is none to take. The leader waits for tasks, not for threads: one that is
 * off its core before it took a task keeps nobody waiting. */
struct team {
    _Atomic uint64_t next; /* region << 32 | task */
    _Atomic(ptrdiff_t) done;
    _Atomic(fnn_task) task;
    _Atomic(void *) ctx;
    _Atomic(ptrdiff_t) count, grain, tasks; /* in `tasks` runs of `grain` neighbours */
    atomic_int flags, over;
    int threads, late;
};
#define CLOSED 0xffffffffu

static void pause_briefly(void)
{
#if defined(__SSE__)
    _mm_pause();
#endif
}

static void work_for(team *t)
{
    uint64_t at = atomic_load_explicit(&t->next, memory_order_acquire);
    const uint64_t region = at >> 32;
    const int flags = atomic_load_explicit(&t->flags, memory_order_relaxed);
    const unsigned old = ftz_enter(flags);
    while (at >> 32 == region &&
           (ptrdiff_t)(at & CLOSED) < atomic_load_explicit(&t->tasks, memory_order_relaxed)) {
        if (!atomic_compare_exchange_weak_explicit(&t->next, &at, at + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        fnn_task task = atomic_load_explicit(&t->task, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&t->ctx, memory_order_relaxed);
        const ptrdiff_t count = atomic_load_explicit(&t->count, memory_order_relaxed);
        const ptrdiff_t grain = atomic_load_explicit(&t->grain, memory_order_relaxed);
        const ptrdiff_t first = (ptrdiff_t)(at & CLOSED) * grain;
        for (ptrdiff_t i = first; i < first + grain && i < count; i++)
            task(ctx, i);
        atomic_fetch_add_explicit(&t->done, 1, memory_order_release);
        at = atomic_load_explicit(&t->next, memory_order_acquire);
    }
    ftz_leave(flags, old);
}

static void follow(team *t)
{
    while (!atomic_load_explicit(&t->over, memory_order_acquire)) {
        const uint64_t at = atomic_load_explicit(&t->next, memory_order_acquire);
        if ((at & CLOSED) != CLOSED)
            work_for(t);
        pause_briefly();
    }
}

static void lead(team *t, ptrdiff_t count, int flags, fnn_task task, void *ctx)
{
    const ptrdiff_t grain = flags & FNN_STATIC ? (count + t->threads - 1) / t->threads : 1;
    const ptrdiff_t tasks = (count + grain - 1) / grain;
    atomic_store_explicit(&t->done, 0, memory_order_relaxed);
    atomic_store_explicit(&t->task, task, memory_order_relaxed);
    atomic_store_explicit(&t->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&t->count, count, memory_order_relaxed);
    atomic_store_explicit(&t->grain, grain, memory_order_relaxed);
    atomic_store_explicit(&t->tasks, tasks, memory_order_relaxed);
    atomic_store_explicit(&t->flags, flags, memory_order_relaxed);
    const uint64_t region = ((t->next >> 32) + 1) << 32;
    atomic_store_explicit(&t->next, region, memory_order_release);
    my_team = NULL; /* what tasks call computes alone */
    const double start = now();
    work_for(t);
    const double mine = now() - start;
    for (ptrdiff_t spins = 0; atomic_load_explicit(&t->done, memory_order_acquire) < tasks; spins++) {
        pause_briefly();
        if (spins % 1024 == 1023 && now() - start > LATE + 3.0 * mine)
            t->late = 1;
    }
    atomic_store_explicit(&t->next, region | CLOSED, memory_order_release);
    my_team = t->late ? NULL : t;
}
#endif

void fnn_with_team(fnn_task body, void *ctx)
{
#ifdef _OPENMP
    const int threads = fnn_get_num_threads();
    if (threads > 1 && now() >= alone_until && !omp_in_parallel()) {
        team t = {.next = CLOSED, .threads = threads};
        double end = 0.0;
#pragma omp parallel num_threads(threads)
        {
            if (!stack_touched)
                touch_stack();
            if (omp_get_thread_num() == 0) {
                my_team = &t;
                body(ctx, 0);
                my_team = NULL;
                end = now();
                atomic_store_explicit(&t.over, 1, memory_order_release);
            }
            else
                follow(&t);
        }
        const double after = now();
        judge(t.late || after - end > LATE, after);
        return;
    }
#endif
    body(ctx, 0);
}

void fnn_parallel_for(ptrdiff_t count, double cost, int flags, fnn_task task, void *ctx)
{
    int threads = fnn_threads(cost);
    if (threads > count)
        threads = (int)count;
#ifdef _OPENMP
    if (threads > MAX_RUNS)
        threads = MAX_RUNS;
    if (threads > 1 && my_team) {
        lead(my_team, count, flags, task, ctx);
        return;
    }
    double start = threads > 1 ? now() : 0.0;
    if (threads > 1 && start >= alone_until && !omp_in_parallel()) {
        double fastest = 1e300;
        run runs[MAX_RUNS] = {{0}};
#pragma omp parallel num_threads(threads) reduction(min : fastest)
        {
            if (!stack_touched)
                touch_stack();
            unsigned old = ftz_enter(flags);
            double begin = now();
            ptrdiff_t done = 0;
            for (int k = 0; k < threads; k++)
                done += run_of(runs, (omp_get_thread_num() + k) % threads, threads, count, task, ctx);
            if (done)
                fastest = (now() - begin) / (double)done;
            ftz_leave(flags, old);
        }
        /* Late, seen from the time of one task on the fastest thread. */
        const double end = now();
        judge(end - start >= LATE + 3.0 * fastest * (1.0 + (double)count / threads), end);
        return;
    }
#endif
    unsigned old = ftz_enter(flags);
    for (ptrdiff_t i = 0; i < count; i++)
        task(ctx, i);
    ftz_leave(flags, old);
}
