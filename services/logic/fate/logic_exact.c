/*
 * logic_exact.c -- see logic_exact.h.
 *
 * One wait at a time, for all partitions that are not exact: their ends are
 * sampled once everybody's numbers are decided, and when the store has reached
 * an end, its partition is exact.
 */

#include <stdatomic.h>
#include <string.h>

#include "im_clock.h"
#include "im_cond.h"
#include "logic_decided.h"
#include "logic_exact.h"
#include "logic_partitions.h"
#include "logic_settle.h"


#define EXACT_WAIT_US  250000          /* one wait for the store */


enum {
    EXACT_IDLE = 0,
    EXACT_WAITS,
    EXACT_ENDED
};


static void exact_take(void);
static void exact_on_settled(logic_wait_t *w);


static _Atomic uint64_t   exact_tags[LOGIC_SETTLE_PARTITIONS];
static logic_wait_t       exact_wait;
static atomic_int         exact_stage;         /* of that wait */
static uint64_t           exact_waited;        /* tags that it is for */


int
logic_exact_is(unsigned partition, unsigned tag)
{
    return atomic_load(&exact_tags[partition]) >> tag & 1;
}


int
logic_exact_all(unsigned tag)
{
    unsigned  p;

    for (p = 0; p < logic_partitions(); p++) {
        if (!logic_exact_is(p, tag)) {
            return 0;
        }
    }

    return 1;
}


void
logic_exact_forget(unsigned tag)
{
    unsigned  p;

    exact_waited &= ~(1ULL << tag);

    for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
        atomic_fetch_and(&exact_tags[p], ~(1ULL << tag));
    }
}


void
logic_exact_settle(uint64_t tags)
{
    unsigned  p;
    uint64_t  partitions;

    if (atomic_load(&exact_stage) == EXACT_WAITS) {
        return;
    }

    exact_take();

    partitions = 0;

    for (p = 0; p < logic_partitions(); p++) {
        if (tags & ~atomic_load(&exact_tags[p])) {
            partitions |= 1ULL << p;
        }
    }

    if (partitions == 0) {
        return;
    }

    /* The ends that were sampled stay, as long as they are for the same tags:
     * a store that is always a little behind would never reach new ones. */

    if (tags != exact_waited) {
        memset(&exact_wait, 0, sizeof(logic_wait_t));
    }

    exact_wait.partitions = partitions;
    exact_wait.until_us = im_mono_us() + EXACT_WAIT_US;
    exact_wait.done = exact_on_settled;
    exact_waited = tags;
    atomic_store(&exact_stage, EXACT_WAITS);

    if (logic_settle_wait(&exact_wait) != IM_AGAIN) {
        atomic_store(&exact_stage, EXACT_IDLE);
    }
}


static void
exact_take(void)
{
    unsigned  p;

    if (atomic_load(&exact_stage) != EXACT_ENDED) {
        return;
    }

    for (p = 0; p < logic_partitions(); p++) {
        if (exact_wait.reached >> p & 1) {
            atomic_fetch_or(&exact_tags[p], exact_waited);
        }
    }

    atomic_store(&exact_stage, EXACT_IDLE);
}


/* A thread of logic_settle.c. */
static void
exact_on_settled(logic_wait_t *w)
{
    (void) w;

    atomic_store(&exact_stage, EXACT_ENDED);
    logic_decided_kick();
}
