/*
 * logic_unstored.h -- conversations whose first message is acked, and perhaps
 * not in MySQL yet, so the list of conversations would not show them.
 */

#ifndef LOGIC_UNSTORED_H
#define LOGIC_UNSTORED_H

#include "im_slot.h"
#include "logic_pool.h"

/* A conversation's first number is about to be given: queues what notes it.
 * *replies grows by those to come.  IM_ERROR: Redis is not there. */
int logic_unstored_append(im_redis_t *redis, const im_conv_t *conv,
    size_t *replies);

/* Queues the question that logic_unstored_wait() takes the reply of. */
int logic_unstored_ask(im_redis_t *redis, uint64_t uid);

/*
 * In a job of a pool: waits until the conversations that had begun for this
 * user at the call, and were acked, are in MySQL.  IM_OK: the job goes on.
 * IM_AGAIN: the call is parked, go_on will be called as a job, which is the
 * same for all calls, or it is refused.  IM_DECLINED: it has been refused.
 * Nothing is asked of Redis but the reply.
 */
int logic_unstored_wait(logic_db_t *db, const logic_call_t *call, uint64_t uid,
    logic_jobs_pt go_on);

#endif
