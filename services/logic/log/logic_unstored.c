/*
 * logic_unstored.c -- see logic_unstored.h.
 *
 * Redis holds im:fresh:{uid} for an hour, longer than the store may be behind:
 * the partitions of the conversations that began lately for this user, each
 * with the time of the last one.  So it has 64 members at most, however many
 * conversations a user begins, and to read it costs the same.  Most users have
 * none, and their list costs one look.
 *
 * A user who has some is parked until the store group has reached the end that
 * the log had.  A note that is so old that nothing is appended for it any more
 * is removed then; a younger one stays, since its message may not be in the log
 * yet.  By its time a note that was renewed meanwhile is not removed.  Nobody
 * waits for that: it is done for all together, after they were answered.
 *
 * Waiting for the log without such a note was rejected: it takes up to a
 * commit's interval, 200 ms, of each client that connects.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_keys.h"
#include "im_log.h"
#include "im_timeouts.h"
#include "logic_fail.h"
#include "logic_partitions.h"
#include "logic_unstored.h"


#define UNSTORED_LIFE     "3600"
#define UNSTORED_SKEW_MS  5000        /* clocks of two Logic may differ */


typedef struct {
    logic_parked_t           parked;   /* first */
    uint64_t                 uid;
    uint64_t                 partitions;
    uint64_t                 asked_ms;
    uint64_t                 oldest_ms;    /* of its notes */
    const ProtobufCMessage  *in;
    logic_jobs_pt            go_on;
} unstored_t;


static int unstored_note(im_redis_t *redis, uint64_t uid, unsigned partition);
static int unstored_read(im_redis_t *redis, unstored_t *b);
static void unstored_add(unstored_t *b, const char *partition,
    const char *time);
static int unstored_park(logic_db_t *db, unstored_t *b, im_rpc_req_t *req);
static void unstored_resume(logic_db_t *db, logic_parked_t **parked, size_t n);
static int unstored_is_stored(const unstored_t *b);
static void unstored_drop(logic_parked_t *parked);
static void unstored_forget(im_redis_t *redis, unstored_t **all, size_t n);
static int unstored_forget_append(im_redis_t *redis, const unstored_t *b,
    size_t *replies);
static size_t unstored_key(char *out, size_t size, uint64_t uid);


int
logic_unstored_append(im_redis_t *redis, const im_conv_t *conv, size_t *replies)
{
    unsigned  partition;

    if (conv->a == 0) {
        return IM_OK;                  /* members have a row already */
    }

    partition = im_slot_of_conv(conv) % logic_partitions();

    if (unstored_note(redis, conv->a, partition) != IM_OK
        || unstored_note(redis, conv->b, partition) != IM_OK)
    {
        return IM_ERROR;
    }

    *replies += 4;

    return IM_OK;
}


static int
unstored_note(im_redis_t *redis, uint64_t uid, unsigned partition)
{
    int       n;
    char      key[48], time[24], value[16];
    im_str_t  add[4] = {
        im_str("ZADD"), { 0, NULL }, { 0, NULL }, { 0, NULL }
    };
    im_str_t  expire[3] = {
        im_str("EXPIRE"), { 0, NULL }, im_str(UNSTORED_LIFE)
    };

    add[1].data = (unsigned char *) key;
    add[1].len = unstored_key(key, sizeof(key), uid);
    expire[1] = add[1];

    n = snprintf(time, sizeof(time), "%" PRIu64, im_now_ms());
    add[2].data = (unsigned char *) time;
    add[2].len = (size_t) n;

    n = snprintf(value, sizeof(value), "%u", partition);
    add[3].data = (unsigned char *) value;
    add[3].len = (size_t) n;

    return (im_redis_append(redis, 4, add) == IM_OK
            && im_redis_append(redis, 3, expire) == IM_OK)
           ? IM_OK : IM_ERROR;
}


int
logic_unstored_ask(im_redis_t *redis, uint64_t uid)
{
    char      key[48];
    im_str_t  argv[5] = {
        im_str("ZRANGE"), { 0, NULL }, im_str("0"), im_str("-1"),
        im_str("WITHSCORES")
    };

    argv[1].data = (unsigned char *) key;
    argv[1].len = unstored_key(key, sizeof(key), uid);

    return im_redis_append(redis, 5, argv);
}


int
logic_unstored_wait(logic_db_t *db, const logic_call_t *call, uint64_t uid,
    logic_jobs_pt go_on)
{
    unstored_t  *b, note = {
        .uid = uid,
        .asked_ms = im_now_ms(),
        .oldest_ms = UINT64_MAX,
        .in = call->in,
        .go_on = go_on
    };

    if (unstored_read(db->redis, &note) != IM_OK) {
        im_warn_seldom("lists of conversations are refused: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(call->req, "unavailable", "the notes of new conversations "
                   "do not answer");
        return IM_DECLINED;
    }

    if (note.partitions == 0) {
        return IM_OK;
    }

    b = malloc(sizeof(unstored_t));
    if (b == NULL) {
        logic_fail(call->req, "internal", "out of memory");
        return IM_DECLINED;
    }

    *b = note;

    return unstored_park(db, b, call->req);
}


/* A reply of another type leaves those of other users where they are. */
static int
unstored_read(im_redis_t *redis, unstored_t *b)
{
    size_t       i;
    redisReply  *reply;

    reply = im_redis_reply(redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    if (!im_redis_is(redis, reply, IM_REDIS_ARRAY)) {
        im_redis_free(reply);
        return IM_ERROR;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {
        if (reply->element[i]->str != NULL
            && reply->element[i + 1]->str != NULL)
        {
            unstored_add(b, reply->element[i]->str, reply->element[i + 1]->str);
        }
    }

    im_redis_free(reply);

    return IM_OK;
}


static void
unstored_add(unstored_t *b, const char *partition, const char *time)
{
    uint64_t       ms;
    unsigned long  p;

    p = strtoul(partition, NULL, 10);
    ms = strtoull(time, NULL, 10);

    if (p < logic_partitions()) {
        b->partitions |= 1ULL << p;
    }

    if (ms < b->oldest_ms) {
        b->oldest_ms = ms;
    }
}


static int
unstored_park(logic_db_t *db, unstored_t *b, im_rpc_req_t *req)
{
    int  rc, ms;

    ms = im_rpc_req_left_ms(req) / 2;
    ms = (ms < IM_UNSTORED_WAIT_MS) ? ms : IM_UNSTORED_WAIT_MS;

    b->parked.wait.partitions = b->partitions;
    b->parked.req = req;
    b->parked.resume = unstored_resume;
    b->parked.drop = unstored_drop;
    b->parked.wait.until_us = im_cond_now_us()
                              + (uint64_t) (ms > 0 ? ms : 0) * 1000;

    rc = logic_pool_park(db, &b->parked);

    if (rc != IM_AGAIN) {
        logic_fail(req, "busy", "too many requests wait for the store");
        free(b);
        return IM_DECLINED;
    }

    return IM_AGAIN;
}


static void
unstored_resume(logic_db_t *db, logic_parked_t **parked, size_t n)
{
    size_t         i, n_stored;
    unstored_t    *b, *stored[LOGIC_CALLS_MAX];
    logic_call_t   calls[LOGIC_CALLS_MAX];

    for (i = 0, n_stored = 0; i < n; i++) {
        b = (unstored_t *) parked[i];

        if (unstored_is_stored(b)) {
            calls[n_stored].req = b->parked.req;
            calls[n_stored].in = b->in;
            stored[n_stored++] = b;

        } else {
            free(b);
        }
    }

    if (n_stored == 0) {
        return;
    }

    stored[0]->go_on(db, calls, n_stored);

    /* the requests are gone */

    unstored_forget(db->redis, stored, n_stored);

    for (i = 0; i < n_stored; i++) {
        free(stored[i]);
    }
}


/* 0: the call has been refused. */
static int
unstored_is_stored(const unstored_t *b)
{
    const logic_wait_t  *w = &b->parked.wait;

    if ((w->partitions & ~w->reached) != 0) {
        logic_fail(b->parked.req, "unavailable", "a conversation that has "
                   "begun is not stored yet");
        return 0;
    }

    return 1;
}


static void
unstored_drop(logic_parked_t *parked)
{
    free(parked);
}


static void
unstored_forget(im_redis_t *redis, unstored_t **all, size_t n)
{
    int     rc;
    size_t  i, replies;

    rc = IM_OK;
    replies = 0;

    for (i = 0; i < n && rc == IM_OK; i++) {
        rc = unstored_forget_append(redis, all[i], &replies);
    }

    if (rc != IM_OK || im_redis_skip(redis, replies) != IM_OK) {
        im_warn_seldom("notes of new conversations are not removed: redis: %s",
                       im_redis_error(redis));
    }
}


static int
unstored_forget_append(im_redis_t *redis, const unstored_t *b, size_t *replies)
{
    int       n;
    char      key[48], time[24];
    im_str_t  argv[4] = {
        im_str("ZREMRANGEBYSCORE"), { 0, NULL }, im_str("-inf"), { 0, NULL }
    };
    uint64_t  until_ms;

    until_ms = b->asked_ms - logic_void_after_ms() - UNSTORED_SKEW_MS;

    if (b->oldest_ms > until_ms) {
        return IM_OK;
    }

    argv[1].data = (unsigned char *) key;
    argv[1].len = unstored_key(key, sizeof(key), b->uid);

    n = snprintf(time, sizeof(time), "%" PRIu64, until_ms);
    argv[3].data = (unsigned char *) time;
    argv[3].len = (size_t) n;

    if (im_redis_append(redis, 4, argv) != IM_OK) {
        return IM_ERROR;
    }

    (*replies)++;

    return IM_OK;
}


static size_t
unstored_key(char *out, size_t size, uint64_t uid)
{
    return (size_t) snprintf(out, size, IM_KEY_FRESH, uid);
}
