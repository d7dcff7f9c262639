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

/* Before logic_decided_start(). */
void logic_held_start(void);
/* After logic_decided_stop(), when nobody adds any more: ends all without an
 * answer. */
void logic_held_stop(void);

/* Any thread; q was taken from logic_asking.c. */
void logic_held_add(logic_question_t *q);

#endif
