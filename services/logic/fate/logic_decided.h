/*
 * logic_decided.h -- after Redis has lost its memory: what was the last number
 * of each conversation?
 *
 * MySQL knows it as soon as nothing is on its way any more that was numbered
 * before the loss.  That is one question for each partition and each loss, and
 * not one for each conversation or message; docs/internals/guarantees.md
 * describes how it is answered, and why that is safe.
 */

#ifndef LOGIC_DECIDED_H
#define LOGIC_DECIDED_H

#include "im_disc.h"
#include "im_slot.h"

/* A thread of its own; self is the name of this instance in etcd. */
int logic_decided_start(const char *self);
void logic_decided_stop(void);
/* When the rpc thread has ended, too: forgets the other instances. */
void logic_decided_clear(void);
/* Before the start: that thread calls on_tick whenever something may have
 * become exact, and at least every IM_DECIDED_TICK_MS. */
void logic_decided_register(void (*on_tick)(void));
/* rpc thread, once: begins to learn of the other instances. */
int logic_decided_watch(im_disc_t *disc);

/*
 * A message, or whatever else may still be produced or write a void, from
 * before its number is asked for until it is certain what became of it.
 * *phase is 0 before and after.  Any thread.
 */
void logic_decided_enter(unsigned char *phase);
void logic_decided_leave(unsigned char *phase);
/* Something that nobody keeps in mind may be on its way as long as a number may
 * be produced under (logic_void_after_ms). */
void logic_decided_forget(void);

/*
 * 1: all numbers that Redis gave in this partition before `since` (when it
 * began to remember, of logic_sequence_memory()) are in MySQL, or void.  Any
 * thread, without waiting.
 */
int logic_decided_exact(const im_conv_t *conv, uint64_t since);
/* Since when Redis remembers, as far as is known here. */
uint64_t logic_decided_mark(unsigned slot);
/* Somebody waits for it, or has found that Redis has lost its memory. */
void logic_decided_kick(void);

/* 1: an im-logic of an earlier version is there, which does not note to whom it
 * gives numbers again: no number may be declared void before its
 * time. */
int logic_decided_is_mixed(void);

#endif
