/*
 * logic_repeats.h -- repeats of messages whose first try was long ago and has
 * left no trace: was it lost, or is it only not stored yet?
 */

#ifndef LOGIC_REPEATS_H
#define LOGIC_REPEATS_H

#include "logic_message.h"

int logic_repeats_start(unsigned queue_max);
/* Refuses what is not decided yet. */
void logic_repeats_stop(void);

/*
 * Any thread; takes m over.  Ends in an ack, if the first try was stored, or in
 * logic_intake_again() with seq.void_id set, or in a refusal that is
 * retryable (the queue is full, Kafka or MySQL is away, the store is behind).
 * It ends within IM_REPEAT_QUEUE_MS of its arrival, and what is asked then.
 */
void logic_repeats_add(logic_message_t *m, logic_touched_t *answers);

#endif
