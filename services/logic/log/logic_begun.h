/*
 * logic_begun.h -- conversations that have just begun: acked, and perhaps not
 * in MySQL yet, so the list of conversations would not show them.
 */

#ifndef LOGIC_BEGUN_H
#define LOGIC_BEGUN_H

#include "im_slot.h"
#include "logic_pool.h"

/* A conversation's first number is about to be given: queues what notes it.
 * *replies grows by those to come.  IM_ERROR: Redis is not there. */
int logic_begun_append(im_redis_t *redis, const im_conv_t *conv,
    size_t *replies);

/* Queues the question that logic_begun_wait() takes the reply of. */
int logic_begun_ask(im_redis_t *redis, uint64_t uid);

/*
 * In a job of a pool: what had begun for this user at the call, and was acked,
 * is in MySQL.  IM_OK: the job goes on.  IM_AGAIN: the call is parked, go_on
 * will be called as a job, which is the same for all calls, or it is refused.
 * IM_DECLINED: it has been refused.  Nothing is asked of Redis but the reply.
 */
int logic_begun_wait(logic_db_t *db, const logic_call_t *call, uint64_t uid,
    logic_jobs_pt go_on);

#endif
