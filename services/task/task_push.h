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
    uint64_t   dropped;        /* not sent: an instance did not keep up */
    uint64_t   unconfirmed;    /* sent, and not confirmed in time */
} task_push_stats_t;

int task_push_start(void);
/* Finishes what is in hand, commits, leaves the group. */
void task_push_stop(void);
void task_push_stats(task_push_stats_t *stats);
/* 1 when its stores answer. */
int task_push_healthy(void);

#endif
