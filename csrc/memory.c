/* SPDX-License-Identifier: BSD-3-Clause
 * A pool of 64-byte aligned blocks: freed blocks are kept by size class and handed out again,
 * because a fresh page costs about 2 us to fault in, more than most activations cost to compute.
 *
 * Classes: four per power of two from 256 bytes up, so that at most a fifth of a block is unused.
 * Large blocks ask for huge pages. Each block starts with a 64-byte header that holds its class.
 *
 * An arena is a pool of its own inside the pool: what was taken through it returns to it, until the
 * arena is dropped. A recorded step keeps its buffers that way.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "fastnn.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HEADER 64u
#define HUGE_PAGE ((size_t)2 << 20)
#define MIN_LOG 8
#define CLASSES ((48 - MIN_LOG) * 4)

typedef struct block {
    struct block *next;    /* in a list of free blocks */
    struct block *sibling; /* in its arena's list of all blocks */
    fnn_arena *arena;      /* where it returns to; NULL: the pool */
    int size_class;
} block;

struct fnn_arena {
    block *all;
    block *free_list[CLASSES];
};

static block *free_list[CLASSES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t bytes_in_use, bytes_cached, system_allocations;

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
void fnn_memory_init(void) { pthread_atfork(before_fork, after_fork, after_fork); }

static size_t class_bytes(int c)
{
    size_t base = (size_t)1 << (MIN_LOG + c / 4);
    return base + base / 4 * (size_t)(c % 4);
}

/* The smallest class that holds `bytes`, or -1. */
static int class_of(size_t bytes)
{
    if (bytes <= (size_t)1 << MIN_LOG)
        return 0;
    int log = 63 - __builtin_clzll((unsigned long long)(bytes - 1));
    int c = (log - MIN_LOG) * 4;
    if (c < 0 || c >= CLASSES)
        return -1;
    while (c < CLASSES && class_bytes(c) < bytes)
        c++;
    return c < CLASSES ? c : -1;
}

static block *system_block(size_t bytes)
{
    void *p = NULL;
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    if (posix_memalign(&p, align, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

static block *take(block **list)
{
    block *b = *list;
    if (b)
        *list = b->next;
    return b;
}

void *fnn_alloc(size_t bytes) { return fnn_arena_alloc(NULL, bytes); }

void *fnn_arena_alloc(fnn_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - HEADER)
        return NULL;
    int c = class_of(bytes + HEADER);
    if (c < 0)
        return NULL;
    size_t size = class_bytes(c);
    pthread_mutex_lock(&lock);
    block *b = arena ? take(&arena->free_list[c]) : NULL;
    if (b) {
        pthread_mutex_unlock(&lock);
        return (char *)b + HEADER;
    }
    b = take(&free_list[c]);
    if (b)
        bytes_cached -= size;
    else
        system_allocations++;
    bytes_in_use += size;
    pthread_mutex_unlock(&lock);
    if (!b) {
        b = system_block(size);
        if (!b) {
            fnn_empty_cache();
            b = system_block(size);
        }
        if (!b) {
            pthread_mutex_lock(&lock);
            bytes_in_use -= size;
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        b->size_class = c;
    }
    b->arena = arena;
    if (arena) {
        pthread_mutex_lock(&lock);
        b->sibling = arena->all;
        arena->all = b;
        pthread_mutex_unlock(&lock);
    }
    return (char *)b + HEADER;
}

/* To the pool; under the lock. */
static void put_back(block *b)
{
    size_t size = class_bytes(b->size_class);
    b->next = free_list[b->size_class];
    free_list[b->size_class] = b;
    bytes_in_use -= size;
    bytes_cached += size;
}

void fnn_free(void *p)
{
    if (!p)
        return;
    block *b = (block *)(void *)((char *)p - HEADER);
    pthread_mutex_lock(&lock);
    if (b->arena) {
        b->next = b->arena->free_list[b->size_class];
        b->arena->free_list[b->size_class] = b;
    }
    else {
        put_back(b);
    }
    pthread_mutex_unlock(&lock);
}

fnn_arena *fnn_arena_new(void) { return calloc(1, sizeof(fnn_arena)); }

int fnn_arena_has(const fnn_arena *arena, const void *p)
{
    return ((const block *)(const void *)((const char *)p - HEADER))->arena == arena;
}

void fnn_arena_drop(fnn_arena *arena)
{
    if (!arena)
        return;
    pthread_mutex_lock(&lock);
    for (block *b = arena->all; b; b = b->sibling)
        b->arena = NULL; /* those in use return to the pool later */
    for (int c = 0; c < CLASSES; c++) {
        block *b;
        while ((b = take(&arena->free_list[c])))
            put_back(b);
    }
    pthread_mutex_unlock(&lock);
    free(arena);
}

void fnn_empty_cache(void)
{
    pthread_mutex_lock(&lock);
    for (int c = 0; c < CLASSES; c++) {
        while (free_list[c]) {
            block *b = free_list[c];
            free_list[c] = b->next;
            bytes_cached -= class_bytes(c);
            free(b);
        }
    }
    pthread_mutex_unlock(&lock);
}

void fnn_memory_stats(size_t *in_use, size_t *cached, size_t *allocations)
{
    pthread_mutex_lock(&lock);
    *in_use = bytes_in_use;
    *cached = bytes_cached;
    *allocations = system_allocations;
    pthread_mutex_unlock(&lock);
}
