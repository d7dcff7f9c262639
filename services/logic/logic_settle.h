/*
 * logic_settle.h -- is all that was ever appended for a conversation stored?
 */

#ifndef LOGIC_SETTLE_H
#define LOGIC_SETTLE_H

#include "im_slot.h"
#include "logic.h"

/* Before the first thread that may ask. */
int logic_settle_start(void);
/* After the last thread that may ask has ended. */
void logic_settle_stop(void);

/*
 * IM_OK: what was appended to the conversation's partition before this call is
 * in MySQL.  IM_AGAIN: not within timeout_ms (0: one look).  IM_ERROR: Kafka
 * does not answer.  May take IM_SETTLE_ASK_MS longer.  Any thread, after
 * logic_produce_start, which learns the partitions.
 */
int logic_settle(const im_conv_t *conv, unsigned timeout_ms);

/* 1: nothing was ever written to the log; 0: something was; -1: Kafka does not
 * answer. */
int logic_settle_empty(void);

/*
 * The same as logic_settle in two steps, for who has something else to look at
 * meanwhile: mark samples the end of the partition, reached looks once.
 */
#define LOGIC_SETTLE_PARTITIONS  64    /* as many as slots allow */

typedef struct {
    unsigned         partition;
    int64_t          end;
} logic_settle_t;

unsigned logic_settle_partition(const im_conv_t *conv);
/* IM_OK or IM_ERROR. */
int logic_settle_mark(unsigned partition, logic_settle_t *mark);
/* IM_OK: it is in MySQL; IM_AGAIN: not yet; IM_ERROR. */
int logic_settle_reached(const logic_settle_t *mark);

/*
 * A number that was allocated longer ago than this, and is not in MySQL after
 * logic_settle() has said IM_OK, will never be: it is void.  A number is
 * produced under for less than [kafka] delivery_ms, and a delivery takes at
 * most as long again.
 */
uint64_t logic_void_after_ms(void);

#endif
