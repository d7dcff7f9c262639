/*
 * logic_fate_log.h -- the one wait for the log that all numbers share whose
 * fate depends on what is stored.
 *
 * Pure; the caller waits in between, with `wait`, whenever something is open.
 */

#ifndef LOGIC_FATE_LOG_H
#define LOGIC_FATE_LOG_H

#include "logic_settle.h"

/* All zero: nobody waits. */
typedef struct {
    logic_wait_t     wait;         /* not under way when these are called */
    uint64_t         reached[LOGIC_SETTLE_PARTITIONS];     /* how often */
} logic_fate_log_t;

/*
 * *turn is 0 before the first call for a number, and kept with it.  IM_OK: all
 * that was appended to the partition before that call is stored; IM_AGAIN: not
 * yet, wait.partitions has it.
 */
int logic_fate_log_passed(logic_fate_log_t *log, unsigned partition,
    uint64_t *turn);
/* A wait has ended: its partitions that were reached begin anew. */
void logic_fate_log_turn(logic_fate_log_t *log);

#endif
