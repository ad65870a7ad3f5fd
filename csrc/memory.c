/* SPDX-License-Identifier: BSD-3-Clause
 * A pool of 64-byte aligned blocks: freed blocks are kept by size class and handed out again,
 * because a fresh page costs about 2 us to fault in, more than most activations cost to compute.
 *
 * Classes: four per power of two from 256 bytes up, so that at most a fifth of a block is unused.
 * Of the free blocks of a class we hand out one that was used as far before, so that a step that
 * repeats finds no fresh page. A 64-byte header in front of the block holds its class. Large blocks
 * ask for huge pages; theirs is in a page of its own, lest 64 bytes take a huge page.
 *
 * An arena is a pool of its own inside the pool: what was taken through it returns to it, until the
 * arena is dropped. A recorded step keeps its buffers that way.
 *
 * What the tasks of a parallel region work in is apart: how many of them run at once is chance, so
 * the first one takes a block for each thread, and touches all of them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "fastnn.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HEADER 64u
#define PAGE 4096u
#define HUGE_PAGE ((size_t)2 << 20)
#define MIN_LOG 8
#define CLASSES ((48 - MIN_LOG) * 4)
#define MOST_LOOKED_AT 64 /* free blocks, for one that was used as far */

typedef struct block {
    struct block *next;    /* in a list of free blocks */
    struct block *sibling; /* in its arena's list of all blocks */
    fnn_arena *arena;      /* where it returns to; NULL: the pool */
    size_t pages;          /* how far it was used at most; what is behind may be fresh */
    int size_class;
    int scratch; /* returns to the scratch of tasks */
} block;

struct fnn_arena {
    block *all;
    block *free_list[CLASSES];
};

static block *free_list[CLASSES], *scratch_list[CLASSES];
static int scratch_count[CLASSES]; /* in use or free */
/* Tasks that begin together ask for scratch together: waiting a moment is cheaper than to sleep. */
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
#else
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#endif
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

static size_t header_bytes(size_t size) { return size >= HUGE_PAGE ? HUGE_PAGE : HEADER; }
static block *block_of(const void *p) { return (block *)(void *)((char *)(size_t)p - HEADER); }
static void *payload(block *b) { return (char *)b + HEADER; }

static block *system_block(int c)
{
    const size_t size = class_bytes(c), header = header_bytes(size);
    void *p = NULL;
    if (posix_memalign(&p, header, header + size) != 0)
        return NULL;
    char *data = (char *)p + header;
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE) {
        madvise(p, header, MADV_NOHUGEPAGE);
        madvise(data, size, MADV_HUGEPAGE);
    }
#endif
    block *b = block_of(data);
    *b = (block){.size_class = c};
    return b;
}

static void system_free(block *b)
{
    free((char *)payload(b) - header_bytes(class_bytes(b->size_class)));
}

/* The least used block of those that were used as far as `pages`, else the most used one. */
static block *take(block **list, size_t pages)
{
    block **best = list;
    for (int i = 0; *list && i < MOST_LOOKED_AT && (*best)->pages != pages; i++) {
        const size_t here = (*list)->pages, least = (*best)->pages;
        if (here >= pages ? least < pages || here < least : here > least)
            best = list;
        list = &(*list)->next;
    }
    block *b = *best;
    if (b)
        *best = b->next;
    return b;
}

void *fnn_alloc(size_t bytes) { return fnn_arena_alloc(NULL, bytes); }

void *fnn_arena_alloc(fnn_arena *arena, size_t bytes)
{
    int c = class_of(bytes);
    if (c < 0)
        return NULL;
    const size_t size = class_bytes(c), pages = bytes / PAGE;
    pthread_mutex_lock(&lock);
    block *b = arena ? take(&arena->free_list[c], pages) : NULL;
    if (b) {
        b->pages = b->pages < pages ? pages : b->pages;
        pthread_mutex_unlock(&lock);
        return payload(b);
    }
    b = take(&free_list[c], pages);
    if (b)
        bytes_cached -= size;
    else
        system_allocations++;
    bytes_in_use += size;
    pthread_mutex_unlock(&lock);
    if (!b) {
        b = system_block(c);
        if (!b) {
            fnn_empty_cache();
            b = system_block(c);
        }
        if (!b) {
            pthread_mutex_lock(&lock);
            bytes_in_use -= size;
            pthread_mutex_unlock(&lock);
            return NULL;
        }
    }
    b->pages = b->pages < pages ? pages : b->pages;
    b->arena = arena;
    if (arena) {
        pthread_mutex_lock(&lock);
        b->sibling = arena->all;
        arena->all = b;
        pthread_mutex_unlock(&lock);
    }
    return payload(b);
}

/* Blocks for tasks of this size, one for each thread if it is the first; under the lock. */
static void make_scratch(int c)
{
    const size_t size = class_bytes(c);
    do {
        block *b = system_block(c);
        if (!b)
            return;
        for (size_t i = 0; i < size; i += PAGE)
            ((volatile char *)payload(b))[i] = 0;
        b->scratch = 1;
        b->next = scratch_list[c];
        scratch_list[c] = b;
        system_allocations++;
        bytes_cached += size;
    } while (++scratch_count[c] < fnn_get_num_threads());
}

void *fnn_scratch(size_t bytes)
{
    const int c = class_of(bytes);
    if (c < 0)
        return NULL;
    block *b = NULL;
    for (int tries = 0; !b && tries < 2; tries++) {
        pthread_mutex_lock(&lock);
        if (!scratch_list[c])
            make_scratch(c);
        b = scratch_list[c];
        if (b) {
            scratch_list[c] = b->next;
            bytes_in_use += class_bytes(c);
            bytes_cached -= class_bytes(c);
        }
        pthread_mutex_unlock(&lock);
        if (!b)
            fnn_empty_cache();
    }
    return b ? payload(b) : NULL;
}

/* To the pool; under the lock. */
static void put_back(block *b)
{
    const int c = b->size_class;
    block **list = b->scratch ? scratch_list : free_list;
    b->next = list[c];
    list[c] = b;
    bytes_in_use -= class_bytes(c);
    bytes_cached += class_bytes(c);
}

void fnn_free(void *p)
{
    if (!p)
        return;
    block *b = block_of(p);
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
    return block_of(p)->arena == arena;
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
        while ((b = take(&arena->free_list[c], 0)))
            put_back(b);
    }
    pthread_mutex_unlock(&lock);
    free(arena);
}

void fnn_empty_cache(void)
{
    pthread_mutex_lock(&lock);
    for (int c = 0; c < CLASSES; c++) {
        block *b;
        while ((b = take(&free_list[c], 0))) {
            bytes_cached -= class_bytes(c);
            system_free(b);
        }
        while ((b = take(&scratch_list[c], 0))) {
            bytes_cached -= class_bytes(c);
            scratch_count[c]--;
            system_free(b);
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
