/*
 * logic_home.h -- which slots we are home to, as we see it.
 */

#ifndef LOGIC_HOME_H
#define LOGIC_HOME_H

#include "im_disc.h"

/* rpc thread. */
int logic_home_start(im_rpc_t *rpc, im_disc_t *disc, const char *instance);
void logic_home_stop(void);

/* Any thread: 1 if we are home to the slot.  Two instances may both say so,
 * or none, for a moment after one has come or gone. */
int logic_home(unsigned slot);
/* Slot that decides who does the work that a name needs once. */
unsigned logic_home_slot_of(const char *name);

#endif
