/*
 * logic_fate_int.h -- what the files of logic_fate share.  All of it is for the
 * fate's thread.
 */

#ifndef LOGIC_FATE_INT_H
#define LOGIC_FATE_INT_H

#include "logic_fate.h"
#include "logic_fate_log.h"
#include "logic_fate_queue.h"
#include "logic_holds.h"

#define LOGIC_FATE_BATCH  LOGIC_HOLDS_MAX

/* Up to a batch of those that are due, and what becomes of each. */
size_t logic_fate_take(logic_fate_e state, logic_fate_t **out);
void logic_fate_next(logic_fate_e state, logic_fate_t *f);
void logic_fate_later(logic_fate_e state, logic_fate_t *f);
void logic_fate_drop(logic_fate_t *f);
/* Waits, at most timeout_ms.  IM_OK: w is the caller's again; anything else: it
 * stops, or too many wait. */
int logic_fate_settle(logic_wait_t *w, unsigned timeout_ms);

/* logic_fate_steps.c: a batch of each state. */
int logic_fate_connect(void);
void logic_fate_disconnect(void);
void logic_fate_do_fences(void);
void logic_fate_do_stored(void);
void logic_fate_do_unanswered(void);
void logic_fate_do_release(void);
void logic_fate_do_jumps(void);
void logic_fate_do_voids(void);
uint64_t logic_fate_found(void);

#endif
