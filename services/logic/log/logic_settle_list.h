/*
 * logic_settle_list.h -- those who wait for the log to be settled.
 *
 * No thread, no clock and no Kafka in here: logic_settle.c has them, and calls
 * with its lock held.
 */

#ifndef LOGIC_SETTLE_LIST_H
#define LOGIC_SETTLE_LIST_H

#include "logic_settle.h"

typedef struct {
    logic_wait_t    *first;
    unsigned         n;
    uint64_t         round;        /* of questions for ends */
    int64_t          commits[LOGIC_SETTLE_PARTITIONS];  /* last; 0: none */
} logic_settle_list_t;

void logic_settle_list_add(logic_settle_list_t *list, logic_wait_t *w);

/* A question for ends begins: the partitions to ask for. */
uint64_t logic_settle_list_begin(logic_settle_list_t *list);
/* Its answer: ends[p] of those partitions, negative: not known.  It counts for
 * those who waited already when it began. */
void logic_settle_list_ends(logic_settle_list_t *list, uint64_t partitions,
    const int64_t *ends);

/* After a time in which nobody waited: what is remembered of commits is old. */
void logic_settle_list_forget(logic_settle_list_t *list);

/* The partitions whose commits matter. */
uint64_t logic_settle_list_marked(const logic_settle_list_t *list);
/* The group's commits of these partitions, negative: none, or not known.
 * Takes those out who have reached all, linked by next. */
logic_wait_t *logic_settle_list_commits(logic_settle_list_t *list,
    uint64_t partitions, const int64_t *commits);

/* Takes those out whose time has come; UINT64_MAX: all. */
logic_wait_t *logic_settle_list_due(logic_settle_list_t *list,
    uint64_t now_us);
/* When the next one's time comes; UINT64_MAX: nobody waits. */
uint64_t logic_settle_list_next_us(const logic_settle_list_t *list);

#endif
