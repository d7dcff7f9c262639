/*
 * logic_unread.h -- how many messages of others are above a read mark.
 *
 * Functions of a pool's thread.
 */

#ifndef LOGIC_UNREAD_H
#define LOGIC_UNREAD_H

#include "logic_listing.h"

/* Messages of an earlier version that are counted for one request. */
#define LOGIC_UNREAD_ROWS_MAX  20000

/*
 * The last message of a conversation that has one (*last, free() ends it; NULL:
 * it is gone), and how many are unread.  It is asked for unless it came with
 * row, which loses it.  *rows: how many may still be counted one by one for
 * this request; too few make *unread too low, never too high.
 * IM_OK; IM_DECLINED: out of memory; IM_ERROR: MySQL.
 */
int logic_unread(logic_db_t *db, uint64_t uid, logic_listed_t *row,
    uint64_t *rows, Im__Message **last, uint64_t *unread);

/* Moves the read mark of a group's member up to seq, never back.  IM_OK or
 * IM_ERROR. */
int logic_unread_read_room(logic_db_t *db, uint64_t uid, uint64_t room,
    uint64_t seq);

#endif
