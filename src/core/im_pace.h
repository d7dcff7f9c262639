/*
 * im_pace.h -- how long to hold a batch open, from the recent rate.
 *
 * Redis, Kafka and a socket cost per request, not per message.  A lone message
 * must not wait; under load a hold of a few ms saves half of the CPU and lowers
 * the tail.  So the hold grows with the number of messages that it would
 * collect at the recent rate: none for up to one, the longest from five on.
 * The clock is an argument.
 */

#ifndef IM_PACE_H
#define IM_PACE_H

#include "im_core.h"

typedef struct {
    uint64_t       since_us;   /* start of the current window */
    uint64_t       count;      /* messages in it */
    double         rate;       /* messages a second, smoothed */
    unsigned       hold_max_us;
} im_pace_t;

void im_pace_init(im_pace_t *p, unsigned hold_max_us);

/* n messages were taken at now_us (monotonic). */
void im_pace_count(im_pace_t *p, unsigned n, uint64_t now_us);

/* Microseconds that a message of now_us is to wait for others, 0 to
 * hold_max_us. */
unsigned im_pace_hold_us(const im_pace_t *p, uint64_t now_us);

#endif
