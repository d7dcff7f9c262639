/*
 * task_dead.h -- the topic of records that cannot be stored: never dropped.
 *
 * On the storing thread, except task_dead_stats.
 */

#ifndef TASK_DEAD_H
#define TASK_DEAD_H

#include "im_record.h"
#include "task.h"

/* Keeps a copy of a record, key and value, and says why, in the log too. */
void task_dead_add(const im_kafka_record_t *kafka, const char *reason);
/* The same for a message whose place another one has. */
void task_dead_reused(const im_kafka_record_t *kafka, const im_record_t *m,
    uint64_t taken_by);
/* IM_OK when Kafka has confirmed all copies; IM_AGAIN: not within wait_ms. */
int task_dead_flush(unsigned wait_ms);
/* Forgets those that are not confirmed: the batch is somebody else's now. */
void task_dead_forget(void);

/* *dead: all of them; *reused: of these, numbers given twice. */
void task_dead_stats(uint64_t *dead, uint64_t *reused);
/* 1: the topic has not taken the last one. */
int task_dead_is_failing(void);

#endif
