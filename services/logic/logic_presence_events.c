/*
 * logic_presence_events.c -- telling those who asked that a user comes or goes.
 *
 * Coming is told at once.  Going is told 1.8 s after the last connection has
 * ended, and only if there is none by then: who changes networks has not gone.
 * Until then the user stands in im:off with the time, by Redis's clock, so it
 * is told even if this Logic ends meanwhile; the one that takes the user out of
 * there tells it.  That is the home of the user's slot, where opens and closes
 * go, too; if there is no such, because instances come and go, any one 3 s
 * later.
 *
 * A user who comes back between the last look and the telling would be told as
 * gone: who was told is looked at once more, a second later.  So is who could
 * not be told, because an instance has no link to us.
 *
 * Presence thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>
#include "im_hash.h"
#include "im_slot.h"
#include "logic_alive.h"
#include "logic_home.h"
#include "logic_links.h"
#include "logic_presence_int.h"
#include "logic_words.h"


#define EVENTS_LEAVE_MS    1800
#define EVENTS_LATE_MS     3000
#define EVENTS_AGAIN_MS    1000
#define EVENTS_CLAIM       200         /* leaves in one round */
#define EVENTS_AGAIN_MAX   4096        /* more are not looked at again */
#define EVENTS_TRIES_MAX   10


typedef struct {
    UT_hash_handle   hh;
    size_t           n;
    unsigned         tries[PRESENCE_CHANGES];
    Im__Presence     users[PRESENCE_CHANGES];
    Im__Presence    *list[PRESENCE_CHANGES];
    char             id[];
} events_target_t;

typedef struct {
    uint64_t         uid;
    uint64_t         at_us;
    unsigned         tries;            /* 0: it was told */
} events_again_t;


static int events_claim(presence_t *p, uint64_t now_ms, size_t skip,
    size_t *seen, size_t *left);
static int events_gone(presence_t *p, const uint64_t *uids, size_t n);
static void events_later(uint64_t uid, unsigned tries);
static void events_change(presence_t *p, uint64_t uid, unsigned online,
    unsigned tries);
static int events_look_again(presence_t *p);
static int events_read(presence_t *p, events_target_t **targets,
    unsigned *stale);
static void events_add(presence_t *p, unsigned change,
    events_target_t **targets, const char *id, size_t len);
static void events_send(events_target_t **targets);


static events_again_t   events_again[EVENTS_AGAIN_MAX];
static size_t           events_again_n;


int
logic_presence_leaves(presence_t *p, uint64_t uid)
{
    char  due[24], who[24];

    snprintf(due, sizeof(due), "%" PRIu64,
             logic_presence_now(p) + EVENTS_LEAVE_MS);
    snprintf(who, sizeof(who), "%" PRIu64, uid);

    return logic_words(p->db.redis, 5, "ZADD", "im:off", "NX", due,
                              who);
}


int
logic_presence_stays(presence_t *p, uint64_t uid)
{
    char  who[24];

    snprintf(who, sizeof(who), "%" PRIu64, uid);

    return logic_words(p->db.redis, 3, "ZREM", "im:off", who);
}


/* The reply to TIME: seconds, microseconds. */
int
logic_presence_time(presence_t *p)
{
    redisReply  *reply;

    reply = im_redis_expect(p->db.redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    if (reply->elements == 2) {
        p->redis_ms = strtoull(reply->element[0]->str, NULL, 10) * 1000
                      + strtoull(reply->element[1]->str, NULL, 10) / 1000;
        p->redis_at_us = im_mono_us();
    }

    im_redis_free(reply);

    return IM_OK;
}


uint64_t
logic_presence_now(const presence_t *p)
{
    return p->redis_ms + (im_mono_us() - p->redis_at_us) / 1000;
}


int
logic_presence_expire(presence_t *p)
{
    int     rc;
    size_t  seen, left, skip;

    if (logic_words(p->db.redis, 1, "TIME") != IM_OK
        || logic_presence_time(p) != IM_OK)
    {
        return IM_ERROR;
    }

    skip = 0;

    do {
        rc = events_claim(p, logic_presence_now(p), skip, &seen, &left);
        skip += left;

    } while (rc == IM_OK && seen == EVENTS_CLAIM);

    return (rc == IM_OK) ? events_look_again(p) : rc;
}


/* left: those of `seen` that are other Logics' to tell. */
static int
events_claim(presence_t *p, uint64_t now_ms, size_t skip, size_t *seen,
    size_t *left)
{
    char         now[24], from[24], count[24];
    size_t       i, n;
    uint64_t     uid, due_ms, uids[EVENTS_CLAIM];
    redisReply  *reply;

    snprintf(now, sizeof(now), "%" PRIu64, now_ms);
    snprintf(from, sizeof(from), "%zu", skip);
    snprintf(count, sizeof(count), "%d", EVENTS_CLAIM);

    if (logic_words(p->db.redis, 8, "ZRANGEBYSCORE", "im:off", "-inf",
                           now, "WITHSCORES", "LIMIT", from, count)
        != IM_OK)
    {
        return IM_ERROR;
    }

    reply = im_redis_expect(p->db.redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    *seen = reply->elements / 2;
    n = 0;

    for (i = 0; i < *seen; i++) {
        uid = strtoull(reply->element[2 * i]->str, NULL, 10);
        due_ms = strtoull(reply->element[2 * i + 1]->str, NULL, 10);

        if (logic_home(im_slot_of_user(uid))
            || now_ms > due_ms + EVENTS_LATE_MS)
        {
            uids[n++] = uid;
        }
    }

    *left = *seen - n;
    im_redis_free(reply);

    if (n == 0) {
        return IM_OK;
    }

    if (events_gone(p, uids, n) != IM_OK) {

        for (i = 0; i < n; i++) {
            events_later(uids[i], 1);
        }

        return IM_ERROR;
    }

    return logic_presence_tell(p);
}


/* Takes them out; whoever did it tells, if there is still no connection. */
static int
events_gone(presence_t *p, const uint64_t *uids, size_t n)
{
    char         key[32];
    size_t       i;
    int          mine;
    redisReply  *reply;

    for (i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "im:u:{%" PRIu64 "}", uids[i]);

        if (logic_presence_stays(p, uids[i]) != IM_OK
            || logic_words(p->db.redis, 2, "HVALS", key) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        reply = im_redis_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        mine = (reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);
        im_redis_free(reply);

        reply = im_redis_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (mine && !im_redis_is(p->db.redis, reply, IM_REDIS_ARRAY)) {
            events_later(uids[i], 1);

        } else if (mine && logic_presence_alive(reply) == 0) {
            logic_presence_changed(p, uids[i], 0);
            events_later(uids[i], 0);
        }

        im_redis_free(reply);
    }

    return IM_OK;
}


/* The truth is told then, whatever it is. */
static void
events_later(uint64_t uid, unsigned tries)
{
    events_again_t  *again;

    if (events_again_n == EVENTS_AGAIN_MAX || tries > EVENTS_TRIES_MAX) {
        return;
    }

    again = &events_again[events_again_n++];
    again->uid = uid;
    again->at_us = im_mono_us() + EVENTS_AGAIN_MS * 1000;
    again->tries = tries;
}


/* Of those told as gone: who is there after all?  And who could not be told. */
static int
events_look_again(presence_t *p)
{
    char         key[32];
    size_t       i, n, alive;
    redisReply  *reply;

    for (n = 0; n < events_again_n && n < EVENTS_CLAIM; n++) {

        if (im_mono_us() < events_again[n].at_us) {
            break;
        }

        snprintf(key, sizeof(key), "im:u:{%" PRIu64 "}", events_again[n].uid);

        if (logic_words(p->db.redis, 2, "HVALS", key) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        reply = im_redis_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        alive = logic_presence_alive(reply);

        if (!im_redis_is(p->db.redis, reply, IM_REDIS_ARRAY)) {
            events_later(events_again[i].uid, events_again[i].tries + 1);

        } else if (alive > 0 || events_again[i].tries > 0) {
            events_change(p, events_again[i].uid, alive > 0,
                          events_again[i].tries);
        }

        im_redis_free(reply);
    }

    events_again_n -= n;
    memmove(events_again, events_again + n,
            events_again_n * sizeof(events_again_t));

    return logic_presence_tell(p);
}


void
logic_presence_changed(presence_t *p, uint64_t uid, unsigned online)
{
    events_change(p, uid, online, 0);
}


static void
events_change(presence_t *p, uint64_t uid, unsigned online, unsigned tries)
{
    if (p->n_changes == PRESENCE_CHANGES) {
        (void) logic_presence_tell(p);
    }

    p->changes[p->n_changes].uid = uid;
    p->changes[p->n_changes].tries = tries;
    p->changes[p->n_changes++].online = online;
}


/* Looks up who wants to know, and sends one item to each instance. */
int
logic_presence_tell(presence_t *p)
{
    int               rc;
    char              key[32];
    unsigned          i, stale;
    events_target_t  *targets;

    if (p->n_changes == 0) {
        return IM_OK;
    }

    rc = IM_OK;
    targets = NULL;
    stale = 0;

    for (i = 0; i < p->n_changes && rc == IM_OK; i++) {
        snprintf(key, sizeof(key), "im:ps:{%" PRIu64 "}", p->changes[i].uid);
        rc = logic_words(p->db.redis, 2, "SMEMBERS", key);
    }

    if (rc == IM_OK) {
        rc = events_read(p, &targets, &stale);
    }

    events_send(&targets);

    /* else with the next tick, unless there are too many */

    if (rc == IM_OK || p->n_changes > PRESENCE_CHANGES - PRESENCE_BATCH) {
        p->n_changes = 0;
    }

    return (rc == IM_OK) ? logic_presence_skip(p->db.redis, stale) : rc;
}


/* Instances that etcd does not name any more are taken out. */
static int
events_read(presence_t *p, events_target_t **targets, unsigned *stale)
{
    char         key[32];
    size_t       k;
    unsigned     i;
    redisReply  *reply, *id;

    for (i = 0; i < p->n_changes; i++) {
        reply = logic_words_array(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        for (k = 0; k < reply->elements; k++) {
            id = reply->element[k];

            if (logic_alive(id->str, id->len) != IM_DECLINED) {
                events_add(p, i, targets, id->str, id->len);
                continue;
            }

            snprintf(key, sizeof(key), "im:ps:{%" PRIu64 "}",
                     p->changes[i].uid);

            if (logic_words(p->db.redis, 3, "SREM", key, id->str)
                == IM_OK)
            {
                (*stale)++;
            }
        }

        im_redis_free(reply);
    }

    return IM_OK;
}


static void
events_add(presence_t *p, unsigned change, events_target_t **targets,
    const char *id, size_t len)
{
    Im__Presence     *user;
    events_target_t  *t;

    HASH_FIND(hh, *targets, id, len, t);

    if (t == NULL) {
        t = malloc(sizeof(events_target_t) + len + 1);
        if (t == NULL) {
            im_log(IM_LOG_ERR, "out of memory: an instance is not told who "
                   "comes and goes");
            return;
        }

        memset(t, 0, sizeof(*t));
        memcpy(t->id, id, len);
        t->id[len] = '\0';
        HASH_ADD_KEYPTR(hh, *targets, t->id, len, t);

        if (!im_hash_is_added(t)) {
            free(t);
            return;
        }
    }

    user = &t->users[t->n];
    im__presence__init(user);
    user->uid = p->changes[change].uid;
    user->online = (p->changes[change].online != 0);
    t->tries[t->n] = p->changes[change].tries;
    t->list[t->n++] = user;
}


/* An instance that is alive and has no link to us will have one soon: we have
 * just started, or it broke. */
static void
events_send(events_target_t **targets)
{
    size_t              i;
    Im__DownItem        item = IM__DOWN_ITEM__INIT;
    events_target_t    *t, *next;
    Im__PresenceEvent   event = IM__PRESENCE_EVENT__INIT;

    item.item_case = IM__DOWN_ITEM__ITEM_PRESENCE;
    item.presence = &event;

    HASH_ITER(hh, *targets, t, next) {
        event.users = t->list;
        event.n_users = t->n;

        if (logic_links_send(t->id, &item) != IM_OK) {

            for (i = 0; i < t->n; i++) {
                events_later(t->users[i].uid, t->tries[i] + 1);
            }
        }

        HASH_DEL(*targets, t);
        free(t);
    }
}
