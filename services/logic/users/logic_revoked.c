/*
 * logic_revoked.c -- see logic_revoked.h.
 *
 *   im:rev:<sid>   for as long as a token of the session could be refreshed:
 *                  Logic looks there for each call
 *   im:revs        sid -> when, for as long as an access token may live:
 *                  workers get it when they connect, and each new one at once
 *
 * First Redis, then the links: a worker that connects in between reads the list
 * after the entry was made, and one that was connected before is notified.
 *
 * The list is bounded, since each worker holds it: the oldest go first, and
 * their tokens are then still refused by Logic, but no longer by a worker.
 */

#include <stdio.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_keys.h"
#include "im_log.h"
#include "logic_conf.h"
#include "logic_revoked.h"
#include "logic_workers.h"


#define REVOKED_MAX     100000
#define REVOKED_TRIM    "-100001"      /* ranks up to this one are too many */
#define REVOKED_ITEM    1000           /* sids in one item */
#define REVOKED_SKEW_S  60             /* between the clocks of Logics */

_Static_assert(REVOKED_MAX == 100000, "REVOKED_TRIM follows from it");


static int revoked_mark(im_redis_t *redis, const char *sid, const char *now,
    const char *ttl);
static int revoked_trim(im_redis_t *redis, uint64_t now_s);
static int revoked_replies(im_redis_t *redis, size_t n, long long *last);
static im_str_t revoked_str(const char *s);
static int revoked_send(im_rpc_stream_t *s, char **sids, size_t n);


int
logic_revoked_add(im_redis_t *redis, char **sids, size_t n)
{
    int            rc;
    char           now[24], ttl[16];
    size_t         i;
    uint64_t       now_s;
    long long      old;
    Im__Revoked    revoked = IM__REVOKED__INIT;
    Im__DownItem   item = IM__DOWN_ITEM__INIT;

    now_s = im_now_ms() / 1000;
    snprintf(now, sizeof(now), "%llu", (unsigned long long) now_s);
    snprintf(ttl, sizeof(ttl), "%u", logic_conf.refresh_ttl_s);

    for (i = 0; i < n; i++) {
        if (revoked_mark(redis, sids[i], now, ttl) != IM_OK) {
            return IM_ERROR;
        }
    }

    if (revoked_trim(redis, now_s) != IM_OK) {
        return IM_ERROR;
    }

    rc = revoked_replies(redis, 2 * n + 2, &old);
    if (rc != IM_OK) {
        return rc;
    }

    if (old > 0) {
        im_log(IM_LOG_WARN, "sessions: more than %d were ended lately, workers "
               "forget the oldest", REVOKED_MAX);
    }

    revoked.sids = sids;
    revoked.n_sids = n;
    revoked.ttl_s = logic_conf.access_ttl_s;
    item.item_case = IM__DOWN_ITEM__ITEM_REVOKED;
    item.revoked = &revoked;

    logic_workers_send_all(&item);

    return IM_OK;
}


static int
revoked_mark(im_redis_t *redis, const char *sid, const char *now,
    const char *ttl)
{
    char      key[64];
    im_str_t  set[5] = {
        im_str("SET"), { 0, NULL }, im_str("1"), im_str("EX"), { 0, NULL }
    };
    im_str_t  add[4] = {
        im_str("ZADD"), im_str(IM_KEY_REVOKED_LAST), { 0, NULL }, { 0, NULL }
    };

    snprintf(key, sizeof(key), IM_KEY_REVOKED, sid);
    set[1] = revoked_str(key);
    set[4] = revoked_str(ttl);
    add[2] = revoked_str(now);
    add[3] = revoked_str(sid);

    return (im_redis_append(redis, 5, set) == IM_OK
            && im_redis_append(redis, 4, add) == IM_OK) ? IM_OK : IM_ERROR;
}


/* By age, then by number: the last reply says how many were too many. */
static int
revoked_trim(im_redis_t *redis, uint64_t now_s)
{
    char      until[24];
    im_str_t  age[4] = {
        im_str("ZREMRANGEBYSCORE"), im_str(IM_KEY_REVOKED_LAST), im_str("-inf"),
        { 0, NULL }
    };
    im_str_t  rank[4] = {
        im_str("ZREMRANGEBYRANK"), im_str(IM_KEY_REVOKED_LAST), im_str("0"),
        im_str(REVOKED_TRIM)
    };

    snprintf(until, sizeof(until), "%lld", (long long) now_s
             - (long long) logic_conf.access_ttl_s - REVOKED_SKEW_S);
    age[3] = revoked_str(until);

    return (im_redis_append(redis, 4, age) == IM_OK
            && im_redis_append(redis, 4, rank) == IM_OK) ? IM_OK : IM_ERROR;
}


static int
revoked_replies(im_redis_t *redis, size_t n, long long *last)
{
    redisReply  *reply;

    *last = 0;

    while (n-- > 0) {
        reply = im_redis_expect(redis, IM_REDIS_OK | IM_REDIS_INT);
        if (reply == NULL) {
            return IM_ERROR;
        }

        *last = (reply->type == REDIS_REPLY_INTEGER) ? reply->integer : 0;
        im_redis_free(reply);
    }

    return IM_OK;
}


static im_str_t
revoked_str(const char *s)
{
    im_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}


int
logic_revoked_hello(im_redis_t *redis, im_rpc_stream_t *s)
{
    int          rc;
    char         from[24], *sids[REVOKED_ITEM];
    size_t       i, n;
    im_str_t     argv[4] = {
        im_str("ZRANGEBYSCORE"), im_str(IM_KEY_REVOKED_LAST), { 0, NULL },
        im_str("+inf")
    };
    redisReply  *reply;

    snprintf(from, sizeof(from), "%lld", (long long) (im_now_ms() / 1000)
             - (long long) logic_conf.access_ttl_s - REVOKED_SKEW_S);
    argv[2] = revoked_str(from);

    if (im_redis_append(redis, 4, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_expect(redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = IM_OK;
    n = 0;

    for (i = 0; i < reply->elements && rc == IM_OK; i++) {
        if (reply->element[i]->len != IM_SID_LEN) {
            continue;
        }

        sids[n++] = reply->element[i]->str;

        if (n == REVOKED_ITEM) {
            rc = revoked_send(s, sids, n);
            n = 0;
        }
    }

    if (n > 0 && rc == IM_OK) {
        rc = revoked_send(s, sids, n);
    }

    im_redis_free(reply);

    return rc;
}


static int
revoked_send(im_rpc_stream_t *s, char **sids, size_t n)
{
    Im__Revoked   revoked = IM__REVOKED__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    revoked.sids = sids;
    revoked.n_sids = n;
    revoked.ttl_s = logic_conf.access_ttl_s;
    item.item_case = IM__DOWN_ITEM__ITEM_REVOKED;
    item.revoked = &revoked;

    switch (im_rpc_stream_add(s, &item.base)) {

    case IM_OK:
        return IM_OK;

    case IM_BUSY:
        return IM_BUSY;

    default:
        return IM_DONE;
    }
}
