/*
 * logic_batch_int.h -- what the steps of a batch share.
 */

#ifndef LOGIC_BATCH_INT_H
#define LOGIC_BATCH_INT_H

#include "logic_batch.h"

/* logic_batch_may.c */

/* Keeps those of the first n messages that may be sent, and returns how many:
 * the others wait, are refused, or are put into b->denied. */
size_t logic_batch_may(logic_batch_t *b, size_t n);
/* 1: it may wait for such an answer: not twice in vain, not for ever, and not
 * while MySQL is away. */
int logic_batch_may_wait(const logic_message_t *m, logic_want_e want);
/* Parks it, and has q asked (NULL: it only waits for those before it).
 * IM_AGAIN, or IM_DONE: it is refused, and q freed. */
int logic_batch_park(logic_batch_t *b, logic_message_t *m,
    logic_question_t *q);
/* Refuses it, since MySQL does not answer: any Logic would say so. */
void logic_batch_unanswered(logic_batch_t *b, logic_message_t *m);

#endif
