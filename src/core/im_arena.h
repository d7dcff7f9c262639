/*
 * im_arena.h -- memory for what lives as long as a batch, all freed at once.
 *
 * To unpack a batch takes several small allocations for each item, which all
 * end together.  In an arena each is an addition.
 */

#ifndef IM_ARENA_H
#define IM_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "im_core.h"

/* What is kept for the next batch, at most; a rare large one is given back. */
#define IM_ARENA_KEEP  (1024 * 1024)

typedef struct im_arena_chunk_s  im_arena_chunk_t;

typedef struct {
    ProtobufCAllocator   allocator;    /* for ..._unpack(); its free() does
                                          nothing */
    im_arena_chunk_t    *chunks;       /* the first one is being filled */
} im_arena_t;

/* In place: the allocator points to it.  One thread at a time. */
void im_arena_init(im_arena_t *a);
/* NULL: out of memory.  Aligned for anything. */
void *im_arena_alloc(im_arena_t *a, size_t size);
/* Frees all that was allocated. */
void im_arena_reset(im_arena_t *a);
void im_arena_destroy(im_arena_t *a);

#endif
