/*
 * logic_rooms_routes.c -- see logic_rooms_routes.h.
 *
 * The users of an instance are a sorted set with the uid as score, not a plain
 * set: a page of a room's online members, by uid, then costs what a page does,
 * however large the room is.
 *
 * Any thread, with a connection of its own.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "im_log.h"
#include "logic_alive.h"
#include "logic_args.h"
#include "logic_rooms_routes.h"


#define WHERE_SAME_SCORE  16       /* users below `after` that share its score;
                                      of drawn ids hardly ever one does */


static void routes_instance(im_redis_t *redis, uint64_t room,
    logic_rooms_routes_t *routes, const redisReply *name, const char *users);
static int routes_union(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t *online);
static void routes_merge(uint64_t *uids, size_t *n, size_t max, uint64_t uid);


void
logic_rooms_key(char *key, uint64_t room)
{
    snprintf(key, LOGIC_ROOMS_KEY, IM_KEY_ROOM, room);
}


void
logic_rooms_set_key(char *key, uint64_t room, const char *instance)
{
    snprintf(key, LOGIC_ROOMS_SET, IM_KEY_ROOM_USERS, room,
             (int) strlen(instance), instance);
}


int
logic_rooms_routes(im_redis_t *redis, uint64_t room,
    logic_rooms_routes_t *routes)
{
    if (logic_rooms_routes_ask(redis, room) != IM_OK
        || logic_rooms_routes_read(redis, room, routes) != IM_OK)
    {
        return IM_ERROR;
    }

    return logic_args_done(redis, routes->stale);
}


int
logic_rooms_routes_ask(im_redis_t *redis, uint64_t room)
{
    char  key[LOGIC_ROOMS_KEY];

    logic_rooms_key(key, room);

    return logic_args(redis, 2, "HGETALL", key);
}


int
logic_rooms_routes_read(im_redis_t *redis, uint64_t room,
    logic_rooms_routes_t *routes)
{
    size_t       i;
    redisReply  *reply;

    routes->n = 0;
    routes->sum = 0;
    routes->stale = 0;

    reply = im_redis_expect(redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {
        routes_instance(redis, room, routes, reply->element[i],
                        reply->element[i + 1]->str);
    }

    im_redis_free(reply);

    return IM_OK;
}


static void
routes_instance(im_redis_t *redis, uint64_t room, logic_rooms_routes_t *routes,
    const redisReply *name, const char *users)
{
    char  key[LOGIC_ROOMS_KEY], set[LOGIC_ROOMS_SET];

    if (name->len >= LOGIC_ROOMS_ID) {
        return;
    }

    switch (logic_alive(name->str, name->len)) {

    case IM_OK:
        if (routes->n == LOGIC_ROOMS_INSTANCES) {
            im_log(IM_LOG_ERR, "room %llu is on more than %d instances",
                   (unsigned long long) room, LOGIC_ROOMS_INSTANCES);
            return;
        }

        memcpy(routes->list[routes->n].id, name->str, name->len + 1);
        routes->list[routes->n].users = strtoull(users, NULL, 10);
        routes->sum += routes->list[routes->n++].users;
        return;

    case IM_DECLINED:
        logic_rooms_key(key, room);
        logic_rooms_set_key(set, room, name->str);

        if (logic_args(redis, 3, "HDEL", key, name->str) == IM_OK) {
            routes->stale++;
        }

        if (logic_args(redis, 2, "DEL", set) == IM_OK) {
            routes->stale++;
        }

        return;

    default:
        return;                        /* see logic_alive.h */
    }
}


int
logic_rooms_users_there(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t exact_max, uint64_t *online)
{
    size_t  i, there;

    *online = routes->sum;
    there = 0;

    for (i = 0; i < routes->n; i++) {
        there += (routes->list[i].users > 0);
    }

    if (there < 2 || routes->sum > exact_max) {
        return IM_OK;
    }

    return routes_union(redis, room, routes, online);
}


static int
routes_union(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t *online)
{
    char         keys[LOGIC_ROOMS_INSTANCES][LOGIC_ROOMS_SET], n[8];
    size_t       i;
    im_str_t     argv[2 + LOGIC_ROOMS_INSTANCES] = {
        im_str("ZUNION"), { 0, (unsigned char *) n }
    };
    redisReply  *reply;

    argv[1].len = (size_t) snprintf(n, sizeof(n), "%zu", routes->n);

    for (i = 0; i < routes->n; i++) {
        logic_rooms_set_key(keys[i], room, routes->list[i].id);
        argv[2 + i].data = (unsigned char *) keys[i];
        argv[2 + i].len = strlen(keys[i]);
    }

    if (im_redis_append(redis, (int) (2 + routes->n), argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_expect(redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    *online = reply->elements;
    im_redis_free(reply);

    return IM_OK;
}


int
logic_rooms_watch(im_redis_t *redis, uint64_t room, const char *instance)
{
    char  key[LOGIC_ROOMS_KEY];

    logic_rooms_key(key, room);

    if (logic_args(redis, 4, "HSETNX", key, instance, "0") != IM_OK) {
        return IM_ERROR;
    }

    return logic_args(redis, 3, "EXPIRE", key, LOGIC_ROOMS_TTL_S);
}


/* Scores are doubles, so neighbours share one: `after` itself may come again,
 * and those just below it. */
int
logic_rooms_online_page(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t after, size_t limit,
    uint64_t *uids, size_t *n)
{
    int          rc;
    char         key[LOGIC_ROOMS_SET], min[24], count[24];
    size_t       i, k;
    uint64_t     uid;
    redisReply  *reply;

    rc = IM_OK;
    *n = 0;
    snprintf(min, sizeof(min), "%llu", (unsigned long long) after);
    snprintf(count, sizeof(count), "%zu", limit + 1 + WHERE_SAME_SCORE);

    for (i = 0; i < routes->n; i++) {
        logic_rooms_set_key(key, room, routes->list[i].id);

        if (logic_args(redis, 7, "ZRANGEBYSCORE", key, min, "+inf", "LIMIT",
                       "0", count)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    for (i = 0; i < routes->n; i++) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type != REDIS_REPLY_ARRAY) {
            rc = IM_ERROR;
        }

        for (k = 0; rc == IM_OK && k < reply->elements; k++) {
            uid = strtoull(reply->element[k]->str, NULL, 10);

            if (uid > after) {
                routes_merge(uids, n, limit + 1, uid);
            }
        }

        im_redis_free(reply);
    }

    return rc;
}


/* uids: ascending, each once, the lowest max of them. */
static void
routes_merge(uint64_t *uids, size_t *n, size_t max, uint64_t uid)
{
    size_t  i, k;

    for (i = *n; i > 0 && uids[i - 1] >= uid; i--) {
        if (uids[i - 1] == uid) {
            return;
        }
    }

    if (i == max) {
        return;
    }

    if (*n < max) {
        (*n)++;
    }

    for (k = *n - 1; k > i; k--) {
        uids[k] = uids[k - 1];
    }

    uids[i] = uid;
}


int
logic_rooms_online_of(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, const uint64_t *uids, size_t n,
    unsigned char *online)
{
    int          rc;
    char         key[LOGIC_ROOMS_SET], uid[24];
    size_t       i, k;
    redisReply  *reply;

    rc = IM_OK;
    memset(online, 0, n);

    for (i = 0; i < routes->n; i++) {
        logic_rooms_set_key(key, room, routes->list[i].id);

        for (k = 0; k < n; k++) {
            snprintf(uid, sizeof(uid), "%llu", (unsigned long long) uids[k]);

            if (logic_args(redis, 3, "ZSCORE", key, uid) != IM_OK) {
                return IM_ERROR;
            }
        }
    }

    for (i = 0; i < routes->n * n; i++) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            rc = IM_ERROR;
        }

        online[i % n] |= (reply->type == REDIS_REPLY_STRING);
        im_redis_free(reply);
    }

    return rc;
}


int
logic_rooms_take_out(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t uid, int *there)
{
    char       key[LOGIC_ROOMS_SET], text[24];
    size_t     i;
    long long  n;

    *there = 0;
    snprintf(text, sizeof(text), "%llu", (unsigned long long) uid);

    for (i = 0; i < routes->n; i++) {
        logic_rooms_set_key(key, room, routes->list[i].id);

        if (logic_args(redis, 3, "ZREM", key, text) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < routes->n; i++) {
        if (im_redis_expect_int(redis, &n) != IM_OK) {
            return IM_ERROR;
        }

        *there |= (n > 0);
    }

    return IM_OK;
}
