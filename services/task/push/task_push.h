/*
 * task_push.h -- the consumer group "push".
 */

#ifndef TASK_PUSH_H
#define TASK_PUSH_H

#include "task.h"

typedef struct {
    uint64_t   records;        /* taken from Kafka */
    uint64_t   pushed;         /* items sent to Connect instances */
    uint64_t   repeated;       /* of these, on a second stream */
    uint64_t   dropped;        /* items that were given up before they went */
    uint64_t   unconfirmed;    /* batches that an instance has not confirmed
                                  in time; one for each instance */
} task_push_stats_t;

int task_push_start(void);
/* Asks it to end; stop waits for that. */
void task_push_end(void);
/* Finishes what is in hand, within a second, commits, leaves the group. */
void task_push_stop(void);
/* 1: its group has said which partitions are ours.  Main thread. */
int task_push_has_joined(void);
void task_push_stats(task_push_stats_t *stats);

#endif
