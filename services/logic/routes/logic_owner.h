/*
 * logic_owner.h -- which slots this instance owns, as far as it knows.
 */

#ifndef LOGIC_OWNER_H
#define LOGIC_OWNER_H

#include "im_disc.h"

/* rpc thread. */
int logic_owner_start(im_rpc_t *rpc, im_disc_t *disc, const char *instance);
void logic_owner_stop(void);

/* Any thread: 1 if we own the slot.  Two instances may both be its owner,
 * or none, for a moment after one has come or gone. */
int logic_is_owner(unsigned slot);
/* Slot that decides who does the work that a name needs once. */
unsigned logic_owner_slot_of(const char *name);

#endif
