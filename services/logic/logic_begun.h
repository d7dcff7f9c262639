/*
 * logic_begun.h -- conversations that have just begun: acked, and perhaps not
 * in MySQL yet, so the list of conversations would not show them.
 */

#ifndef LOGIC_BEGUN_H
#define LOGIC_BEGUN_H

#include "im_slot.h"
#include "logic.h"

/* A conversation's first number is about to be given: queues what notes it.
 * *replies grows by those to come.  IM_ERROR: Redis is not there. */
int logic_begun_append(im_redis_t *redis, const im_conv_t *conv,
    size_t *replies);

/*
 * What had begun for this user at the call, and was acked, is in MySQL: waits
 * for it, up to timeout_ms.  IM_OK; IM_AGAIN: not in time; IM_ERROR: Redis or
 * Kafka does not answer.
 */
int logic_begun_settle(im_redis_t *redis, uint64_t uid, unsigned timeout_ms);

#endif
