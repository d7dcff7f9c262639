/*
 * logic_fate.h -- what became of numbers whose messages were refused.
 *
 * Each of these copies the number of a message, which stays the caller's, to be
 * refused then.  phase is the message's, of logic_decided_enter(): it is taken
 * over, and 0 then, unless the number is decided without us.  None waits.  What
 * does not fit is forgotten: the gap is judged by its age then, as after the
 * death of an instance.  Any thread.
 */

#ifndef LOGIC_FATE_H
#define LOGIC_FATE_H

#include "logic_sequence.h"
#include "logic_voids.h"

/* The queue, which may be added to from here on until destroy. */
int logic_fate_create(void);
void logic_fate_destroy(void);
/* The thread. */
int logic_fate_start(void);
void logic_fate_stop(void);

/* It was never handed to Kafka under this number. */
void logic_fate_refused(const logic_seq_t *seq, unsigned char *phase);
/* It was, and was not confirmed; in its delivery report. */
void logic_fate_failed(const logic_seq_t *seq, unsigned char *phase);
/* It was to get a number, and Redis's reply was lost. */
void logic_fate_unanswered(const logic_seq_t *seq);
/* Its number has been proved void by its age. */
void logic_fate_void(const logic_seq_t *seq, unsigned char *phase);
/* A counter was set above a range, in the memory of Redis that has this mark:
 * logic_memory.h. */
void logic_fate_jump(const logic_void_t *range, uint64_t mark);

/* Numbers and ranges found void, and those that are not known yet. */
void logic_fate_stats(uint64_t *voids, uint64_t *waiting);

#endif
