/*
 * im_pace.h -- how long to hold a batch open, from the recent rate.
 *
 * Redis and Kafka cost per request, not per message.  A lone message must not
 * wait; under load a hold of a few ms costs a third of the CPU and lowers the
 * tail.  So the hold grows with the rate that was seen, and is zero below
 * rate_min.  The clock is an argument.
 */

#ifndef IM_PACE_H
#define IM_PACE_H

#include "im_core.h"

typedef struct {
    uint64_t       since_us;   /* start of the current window */
    uint64_t       count;      /* messages in it */
    double         rate;       /* messages a second, smoothed */
    unsigned       hold_max_us;
    unsigned       rate_min;   /* messages a second */
    unsigned       rate_full;  /* the hold is hold_max_us from here on */
} im_pace_t;

void im_pace_init(im_pace_t *p, unsigned hold_max_us, unsigned rate_min,
    unsigned rate_full);

/* n messages were taken at now_us (monotonic). */
void im_pace_count(im_pace_t *p, unsigned n, uint64_t now_us);

/* Microseconds to wait for company, 0 to hold_max_us. */
unsigned im_pace_hold_us(const im_pace_t *p);

#endif
