/*
 * logic_presence_events.c -- subscribers are notified when a user comes or
 * goes.
 *
 *   script's reply --> changes, by instance --> links --> done
 *                                                 |
 *                              an instance has no link to us: repeated
 *
 * The script returns the changes to be notified, with a version
 * (logic_presence_state.c).  This file sends them, and runs the two clocks of
 * the machine: a user in "going" expires after 1.8 s, and a notification that
 * did not reach all subscribers is repeated each second, with the state at that
 * time.  The Logic that owns the user's slot does both; another one does it 300
 * ms later, because the owner may have died.  If both do it, no harm is done: a
 * transition happens once, and a worker knows a repeated notification by its
 * version.
 *
 * An instance without a link to any Logic asks for all its subscriptions when
 * it has one again, so a notification is dropped after a minute.
 *
 * Presence thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>
#include "im_clock.h"
#include "im_hash.h"
#include "im_keys.h"
#include "im_log.h"
#include "im_slot.h"
#include "logic_alive.h"
#include "logic_args.h"
#include "logic_owner.h"
#include "logic_presence_int.h"
#include "logic_workers.h"


#define EVENTS_LATE_MS       300       /* then any Logic may */
#define EVENTS_CLAIM         200       /* users in one round */
#define EVENTS_GIVE_UP_US    60000000


struct presence_target_s {
    UT_hash_handle   hh;
    size_t           n;
    unsigned         changes[PRESENCE_CHANGES];
    Im__Presence     users[PRESENCE_CHANGES];
    Im__Presence    *list[PRESENCE_CHANGES];
    char             id[];
};

/* What a list of the script says of a user. */
typedef struct {
    uint64_t         uid;
    uint64_t         score;
} events_due_t;


static int events_list(presence_t *p, const char *verb, size_t skip,
    events_due_t *due, size_t *n, uint64_t *now);
static int events_round(presence_t *p, size_t *skip);
static int events_gone(presence_t *p, const events_due_t *due, size_t n);
static int events_sweep(presence_t *p, const events_due_t *due, size_t n);
static int events_repeat(presence_t *p);
static int events_repeat_round(presence_t *p, size_t *skip);
static void events_give_up(presence_t *p, const events_due_t *due);
static int events_ask(presence_t *p, const char *verb,
    const events_due_t *due, size_t n, unsigned noted);
static void events_add(presence_t *p, unsigned change, const char *id,
    size_t len);
static void events_send(presence_t *p);
static int events_stale(presence_t *p, uint64_t uid, const char *id);
static int events_done(presence_t *p);


int
logic_presence_expire(presence_t *p)
{
    int     rc;
    size_t  skip;

    skip = 0;

    do {
        rc = events_round(p, &skip);
    } while (rc == IM_AGAIN && !logic_presence_stops());

    if (rc == IM_OK && im_mono_us() >= p->repeat_us) {
        p->repeat_us = im_mono_us() + LOGIC_PRESENCE_RETRY_US;
        rc = events_repeat(p);
    }

    return (rc == IM_AGAIN) ? IM_OK : rc;      /* the rest stays pending */
}


/* verb: "off" or "news". */
static int
events_list(presence_t *p, const char *verb, size_t skip, events_due_t *due,
    size_t *n, uint64_t *now)
{
    char         from[24];
    size_t       i;
    redisReply  *reply;

    snprintf(from, sizeof(from), "%zu", skip);

    do {
        if (logic_presence_call(p->db.redis, 4, verb, "", from,
                                IM_TIMEOUT_STR(EVENTS_CLAIM))
            != IM_OK)
        {
            return IM_ERROR;
        }

        reply = logic_presence_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
            break;
        }

        im_redis_free(reply);

        if (!logic_presence_is_forgotten()) {
            return IM_ERROR;
        }

    } while (1);

    *now = strtoull(reply->element[0]->str, NULL, 10);
    *n = (reply->elements - 1) / 2;

    for (i = 0; i < *n; i++) {
        due[i].uid = strtoull(reply->element[1 + 2 * i]->str, NULL, 10);
        due[i].score = strtoull(reply->element[2 + 2 * i]->str, NULL, 10);
    }

    im_redis_free(reply);

    return IM_OK;
}


/* IM_AGAIN: there may be more.  skip: those that are left to other Logics. */
static int
events_round(presence_t *p, size_t *skip)
{
    int           rc;
    size_t        i, n, seen;
    uint64_t      now;
    events_due_t  due[EVENTS_CLAIM];

    rc = events_list(p, "off", *skip, due, &seen, &now);

    if (rc != IM_OK || seen == 0) {
        return rc;
    }

    n = 0;

    for (i = 0; i < seen; i++) {
        if (logic_is_owner(im_slot_of_user(due[i].uid))
            || now > due[i].score + EVENTS_LATE_MS)
        {
            due[n++] = due[i];
        }
    }

    *skip += seen - n;

    if (n > 0) {
        rc = events_gone(p, due, n);
    }

    return (rc == IM_OK && seen == EVENTS_CLAIM) ? IM_AGAIN : rc;
}


static int
events_gone(presence_t *p, const events_due_t *due, size_t n)
{
    if (events_sweep(p, due, n) != IM_OK
        || events_ask(p, "expire", due, n, 0) != IM_OK)
    {
        return IM_ERROR;
    }

    return logic_presence_tell(p);
}


/* Takes out what dead instances have left of these users. */
static int
events_sweep(presence_t *p, const events_due_t *due, size_t n)
{
    char             key[32];
    size_t           i, k, swept;
    redisReply      *reply, *value;
    im_keys_route_t  route;

    swept = 0;

    for (i = 0; i < n; i++) {
        snprintf(key, sizeof(key), IM_KEY_USER, due[i].uid);

        if (logic_args(p->db.redis, 2, "HGETALL", key) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        reply = logic_args_array(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        snprintf(key, sizeof(key), IM_KEY_USER, due[i].uid);

        for (k = 0; k + 1 < reply->elements; k += 2) {
            value = reply->element[k + 1];

            if (im_keys_route_read(&route, value->str, value->len) == IM_OK
                && !logic_route_alive(&route)
                && logic_args(p->db.redis, 3, "HDEL", key,
                              reply->element[k]->str)
                   == IM_OK)
            {
                swept++;
            }
        }

        im_redis_free(reply);
    }

    return logic_presence_skip(p->db.redis, swept);
}


static int
events_repeat(presence_t *p)
{
    int     rc;
    size_t  skip;

    skip = 0;

    do {
        rc = events_repeat_round(p, &skip);
    } while (rc == IM_AGAIN && !logic_presence_stops());

    return rc;
}


static int
events_repeat_round(presence_t *p, size_t *skip)
{
    int           rc;
    size_t        i, n, seen;
    uint64_t      now;
    events_due_t  due[EVENTS_CLAIM];

    rc = events_list(p, "news", *skip, due, &seen, &now);

    if (rc != IM_OK || seen == 0) {
        return rc;
    }

    n = 0;

    for (i = 0; i < seen; i++) {
        if (now > due[i].score + EVENTS_GIVE_UP_US) {
            events_give_up(p, &due[i]);

        } else if (logic_is_owner(im_slot_of_user(due[i].uid))
                   || now > due[i].score + LOGIC_PRESENCE_RETRY_US
                            + EVENTS_LATE_MS * 1000)
        {
            due[n++] = due[i];
        }
    }

    p->n_missed = 0;

    if (n > 0) {
        rc = events_ask(p, "again", due, n, 1);
    }

    if (rc == IM_OK) {
        rc = logic_presence_tell(p);
    }

    *skip += seen - n + p->n_missed;   /* the others are not in it any more */

    return (rc == IM_OK && seen == EVENTS_CLAIM) ? IM_AGAIN : rc;
}


/* Its note is taken out with the others. */
static void
events_give_up(presence_t *p, const events_due_t *due)
{
    presence_change_t  *c;

    if (p->n_changes == PRESENCE_CHANGES) {
        return;
    }

    im_log(IM_LOG_WARN, "presence: not all subscribers of user %" PRIu64
           " could be notified", due->uid);

    c = &p->changes[p->n_changes++];
    memset(c, 0, sizeof(*c));
    c->uid = due->uid;
    c->noted = due->score;
}


/* Of each of them; noted: their scores are versions in im:news. */
static int
events_ask(presence_t *p, const char *verb, const events_due_t *due, size_t n,
    unsigned noted)
{
    int          rc;
    char         uid[24];
    size_t       i;
    redisReply  *reply;

    rc = IM_OK;

    for (i = 0; i < n; i++) {
        snprintf(uid, sizeof(uid), "%" PRIu64, due[i].uid);

        if (logic_presence_call(p->db.redis, 2, verb, uid) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        reply = logic_presence_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            rc = IM_ERROR;             /* they are still pending */

        } else {
            logic_presence_changed(p, due[i].uid, noted ? due[i].score : 0,
                                   reply);
        }

        im_redis_free(reply);
    }

    return rc;
}


void
logic_presence_changed(presence_t *p, uint64_t uid, uint64_t noted,
    const redisReply *reply)
{
    size_t                  i;
    presence_change_t      *c;
    logic_presence_news_t   news;

    if (logic_presence_news_read(&news, reply) != IM_OK
        || p->n_changes == PRESENCE_CHANGES)   /* else it is repeated */
    {
        return;
    }

    c = &p->changes[p->n_changes];
    c->uid = uid;
    c->version = news.version;
    c->noted = noted ? noted : news.version;
    c->online = news.online;
    c->missed = 0;

    for (i = 0; i < news.n; i++) {
        events_add(p, p->n_changes, news.instances[i]->str,
                   news.instances[i]->len);
    }

    p->n_changes++;
}


static void
events_add(presence_t *p, unsigned change, const char *id, size_t len)
{
    Im__Presence       *user;
    presence_target_t  *t;

    HASH_FIND(hh, p->targets, id, len, t);

    if (t == NULL) {
        t = malloc(sizeof(presence_target_t) + len + 1);
        if (t == NULL) {
            p->changes[change].missed = 1;
            return;
        }

        memset(t, 0, sizeof(*t));
        memcpy(t->id, id, len);
        t->id[len] = '\0';
        HASH_ADD_KEYPTR(hh, p->targets, t->id, len, t);

        if (!im_hash_is_added(t)) {
            free(t);
            p->changes[change].missed = 1;
            return;
        }
    }

    user = &t->users[t->n];
    im__presence__init(user);
    user->uid = p->changes[change].uid;
    user->online = p->changes[change].online;
    user->has_version = 1;
    user->version = p->changes[change].version;
    t->changes[t->n] = change;
    t->list[t->n++] = user;
}


int
logic_presence_tell(presence_t *p)
{
    int  rc;

    if (p->n_changes == 0) {
        return IM_OK;
    }

    events_send(p);
    rc = events_done(p);
    p->n_changes = 0;                  /* what was missed is in im:news */

    return rc;
}


/* One item to each instance.  One that etcd does not name any more takes no
 * notifications; one that is alive and has no link to us has one soon. */
static void
events_send(presence_t *p)
{
    size_t               i;
    Im__DownItem         item = IM__DOWN_ITEM__INIT;
    Im__PresenceEvent    event = IM__PRESENCE_EVENT__INIT;
    presence_target_t   *t, *next;

    item.item_case = IM__DOWN_ITEM__ITEM_PRESENCE;
    item.presence = &event;

    HASH_ITER(hh, p->targets, t, next) {
        event.users = t->list;
        event.n_users = t->n;

        if (logic_alive(t->id, strlen(t->id)) == IM_DECLINED) {

            for (i = 0; i < t->n; i++) {
                if (events_stale(p, t->users[i].uid, t->id) != IM_OK) {
                    break;
                }
            }

        } else if (logic_workers_send(t->id, &item) != IM_OK) {

            for (i = 0; i < t->n; i++) {
                p->changes[t->changes[i]].missed = 1;
            }
        }

        HASH_DEL(p->targets, t);
        free(t);
    }
}


static int
events_stale(presence_t *p, uint64_t uid, const char *id)
{
    char  key[32];

    snprintf(key, sizeof(key), IM_KEY_SUBSCRIBERS, uid);

    return (logic_args(p->db.redis, 3, "SREM", key, id) == IM_OK)
           ? logic_presence_skip(p->db.redis, 1) : IM_ERROR;
}


static int
events_done(presence_t *p)
{
    char          uid[24], version[24];
    size_t        asked;
    unsigned      i;
    redisReply   *reply;

    asked = 0;

    for (i = 0; i < p->n_changes; i++) {

        if (p->changes[i].missed) {
            p->n_missed++;
            continue;
        }

        snprintf(uid, sizeof(uid), "%" PRIu64, p->changes[i].uid);
        snprintf(version, sizeof(version), "%" PRIu64, p->changes[i].noted);

        if (logic_presence_call(p->db.redis, 3, "done", uid, version)
            != IM_OK)
        {
            return IM_ERROR;
        }

        asked++;
    }

    for ( ; asked > 0; asked--) {
        reply = logic_presence_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        im_redis_free(reply);          /* an error: it is repeated */
    }

    return IM_OK;
}
