/*
 * logic_settle.h -- has MySQL all that the message log had a moment ago?
 *
 * The end of the conversation's partition is sampled, then the store group is
 * waited for.  Together with the age of a number that tells that it is void:
 * see logic_intake.c.
 */

#ifndef LOGIC_SETTLE_H
#define LOGIC_SETTLE_H

#include "im_slot.h"
#include "logic.h"

int logic_settle_start(void);
void logic_settle_stop(void);

/* Any thread; waits.  IM_OK: all that was in the conversation's partition at
 * the call is in MySQL; IM_AGAIN: not within timeout_ms; IM_ERROR: Kafka does
 * not answer. */
int logic_settle(const im_conv_t *conv, unsigned timeout_ms);

/* 1: nothing was ever written to the log, 0: something was, -1: Kafka does not
 * answer. */
int logic_settle_empty(void);

/* A number older than this (ms) that is absent after logic_settle() is void. */
uint64_t logic_void_after_ms(void);

#endif
