/*
 * im_bucket.c -- see im_bucket.h.
 *
 * Nothing overflows: the longest burst is IM_BUCKET_BURST_MAX intervals of an
 * hour, 3.6e18 ns, and a clock of 64 bits that counts from the start of a
 * machine is below 1.8e18 ns for 57 years.
 *
 * Room: core.
 */

#include "im_bucket.h"


#define BUCKET_SECOND_NS  1000000000ull

_Static_assert((uint64_t) IM_BUCKET_BURST_MAX * IM_BUCKET_PERIOD_MAX
               < UINT64_MAX / BUCKET_SECOND_NS / 5,
               "a burst must leave room for the clock");


int
im_bucket_rate(im_bucket_rate_t *r, uint64_t count, uint64_t period_s,
    uint64_t burst, uint64_t delay)
{
    if (count == 0 || count > IM_BUCKET_COUNT_MAX
        || period_s == 0 || period_s > IM_BUCKET_PERIOD_MAX
        || burst > IM_BUCKET_BURST_MAX)
    {
        return IM_DECLINED;
    }

    if (delay > burst) {
        delay = burst;
    }

    /* rounded up: the rate is never exceeded */

    r->interval_ns = (period_s * BUCKET_SECOND_NS + count - 1) / count;
    r->burst_ns = burst * r->interval_ns;
    r->delay_ns = delay * r->interval_ns;

    return IM_OK;
}


im_bucket_verdict_t
im_bucket_test(const im_bucket_rate_t *r, uint64_t full_ns, uint64_t now_ns,
    uint64_t *wait_ns)
{
    uint64_t  ahead;

    ahead = (full_ns > now_ns) ? full_ns - now_ns : 0;

    if (ahead > r->burst_ns) {
        *wait_ns = ahead - r->burst_ns;
        return IM_BUCKET_REJECTED;
    }

    if (ahead > r->delay_ns) {
        *wait_ns = ahead - r->delay_ns;
        return IM_BUCKET_DELAYED;
    }

    *wait_ns = 0;

    return IM_BUCKET_PASSED;
}


uint64_t
im_bucket_clip(const im_bucket_rate_t *r, uint64_t full_ns, uint64_t now_ns)
{
    uint64_t  most;

    most = now_ns + r->burst_ns + r->interval_ns;

    return (full_ns < most) ? full_ns : most;
}


uint64_t
im_bucket_take(const im_bucket_rate_t *r, uint64_t full_ns, uint64_t now_ns)
{
    return (full_ns > now_ns ? full_ns : now_ns) + r->interval_ns;
}
