/*
 * logic_rooms_let.h -- who has just been let into a live room.
 */

#ifndef LOGIC_ROOMS_LET_H
#define LOGIC_ROOMS_LET_H

#include "im_core.h"

/*
 * Any thread.  Is there a place for uid in a room of max users?  sum: those
 * that the instances have reported.  IM_OK: yes, and it counts from now on.
 * IM_BUSY: the room is full.  now_us: monotonic.
 */
int logic_rooms_let(uint64_t room, uint64_t uid, uint64_t sum, uint64_t max,
    uint64_t now_us);

/* From here on these are in the number of their instance. */
void logic_rooms_let_reported(uint64_t room, const uint64_t *uids, size_t n);

void logic_rooms_let_clear(void);

#endif
