/*
 * logic_draw.h -- ids of users and rooms.
 */

#ifndef LOGIC_DRAW_H
#define LOGIC_DRAW_H

#include <stdint.h>

#define LOGIC_DRAW_MIN    UINT64_C(1000000000000000000)    /* 10^18 */
#define LOGIC_DRAW_TRIES  3

/* LOGIC_DRAW_MIN to 2^63-1, from the system's random numbers.  Any thread. */
uint64_t logic_draw(void);

#endif
