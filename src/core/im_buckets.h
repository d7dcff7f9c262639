/*
 * im_buckets.h -- token buckets of many keys, in memory of a fixed size.
 *
 *   [ header | heads of chains | entries ]      40 bytes a key, 4 a head
 *
 * The memory may be shared between processes: it holds places of entries, no
 * addresses, and the caller has a lock.  When it is full, the key that was not
 * used for the longest time is forgotten; its bucket is full again then, so
 * somebody gets more than the rate, and that is counted.
 *
 * A tree, as nginx's limit_req has one, was rejected: with a million keys a
 * look at it is 20 lines of memory that no cache holds.  A chain is two.  For
 * the same reason a key moves to the end of the line of the used ones only once
 * a second.
 *
 * Chains are found by a keyed hash: a client that chooses its addresses cannot
 * make one of them long.
 */

#ifndef IM_BUCKETS_H
#define IM_BUCKETS_H

#include "im_core.h"

#define IM_BUCKETS_SECRET  16           /* bytes */

typedef struct im_buckets_s  im_buckets_t;

/* What is limited: a number, or the beginning of a hash. */
typedef struct {
    uint64_t       value;
    uint32_t       more;
    uint32_t       rule;           /* two limits of a key have two buckets */
} im_bucket_key_t;

/* full_ns is for im_bucket.h; the rest belongs to im_buckets.c. */
typedef struct {
    im_bucket_key_t  key;
    uint64_t         full_ns;
    uint32_t         next;         /* of the chain; 0: none */
    uint32_t         older;
    uint32_t         newer;
    uint32_t         used_s;
} im_bucket_entry_t;

/* Makes a table of size bytes at mem, which is aligned as malloc() does it, or
 * returns NULL: not even one key has room. */
im_buckets_t *im_buckets_init(void *mem, size_t size,
    const unsigned char secret[IM_BUCKETS_SECRET]);

/*
 * The entry of a key; a new one has full_ns 0.  It is valid until another key
 * is asked for: that may be given its memory.
 */
im_bucket_entry_t *im_buckets_get(im_buckets_t *t, const im_bucket_key_t *key,
    uint64_t now_ns);
/* 1 if it has not been given to another key since. */
int im_buckets_is(const im_bucket_entry_t *e, const im_bucket_key_t *key);

/* How many keys fit, are there, and were forgotten before their bucket was
 * full. */
uint32_t im_buckets_max(const im_buckets_t *t);
uint32_t im_buckets_n(const im_buckets_t *t);
uint64_t im_buckets_forgotten(const im_buckets_t *t);

#endif
