/*
 * logic_settle.h -- is all that was ever appended for a conversation stored?
 *
 * The log is settled for a request when the store group has committed the end
 * that the partition had when the request came, or later: all that was acked
 * before is in MySQL then.
 */

#ifndef LOGIC_SETTLE_H
#define LOGIC_SETTLE_H

#include "im_slot.h"

#define LOGIC_SETTLE_PARTITIONS  64    /* as many as slots allow */

typedef struct logic_wait_s  logic_wait_t;

/* In the memory of the caller; zeroed before its first use. */
struct logic_wait_s {
    uint64_t         partitions;   /* in: a bit for each */
    uint64_t         until_us;     /* in: monotonic; ends then at the latest */
    /* A thread of logic_settle.c calls it, once; it must not wait itself. */
    void           (*done)(logic_wait_t *w);

    uint64_t         reached;      /* out: those that are settled */

    uint64_t         marked;       /* logic_settle_list.c's: have an end */
    uint64_t         round;
    logic_wait_t    *next;
    int64_t          ends[LOGIC_SETTLE_PARTITIONS];
};

/* Before the first thread that may ask. */
int logic_settle_start(void);
/* Ends all waits as they are. */
void logic_settle_stop(void);

/*
 * Waits until all partitions are reached or the time has come.  Any thread,
 * between start and stop and after logic_produce_start, which learns the
 * partitions.  IM_AGAIN: done() will be called.  IM_BUSY: too many wait, or it
 * stops; done() will not.
 *
 * After done() the same w may wait again: the partitions that are reached stay
 * reached, and the ends of the log that were sampled are kept.
 */
int logic_settle_wait(logic_wait_t *w);

/*
 * The same for a thread that may block: IM_OK: what was appended to the
 * conversation's partition before this call is in MySQL; IM_AGAIN: that is not
 * known within timeout_ms.
 */
int logic_settle(const im_conv_t *conv, unsigned timeout_ms);

/* 1: nothing was ever written to the log; 0: something was; -1: Kafka does not
 * answer.  Blocks, IM_SETTLE_ASK_MS. */
int logic_settle_empty(void);

/* The bit of a conversation's partition. */
uint64_t logic_settle_bit(const im_conv_t *conv);

/*
 * A number that was allocated longer ago than this, and is not in MySQL after
 * the log was settled, will never be: it is void.  A number is produced under
 * for less than [kafka] delivery_ms, and a delivery takes at most as long
 * again.
 */
uint64_t logic_void_after_ms(void);

#endif
