/*
 * im_seen.c -- which pushes have been delivered already, in bounded memory.
 *
 * A record may be handed to a worker twice: Task stores its offset after the
 * delivery, so a Task that dies, or a partition that moves, brings the last
 * ones again.  A list of what each connection had would cost memory for each
 * connection.  Instead connections are numbered as they open, and one table of
 * the worker knows for (message, user) the number up to which connections have
 * had it.
 *
 *     hash(msg_id, uid) --> set of 4 entries, newest first, one cache line
 *                           { 64 bits of hash, number }
 *
 * 64 bits are compared, so that a wrong match, which would lose a push, is not
 * to be expected: 4 in 2^64 for each look.  A full set forgets its oldest
 * entry: a repeat of that is delivered again, which clients can bear.
 *
 * Room: core.
 */

#include <stdlib.h>
#include <string.h>

#include "im_seen.h"


#define SEEN_WAYS  4


typedef struct {
    uint64_t  hash;            /* 0: free */
    uint32_t  upto;
    uint32_t  unused;
} seen_entry_t;

typedef struct {
    seen_entry_t  e[SEEN_WAYS];
} seen_set_t;

_Static_assert(sizeof(seen_set_t) == 64, "a set is a cache line");

struct im_seen_s {
    size_t       mask;         /* of sets */
    seen_set_t  *sets;
};


static uint64_t seen_hash(uint64_t msg_id, uint64_t uid);
static uint64_t seen_mix(uint64_t x);


im_seen_t *
im_seen_create(size_t bytes)
{
    size_t      n;
    im_seen_t  *seen;

    for (n = 1; 2 * n * sizeof(seen_set_t) <= bytes; n *= 2) { /* void */ }

    seen = malloc(sizeof(im_seen_t));
    if (seen == NULL) {
        return NULL;
    }

    seen->mask = n - 1;
    seen->sets = aligned_alloc(sizeof(seen_set_t), n * sizeof(seen_set_t));

    if (seen->sets == NULL) {
        free(seen);
        return NULL;
    }

    memset(seen->sets, 0, n * sizeof(seen_set_t));

    return seen;
}


void
im_seen_destroy(im_seen_t *seen)
{
    if (seen != NULL) {
        free(seen->sets);
        free(seen);
    }
}


int
im_seen_note(im_seen_t *seen, uint64_t msg_id, uint64_t uid, uint32_t opened,
    uint32_t *upto)
{
    size_t         i;
    uint64_t       hash;
    seen_entry_t  *e;

    hash = seen_hash(msg_id, uid);
    e = seen->sets[(hash >> 32) & seen->mask].e;

    for (i = 0; i < SEEN_WAYS; i++) {
        if (e[i].hash == hash) {
            *upto = e[i].upto;
            e[i].upto = opened;

            return IM_DONE;
        }
    }

    memmove(&e[1], &e[0], (SEEN_WAYS - 1) * sizeof(seen_entry_t));

    e[0].hash = hash;
    e[0].upto = opened;

    return IM_OK;
}


/* Never 0. */
static uint64_t
seen_hash(uint64_t msg_id, uint64_t uid)
{
    uint64_t  h;

    h = seen_mix(seen_mix(msg_id) + uid);

    return (h != 0) ? h : 1;
}


/* The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t
seen_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;

    return x ^ (x >> 31);
}
