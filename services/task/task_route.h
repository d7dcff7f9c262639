/*
 * task_route.h -- where the users of a batch are connected, from Redis.
 *
 * One pipeline asks for all users of a batch.  Redis says to which instance a
 * connection belongs, etcd whether that instance is alive.
 */

#ifndef TASK_ROUTE_H
#define TASK_ROUTE_H

#include <uthash.h>

#include "task_peer.h"

/* One connection. */
typedef struct {
    task_peer_t     *peer;         /* holds a reference */
    uint64_t         conn;
} task_route_t;

typedef struct {
    UT_hash_handle   hh;
    uint64_t         uid;
    unsigned         n;
    task_route_t    *routes;
} task_user_t;

typedef struct {
    im_redis_t      *redis;
    task_user_t     *users;        /* of the batch, by uid */
} task_routes_t;

/* Adds a user of the batch; IM_ERROR: out of memory. */
int task_route_add(task_routes_t *r, uint64_t uid);
/* Asks Redis.  IM_ERROR: it is away, ask again. */
int task_route_resolve(task_routes_t *r);
const task_user_t *task_route_find(task_routes_t *r, uint64_t uid);
/* Forgets the users of the batch. */
void task_route_clear(task_routes_t *r);
/* Forgets the instances that were missing. */
void task_route_stop(void);

#endif
