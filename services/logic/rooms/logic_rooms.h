/*
 * logic_rooms.h -- kinds of rooms, and roles in them, as MySQL has them.
 */

#ifndef LOGIC_ROOMS_H
#define LOGIC_ROOMS_H

#include "logic_pool.h"

#define LOGIC_ROOM_GROUP   1       /* rooms.kind */
#define LOGIC_ROOM_LIVE    2

#define LOGIC_ROLE_NONE    0       /* members.role */
#define LOGIC_ROLE_MEMBER  1
#define LOGIC_ROLE_ADMIN   2
#define LOGIC_ROLE_OWNER   3

#endif
