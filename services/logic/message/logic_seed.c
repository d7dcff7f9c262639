/*
 * logic_seed.c -- see logic_seed.h.
 *
 * When Redis has lost its memory lately, numbers may have been given that MySQL
 * does not hold yet.  That is over after some tenths of a second, and known
 * when it is (logic_decided.h): from then on a conversation goes on where its
 * last message or void is.  A question that comes before is to wait a little
 * (logic_held.h).  If it is not known by then (an instance is frozen, Kafka or
 * the store is away), the next number is well above, and that jump is noted:
 * what is void of it is found when it is known (logic_fate.h).
 *
 * After a loss every conversation comes by here, so all of a batch are asked
 * for together: since when Redis remembers (once for each hash tag); the last
 * numbers in MySQL, of messages and of voids, which must be asked for after it
 * is known that all are there; then one pipeline that notes those that begin,
 * and one that sets the counters.
 */

#include <string.h>

#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_fate.h"
#include "logic_memory.h"
#include "logic_seed.h"
#include "logic_unstored.h"
#include "logic_voids.h"


#define SEED_TAGS  64


/* A conversation, once. */
typedef struct {
    logic_seq_t     *item;
    uint64_t         mark;         /* of the memory that it is seeded in */
    uint64_t         stored;       /* last number that is known, 0: none */
    uint64_t         last;         /* the number to go on from */
    unsigned         begins:1;     /* it may be in no list of MySQL's yet */
} seed_t;

typedef struct {
    im_redis_t      *redis;
    char             asked[SEED_TAGS];
    logic_memory_t   memory[SEED_TAGS];
    seed_t           seeds[LOGIC_SEQUENCE_MAX];
    size_t           n;
} seed_all_t;


static int seed_select(seed_all_t *all, logic_seq_t **items, size_t *n);
static int seed_waits(const logic_seq_t *item, const logic_memory_t *memory);
static int seed_doubted(const logic_seq_t *item, const logic_memory_t *memory);
static int seed_find(seed_all_t *all, logic_lookup_t *lookup,
    logic_seq_t **items, size_t n);
static uint64_t seed_last(const logic_ask_t *ask);
static int seed_memory(seed_all_t *all, const logic_seq_t *item);
static int seed_floors(seed_all_t *all, logic_lookup_t *lookup);
static int seed_begin(seed_all_t *all);
static int seed_set(seed_all_t *all);
static int seed_counters(seed_all_t *all);
static void seed_jump(const seed_t *seed);


int
logic_seed(im_redis_t *redis, logic_lookup_t *lookup, logic_seq_t **items,
    size_t n)
{
    int           rc;
    size_t        k;
    seed_all_t    all;
    logic_seq_t  *now[LOGIC_SEQUENCE_MAX];

    memset(all.asked, 0, sizeof(all.asked));
    all.redis = redis;
    all.n = 0;

    memcpy(now, items, n * sizeof(logic_seq_t *));
    k = n;

    rc = seed_select(&all, now, &k);

    if (rc != IM_OK || k == 0) {
        return rc;
    }

    rc = seed_find(&all, lookup, now, k);

    if (rc == IM_OK) {
        rc = seed_floors(&all, lookup);
    }

    if (rc == IM_OK) {
        rc = seed_begin(&all);
    }

    if (rc == IM_OK) {
        rc = seed_set(&all);
    }

    return rc;
}


/* Leaves out those that are to wait. */
static int
seed_select(seed_all_t *all, logic_seq_t **items, size_t *n)
{
    int           rc;
    size_t        i, k;
    logic_seq_t  *item;

    for (i = 0, k = 0; i < *n; i++) {
        item = items[i];

        rc = seed_memory(all, item);
        if (rc != IM_OK) {
            return rc;
        }

        item->waits = seed_waits(item, &all->memory[item->slot
                                     % logic_conf.common.redis_tags]);

        if (!item->waits) {
            items[k++] = item;
        }
    }

    *n = k;

    return IM_OK;
}


static int
seed_waits(const logic_seq_t *item, const logic_memory_t *memory)
{
    return !item->jump && seed_doubted(item, memory);
}


/* How long ago the loss was makes no difference: if MySQL takes no rows, they
 * wait in the log for as long as that lasts. */
static int
seed_doubted(const logic_seq_t *item, const logic_memory_t *memory)
{
    return memory->mark != 0
           && !logic_decided_exact(&item->conv, memory->mark);
}


static int
seed_find(seed_all_t *all, logic_lookup_t *lookup, logic_seq_t **items,
    size_t n)
{
    int              jumps;
    size_t           i;
    seed_t          *seed;
    logic_ask_t      asks[LOGIC_SEQUENCE_MAX];
    logic_memory_t  *memory;

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = items[i]->conv.a;
        asks[i].key[1] = items[i]->conv.b;
        asks[i].item = items[i];

        /* it may be exact by now: then MySQL is right */

        memory = &all->memory[items[i]->slot % logic_conf.common.redis_tags];
        items[i]->jump = seed_doubted(items[i], memory);
    }

    if (logic_lookup_last_seqs(lookup, asks, n) != IM_OK) {
        return IM_DECLINED;
    }

    for (i = 0; i < n; i++) {
        seed = &all->seeds[all->n];
        seed->item = asks[i].item;
        jumps = seed->item->jump;

        memory = &all->memory[seed->item->slot % logic_conf.common.redis_tags];
        seed->mark = memory->mark;
        seed->stored = seed_last(&asks[i]);
        seed->last = seed->stored + (jumps ? LOGIC_SEQUENCE_SKIP : 0);

        /* a counter that is set and is not there again was lost once more */

        seed->item->seeded = (seed->last == 0);
        seed->begins = (asks[i].values[0] == 0 || memory->young);

        if (i == 0 || memcmp(asks[i].key, asks[i - 1].key,
                             sizeof(asks[i].key)) != 0)
        {
            all->n++;
        }
    }

    return IM_OK;
}


/* Of the last message and the last void. */
static uint64_t
seed_last(const logic_ask_t *ask)
{
    return (ask->values[0] > ask->values[1]) ? ask->values[0] : ask->values[1];
}


/*
 * Redis may lose its memory once more before MySQL has anything from above the
 * jump, and the next one must not lead to the same numbers.  So where it leads
 * to is written down first.
 */
static int
seed_floors(seed_all_t *all, logic_lookup_t *lookup)
{
    size_t        i, n;
    seed_t       *seed;
    logic_void_t  floors[LOGIC_SEQUENCE_MAX];

    for (i = 0, n = 0; i < all->n; i++) {
        seed = &all->seeds[i];

        if (seed->last != seed->stored) {
            logic_voids_floor(&floors[n], &seed->item->conv, seed->last);
            n++;
        }
    }

    return (logic_lookup_write_voids(lookup, floors, n) == IM_OK)
           ? IM_OK : IM_DECLINED;
}


/* Whether Redis lost its memory, asked once for each tag. */
static int
seed_memory(seed_all_t *all, const logic_seq_t *item)
{
    int       rc;
    unsigned  tag;

    tag = item->slot % logic_conf.common.redis_tags;

    if (all->asked[tag]) {
        return IM_OK;
    }

    rc = logic_memory_read(all->redis, tag, &all->memory[tag]);
    all->asked[tag] = (rc == IM_OK);

    return rc;
}


static int
seed_begin(seed_all_t *all)
{
    size_t   i, replies;
    seed_t  *seed;

    replies = 0;

    for (i = 0; i < all->n; i++) {
        seed = &all->seeds[i];

        if (seed->begins
            && logic_unstored_append(all->redis, &seed->item->conv, &replies)
               != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return im_redis_skip(all->redis, replies);
}


static int
seed_set(seed_all_t *all)
{
    int  rc, tries;

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = seed_counters(all);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


/* IM_AGAIN: Redis does not know the script (any more). */
static int
seed_counters(seed_all_t *all)
{
    int      rc, one, set;
    size_t   i;
    seed_t  *seed;

    for (i = 0; i < all->n; i++) {
        seed = &all->seeds[i];

        if (seed->last > 0
            && logic_memory_seed_append(all->redis, seed->item, seed->last,
                                        seed->mark) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    for (i = 0, rc = IM_OK; i < all->n; i++) {
        seed = &all->seeds[i];

        if (seed->last == 0) {
            continue;
        }

        one = logic_memory_seed_reply(all->redis, &set);

        if (one == IM_ERROR) {
            return IM_ERROR;
        }

        if (one == IM_OK && set) {
            seed_jump(seed);
        }

        rc = (one == IM_OK) ? rc : one;
    }

    return rc;
}


/* From the moment that the counter was set, nobody is given these numbers. */
static void
seed_jump(const seed_t *seed)
{
    logic_void_t  range;

    if (seed->last == seed->stored) {
        return;
    }

    range.conv = seed->item->conv;
    range.from = seed->stored + 1;
    range.to = seed->last;

    logic_fate_jump(&range, seed->mark);
}
