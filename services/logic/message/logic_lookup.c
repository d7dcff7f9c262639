/*
 * logic_lookup.c -- rare questions, and what is remembered of the answers.
 *
 * Users are never deleted, so that a user exists stays true: it is remembered
 * of a million users, in 26 MB that all shards share.  That there is no such
 * user may change at any time, and is not remembered.
 */

#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "logic_cache.h"
#include "logic_lasts.h"
#include "logic_lookup.h"
#include "logic_stores.h"


#define LOOKUP_SETS  131072        /* of 8 users */

_Static_assert(LOGIC_SEQUENCE_MAX <= LOGIC_ASK_MAX, "a batch fits");


struct logic_lookup_s {
    im_mysql_t          *mysql;
};

/* One that is not known. */
typedef struct {
    logic_lookup_pair_t  *pair;
    uint64_t              asked_us;
    logic_cache_mark_t    mark;
} lookup_want_t;


static logic_cache_e lookup_user(uint64_t uid, uint64_t now_us,
    logic_cache_mark_t *mark);
static logic_cache_e lookup_may_direct(const logic_message_t *m,
    uint64_t now_us, logic_lookup_may_t *may);
static logic_cache_e lookup_may_room(const logic_message_t *m,
    uint64_t now_us, logic_lookup_may_t *may);
static int lookup_ask_users(logic_lookup_t *l, logic_lookup_pair_t **pairs,
    size_t n);
static int lookup_run_users(logic_lookup_t *l, lookup_want_t *wants, size_t n);
static int lookup_ask_blocks(logic_lookup_t *l, logic_lookup_pair_t **pairs,
    size_t n);
static int lookup_ask_rooms(logic_lookup_t *l, logic_lookup_pair_t **pairs,
    size_t n);


LOGIC_CACHE(lookup_users, LOOKUP_SETS, 0, LOGIC_CACHE_EVER, LOGIC_CACHE_EVER);


logic_lookup_t *
logic_lookup_create(void)
{
    logic_lookup_t  *l;

    l = calloc(1, sizeof(logic_lookup_t));
    if (l == NULL) {
        return NULL;
    }

    l->mysql = logic_mysql_create();

    if (l->mysql == NULL) {
        free(l);
        return NULL;
    }

    return l;
}


void
logic_lookup_destroy(logic_lookup_t *l)
{
    if (l == NULL) {
        return;
    }

    im_mysql_destroy(l->mysql);
    free(l);
}


const char *
logic_lookup_error(logic_lookup_t *l)
{
    return im_mysql_error(l->mysql);
}


void
logic_lookup_pair(const logic_message_t *m, logic_lookup_pair_t *pair)
{
    memset(pair, 0, sizeof(logic_lookup_pair_t));

    pair->from = m->from;
    pair->to = m->to;
    pair->room = logic_message_room(m) ? m->seq.conv.b : 0;
}


logic_cache_e
logic_lookup_may(const logic_message_t *m, uint64_t now_us,
    logic_lookup_may_t *may)
{
    memset(may, 0, sizeof(logic_lookup_may_t));

    return logic_message_room(m) ? lookup_may_room(m, now_us, may)
                                 : lookup_may_direct(m, now_us, may);
}


static logic_cache_e
lookup_may_direct(const logic_message_t *m, uint64_t now_us,
    logic_lookup_may_t *may)
{
    logic_cache_e        user, pair;
    logic_cache_mark_t   mark;
    logic_blocks_item_t  item = { .to = m->to, .from = m->from };

    user = lookup_user(m->to, now_us, &mark);
    pair = logic_blocks_known(&item, now_us);

    if (item.blocked) {
        may->code = "blocked";
        may->text = "the recipient takes no messages of yours";
    }

    return (user < pair) ? user : pair;
}


static logic_cache_e
lookup_may_room(const logic_message_t *m, uint64_t now_us,
    logic_lookup_may_t *may)
{
    logic_cache_e         state;
    logic_rooms_access_t  item = {
        .room = m->seq.conv.b,
        .uid = m->from,
        .by_frame = (m->reply.stream != NULL),
        .joined = m->joined
    };

    state = logic_rooms_access_known(&item, now_us);

    may->code = item.code;
    may->text = (item.code != NULL) ? logic_rooms_access_text(item.code)
                                    : NULL;
    may->removals = item.removals;

    return state;
}


static logic_cache_e
lookup_user(uint64_t uid, uint64_t now_us, logic_cache_mark_t *mark)
{
    uint64_t           nothing;
    logic_cache_key_t  key = { uid, 0 };

    return logic_cache_get(&lookup_users, key, now_us, &nothing, mark);
}


int
logic_lookup_ask(logic_lookup_t *l, logic_lookup_pair_t **pairs, size_t n)
{
    if (lookup_ask_users(l, pairs, n) != IM_OK
        || lookup_ask_blocks(l, pairs, n) != IM_OK)
    {
        return IM_ERROR;
    }

    return lookup_ask_rooms(l, pairs, n);
}


static int
lookup_ask_users(logic_lookup_t *l, logic_lookup_pair_t **pairs, size_t n)
{
    size_t          i, missing;
    uint64_t        now_us;
    lookup_want_t   wants[LOGIC_SEQUENCE_MAX];

    now_us = im_mono_us();
    missing = 0;

    for (i = 0; i < n; i++) {
        pairs[i]->nobody = 0;

        if (pairs[i]->to != 0
            && lookup_user(pairs[i]->to, now_us, &wants[missing].mark)
               == LOGIC_CACHE_NONE)
        {
            wants[missing].asked_us = now_us;
            wants[missing++].pair = pairs[i];
        }
    }

    return (missing > 0) ? lookup_run_users(l, wants, missing) : IM_OK;
}


static int
lookup_run_users(logic_lookup_t *l, lookup_want_t *wants, size_t n)
{
    size_t             i;
    uint64_t           nothing;
    logic_ask_t        asks[LOGIC_SEQUENCE_MAX];
    lookup_want_t     *want;
    logic_cache_key_t  key = { 0, 0 };

#define LOOKUP_USERS(in)  "SELECT uid FROM users WHERE uid IN (" in ")"

    static const logic_ask_sql_t  sql = {
        LOOKUP_USERS(LOGIC_ASK_8("?", ", ")),
        LOOKUP_USERS(LOGIC_ASK_128("?", ", ")), 1, 0
    };

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = wants[i].pair->to;
        asks[i].item = &wants[i];
    }

    if (logic_ask(l->mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    nothing = 0;

    for (i = 0; i < n; i++) {
        want = asks[i].item;
        want->pair->nobody = !asks[i].found;

        if (asks[i].found) {
            key.a = want->pair->to;
            logic_cache_put(&lookup_users, key, want->asked_us, &nothing,
                            want->mark);
        }
    }

    return IM_OK;
}


static int
lookup_ask_blocks(logic_lookup_t *l, logic_lookup_pair_t **pairs, size_t n)
{
    size_t                i, k;
    logic_blocks_item_t   items[LOGIC_SEQUENCE_MAX];

    for (i = 0, k = 0; i < n; i++) {
        if (pairs[i]->to != 0 && !pairs[i]->nobody) {
            items[k].to = pairs[i]->to;
            items[k++].from = pairs[i]->from;
        }
    }

    return logic_blocks_ask(l->mysql, items, k);
}


static int
lookup_ask_rooms(logic_lookup_t *l, logic_lookup_pair_t **pairs, size_t n)
{
    size_t                 i, k;
    logic_rooms_access_t   items[LOGIC_SEQUENCE_MAX];

    memset(items, 0, n * sizeof(logic_rooms_access_t));

    for (i = 0, k = 0; i < n; i++) {
        if (pairs[i]->room != 0) {
            items[k].room = pairs[i]->room;
            items[k++].uid = pairs[i]->from;
        }
    }

    return (k > 0) ? logic_rooms_access_ask(l->mysql, items, k) : IM_OK;
}


int
logic_lookup_last_seqs(logic_lookup_t *l, logic_ask_t *asks, size_t n)
{
    return logic_lasts(l->mysql, asks, n);
}


int
logic_lookup_write_voids(logic_lookup_t *l, logic_void_t *voids, size_t n)
{
    return logic_voids_write(l->mysql, voids, n);
}


int
logic_lookup_rows(logic_lookup_t *l, logic_ask_t *asks, size_t n)
{
#define LOOKUP_PLACE  "(conv_a = ? AND conv_b = ? AND seq = ?)"
#define LOOKUP_ROWS(places)                                                   \
    "SELECT conv_a, conv_b, seq, msg_id FROM messages WHERE " places

    static const logic_ask_sql_t  sql = {
        LOOKUP_ROWS(LOGIC_ASK_8(LOOKUP_PLACE, " OR ")),
        LOOKUP_ROWS(LOGIC_ASK_128(LOOKUP_PLACE, " OR ")), 3, 1
    };

    return logic_ask(l->mysql, &sql, asks, n);
}


int
logic_lookup_stored(logic_lookup_t *l, logic_message_t **messages, size_t n)
{
    size_t            i;
    logic_ask_t       asks[LOGIC_SEQUENCE_MAX];
    logic_message_t  *m;

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        m = messages[i];
        asks[i].key[0] = m->seq.conv.a;
        asks[i].key[1] = m->seq.conv.b;
        asks[i].key[2] = m->seq.seq;
        asks[i].item = m;
    }

    if (logic_lookup_rows(l, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        m = asks[i].item;
        m->stored = asks[i].found ? asks[i].values[0] : 0;
    }

    return IM_OK;
}
