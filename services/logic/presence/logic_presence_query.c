/*
 * logic_presence_query.c -- which users are online; subscribes to changes.
 *
 * An instance that asks with its name is put into im:ps:{uid} in the same run
 * of the script that reads the state (logic_presence_state.c): it is notified
 * of each change from then on, and the version of the answer orders the
 * two.  Its entry lives an hour; a worker asks again every 15 minutes while one
 * of its connections is subscribed.
 *
 * What is answered is the state of the machine, which is what everybody else
 * was notified of: online, too, for the 1.8 s after the last connection ended.
 * Only the devices are looked at one by one: those on an instance that etcd
 * does not name are left out, and if there is no other, the user is to be
 * looked at (im:off), as a dead worker's users are.
 *
 * Function of a pool's thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_check.h"
#include "im_keys.h"
#include "im_log.h"
#include "logic_args.h"
#include "logic_devices.h"
#include "logic_fail.h"
#include "logic_presence.h"
#include "logic_presence_state.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


#define QUERY_UIDS_MAX     IM_UIDS_MAX
#define QUERY_DEVICES_MAX  16          /* shown of one user */


typedef struct {
    Im__Presence     user;
    Im__Device       devices[QUERY_DEVICES_MAX];
    Im__Device      *list[QUERY_DEVICES_MAX];
    char             names[QUERY_DEVICES_MAX][IM_DEVICE_MAX + 1];
} query_user_t;


static int query_check(logic_db_t *db, im_rpc_req_t *req,
    const Im__PresenceRequest *r);
static redisReply *query_ask(im_redis_t *redis,
    const Im__PresenceRequest *r);
static int query_read(im_redis_t *redis, const Im__PresenceRequest *r,
    const redisReply *reply, query_user_t *users);
static void query_user(query_user_t *u, const redisReply *values);
static void query_device(query_user_t *u, const im_keys_route_t *route);


void
logic_presence_query(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    size_t                       i;
    redisReply                  *answer;
    query_user_t                *users;
    Im__Presence                *list[QUERY_UIDS_MAX];
    Im__PresenceReply            reply = IM__PRESENCE_REPLY__INIT;
    const Im__PresenceRequest   *r;

    r = (const Im__PresenceRequest *) in;

    if (query_check(db, req, r) != IM_OK) {
        return;
    }

    users = calloc(r->n_uids, sizeof(query_user_t));
    if (users == NULL) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    answer = query_ask(db->redis, r);

    if (answer == NULL || query_read(db->redis, r, answer, users) != IM_OK) {
        im_warn_seldom("presence is not known: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "presence cannot be looked up");
        im_redis_free(answer);
        free(users);
        return;
    }

    for (i = 0; i < r->n_uids; i++) {
        list[i] = &users[i].user;
    }

    reply.has_id = r->has_id;
    reply.id = r->id;
    reply.users = list;
    reply.n_users = r->n_uids;

    im_rpc_reply(req, &reply.base);
    im_redis_free(answer);
    free(users);
}


/* A worker that renews what its connections subscribed to asks for nobody: the
 * field with its name is never a client's. */
static int
query_check(logic_db_t *db, im_rpc_req_t *req, const Im__PresenceRequest *r)
{
    if ((r->caller != NULL || r->instance == NULL || r->instance[0] == '\0')
        && logic_sessions_check(db, req, r->caller) != IM_OK)
    {
        return IM_DECLINED;
    }

    return IM_OK;
}


/* NULL: Redis does not answer. */
static redisReply *
query_ask(im_redis_t *redis, const Im__PresenceRequest *r)
{
    int          tries;
    char         uids[QUERY_UIDS_MAX][24];
    size_t       i;
    im_str_t     argv[3 + QUERY_UIDS_MAX] = {
        im_str("query"), im_str(""), { 0, (unsigned char *) r->instance }
    };
    redisReply  *reply;

    argv[2].len = (r->instance != NULL) ? strlen(r->instance) : 0;

    for (i = 0; i < r->n_uids; i++) {
        argv[3 + i].data = (unsigned char *) uids[i];
        argv[3 + i].len = (size_t) snprintf(uids[i], sizeof(uids[i]),
                                            "%" PRIu64, r->uids[i]);
    }

    for (tries = 0; tries < 2; tries++) {
        if (logic_presence_call_words(redis, (int) (3 + r->n_uids), argv)
            != IM_OK)
        {
            return NULL;
        }

        reply = logic_presence_reply(redis);

        if (reply == NULL || reply->type == REDIS_REPLY_ARRAY) {
            return reply;
        }

        im_redis_free(reply);

        if (!logic_presence_is_forgotten()) {
            break;
        }
    }

    return NULL;
}


/* version, (online, values of the connections) of each user */
static int
query_read(im_redis_t *redis, const Im__PresenceRequest *r,
    const redisReply *reply, query_user_t *users)
{
    size_t        i;
    uint64_t      version;
    unsigned      suspects;
    redisReply   *one;

    if (reply->elements != 1 + r->n_uids
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        return IM_ERROR;
    }

    suspects = 0;
    version = strtoull(reply->element[0]->str, NULL, 10);

    for (i = 0; i < r->n_uids; i++) {
        one = reply->element[1 + i];

        if (one->type != REDIS_REPLY_ARRAY || one->elements != 2) {
            return IM_ERROR;
        }

        im__presence__init(&users[i].user);
        users[i].user.uid = r->uids[i];
        users[i].user.online = (one->element[0]->integer != 0);

        if (r->instance != NULL && r->instance[0] != '\0') {
            users[i].user.has_version = 1;
            users[i].user.version = version;
        }

        query_user(&users[i], one->element[1]);

        if (users[i].user.n_devices == 0 && one->element[1]->elements > 0
            && logic_presence_suspect(redis, r->uids[i]) == IM_OK)
        {
            suspects++;
        }
    }

    return logic_args_done(redis, suspects);
}


static void
query_user(query_user_t *u, const redisReply *values)
{
    size_t           i;
    im_keys_route_t  route;

    u->user.devices = u->list;

    for (i = 0; values->type == REDIS_REPLY_ARRAY && i < values->elements;
         i++)
    {
        if (im_keys_route_read(&route, values->element[i]->str,
                              values->element[i]->len) == IM_OK
            && logic_route_alive(&route))
        {
            query_device(u, &route);
        }
    }
}


/* One with two connections is there since the first. */
static void
query_device(query_user_t *u, const im_keys_route_t *route)
{
    size_t       i;
    Im__Device  *d;

    if (route->device.len > IM_DEVICE_MAX) {
        return;
    }

    for (i = 0; i < u->user.n_devices; i++) {
        d = &u->devices[i];

        if (strlen(d->device) == route->device.len
            && memcmp(d->device, route->device.data, route->device.len) == 0)
        {
            if (route->since_ms < d->since_ms) {
                d->since_ms = route->since_ms;
            }

            return;
        }
    }

    if (i == QUERY_DEVICES_MAX) {
        return;
    }

    d = &u->devices[i];
    im__device__init(d);
    memcpy(u->names[i], route->device.data, route->device.len);
    d->device = u->names[i];
    d->since_ms = route->since_ms;
    u->list[i] = d;
    u->user.n_devices++;
}
