/*
 * logic_outcome.h -- how a message ends: acked or refused, with all repeats
 * that wait for it; and a memory of the last 65,536 that were confirmed.
 *
 * Any thread.
 */

#ifndef LOGIC_OUTCOME_H
#define LOGIC_OUTCOME_H

#include "logic_intake.h"
#include "logic_message.h"

/* Both free m.  dup: the first try was before this one. */
void logic_outcome_accept(logic_message_t *m, logic_touched_t *t, int dup);
void logic_outcome_refuse(logic_message_t *m, logic_touched_t *t,
    const char *code, const char *text);

/* IM_OK: the same field was confirmed lately, m has its numbers now;
 * IM_BUSY: with another body under the same cmid; IM_DECLINED: not known. */
int logic_outcome_recall(logic_message_t *m);

/* Fills accepted, repeated and refused. */
void logic_outcome_stats(logic_intake_stats_t *stats);

#endif
