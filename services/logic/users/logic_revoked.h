/*
 * logic_revoked.h -- sessions that have ended while a token of theirs may still
 * live: a mark in Redis for Logic, a list for the workers.
 */

#ifndef LOGIC_REVOKED_H
#define LOGIC_REVOKED_H

#include "im_redis.h"
#include "im_rpc.h"

#define LOGIC_REVOKED_SIDS  100        /* of one call */

/* Marks n sessions, then notifies all workers.  IM_ERROR: Redis does not
 * answer; safe to repeat. */
int logic_revoked_add(im_redis_t *redis, char **sids, size_t n);

/* What a worker that has just linked must know.  The caller flushes.  IM_ERROR:
 * Redis does not say; IM_BUSY: the stream's queue is full, some of it is sent;
 * after both all of it is to be sent again.  IM_DONE: the stream has ended. */
int logic_revoked_hello(im_redis_t *redis, im_rpc_stream_t *s);

#endif
