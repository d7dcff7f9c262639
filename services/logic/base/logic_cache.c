/*
 * logic_cache.c -- see logic_cache.h.
 *
 *   set:   drops | newest use ... oldest use
 *                  key asked epoch again value
 *
 * A set is found by bits of a hash of the key; uids and rooms are numbered one
 * after the other, and so would be the sets.  Entries move to the front when
 * they are used, so what is asked for all the time stays, however many others
 * come by.
 *
 * Invalidating everything only counts the table's epoch up: an entry that has
 * another one is stale.
 */

#include <string.h>

#include "im_hash128.h"
#include "logic_cache.h"


#define CACHE_UNIT_US    100000
#define CACHE_SECOND_US  1000000


typedef struct {
    uint64_t              *drops;
    unsigned char         *entries;
    pthread_mutex_t       *lock;
} cache_set_t;


static void cache_lock(logic_cache_t *c, const logic_cache_key_t *key,
    cache_set_t *set);
static logic_cache_entry_t *cache_entry(const logic_cache_t *c,
    const cache_set_t *set, size_t i);
static size_t cache_find(const logic_cache_t *c, const cache_set_t *set,
    const logic_cache_key_t *key);
static logic_cache_e cache_state(const logic_cache_t *c,
    logic_cache_entry_t *e, uint64_t now_us);
static size_t cache_victim(const logic_cache_t *c, const cache_set_t *set);
static logic_cache_entry_t *cache_to_front(const logic_cache_t *c,
    const cache_set_t *set, size_t i);


logic_cache_e
logic_cache_get(logic_cache_t *c, logic_cache_key_t key, uint64_t now_us,
    void *value, logic_cache_mark_t *mark)
{
    size_t                i;
    cache_set_t           set;
    logic_cache_e         state;
    logic_cache_entry_t  *e;

    state = LOGIC_CACHE_NONE;

    cache_lock(c, &key, &set);

    mark->epoch = atomic_load(&c->epoch);
    mark->drops = (uint32_t) *set.drops;

    i = cache_find(c, &set, &key);

    if (i < LOGIC_CACHE_WAYS) {
        e = cache_to_front(c, &set, i);
        memcpy(value, e + 1, c->value);
        state = cache_state(c, e, now_us);
    }

    pthread_mutex_unlock(set.lock);

    return state;
}


/* An entry is not younger than its time, which was rounded down. */
static logic_cache_e
cache_state(const logic_cache_t *c, logic_cache_entry_t *e, uint64_t now_us)
{
    uint16_t  now_s;
    uint64_t  asked_us, age_us;

    asked_us = (uint64_t) e->asked * CACHE_UNIT_US;
    age_us = (now_us > asked_us) ? now_us - asked_us : 0;

    if (e->epoch != (uint16_t) atomic_load(&c->epoch) || age_us >= c->stale_us)
    {
        return LOGIC_CACHE_STALE;
    }

    now_s = (uint16_t) (now_us / CACHE_SECOND_US);

    if (age_us < c->due_us || e->again_s == now_s) {
        return LOGIC_CACHE_FRESH;
    }

    e->again_s = now_s;

    return LOGIC_CACHE_DUE;
}


void
logic_cache_put(logic_cache_t *c, logic_cache_key_t key, uint64_t asked_us,
    const void *value, logic_cache_mark_t mark)
{
    size_t                i;
    uint64_t              asked;
    cache_set_t           set;
    logic_cache_entry_t  *e;

    asked = asked_us / CACHE_UNIT_US;

    cache_lock(c, &key, &set);

    i = cache_find(c, &set, &key);

    if (mark.drops == (uint32_t) *set.drops
        && (i == LOGIC_CACHE_WAYS || cache_entry(c, &set, i)->asked <= asked))
    {
        if (i == LOGIC_CACHE_WAYS) {
            i = cache_victim(c, &set);
        }

        e = cache_to_front(c, &set, i);
        e->key = key;
        e->asked = asked;
        e->epoch = (uint16_t) mark.epoch;
        e->again_s = 0;
        memcpy(e + 1, value, c->value);
    }

    pthread_mutex_unlock(set.lock);
}


int
logic_cache_drop(logic_cache_t *c, logic_cache_key_t key)
{
    int          known;
    size_t       i;
    cache_set_t  set;

    cache_lock(c, &key, &set);

    (*set.drops)++;
    i = cache_find(c, &set, &key);
    known = (i < LOGIC_CACHE_WAYS);

    if (known) {
        memset(cache_entry(c, &set, i), 0, LOGIC_CACHE_ENTRY(c->value));
    }

    pthread_mutex_unlock(set.lock);

    return known;
}


void
logic_cache_invalidate(logic_cache_t *c)
{
    atomic_fetch_add(&c->epoch, 1);
}


/* The key's set, locked. */
static void
cache_lock(logic_cache_t *c, const logic_cache_key_t *key, cache_set_t *set)
{
    size_t           n;
    uint64_t         hash[2];
    unsigned char   *p;

    im_hash128(key, sizeof(logic_cache_key_t), (unsigned char *) hash);

    n = hash[0] & (c->sets - 1);
    p = (unsigned char *) c->memory + n * LOGIC_CACHE_SET(c->value);

    set->drops = (uint64_t *) p;
    set->entries = p + sizeof(uint64_t);
    set->lock = &c->locks[n & (LOGIC_CACHE_LOCKS - 1)];

    pthread_mutex_lock(set->lock);
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


/* One that is empty, else the one of the oldest use. */
static size_t
cache_victim(const logic_cache_t *c, const cache_set_t *set)
{
    size_t  i;

    for (i = 0; i < LOGIC_CACHE_WAYS - 1; i++) {
        if (cache_entry(c, set, i)->key.a == 0) {
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
