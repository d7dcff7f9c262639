/*
 * task_route.c -- see task_route.h.
 *
 * An instance that Redis names and etcd does not is either dead, or so young
 * that our watch has not reported it yet: task_peer_find() decides.  The
 * entries of a dead one are removed from Redis when they are found.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "task_route.h"


static int route_add(task_user_t **table, uint64_t id);
static int route_ask_all(task_routes_t *r);
static redisReply *route_reply(task_routes_t *r, int *rc);
static void route_error(task_routes_t *r, const char *text);
static void route_answer_room(task_routes_t *r, task_user_t *room,
    const redisReply *reply, unsigned *stale);
static unsigned route_room_left(im_redis_t *redis, uint64_t room,
    const im_str_t *instance);
static void route_free(task_user_t **table);
static int route_ask(im_redis_t *redis, const char *verb, uint64_t uid,
    const im_str_t *field);
static void route_answer(task_routes_t *r, task_user_t *user,
    const redisReply *reply, unsigned *stale);
static unsigned route_left(im_redis_t *redis, uint64_t uid);
static void route_reset(task_user_t *user);


int
task_route_add(task_routes_t *r, uint64_t uid)
{
    return route_add(&r->users, uid);
}


int
task_route_add_room(task_routes_t *r, uint64_t room)
{
    return route_add(&r->rooms, room);
}


static int
route_add(task_user_t **table, uint64_t uid)
{
    task_user_t  *user;

    HASH_FIND(hh, *table, &uid, sizeof(uid), user);

    if (user != NULL) {
        return IM_OK;
    }

    user = calloc(1, sizeof(task_user_t));
    if (user == NULL) {
        return IM_ERROR;
    }

    user->uid = uid;
    HASH_ADD(hh, *table, uid, sizeof(uid), user);

    if (!im_hash_is_added(user)) {
        free(user);
        return IM_ERROR;
    }

    return IM_OK;
}


int
task_route_resolve(task_routes_t *r)
{
    int           rc;
    unsigned      stale, i;
    redisReply   *reply;
    task_user_t  *user, *next;

    rc = IM_OK;
    stale = 0;

    if (route_ask_all(r) != IM_OK) {
        route_error(r, im_redis_error(r->redis));
        return IM_ERROR;
    }

    HASH_ITER(hh, r->users, user, next) {
        reply = route_reply(r, &rc);

        if (reply == NULL) {
            return IM_ERROR;
        }

        if (rc == IM_OK) {
            route_answer(r, user, reply, &stale);
        }

        im_redis_free(reply);
    }

    HASH_ITER(hh, r->rooms, user, next) {
        reply = route_reply(r, &rc);

        if (reply == NULL) {
            return IM_ERROR;
        }

        if (rc == IM_OK) {
            route_answer_room(r, user, reply, &stale);
        }

        im_redis_free(reply);
    }

    for (i = 0; i < stale; i++) {
        im_redis_free(im_redis_reply(r->redis));
    }

    return rc;
}


/* NULL: Redis is away.  While it loads its file or runs a long script it
 * answers with errors, which say nothing about where anybody is: *rc is then
 * IM_ERROR, and the other replies are to be read all the same. */
static redisReply *
route_reply(task_routes_t *r, int *rc)
{
    redisReply  *reply;

    reply = im_redis_reply(r->redis);

    if (reply == NULL) {
        route_error(r, im_redis_error(r->redis));

    } else if (reply->type == REDIS_REPLY_ERROR
               && strncmp(reply->str, "WRONGTYPE", 9) != 0)
    {
        route_error(r, reply->str);
        *rc = IM_ERROR;
    }

    return reply;
}


static void
route_error(task_routes_t *r, const char *text)
{
    snprintf(r->error, sizeof(r->error), "%s", text);
}


static int
route_ask_all(task_routes_t *r)
{
    char          key[IM_KEY_MAX];
    im_str_t      argv[2] = { im_str("HGETALL"), { 0, NULL } };
    task_user_t  *user, *next;

    HASH_ITER(hh, r->users, user, next) {
        if (route_ask(r->redis, "HGETALL", user->uid, NULL) != IM_OK) {
            return IM_ERROR;
        }
    }

    HASH_ITER(hh, r->rooms, user, next) {
        argv[1].data = (unsigned char *) key;
        argv[1].len = (size_t) snprintf(key, sizeof(key), IM_KEY_ROOM,
                                        user->uid);

        if (im_redis_append(r->redis, 2, argv) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
route_ask(im_redis_t *redis, const char *verb, uint64_t uid,
    const im_str_t *field)
{
    char      key[IM_KEY_MAX];
    im_str_t  argv[3];

    argv[0].data = (unsigned char *) verb;
    argv[0].len = strlen(verb);
    argv[1].data = (unsigned char *) key;
    argv[1].len = (size_t) snprintf(key, sizeof(key), IM_KEY_USER, uid);

    if (field != NULL) {
        argv[2] = *field;
    }

    return im_redis_append(redis, field ? 3 : 2, argv);
}


/* field, value, field, value */
static void
route_answer(task_routes_t *r, task_user_t *user, const redisReply *reply,
    unsigned *stale)
{
    char             conn[17];
    size_t           i;
    im_str_t         field;
    task_peer_t     *peer;
    im_keys_route_t  route;

    route_reset(user);

    if (reply->type == REDIS_REPLY_ARRAY) {
        user->routes = calloc(reply->elements / 2 + 1, sizeof(task_route_t));
    }

    if (user->routes == NULL) {
        im_log(IM_LOG_ERR, "no routes of user %" PRIu64 ": %s", user->uid,
               (reply->type == REDIS_REPLY_ERROR) ? reply->str
                                                  : "out of memory");
        return;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {
        field.data = (unsigned char *) reply->element[i]->str;
        field.len = reply->element[i]->len;

        if (im_keys_route_read(&route, reply->element[i + 1]->str,
                               reply->element[i + 1]->len) != IM_OK
            || field.len != 16)
        {
            continue;
        }

        peer = task_peer_find((char *) route.instance.data,
                              route.instance.len);

        if (peer == NULL) {

            *stale += route_left(r->redis, user->uid);

            if (route_ask(r->redis, "HDEL", user->uid, &field) == IM_OK) {
                (*stale)++;
            }

            continue;
        }

        memcpy(conn, field.data, 16);
        conn[16] = '\0';

        user->routes[user->n].peer = peer;
        user->routes[user->n].conn = strtoull(conn, NULL, 16);
        user->n++;
    }
}


/* Logic looks whether the user is still there, and notifies if not; before the
 * entry is taken out, or the user might be gone without that.  The commands
 * that were queued. */
static unsigned
route_left(im_redis_t *redis, uint64_t uid)
{
    char      text[24];
    im_str_t  argv[5] = {
        im_str("ZADD"), im_str(IM_KEY_OFF), im_str("NX"), im_str("0"),
        { 0, NULL }
    };

    argv[4].data = (unsigned char *) text;
    argv[4].len = (size_t) snprintf(text, sizeof(text), "%" PRIu64, uid);

    return im_redis_append(redis, 5, argv) == IM_OK ? 1 : 0;
}


/* field, value: <instance>, users there; 0 of them counts, too. */
static void
route_answer_room(task_routes_t *r, task_user_t *room,
    const redisReply *reply, unsigned *stale)
{
    size_t        i;
    im_str_t      name;
    task_peer_t  *peer;

    route_reset(room);

    if (reply->type == REDIS_REPLY_ARRAY) {
        room->routes = calloc(reply->elements / 2 + 1, sizeof(task_route_t));
    }

    if (room->routes == NULL) {
        im_log(IM_LOG_ERR, "no routes of room %" PRIu64 ": %s", room->uid,
               (reply->type == REDIS_REPLY_ERROR) ? reply->str
                                                  : "out of memory");
        return;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {
        name.data = (unsigned char *) reply->element[i]->str;
        name.len = reply->element[i]->len;
        peer = task_peer_find((char *) name.data, name.len);

        if (peer == NULL) {
            *stale += route_room_left(r->redis, room->uid, &name);
            continue;
        }

        room->routes[room->n++].peer = peer;
    }
}


/* The instance is dead.  How many replies are to come. */
static unsigned
route_room_left(im_redis_t *redis, uint64_t room, const im_str_t *instance)
{
    char      key[IM_KEY_MAX], set[IM_KEY_NAME_MAX];
    unsigned  n;
    im_str_t  hdel[3] = { im_str("HDEL"), { 0, (unsigned char *) key },
                          *instance };
    im_str_t  del[2] = { im_str("DEL"), { 0, (unsigned char *) set } };

    hdel[1].len = (size_t) snprintf(key, sizeof(key), IM_KEY_ROOM, room);
    del[1].len = (size_t) snprintf(set, sizeof(set), IM_KEY_ROOM_USERS, room,
                                   (int) instance->len,
                                   (char *) instance->data);

    n = (im_redis_append(redis, 3, hdel) == IM_OK);

    if (del[1].len < sizeof(set)) {
        n += (im_redis_append(redis, 2, del) == IM_OK);
    }

    return n;
}


static void
route_reset(task_user_t *user)
{
    unsigned  i;

    for (i = 0; i < user->n; i++) {
        task_peer_release(user->routes[i].peer);
    }

    free(user->routes);
    user->routes = NULL;
    user->n = 0;
}


const task_user_t *
task_route_find(task_routes_t *r, uint64_t uid)
{
    task_user_t  *user;

    HASH_FIND(hh, r->users, &uid, sizeof(uid), user);

    return user;
}


const task_user_t *
task_route_find_room(task_routes_t *r, uint64_t room)
{
    task_user_t  *found;

    HASH_FIND(hh, r->rooms, &room, sizeof(room), found);

    return found;
}


void
task_route_clear(task_routes_t *r)
{
    route_free(&r->users);
    route_free(&r->rooms);
}


static void
route_free(task_user_t **table)
{
    task_user_t  *user, *next;

    HASH_ITER(hh, *table, user, next) {
        HASH_DEL(*table, user);
        route_reset(user);
        free(user);
    }
}
