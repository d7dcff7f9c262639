/*
 * logic_renew.h -- what was known of a sender has been dropped, and will be
 * needed: it is asked for again, so that messages pass if MySQL fails next.
 *
 * Folders that hold such answers (users, rooms) cannot know the threads that
 * ask MySQL, which are above them, so those register here.
 */

#ifndef LOGIC_RENEW_H
#define LOGIC_RENEW_H

#include <stdint.h>

/* May `from` write to the user `to`, or in this room?  One of the two is 0, and
 * so is `from` if the room itself has changed.  It must not wait. */
typedef void (*logic_renew_pt)(uint64_t from, uint64_t to, uint64_t room);

/* Once, by the threads that ask. */
void logic_renew_register(logic_renew_pt handler);

/* Any thread; never waits.  Before there is a handler nothing happens. */
void logic_renew(uint64_t from, uint64_t to, uint64_t room);

#endif
