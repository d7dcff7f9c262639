/*
 * logic_held.h -- questions where a conversation goes on, which cannot be
 * answered before it is known that all that was numbered is stored
 * (logic_decided.h).
 *
 * They are put aside, so that no thread waits, and asked again then, or when
 * they have waited for IM_DECIDED_WAIT_MS: with seq.jump set.
 */

#ifndef LOGIC_HELD_H
#define LOGIC_HELD_H

#include "logic_park.h"

/* Any thread; q was taken from logic_asking.c. */
void logic_held_add(logic_question_t *q);
/* Sends back those for whom known says 1, and those that have waited long
 * enough. */
void logic_held_serve(int (*known)(const logic_seq_t *seq), uint64_t now_us);

void logic_held_start(void);
/* Ends all without an answer, and those that come. */
void logic_held_stop(void);

#endif
