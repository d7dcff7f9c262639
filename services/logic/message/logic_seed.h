/*
 * logic_seed.h -- conversations that Redis does not know begin where MySQL's
 * rows end.
 */

#ifndef LOGIC_SEED_H
#define LOGIC_SEED_H

#include "logic_lookup.h"
#include "logic_sequence.h"

/*
 * Sets the counters of conversations that were LOGIC_SEQ_UNSEEDED, and `seeded`
 * of those that begin: logic_sequence() can number their messages then.  Those
 * with `waits` are to be asked for again when it is known where they ended
 * (logic_held.h).  It waits, so it is not for a shard's thread.  IM_OK;
 * IM_DECLINED: MySQL does not answer; IM_ERROR: Redis does not; IM_AGAIN: Kafka
 * was asked whether Redis is new, and does not answer.
 */
int logic_seed(im_redis_t *redis, logic_lookup_t *lookup, logic_seq_t **items,
    size_t n);

#endif
