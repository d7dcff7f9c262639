/*
 * logic_phases.h -- have all numbers that were asked for before a moment been
 * decided?
 *
 * Time is cut into phases.  Each message enters the phase of the moment, before
 * its number is asked for, and leaves it when it is certain what became of the
 * number.  A turn begins a new phase; when the one before is empty, all that
 * was asked for before the turn is decided.  That costs two atomic additions a
 * message, and no list.
 *
 * Two counters are enough, because a phase begins only when the one before the
 * last is empty.  Any thread; turns are made by one.
 */

#ifndef LOGIC_PHASES_H
#define LOGIC_PHASES_H

#include <stdatomic.h>

#include "im_core.h"

typedef struct {
    _Atomic uint64_t  now;         /* number of the phase */
    _Atomic uint64_t  inside[2];   /* by the parity of a phase */
} logic_phases_t;

/* In *phase: 0, or what enter has put there; leave makes it 0. */
void logic_phases_enter(logic_phases_t *p, unsigned char *phase);
void logic_phases_leave(logic_phases_t *p, unsigned char *phase);

uint64_t logic_phases_now(logic_phases_t *p);
/* Ends phase `until`, if it has not ended.  IM_OK: all up to it are empty;
 * IM_AGAIN: not yet. */
int logic_phases_ended(logic_phases_t *p, uint64_t until);

#endif
