/*
 * logic_rooms_admit.h -- users who were admitted to a live room just now.
 */

#ifndef LOGIC_ROOMS_ADMIT_H
#define LOGIC_ROOMS_ADMIT_H

#include "im_core.h"

/*
 * Any thread.  Admits uid to a room of max users, if there is a place.  sum:
 * the users that the instances have reported.  IM_OK: uid counts from now on.
 * IM_BUSY: the room is full.  now_us: monotonic.
 */
int logic_rooms_admit(uint64_t room, uint64_t uid, uint64_t sum, uint64_t max,
    uint64_t now_us);

/* These are in the number of their instance from now on. */
void logic_rooms_admit_reported(uint64_t room, const uint64_t *uids, size_t n);

void logic_rooms_admit_clear(void);

#endif
