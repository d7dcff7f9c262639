/*
 * task_store.h -- the consumer group "store".
 */

#ifndef TASK_STORE_H
#define TASK_STORE_H

#include "task.h"

typedef struct {
    uint64_t   records;        /* taken from Kafka */
    uint64_t   stored;         /* rows that were new */
    uint64_t   known;          /* rows that were there already */
    uint64_t   dead;           /* records given to the dead letter topic */
    uint64_t   reused;         /* of these, numbers given twice */
    int64_t    lag;            /* records of its partitions that are not
                                  stored; up to a second old, -1: unknown */
} task_store_stats_t;

int task_store_start(void);
/* Asks it to end; stop waits for that. */
void task_store_end(void);
/* Finishes what is in hand, commits, leaves the group. */
void task_store_stop(void);
/* 1: its group has said which partitions are ours.  Main thread. */
int task_store_has_joined(void);
void task_store_stats(task_store_stats_t *stats);

#endif
