/*
 * logic_cache.c -- see logic_cache.h.
 *
 *   set:   epoch drops | newest use ... oldest use
 *                        key until value
 *
 * A set is found by bits of a hash of the key; uids and rooms are numbered one
 * after the other, and so would be the sets.  Entries move to the front when
 * they are used, so what is asked for all the time stays, however many others
 * come by.
 *
 * Dropping everything only counts the table's epoch up: a set that has another
 * one is emptied by its next user, under the set's own lock.
 */

#include <string.h>

#include "im_slot.h"
#include "logic_cache.h"


typedef struct {
    logic_cache_mark_t    *mark;
    unsigned char         *entries;
    pthread_mutex_t       *lock;
} cache_set_t;


static void cache_lock(logic_cache_t *c, const logic_cache_key_t *key,
    cache_set_t *set);
static logic_cache_entry_t *cache_entry(const logic_cache_t *c,
    const cache_set_t *set, size_t i);
static size_t cache_find(const logic_cache_t *c, const cache_set_t *set,
    const logic_cache_key_t *key);
static size_t cache_victim(const logic_cache_t *c, const cache_set_t *set,
    uint64_t now_us);
static logic_cache_entry_t *cache_to_front(const logic_cache_t *c,
    const cache_set_t *set, size_t i);


int
logic_cache_get(logic_cache_t *c, logic_cache_key_t key, uint64_t now_us,
    void *value, logic_cache_mark_t *mark)
{
    int                   known;
    size_t                i;
    cache_set_t           set;
    logic_cache_entry_t  *e;

    cache_lock(c, &key, &set);

    *mark = *set.mark;
    i = cache_find(c, &set, &key);
    known = (i < LOGIC_CACHE_WAYS
             && cache_entry(c, &set, i)->until_us > now_us);

    if (known) {
        e = cache_to_front(c, &set, i);
        memcpy(value, e + 1, c->value);
    }

    pthread_mutex_unlock(set.lock);

    return known;
}


void
logic_cache_put(logic_cache_t *c, logic_cache_key_t key, uint64_t now_us,
    uint64_t until_us, const void *value, logic_cache_mark_t mark)
{
    size_t                i;
    cache_set_t           set;
    logic_cache_entry_t  *e;

    cache_lock(c, &key, &set);

    if (mark.epoch == set.mark->epoch && mark.drops == set.mark->drops) {
        i = cache_find(c, &set, &key);

        if (i == LOGIC_CACHE_WAYS) {
            i = cache_victim(c, &set, now_us);
        }

        e = cache_to_front(c, &set, i);
        e->key = key;
        e->until_us = until_us;
        memcpy(e + 1, value, c->value);
    }

    pthread_mutex_unlock(set.lock);
}


void
logic_cache_drop(logic_cache_t *c, logic_cache_key_t key)
{
    size_t       i;
    cache_set_t  set;

    cache_lock(c, &key, &set);

    set.mark->drops++;
    i = cache_find(c, &set, &key);

    if (i < LOGIC_CACHE_WAYS) {
        memset(cache_entry(c, &set, i), 0, LOGIC_CACHE_ENTRY(c->value));
    }

    pthread_mutex_unlock(set.lock);
}


void
logic_cache_drop_all(logic_cache_t *c)
{
    atomic_fetch_add(&c->epoch, 1);
}


/* The key's set, locked, and emptied if all was dropped since its last use. */
static void
cache_lock(logic_cache_t *c, const logic_cache_key_t *key, cache_set_t *set)
{
    size_t           i, n;
    uint32_t         epoch;
    uint64_t         hash[2];
    unsigned char   *p;

    im_hash128(key, sizeof(logic_cache_key_t), (unsigned char *) hash);

    n = hash[0] & (c->sets - 1);
    p = (unsigned char *) c->memory + n * LOGIC_CACHE_SET(c->value);

    set->mark = (logic_cache_mark_t *) p;
    set->entries = p + sizeof(logic_cache_mark_t);
    set->lock = &c->locks[n & (LOGIC_CACHE_LOCKS - 1)];

    pthread_mutex_lock(set->lock);

    epoch = atomic_load(&c->epoch);

    if (set->mark->epoch == epoch) {
        return;
    }

    for (i = 0; i < LOGIC_CACHE_WAYS; i++) {
        cache_entry(c, set, i)->key.a = 0;
    }

    set->mark->epoch = epoch;
}


static logic_cache_entry_t *
cache_entry(const logic_cache_t *c, const cache_set_t *set, size_t i)
{
    return (logic_cache_entry_t *) (set->entries
                                    + i * LOGIC_CACHE_ENTRY(c->value));
}


/* LOGIC_CACHE_WAYS: it is not there. */
static size_t
cache_find(const logic_cache_t *c, const cache_set_t *set,
    const logic_cache_key_t *key)
{
    size_t                i;
    logic_cache_entry_t  *e;

    for (i = 0; i < LOGIC_CACHE_WAYS; i++) {
        e = cache_entry(c, set, i);

        if (e->key.a == key->a && e->key.b == key->b) {
            break;
        }
    }

    return i;
}


/* One that is empty or no longer valid, else the one of the oldest use. */
static size_t
cache_victim(const logic_cache_t *c, const cache_set_t *set, uint64_t now_us)
{
    size_t                i;
    logic_cache_entry_t  *e;

    for (i = 0; i < LOGIC_CACHE_WAYS - 1; i++) {
        e = cache_entry(c, set, i);

        if (e->key.a == 0 || e->until_us <= now_us) {
            break;
        }
    }

    return i;
}


static logic_cache_entry_t *
cache_to_front(const logic_cache_t *c, const cache_set_t *set, size_t i)
{
    size_t         len;
    unsigned char  entry[LOGIC_CACHE_ENTRY(LOGIC_CACHE_VALUE_MAX)];

    if (i > 0) {
        len = LOGIC_CACHE_ENTRY(c->value);

        memcpy(entry, cache_entry(c, set, i), len);
        memmove(cache_entry(c, set, 1), cache_entry(c, set, 0), i * len);
        memcpy(cache_entry(c, set, 0), entry, len);
    }

    return cache_entry(c, set, 0);
}
