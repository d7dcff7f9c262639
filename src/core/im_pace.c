/*
 * im_pace.c -- the hold grows linearly with the company that is expected.
 *
 * The rate is measured over windows of 20 ms and smoothed over about five of
 * them: quick enough for a burst, slow enough not to follow single messages.
 *
 * Room: core.
 */

#include "im_pace.h"


#define IM_PACE_WINDOW_US  20000
#define IM_PACE_SMOOTH     0.2
#define IM_PACE_OLD_US     (5 * IM_PACE_WINDOW_US)
#define IM_PACE_ALONE      1.0         /* messages in the longest hold */
#define IM_PACE_FULL       5.0


void
im_pace_init(im_pace_t *p, unsigned hold_max_us)
{
    p->since_us = 0;
    p->count = 0;
    p->rate = 0;
    p->hold_max_us = hold_max_us;
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

    if (span >= IM_PACE_OLD_US) {
        p->rate = rate;

    } else {
        p->rate += (rate - p->rate) * IM_PACE_SMOOTH;
    }

    p->since_us = now_us;
    p->count = 0;
}


unsigned
im_pace_hold_us(const im_pace_t *p, uint64_t now_us)
{
    double  expected;

    if (now_us > p->since_us + IM_PACE_OLD_US) {
        return 0;                      /* it comes after a silence */
    }

    expected = p->rate * p->hold_max_us / 1e6;

    if (expected <= IM_PACE_ALONE) {
        return 0;
    }

    if (expected >= IM_PACE_FULL) {
        return p->hold_max_us;
    }

    return (unsigned) ((expected - IM_PACE_ALONE)
                       / (IM_PACE_FULL - IM_PACE_ALONE) * p->hold_max_us);
}
