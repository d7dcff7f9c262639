/*
 * logic_memory.h -- since when Redis remembers, and counters that are set from
 * what MySQL holds.
 */

#ifndef LOGIC_MEMORY_H
#define LOGIC_MEMORY_H

#include "logic_sequence.h"

typedef struct {
    uint64_t         mark;         /* names this memory: when it began, in ms of
                                      Redis's clock; 0: none was lost before */
    unsigned         young:1;      /* it began less than an hour ago, and
                                      another one was lost before */
} logic_memory_t;

/*
 * For the tag of a slot.  A Redis without the mark has lost its memory, or is
 * used for the first time; fresh says which, and is asked then only: 1 first
 * time, 0 lost, -1 unknown.  NULL: nobody is asked.  IM_ERROR: Redis; IM_AGAIN:
 * fresh did not know.
 */
int logic_memory_read(im_redis_t *redis, unsigned slot, int (*fresh)(void),
    logic_memory_t *memory);

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
