/*
 * im_pace.c -- the hold grows linearly with the recent rate.
 *
 * The rate is measured over windows of 20 ms and smoothed over about five of
 * them: quick enough for a burst, slow enough not to follow single messages.
 *
 * Room: core.
 */

#include "im_pace.h"


#define IM_PACE_WINDOW_US  20000
#define IM_PACE_SMOOTH     0.2


void
im_pace_init(im_pace_t *p, unsigned hold_max_us, unsigned rate_min,
    unsigned rate_full)
{
    p->since_us = 0;
    p->count = 0;
    p->rate = 0;
    p->hold_max_us = hold_max_us;
    p->rate_min = rate_min;
    p->rate_full = (rate_full > rate_min) ? rate_full : rate_min + 1;
}


void
im_pace_count(im_pace_t *p, unsigned n, uint64_t now_us)
{
    double    rate;
    uint64_t  span;

    if (p->since_us == 0) {
        p->since_us = now_us;
    }

    p->count += n;
    span = now_us - p->since_us;

    if (span < IM_PACE_WINDOW_US) {
        return;
    }

    rate = (double) p->count * 1e6 / (double) span;

    /* a long window is old news: the more it spans, the more it counts */

    if (span >= 5 * IM_PACE_WINDOW_US) {
        p->rate = rate;

    } else {
        p->rate += (rate - p->rate) * IM_PACE_SMOOTH;
    }

    p->since_us = now_us;
    p->count = 0;
}


unsigned
im_pace_hold_us(const im_pace_t *p)
{
    double  part;

    if (p->rate <= p->rate_min) {
        return 0;
    }

    if (p->rate >= p->rate_full) {
        return p->hold_max_us;
    }

    part = (p->rate - p->rate_min) / (double) (p->rate_full - p->rate_min);

    return (unsigned) (part * p->hold_max_us);
}
