/*
 * im_buckets.c -- see im_buckets.h.
 *
 * Places count from 1; 0 is no entry.  Entries are never given back: one that
 * is not used any more is the oldest at some time, and its memory is used again
 * when there is need.
 *
 * Room: core.
 */

#include <string.h>

#include <sodium.h>

#include "im_buckets.h"


#define BUCKETS_PLACES_MAX  UINT32_C(0x7fffffff)

_Static_assert(sizeof(im_bucket_key_t) == 16, "a key has no holes");
_Static_assert(sizeof(im_bucket_entry_t) == 40, "docs say how many fit");
_Static_assert(IM_BUCKETS_SECRET == crypto_shorthash_KEYBYTES,
               "the secret is the key of the hash");

struct im_buckets_s {
    unsigned char      secret[IM_BUCKETS_SECRET];
    uint64_t           forgotten;
    uint32_t           max;
    uint32_t           n;
    uint32_t           oldest;
    uint32_t           newest;
    uint64_t           heads_size;     /* bytes, a multiple of 8 */
    uint32_t           heads[];
};


static uint32_t *buckets_head(im_buckets_t *t, const im_bucket_key_t *key);
static im_bucket_entry_t *buckets_at(im_buckets_t *t, uint32_t place);
static uint32_t buckets_new(im_buckets_t *t, uint64_t now_ns);
static void buckets_unchain(im_buckets_t *t, uint32_t place);
static void buckets_unlink(im_buckets_t *t, uint32_t place);
static void buckets_append(im_buckets_t *t, uint32_t place);


im_buckets_t *
im_buckets_init(void *mem, size_t size,
    const unsigned char secret[IM_BUCKETS_SECRET])
{
    size_t         max;
    im_buckets_t  *t = mem;

    if (size < sizeof(im_buckets_t) + 8) {
        return NULL;
    }

    max = (size - sizeof(im_buckets_t) - 8)
          / (sizeof(uint32_t) + sizeof(im_bucket_entry_t));

    if (max > BUCKETS_PLACES_MAX) {
        max = BUCKETS_PLACES_MAX;
    }

    if (max == 0) {
        return NULL;
    }

    memcpy(t->secret, secret, IM_BUCKETS_SECRET);
    t->forgotten = 0;
    t->max = (uint32_t) max;
    t->n = 0;
    t->oldest = 0;
    t->newest = 0;
    t->heads_size = (max * sizeof(uint32_t) + 7) / 8 * 8;
    memset(t->heads, 0, t->heads_size);

    return t;
}


im_bucket_entry_t *
im_buckets_get(im_buckets_t *t, const im_bucket_key_t *key, uint64_t now_ns)
{
    uint32_t            place, now_s, *head;
    im_bucket_entry_t  *e;

    head = buckets_head(t, key);
    now_s = (uint32_t) (now_ns / 1000000000);

    for (place = *head; place != 0; place = e->next) {
        e = buckets_at(t, place);

        if (!im_buckets_is(e, key)) {
            continue;
        }

        if (e->used_s != now_s) {
            e->used_s = now_s;
            buckets_unlink(t, place);
            buckets_append(t, place);
        }

        return e;
    }

    place = buckets_new(t, now_ns);
    e = buckets_at(t, place);

    e->key = *key;
    e->full_ns = 0;
    e->used_s = now_s;
    e->next = *head;
    *head = place;

    buckets_append(t, place);

    return e;
}


int
im_buckets_is(const im_bucket_entry_t *e, const im_bucket_key_t *key)
{
    return e->key.value == key->value && e->key.more == key->more
           && e->key.rule == key->rule;
}


static uint32_t *
buckets_head(im_buckets_t *t, const im_bucket_key_t *key)
{
    uint64_t       hash;
    unsigned char  out[crypto_shorthash_BYTES];

    crypto_shorthash(out, (const unsigned char *) key, sizeof(*key),
                     t->secret);
    memcpy(&hash, out, sizeof(hash));

    /* a place in proportion to the hash: cheaper than a remainder */

    return &t->heads[((hash >> 32) * t->max) >> 32];
}


static im_bucket_entry_t *
buckets_at(im_buckets_t *t, uint32_t place)
{
    unsigned char  *entries;

    entries = (unsigned char *) t->heads + t->heads_size;

    return (im_bucket_entry_t *) entries + (place - 1);
}


/* A place that is in no chain and no line. */
static uint32_t
buckets_new(im_buckets_t *t, uint64_t now_ns)
{
    uint32_t  place;

    if (t->n < t->max) {
        return ++t->n;
    }

    place = t->oldest;

    if (buckets_at(t, place)->full_ns > now_ns) {
        t->forgotten++;
    }

    buckets_unchain(t, place);
    buckets_unlink(t, place);

    return place;
}


static void
buckets_unchain(im_buckets_t *t, uint32_t place)
{
    uint32_t           *p;
    im_bucket_entry_t  *e;

    e = buckets_at(t, place);
    p = buckets_head(t, &e->key);

    while (*p != place) {

        if (*p == 0) {
            return;                    /* a process was killed inside here */
        }

        p = &buckets_at(t, *p)->next;
    }

    *p = e->next;
}


static void
buckets_unlink(im_buckets_t *t, uint32_t place)
{
    im_bucket_entry_t  *e;

    e = buckets_at(t, place);

    *(e->older ? &buckets_at(t, e->older)->newer : &t->oldest) = e->newer;
    *(e->newer ? &buckets_at(t, e->newer)->older : &t->newest) = e->older;
}


/* At the newest end. */
static void
buckets_append(im_buckets_t *t, uint32_t place)
{
    im_bucket_entry_t  *e;

    e = buckets_at(t, place);

    e->older = t->newest;
    e->newer = 0;

    *(t->newest ? &buckets_at(t, t->newest)->newer : &t->oldest) = place;
    t->newest = place;
}


uint32_t
im_buckets_max(const im_buckets_t *t)
{
    return t->max;
}


uint32_t
im_buckets_n(const im_buckets_t *t)
{
    return t->n;
}


uint64_t
im_buckets_forgotten(const im_buckets_t *t)
{
    return t->forgotten;
}
