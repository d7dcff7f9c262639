/*
 * logic_seed.c -- see logic_seed.h.
 *
 * When Redis has lost its memory lately, numbers may have been given that MySQL
 * does not hold yet: those to come begin well above, and clients are told that
 * the range in between is void.
 *
 * After a loss every conversation comes by here, so all of a batch are asked
 * for together: the last numbers in MySQL, of messages and of voids; since when
 * Redis remembers (once for each hash tag); then one pipeline that notes those
 * that begin and sets the counters.
 */

#include <string.h>

#include "logic_begun.h"
#include "logic_seed.h"
#include "logic_settle.h"


#define SEED_TAGS  64


/* A conversation, once. */
typedef struct {
    logic_seq_t  *item;
    uint64_t      last;            /* number, 0: none */
    int           begins;          /* it may be in no list of MySQL's yet */
} seed_t;

typedef struct {
    im_redis_t   *redis;
    char          asked[SEED_TAGS];
    char          young[SEED_TAGS];
    seed_t        seeds[LOGIC_SEQUENCE_MAX];
    size_t        n;
} seed_all_t;


static int seed_find(seed_all_t *all, logic_lookup_t *lookup,
    logic_seq_t **items, size_t n);
static uint64_t seed_last(const logic_ask_t *ask);
static int seed_memory(seed_all_t *all, const logic_seq_t *item, int *young);
static int seed_set(seed_all_t *all);
static int seed_fresh(void);


int
logic_seed(im_redis_t *redis, logic_lookup_t *lookup, logic_seq_t **items,
    size_t n)
{
    int         rc;
    seed_all_t  all;

    memset(all.asked, 0, sizeof(all.asked));
    all.redis = redis;
    all.n = 0;

    rc = seed_find(&all, lookup, items, n);

    if (rc == IM_OK) {
        rc = seed_set(&all);
    }

    return rc;
}


static int
seed_find(seed_all_t *all, logic_lookup_t *lookup, logic_seq_t **items,
    size_t n)
{
    int           rc, young;
    size_t        i;
    seed_t       *seed;
    logic_ask_t   asks[LOGIC_SEQUENCE_MAX];

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = items[i]->conv.a;
        asks[i].key[1] = items[i]->conv.b;
        asks[i].item = items[i];
    }

    if (logic_lookup_last_seqs(lookup, asks, n) != IM_OK) {
        return IM_DECLINED;
    }

    for (i = 0; i < n; i++) {
        rc = seed_memory(all, asks[i].item, &young);
        if (rc != IM_OK) {
            return rc;
        }

        seed = &all->seeds[all->n];
        seed->item = asks[i].item;
        seed->last = seed_last(&asks[i]) + (young ? LOGIC_SEQUENCE_SKIP : 0);

        /* a counter that is set and is not there again was lost once more */

        seed->item->seeded = (seed->last == 0);
        seed->begins = (asks[i].values[0] == 0 || young);

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


/* Whether Redis lost its memory lately, asked once for each tag. */
static int
seed_memory(seed_all_t *all, const logic_seq_t *item, int *young)
{
    int       rc;
    unsigned  tag;

    tag = item->slot % logic_conf.common.redis_tags;

    if (!all->asked[tag]) {
        rc = logic_sequence_memory(all->redis, tag, seed_fresh, young);
        if (rc != IM_OK) {
            return rc;
        }

        all->asked[tag] = 1;
        all->young[tag] = (char) *young;
    }

    *young = all->young[tag];

    return IM_OK;
}


static int
seed_set(seed_all_t *all)
{
    size_t   i, replies;
    seed_t  *seed;

    replies = 0;

    for (i = 0; i < all->n; i++) {
        seed = &all->seeds[i];

        if (seed->begins
            && logic_begun_append(all->redis, &seed->item->conv, &replies)
               != IM_OK)
        {
            return IM_ERROR;
        }

        if (seed->last > 0
            && logic_sequence_seed_append(all->redis, seed->item, seed->last,
                                          &replies)
               != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return im_redis_skip(all->redis, replies);
}


void
logic_seed_remember(void)
{
    int          young;
    unsigned     tag;
    im_redis_t  *redis;

    redis = logic_redis_create();
    if (redis == NULL) {
        return;
    }

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        (void) logic_sequence_memory(redis, tag, seed_fresh, &young);
    }

    im_redis_destroy(redis);
}


/* Whether this Redis is new, and not one that has lost its memory: then the
 * message log is new, too. */
static int
seed_fresh(void)
{
    int  fresh;

    fresh = logic_settle_empty();

    im_log(IM_LOG_NOTICE, "redis: %s", fresh == 0
           ? "it has lost its memory: sequence numbers skip ahead"
           : fresh == 1 ? "it is used for the first time"
           : "whether it is new is not known, since Kafka does not answer");

    return fresh;
}
