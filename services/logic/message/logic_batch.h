/*
 * logic_batch.h -- what is done with a batch of messages, step by step.
 */

#ifndef LOGIC_BATCH_H
#define LOGIC_BATCH_H

#include "logic_park.h"

/* Of one shard, on its thread. */
typedef struct {
    im_redis_t        *redis;
    logic_park_t      *park;
    logic_touched_t    answers;        /* to be flushed by the caller */
    logic_message_t   *messages[LOGIC_SEQUENCE_MAX];
    logic_message_t   *denied[LOGIC_SEQUENCE_MAX];
    size_t             n_denied;
} logic_batch_t;

/* The first n messages, which belong to the batch from here on: each is
 * answered, is parked, or is on its way to Kafka or to logic_repeats.c. */
void logic_batch_run(logic_batch_t *batch, size_t n);

#endif
