/*
 * logic_intake.h -- messages: in from links and calls, out to Kafka, acked.
 */

#ifndef LOGIC_INTAKE_H
#define LOGIC_INTAKE_H

#include "logic_message.h"

typedef struct {
    uint64_t  accepted;        /* acked */
    uint64_t  repeated;        /* of these, repeats */
    uint64_t  refused;         /* answered with an error */
    uint64_t  waiting;         /* in queues of shards */
} logic_intake_stats_t;

/* The queues, which may be added to and counted from here on until destroy. */
int logic_intake_create(void);
void logic_intake_destroy(void);
/* What serves them. */
int logic_intake_start(void);
/* Finishes the queues, flushes Kafka; what comes later is refused. */
void logic_intake_stop(void);

/* rpc thread.  Takes the reply over; flush after a batch wakes the shards. */
void logic_intake_add(logic_reply_t *reply, const Im__Deliver *message);
void logic_intake_flush(void);
/* Any thread: a message whose first number turned out to be void comes again,
 * whatever the limit, and needs no flush. */
void logic_intake_again(logic_message_t *m);

void logic_intake_stats(logic_intake_stats_t *stats);

#endif
