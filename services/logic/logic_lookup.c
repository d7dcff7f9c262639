/*
 * logic_lookup.c -- rare questions, cached where the answer cannot change.
 *
 * Users are never deleted, so that a user exists stays true: it is remembered
 * of a million users, in 26 MB that all shards share.  That there is no such
 * user may change at any time, and is not remembered.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_cache.h"
#include "logic_lookup.h"


#define LOOKUP_SETS  131072        /* of 8 users */


struct logic_lookup_s {
    im_mysql_t          *mysql;
};

/* One that is not known. */
typedef struct {
    logic_lookup_user_t  *user;
    logic_cache_mark_t    mark;
} lookup_want_t;


static size_t lookup_known(logic_lookup_user_t *users, size_t n,
    lookup_want_t *wants);
static int lookup_ask(logic_lookup_t *l, lookup_want_t *wants, size_t n);


LOGIC_CACHE(lookup_users, LOOKUP_SETS, 0);


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


int
logic_lookup_users(logic_lookup_t *l, logic_lookup_user_t *users, size_t n)
{
    int             rc;
    size_t          i, part, missing;
    lookup_want_t   wants[LOGIC_SEQUENCE_MAX];

    rc = IM_DONE;

    for (i = 0; i < n; i += part) {
        part = (n - i < LOGIC_SEQUENCE_MAX) ? n - i : LOGIC_SEQUENCE_MAX;
        missing = lookup_known(users + i, part, wants);

        if (missing > 0 && rc != IM_ERROR) {
            rc = lookup_ask(l, wants, missing);
        }
    }

    return rc;
}


/* How many are not known, and which. */
static size_t
lookup_known(logic_lookup_user_t *users, size_t n, lookup_want_t *wants)
{
    size_t             i, missing;
    logic_cache_key_t  key = { 0, 0 };

    missing = 0;

    for (i = 0; i < n; i++) {
        key.a = users[i].uid;
        users[i].answer = LOGIC_LOOKUP_EXISTS;

        if (!logic_cache_get(&lookup_users, key, 0, &key.b,
                             &wants[missing].mark))
        {
            users[i].answer = LOGIC_LOOKUP_UNKNOWN;
            wants[missing++].user = &users[i];
        }
    }

    return missing;
}


static int
lookup_ask(logic_lookup_t *l, lookup_want_t *wants, size_t n)
{
    size_t             i;
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
        asks[i].key[0] = wants[i].user->uid;
        asks[i].item = &wants[i];
    }

    if (logic_ask(l->mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        want = asks[i].item;
        want->user->answer = asks[i].found ? LOGIC_LOOKUP_EXISTS
                                           : LOGIC_LOOKUP_NONE;

        if (asks[i].found) {
            key.a = want->user->uid;
            logic_cache_put(&lookup_users, key, 0, LOGIC_CACHE_EVER, &key.b,
                            want->mark);
        }
    }

    return IM_OK;
}


int
logic_lookup_blocks(logic_lookup_t *l, logic_blocks_item_t *items, size_t n)
{
    return logic_blocks_may_send(l->mysql, items, n);
}


int
logic_lookup_rooms(logic_lookup_t *l, logic_rooms_access_t *items, size_t n)
{
    return logic_rooms_may_send(l->mysql, items, n);
}


/*
 * The last void counts, too: clients have stepped over it, and would not show a
 * message that gets its number.
 *
 * MAX(seq) with GROUP BY reads whole conversations unless the optimizer finds
 * its best plan; this reads one row of each by any.  The parameters have no
 * type of their own, and a text would not be looked up in the index.
 */
int
logic_lookup_last_seqs(logic_lookup_t *l, logic_ask_t *asks, size_t n)
{
#define LOOKUP_CONV                                                           \
    "SELECT CAST(? AS UNSIGNED) AS a, CAST(? AS UNSIGNED) AS b"
#define LOOKUP_LAST(convs)                                                    \
    "SELECT k.a, k.b, COALESCE((SELECT m.seq FROM messages m "                \
    "WHERE m.conv_a = k.a AND m.conv_b = k.b "                                \
    "ORDER BY m.seq DESC LIMIT 1), 0), "                                      \
    "COALESCE((SELECT v.to_seq FROM voids v "                                 \
    "WHERE v.conv_a = k.a AND v.conv_b = k.b "                                \
    "ORDER BY v.to_seq DESC LIMIT 1), 0) FROM (" convs ") k"

    static const logic_ask_sql_t  sql = {
        LOOKUP_LAST(LOGIC_ASK_8(LOOKUP_CONV, " UNION ALL ")),
        LOOKUP_LAST(LOGIC_ASK_128(LOOKUP_CONV, " UNION ALL ")), 2, 2
    };

    return logic_ask(l->mysql, &sql, asks, n);
}


int
logic_lookup_stored(logic_lookup_t *l, logic_message_t **messages, size_t n)
{
    size_t            i;
    logic_ask_t       asks[LOGIC_SEQUENCE_MAX];
    logic_message_t  *m;

#define LOOKUP_PLACE  "(conv_a = ? AND conv_b = ? AND seq = ?)"
#define LOOKUP_STORED(places)                                                 \
    "SELECT conv_a, conv_b, seq, msg_id FROM messages WHERE " places

    static const logic_ask_sql_t  sql = {
        LOOKUP_STORED(LOGIC_ASK_8(LOOKUP_PLACE, " OR ")),
        LOOKUP_STORED(LOGIC_ASK_128(LOOKUP_PLACE, " OR ")), 3, 1
    };

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        m = messages[i];
        asks[i].key[0] = m->seq.conv.a;
        asks[i].key[1] = m->seq.conv.b;
        asks[i].key[2] = m->seq.seq;
        asks[i].item = m;
    }

    if (logic_ask(l->mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        m = asks[i].item;
        m->stored = asks[i].found ? asks[i].values[0] : 0;
    }

    return IM_OK;
}
