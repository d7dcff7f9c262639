/*
 * logic_exact.h -- of which partitions MySQL has every row that was numbered
 * before Redis lost its memory: its answers there are exact.
 *
 * For each hash tag of Redis, since each may lose its memory alone.
 */

#ifndef LOGIC_EXACT_H
#define LOGIC_EXACT_H

#include "im_core.h"

/* Any thread. */
int logic_exact_is(unsigned partition, unsigned tag);
/* Of all partitions. */
int logic_exact_all(unsigned tag);

/*
 * The others, by one thread.  _forget: the tag has lost its memory (again).
 * _settle: of these tags everybody's numbers are decided; begins to wait for
 * the store, or takes what a wait has given, and calls logic_decided_kick()
 * from another thread when there is more to take.
 */
void logic_exact_forget(unsigned tag);
void logic_exact_settle(uint64_t tags);

#endif
