/*
 * logic_lookup.c -- rare questions, cached where the answer cannot change.
 *
 * Users are never deleted, so a uid once seen stays known.  The set is
 * forgotten when it has a million entries: 40 MB, and the next messages ask
 * again, 16 uids a query.
 */

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "logic_lookup.h"


#define LOOKUP_KNOWN_MAX  1000000
#define LOOKUP_QUERY      16


typedef struct {
    uint64_t        uid;
    UT_hash_handle  hh;
} lookup_user_t;

struct logic_lookup_s {
    im_mysql_t     *mysql;
    lookup_user_t  *known;
};

typedef struct {
    int       n;
    uint64_t  value;
} lookup_one_t;


static int lookup_on_user(void *ctx, const im_mysql_value_t *v);
static int lookup_on_one(void *ctx, const im_mysql_value_t *v);
static int lookup_run(logic_lookup_t *l, const char *sql,
    const im_mysql_value_t *params, size_t n,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx);
static void lookup_forget(logic_lookup_t *l);


logic_lookup_t *
logic_lookup_create(void)
{
    logic_lookup_t  *l;

    l = calloc(1, sizeof(logic_lookup_t));
    if (l != NULL) {
        l->mysql = logic_mysql_create();
    }

    return l;
}


void
logic_lookup_destroy(logic_lookup_t *l)
{
    lookup_forget(l);
    im_mysql_destroy(l->mysql);
    free(l);
}


const char *
logic_lookup_error(logic_lookup_t *l)
{
    return im_mysql_error(l->mysql);
}


int
logic_lookup_known(logic_lookup_t *l, uint64_t uid)
{
    lookup_user_t  *u;

    HASH_FIND(hh, l->known, &uid, sizeof(uid), u);

    return u != NULL;
}


int
logic_lookup_users(logic_lookup_t *l, const uint64_t *uids, size_t n)
{
    size_t            i, k;
    im_mysql_value_t  v[LOOKUP_QUERY];

    static const char  sql[] =
        "SELECT uid FROM users WHERE uid IN "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    if (HASH_COUNT(l->known) > LOOKUP_KNOWN_MAX) {
        lookup_forget(l);
    }

    for (i = 0; i < n; i += LOOKUP_QUERY) {
        memset(v, 0, sizeof(v));       /* nobody has uid 0 */

        for (k = 0; k < LOOKUP_QUERY && i + k < n; k++) {
            v[k].u64 = uids[i + k];
        }

        if (lookup_run(l, sql, v, LOOKUP_QUERY, lookup_on_user, l) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
lookup_on_user(void *ctx, const im_mysql_value_t *v)
{
    lookup_user_t   *u;
    logic_lookup_t  *l = ctx;

    if (logic_lookup_known(l, v[0].u64)) {
        return IM_OK;
    }

    u = calloc(1, sizeof(lookup_user_t));
    if (u != NULL) {
        u->uid = v[0].u64;
        HASH_ADD(hh, l->known, uid, sizeof(u->uid), u);
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


int
logic_lookup_last_seq(logic_lookup_t *l, const im_conv_t *conv,
    uint64_t *last)
{
    lookup_one_t      one = { 0, 0 };
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT MAX(seq) FROM messages WHERE conv_a = ? AND conv_b = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = conv->a;
    v[1].u64 = conv->b;

    if (lookup_run(l, sql, v, 2, lookup_on_one, &one) != IM_OK) {
        return IM_ERROR;
    }

    *last = one.n ? one.value : 0;

    return IM_OK;
}


int
logic_lookup_stored(logic_lookup_t *l, const im_conv_t *conv, uint64_t seq,
    uint64_t *msg_id)
{
    lookup_one_t      one = { 0, 0 };
    im_mysql_value_t  v[3];

    static const char  sql[] =
        "SELECT msg_id FROM messages WHERE conv_a = ? AND conv_b = ? "
        "AND seq = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = conv->a;
    v[1].u64 = conv->b;
    v[2].u64 = seq;

    if (lookup_run(l, sql, v, 3, lookup_on_one, &one) != IM_OK) {
        return IM_ERROR;
    }

    *msg_id = one.n ? one.value : 0;

    return IM_OK;
}


static int
lookup_on_one(void *ctx, const im_mysql_value_t *v)
{
    lookup_one_t  *one = ctx;

    if (!v[0].null) {
        one->n = 1;
        one->value = v[0].u64;
    }

    return IM_OK;
}


/* A connection that was idle too long is noticed by its first use. */
static int
lookup_run(logic_lookup_t *l, const char *sql, const im_mysql_value_t *params,
    size_t n, int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    int  rc, tries;

    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64 };

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = im_mysql_run(l->mysql, sql, params, n, columns, 1, row, ctx,
                          NULL, NULL);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


static void
lookup_forget(logic_lookup_t *l)
{
    lookup_user_t  *u, *tmp;

    HASH_ITER(hh, l->known, u, tmp) {
        HASH_DEL(l->known, u);
        free(u);
    }
}
