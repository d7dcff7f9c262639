/*
 * task_dead.h -- the topic of records that cannot be stored: never dropped.
 *
 * On the storing thread, except task_dead_healthy.
 */

#ifndef TASK_DEAD_H
#define TASK_DEAD_H

#include <stdatomic.h>

#include "task.h"

/* Keeps a copy of a record, key and value. */
void task_dead_add(const im_kafka_record_t *kafka);
/* Returns IM_OK when Kafka has confirmed all copies, trying again for as long
 * as it takes; IM_DONE: *stopping was set, nothing may be committed. */
int task_dead_flush(atomic_int *stopping);
void task_dead_stop(void);
int task_dead_healthy(void);

#endif
