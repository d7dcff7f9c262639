/*
 * logic_args.h -- Redis commands whose arguments are plain texts.
 */

#ifndef LOGIC_ARGS_H
#define LOGIC_ARGS_H

#include "im_redis.h"

#define LOGIC_ARGS_MAX  16

/* Queues a command of n arguments (const char *).  An error shows when its
 * reply is read. */
int logic_args(im_redis_t *redis, unsigned n, ...);
/* Reads n replies.  IM_ERROR: the connection is gone, or one is an error. */
int logic_args_done(im_redis_t *redis, unsigned n);

/*
 * The next reply, an array; NULL as im_redis_expect().  A key that holds
 * something of another type is logged and counts as empty (elements is 0): it
 * must not stop what is done for all other keys.
 */
struct redisReply *logic_args_array(im_redis_t *redis);

#endif
