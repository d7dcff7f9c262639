/*
 * logic_draw.c -- see logic_draw.h.
 *
 * An id that counts upwards shows how many users there are, and a user who has
 * one can name all others.  So ids are drawn at random: of a billion ids one is
 * hit by ten billion guesses.  Whether an id is free is not asked before: the
 * primary key refuses the second one, and its owner draws again.
 *
 * All have 19 digits, so they are sorted alike as numbers and as text, as Redis
 * sorts those that share a score (logic_rooms_routes.c).  Ids of earlier
 * versions are below LOGIC_DRAW_MIN and stay what they are.
 *
 * Rejected: encrypting a counter, whose key would have to be kept for ever.
 */

#include <sodium.h>

#include "logic_draw.h"


uint64_t
logic_draw(void)
{
    uint64_t  id;

    do {
        randombytes_buf(&id, sizeof(id));
        id &= INT64_MAX;
    } while (id < LOGIC_DRAW_MIN);     /* one in nine */

    return id;
}
