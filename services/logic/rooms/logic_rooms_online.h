/*
 * logic_rooms_online.h -- what workers report of rooms, and telling the rooms.
 */

#ifndef LOGIC_ROOMS_ONLINE_H
#define LOGIC_ROOMS_ONLINE_H

#include "logic_reply.h"

int logic_rooms_online_start(unsigned queue_max);
void logic_rooms_online_stop(void);

/* Any thread; answered with closed when Redis has it.  Takes the reply. */
void logic_rooms_online_report(logic_reply_t *reply, const char *instance,
    const Im__RoomReport *report);


#endif
