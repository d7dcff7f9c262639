/*
 * logic_memory.h -- since when Redis remembers, and counters that are set from
 * what MySQL holds.
 */

#ifndef LOGIC_MEMORY_H
#define LOGIC_MEMORY_H

#include "im_redis.h"
#include "logic_sequence.h"

typedef struct {
    uint64_t         mark;         /* names this memory: when it began, in ms of
                                      Redis's clock; 0: none was lost before */
    unsigned         young:1;      /* it began less than an hour ago, and
                                      another one was lost before */
} logic_memory_t;

/*
 * For the tag of a slot.  A Redis without the mark has lost its memory, or is
 * used for the first time.  _read asks Kafka then which of the two it is, and
 * notes the mark; _look only looks.  IM_ERROR: Redis; IM_AGAIN: there is no
 * mark, and Kafka does not answer or was not asked.
 */
int logic_memory_read(im_redis_t *redis, unsigned slot,
    logic_memory_t *memory);
int logic_memory_look(im_redis_t *redis, unsigned slot,
    logic_memory_t *memory);

/* _read for all tags, with a connection of its own: notes the marks that are
 * missing. */
void logic_memory_remember(void);

/*
 * Sets the last seq of a conversation where Redis has none, if it remembers
 * since `mark` still.  Append queues calls, with no other command behind them;
 * then a reply for each.  *set: it did.  IM_AGAIN: the script has gone; to be
 * called again when all replies were taken.
 */
int logic_memory_seed_append(im_redis_t *redis, const logic_seq_t *item,
    uint64_t last, uint64_t mark);
int logic_memory_seed_reply(im_redis_t *redis, int *set);

#endif
