/*
 * logic_blocks.c -- see logic_blocks.h.
 *
 * Every direct message needs the answer, and hardly any user blocks anybody, so
 * answers are cached until they change: MySQL is asked once for each pair, and
 * is not needed for users who talk already.  Half a million pairs are cached,
 * in 17 MB; beyond that, the least recently used is asked for again.
 *
 * A change is written to MySQL, then to the Redis stream im:blocks, which each
 * Logic reads once a second; the owner of the pair (the call goes there) drops
 * its answer at once.  A stream that does not hold the entry that was read last
 * was trimmed or lost.  Then the whole cache is invalidated: MySQL is asked
 * again before an answer is used, or, while MySQL does not answer, the old one
 * is used.  An answer that was asked for before a change is not kept
 * (logic_cache.h).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_keys.h"
#include "logic_ask.h"
#include "logic_blocks.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_renew.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


#define BLOCKS_MAX        1000         /* of one user */
#define BLOCKS_SETS       65536        /* of 8 pairs that are remembered */
#define BLOCKS_POLL       1000         /* entries of the stream at a time */
#define BLOCKS_ID_MAX     48


/* One that is not known. */
typedef struct {
    logic_cache_key_t     pair;
    uint64_t              asked_us;
    logic_cache_mark_t    mark;
} blocks_want_t;

typedef struct {
    uint64_t         uids[BLOCKS_MAX];
    size_t           n;
} blocks_list_t;


static int blocks_run(im_mysql_t *mysql, blocks_want_t *wants, size_t n);
static logic_cache_key_t blocks_pair(uint64_t to, uint64_t from);
static int blocks_check(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    uint64_t other);
static int blocks_changed(logic_db_t *db, im_rpc_req_t *req, uint64_t to,
    uint64_t from);
static int blocks_on_uid(void *ctx, const im_mysql_value_t *v);
static redisReply *blocks_read(im_redis_t *redis);
static int blocks_since(const redisReply *reply);
static void blocks_learn(const redisReply *entry);
static void blocks_forget(uint64_t to, uint64_t from);


/* 1: blocked, 0: not. */
LOGIC_CACHE(blocks_cache, BLOCKS_SETS, sizeof(uint64_t), LOGIC_CACHE_EVER,
            LOGIC_CACHE_EVER);

static char  blocks_last[BLOCKS_ID_MAX];       /* the poll's */


logic_cache_e
logic_blocks_known(logic_blocks_item_t *item, uint64_t now_us)
{
    uint64_t            blocked;
    logic_cache_e       state;
    logic_cache_mark_t  mark;

    item->blocked = 0;

    if (item->to == item->from) {
        return LOGIC_CACHE_FRESH;
    }

    state = logic_cache_get(&blocks_cache, blocks_pair(item->to, item->from),
                            now_us, &blocked, &mark);

    if (state != LOGIC_CACHE_NONE) {
        item->blocked = (blocked != 0);
    }

    return state;
}


int
logic_blocks_ask(im_mysql_t *mysql, const logic_blocks_item_t *items, size_t n)
{
    size_t           i, missing;
    uint64_t         blocked;
    blocks_want_t   *want, wants[LOGIC_ASK_MAX];

    missing = 0;

    for (i = 0; i < n; i++) {
        if (items[i].to == items[i].from) {
            continue;
        }

        want = &wants[missing];
        want->pair = blocks_pair(items[i].to, items[i].from);
        want->asked_us = im_mono_us();

        if (logic_cache_get(&blocks_cache, want->pair, want->asked_us,
                            &blocked, &want->mark)
            <= LOGIC_CACHE_STALE)
        {
            missing++;
        }
    }

    return (missing > 0) ? blocks_run(mysql, wants, missing) : IM_OK;
}


static int
blocks_run(im_mysql_t *mysql, blocks_want_t *wants, size_t n)
{
    size_t          i;
    uint64_t        blocked;
    logic_ask_t     asks[LOGIC_ASK_MAX];
    blocks_want_t  *want;

#define BLOCKS_PAIRS(pairs)  "SELECT uid, other FROM blocks WHERE " pairs
#define BLOCKS_PAIR          "(uid = ? AND other = ?)"

    static const logic_ask_sql_t  sql = {
        BLOCKS_PAIRS(LOGIC_ASK_8(BLOCKS_PAIR, " OR ")),
        BLOCKS_PAIRS(LOGIC_ASK_128(BLOCKS_PAIR, " OR ")), 2, 0
    };

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = wants[i].pair.a;
        asks[i].key[1] = wants[i].pair.b;
        asks[i].item = &wants[i];
    }

    if (logic_ask(mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        want = asks[i].item;
        blocked = asks[i].found;

        logic_cache_put(&blocks_cache, want->pair, want->asked_us, &blocked,
                        want->mark);
    }

    return IM_OK;
}


static logic_cache_key_t
blocks_pair(uint64_t to, uint64_t from)
{
    logic_cache_key_t  key = { to, from };

    return key;
}


void
logic_blocks_block(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    Im__BlockReply            reply = IM__BLOCK_REPLY__INIT;
    im_mysql_value_t          v[2];
    const Im__BlockRequest   *r;

    static const char  sql[] =
        "INSERT IGNORE INTO blocks (uid, other) VALUES (?, ?)";

    r = (const Im__BlockRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (blocks_check(db, req, r->caller->uid, r->uid) != IM_OK) {
        return;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    v[1].u64 = r->uid;

    if (logic_db_run(db, sql, v, 2, NULL, 0, NULL, NULL) != IM_OK) {
        logic_db_failed(db, req);
        return;
    }

    if (blocks_changed(db, req, r->caller->uid, r->uid) == IM_OK) {
        im_rpc_reply(req, &reply.base);
    }
}


static int
blocks_check(logic_db_t *db, im_rpc_req_t *req, uint64_t uid, uint64_t other)
{
    uint64_t          known, n;
    im_mysql_value_t  v[3];

    /* of a pair that is there already, so that a repeat passes: 0 */

    static const char  sql[] =
        "SELECT COUNT(*) FROM blocks WHERE uid = ? AND NOT EXISTS "
        "(SELECT 1 FROM blocks WHERE uid = ? AND other = ?)";

    if (other == uid) {
        logic_fail(req, "bad_field", "field 'uid' is the caller");
        return IM_DECLINED;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = uid;
    v[2].u64 = other;
    known = 0;

    if ((other <= INT64_MAX && logic_db_user(db, other, &known) != IM_OK)
        || logic_db_number(db, sql, v, 3, &n) != IM_OK)
    {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    if (known == 0) {
        logic_fail(req, "no_such_user", "there is no such user");
        return IM_DECLINED;
    }

    if (n >= BLOCKS_MAX) {
        logic_fail(req, "limit_reached", "%d users are blocked already",
                   BLOCKS_MAX);
        return IM_DECLINED;
    }

    return IM_OK;
}


/* IM_ERROR: it has been answered. */
static int
blocks_changed(logic_db_t *db, im_rpc_req_t *req, uint64_t to, uint64_t from)
{
    char         pair[IM_KEYS_PAIR_MAX];
    im_str_t     argv[8] = {
        im_str("XADD"), im_str(IM_KEY_BLOCKS), im_str("MAXLEN"), im_str("~"),
        im_str("10000"), im_str("*"), im_str("p"), { 0, NULL }
    };
    redisReply  *reply;

    blocks_forget(to, from);

    im_keys_pair_write(pair, to, from);
    argv[7].data = (unsigned char *) pair;
    argv[7].len = strlen(pair);

    reply = (im_redis_append(db->redis, 8, argv) == IM_OK)
            ? im_redis_reply(db->redis) : NULL;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        im_redis_free(reply);
        logic_fail(req, "unavailable", "other instances cannot be notified");
        return IM_ERROR;
    }

    im_redis_free(reply);

    return IM_OK;
}


void
logic_blocks_unblock(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    Im__UnblockReply            reply = IM__UNBLOCK_REPLY__INIT;
    im_mysql_value_t            v[2];
    const Im__UnblockRequest   *r;

    static const char  sql[] = "DELETE FROM blocks WHERE uid = ? AND other = ?";

    r = (const Im__UnblockRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    v[1].u64 = r->uid;

    if (r->uid <= INT64_MAX
        && logic_db_run(db, sql, v, 2, NULL, 0, NULL, NULL) != IM_OK)
    {
        logic_db_failed(db, req);
        return;
    }

    if (blocks_changed(db, req, r->caller->uid, r->uid) == IM_OK) {
        im_rpc_reply(req, &reply.base);
    }
}


void
logic_blocks_list(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    blocks_list_t             list;
    Im__BlocksReply           reply = IM__BLOCKS_REPLY__INIT;
    im_mysql_value_t          v[1];
    const Im__BlocksRequest  *r;

    static const char             sql[] =
        "SELECT other FROM blocks WHERE uid = ? ORDER BY other";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64 };

    r = (const Im__BlocksRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    list.n = 0;

    if (logic_db_run(db, sql, v, 1, columns, 1, blocks_on_uid, &list)
        != IM_OK)
    {
        logic_db_failed(db, req);
        return;
    }

    reply.uids = list.uids;
    reply.n_uids = list.n;
    im_rpc_reply(req, &reply.base);
}


static int
blocks_on_uid(void *ctx, const im_mysql_value_t *v)
{
    blocks_list_t  *list = ctx;

    if (list->n == BLOCKS_MAX) {
        return IM_DONE;                /* two at a time passed the check */
    }

    list->uids[list->n++] = v[0].u64;

    return IM_OK;
}


int
logic_blocks_poll(im_redis_t *redis)
{
    size_t       i, n;
    redisReply  *reply;

    do {
        reply = blocks_read(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type != REDIS_REPLY_ARRAY) {
            im_redis_free(reply);
            return IM_ERROR;
        }

        n = reply->elements;

        if (!blocks_since(reply)) {
            logic_cache_invalidate(&blocks_cache);
        }

        for (i = 0; i < n; i++) {
            blocks_learn(reply->element[i]);
        }

        if (n == 0) {
            blocks_last[0] = '\0';
        }

        im_redis_free(reply);

    } while (n == BLOCKS_POLL);

    return IM_OK;
}


/* From the last one on, which must be there again. */
static redisReply *
blocks_read(im_redis_t *redis)
{
    im_str_t  argv[6] = {
        im_str("XRANGE"), im_str(IM_KEY_BLOCKS), im_str("-"), im_str("+"),
        im_str("COUNT"), im_str("1000")
    };

    if (blocks_last[0] != '\0') {
        argv[2].data = (unsigned char *) blocks_last;
        argv[2].len = strlen(blocks_last);
    }

    return (im_redis_append(redis, 6, argv) == IM_OK) ? im_redis_reply(redis)
                                                      : NULL;
}


/* 1 if nothing is missing between the last time and this one. */
static int
blocks_since(const redisReply *reply)
{
    const redisReply  *first;

    if (blocks_last[0] == '\0') {
        return reply->elements == 0;
    }

    if (reply->elements == 0) {
        return 0;
    }

    first = reply->element[0];

    return first->type == REDIS_REPLY_ARRAY && first->elements == 2
           && strcmp(first->element[0]->str, blocks_last) == 0;
}


/* [id, ["p", "<to> <from>"]] */
static void
blocks_learn(const redisReply *entry)
{
    uint64_t           to, from;
    const redisReply  *fields;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2
        || entry->element[0]->len >= BLOCKS_ID_MAX)
    {
        return;
    }

    if (strcmp(blocks_last, entry->element[0]->str) == 0) {
        return;
    }

    snprintf(blocks_last, sizeof(blocks_last), "%s", entry->element[0]->str);
    fields = entry->element[1];

    if (fields->type == REDIS_REPLY_ARRAY && fields->elements == 2
        && im_keys_pair_read(fields->element[1]->str, &to, &from) == IM_OK)
    {
        blocks_forget(to, from);
    }
}


/* Asked for again at once, so that they talk on if MySQL fails next. */
static void
blocks_forget(uint64_t to, uint64_t from)
{
    if (logic_cache_drop(&blocks_cache, blocks_pair(to, from))) {
        logic_renew(from, to, 0);
    }
}
