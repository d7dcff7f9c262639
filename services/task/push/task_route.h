/*
 * task_route.h -- where the users and rooms of a batch are, from Redis.
 *
 * One pipeline asks for all of a batch.  Redis has the instance of each
 * connection, and the instances where users of a room are; etcd knows whether
 * an instance is alive.
 */

#ifndef TASK_ROUTE_H
#define TASK_ROUTE_H

#include "im_hash.h"
#include "task_peer.h"

/* One connection. */
typedef struct {
    task_peer_t     *peer;         /* holds a reference */
    uint64_t         conn;         /* 0 for a room: all that are in it */
} task_route_t;

typedef struct {
    UT_hash_handle   hh;
    uint64_t         uid;          /* or room */
    unsigned         n;
    task_route_t    *routes;
} task_user_t;

typedef struct {
    im_redis_t      *redis;
    task_user_t     *users;        /* of the batch, by uid */
    task_user_t     *rooms;        /* by room */
    char             error[160];   /* after IM_ERROR */
} task_routes_t;

/* Adds a user of the batch; IM_ERROR: out of memory. */
int task_route_add(task_routes_t *r, uint64_t uid);
int task_route_add_room(task_routes_t *r, uint64_t room);
/* Asks Redis.  IM_ERROR: it is away, ask again. */
int task_route_resolve(task_routes_t *r);
const task_user_t *task_route_find(task_routes_t *r, uint64_t uid);
const task_user_t *task_route_find_room(task_routes_t *r, uint64_t room);
/* Forgets the users and rooms of the batch. */
void task_route_clear(task_routes_t *r);

#endif
