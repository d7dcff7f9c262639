/*
 * logic_produce.h -- numbered messages to Kafka, and the acks that its delivery
 * reports allow.
 */

#ifndef LOGIC_PRODUCE_H
#define LOGIC_PRODUCE_H

#include "logic_message.h"

/* Waits for the topic.  IM_DONE: a signal asked to stop meanwhile. */
int logic_produce_start(void);
/* Waits at most 2 s for the reports of what is on its way. */
void logic_produce_stop(void);

/* Takes n messages, in the order of the batch within each partition.  What
 * Kafka does not take is refused at once, by way of answers.  Any thread. */
void logic_produce(logic_message_t **batch, size_t n,
    logic_touched_t *answers);

#endif
