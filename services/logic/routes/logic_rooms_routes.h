/*
 * logic_rooms_routes.h -- the Connect instances of the users of a room, in
 * Redis.
 *
 *   im:r:{room}              Connect instance -> users there (a hash)
 *   im:rl:{room}:<instance>  these users (the score is the uid, rounded to a
 *                            double; uids of one score have 19 digits and are
 *                            sorted as text)
 *
 * An instance with 0 users gets the room's messages, too: somebody is about to
 * join there.  Entries of instances that are dead are ignored, and removed when
 * they are found.
 */

#ifndef LOGIC_ROOMS_ROUTES_H
#define LOGIC_ROOMS_ROUTES_H

#include "im_keys.h"
#include "im_redis.h"

#define LOGIC_ROOMS_INSTANCES  256
#define LOGIC_ROOMS_ID         160
#define LOGIC_ROOMS_KEY        IM_KEY_MAX      /* bytes of the key of a hash */
#define LOGIC_ROOMS_SET        IM_KEY_NAME_MAX /* and of a set */
#define LOGIC_ROOMS_TTL_S      "3600"

/* Instances that are alive. */
typedef struct {
    size_t    n;
    uint64_t  sum;                 /* of the users that they report */
    unsigned  stale;               /* commands that clean up were queued */
    struct {
        char      id[LOGIC_ROOMS_ID];
        uint64_t  users;
    } list[LOGIC_ROOMS_INSTANCES];
} logic_rooms_routes_t;

void logic_rooms_key(char *key, uint64_t room);
void logic_rooms_set_key(char *key, uint64_t room, const char *instance);

/*
 * IM_ERROR: Redis does not answer.  The second and third are the halves of the
 * first, for a pipeline: ask, and read in the order of asking; the replies to
 * routes->stale commands come after all that was asked.
 */
int logic_rooms_routes(im_redis_t *redis, uint64_t room,
    logic_rooms_routes_t *routes);
int logic_rooms_routes_ask(im_redis_t *redis, uint64_t room);
int logic_rooms_routes_read(im_redis_t *redis, uint64_t room,
    logic_rooms_routes_t *routes);

/* Users: exact up to exact_max, else the sum, where one who is on two instances
 * counts twice. */
int logic_rooms_users_there(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t exact_max, uint64_t *online);

/*
 * This instance gets the messages of the room from now on.  Queues
 * LOGIC_ROOMS_WATCH commands; the caller reads their replies.
 */
#define LOGIC_ROOMS_WATCH  2
int logic_rooms_watch(im_redis_t *redis, uint64_t room, const char *instance);

/* Up to limit + 1 users above `after`, by uid; *n: how many. */
int logic_rooms_online_page(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t after, size_t limit,
    uint64_t *uids, size_t *n);
/* Removes uid; *there: he was there, by what workers have reported.
 * They report it themselves, a little later. */
int logic_rooms_take_out(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, uint64_t uid, int *there);
/* online[i]: uids[i] is there. */
int logic_rooms_online_of(im_redis_t *redis, uint64_t room,
    const logic_rooms_routes_t *routes, const uint64_t *uids, size_t n,
    unsigned char *online);

#endif
