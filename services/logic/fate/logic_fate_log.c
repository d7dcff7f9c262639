/*
 * logic_fate_log.c -- see logic_fate_log.h.
 *
 * The end of a partition stays sampled until it is reached, however many waits
 * that takes: a store that is always a little behind never reaches an end that
 * is sampled anew.  A number that comes when the end has been sampled already
 * is not covered by it, and takes the next one.
 */

#include "logic_fate_log.h"


int
logic_fate_log_passed(logic_fate_log_t *log, unsigned partition,
    uint64_t *turn)
{
    uint64_t  bit;

    bit = 1ULL << partition;

    if (*turn == 0) {
        *turn = log->reached[partition] + ((log->wait.marked & bit) ? 2 : 1);
    }

    if (log->reached[partition] >= *turn) {
        return IM_OK;
    }

    log->wait.partitions |= bit;

    return IM_AGAIN;
}


void
logic_fate_log_turn(logic_fate_log_t *log)
{
    unsigned  p;
    uint64_t  reached;

    reached = log->wait.reached;

    for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
        log->reached[p] += reached >> p & 1;
    }

    log->wait.partitions &= ~reached;
    log->wait.marked &= ~reached;
    log->wait.reached = 0;
}
