/*
 * logic_presence_query.c -- who is online, and who wants to hear of changes.
 *
 * An instance that asks with its name is put into im:ps:{uid} before the state
 * is read: what changes from then on, it is told.  Its entry lives an hour; a
 * worker asks again every 15 minutes while anybody of its connections wants to
 * know.
 *
 * A user is online if there is a connection on an instance that etcd names.
 *
 * Function of a pool's thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "logic_devices.h"
#include "logic_presence.h"
#include "logic_sessions.h"
#include "logic_words.h"


#define QUERY_UIDS_MAX     200
#define QUERY_DEVICES_MAX  16          /* shown of one user */
#define QUERY_TTL_S        "3600"


typedef struct {
    Im__Presence     user;
    Im__Device       devices[QUERY_DEVICES_MAX];
    Im__Device      *list[QUERY_DEVICES_MAX];
    char             names[QUERY_DEVICES_MAX][IM_DEVICE_MAX + 1];
} query_user_t;


static int query_check(logic_db_t *db, im_rpc_req_t *req,
    const Im__PresenceRequest *r);
static int query_ask(im_redis_t *redis, const Im__PresenceRequest *r);
static int query_read(im_redis_t *redis, const Im__PresenceRequest *r,
    query_user_t *users);
static void query_user(query_user_t *u, const redisReply *reply);
static void query_device(query_user_t *u, const logic_route_t *route);


void
logic_presence_query(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    size_t                       i;
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

    if (query_ask(db->redis, r) != IM_OK
        || query_read(db->redis, r, users) != IM_OK)
    {
        logic_fail(req, "unavailable", "presence cannot be looked up");
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

    if (r->n_uids < 1 || r->n_uids > QUERY_UIDS_MAX) {
        logic_fail(req, "bad_field", "field 'uids' has not 1-%d entries",
                   QUERY_UIDS_MAX);
        return IM_DECLINED;
    }

    return IM_OK;
}


static int
query_ask(im_redis_t *redis, const Im__PresenceRequest *r)
{
    int     rc;
    char    key[32];
    size_t  i;

    rc = IM_OK;

    for (i = 0; i < r->n_uids && rc == IM_OK; i++) {

        if (r->instance != NULL && r->instance[0] != '\0') {
            snprintf(key, sizeof(key), "im:ps:{%" PRIu64 "}", r->uids[i]);
            rc = logic_words(redis, 3, "SADD", key, r->instance);

            if (rc == IM_OK) {
                rc = logic_words(redis, 3, "EXPIRE", key, QUERY_TTL_S);
            }
        }

        if (rc == IM_OK) {
            snprintf(key, sizeof(key), "im:u:{%" PRIu64 "}", r->uids[i]);
            rc = logic_words(redis, 2, "HVALS", key);
        }
    }

    return rc;
}


static int
query_read(im_redis_t *redis, const Im__PresenceRequest *r,
    query_user_t *users)
{
    int          k, rc, skip;
    size_t       i;
    redisReply  *reply;

    rc = IM_OK;
    skip = (r->instance != NULL && r->instance[0] != '\0') ? 2 : 0;

    for (i = 0; i < r->n_uids; i++) {

        for (k = 0; k <= skip; k++) {
            reply = im_redis_reply(redis);
            if (reply == NULL) {
                return IM_ERROR;
            }

            if (reply->type == REDIS_REPLY_ERROR) {
                im_warn_seldom("presence is not known: redis: %s", reply->str);
                rc = IM_ERROR;         /* the other replies are read, too */
            }

            if (k == skip) {
                im__presence__init(&users[i].user);
                users[i].user.uid = r->uids[i];
                query_user(&users[i], reply);
            }

            im_redis_free(reply);
        }
    }

    return rc;
}


static void
query_user(query_user_t *u, const redisReply *reply)
{
    size_t          i;
    logic_route_t   route;

    u->user.devices = u->list;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {

        if (logic_route_parse(&route, reply->element[i]->str,
                              reply->element[i]->len) == IM_OK
            && logic_route_alive(&route))
        {
            u->user.online = 1;
            query_device(u, &route);
        }
    }
}


/* One with two connections is there since the first. */
static void
query_device(query_user_t *u, const logic_route_t *route)
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
