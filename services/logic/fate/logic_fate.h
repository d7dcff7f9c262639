/*
 * logic_fate.h -- what became of numbers whose messages were refused.
 *
 * Each of these copies what it needs of m, which stays the caller's, to be
 * refused then.  None waits.  What does not fit is forgotten: the gap is judged
 * by its age then, as after the death of an instance.  Any thread.
 */

#ifndef LOGIC_FATE_H
#define LOGIC_FATE_H

#include "logic_message.h"
#include "logic_voids.h"

/* The queue, which may be added to from here on until destroy. */
int logic_fate_create(void);
void logic_fate_destroy(void);
/* The thread. */
int logic_fate_start(void);
void logic_fate_stop(void);

/* It was never handed to Kafka under this number. */
void logic_fate_refused(logic_message_t *m);
/* It was, and was not confirmed; in its delivery report. */
void logic_fate_failed(logic_message_t *m);
/* It was to get a number, and Redis's reply was lost. */
void logic_fate_unanswered(logic_message_t *m);
/* Its number has been proved void by its age. */
void logic_fate_void(logic_message_t *m);
/* A counter was set above a range, in the memory of Redis that has this mark:
 * logic_memory.h. */
void logic_fate_jump(const logic_void_t *range, uint64_t mark);

/* Numbers and ranges found void, and those that are not known yet. */
void logic_fate_stats(uint64_t *voids, uint64_t *waiting);

#endif
