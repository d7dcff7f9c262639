/*
 * im_arena.c -- see im_arena.h.
 *
 * Chunks double, so a batch of any size takes a few.  After a batch only the
 * largest is kept, which the next batch of that size fits into.
 *
 * Room: core.
 */

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

#include "im_arena.h"


#define ARENA_CHUNK_MIN  (16 * 1024)
#define ARENA_ALIGN      alignof(max_align_t)


struct im_arena_chunk_s {
    im_arena_chunk_t      *next;
    size_t                 size;
    size_t                 used;
    alignas(max_align_t) unsigned char  data[];
};


static void *arena_alloc(void *arena, size_t size);
static void arena_free(void *arena, void *p);
static im_arena_chunk_t *arena_grow(im_arena_t *a, size_t size);


void
im_arena_init(im_arena_t *a)
{
    a->allocator.alloc = arena_alloc;
    a->allocator.free = arena_free;
    a->allocator.allocator_data = a;
    a->chunks = NULL;
}


static void *
arena_alloc(void *arena, size_t size)
{
    return im_arena_alloc(arena, size);
}


static void
arena_free(void *arena, void *p)
{
    (void) arena;
    (void) p;
}


void *
im_arena_alloc(im_arena_t *a, size_t size)
{
    void              *p;
    im_arena_chunk_t  *c;

    if (size > SIZE_MAX / 4) {
        return NULL;
    }

    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    c = a->chunks;

    if (c == NULL || size > c->size - c->used) {
        c = arena_grow(a, size);

        if (c == NULL) {
            return NULL;
        }
    }

    p = c->data + c->used;
    c->used += size;

    return p;
}


static im_arena_chunk_t *
arena_grow(im_arena_t *a, size_t size)
{
    size_t             room;
    im_arena_chunk_t  *c;

    room = (a->chunks != NULL) ? 2 * a->chunks->size : ARENA_CHUNK_MIN;

    while (room < size) {
        room *= 2;
    }

    c = malloc(sizeof(im_arena_chunk_t) + room);
    if (c == NULL) {
        return NULL;
    }

    c->size = room;
    c->used = 0;
    c->next = a->chunks;
    a->chunks = c;

    return c;
}


void
im_arena_reset(im_arena_t *a)
{
    im_arena_chunk_t  *c, *next;

    c = a->chunks;

    if (c == NULL) {
        return;
    }

    next = c->next;                    /* those before it are smaller */

    if (c->size > IM_ARENA_KEEP) {
        next = c;
        a->chunks = NULL;

    } else {
        c->used = 0;
        c->next = NULL;
    }

    while (next != NULL) {
        c = next;
        next = c->next;
        free(c);
    }
}


void
im_arena_destroy(im_arena_t *a)
{
    im_arena_chunk_t  *c;

    while (a->chunks != NULL) {
        c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
}
