/*
 * logic_rooms_count.h -- members are notified how many users are in a room.
 * One thread.
 */

#ifndef LOGIC_ROOMS_COUNT_H
#define LOGIC_ROOMS_COUNT_H

#include "im_redis.h"


int logic_rooms_count_start(void);
void logic_rooms_count_stop(void);

/* The number may have changed: of one room, of all.  ask is 1 if the instances
 * are to be sent it, though it has not. */
void logic_rooms_count_dirty(uint64_t room, unsigned ask);
void logic_rooms_count_all(void);
/* Some rooms are to be counted soon. */
int logic_rooms_count_waiting(void);

/* Counts and notifies those whose time has come.  IM_ERROR: Redis does not
 * answer, the connection is of no use any more. */
int logic_rooms_count(im_redis_t *redis);

#endif
