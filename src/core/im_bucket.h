/*
 * im_bucket.h -- a token bucket: so many a second, and a burst.
 *
 * The generic cell rate algorithm (ITU-T I.371): a bucket is one number, the
 * time at which it is full again.  Each event moves that time on by the
 * interval of the rate, and an event that would move it more than the burst
 * ahead of the clock is refused.  A counter of tokens that is filled as time
 * passes was rejected: with whole numbers it loses a part of a token at each
 * look, so a slow rate that is asked often never fills up.
 *
 * In any time t at most 1 + burst + rate * t events pass; 1 + burst of them at
 * once after a silence, as in nginx's limit_req.
 *
 * The clock is an argument, in nanoseconds, and may step back.
 */

#ifndef IM_BUCKET_H
#define IM_BUCKET_H

#include "im_core.h"

#define IM_BUCKET_COUNT_MAX   1000000    /* of a rate, in its period */
#define IM_BUCKET_PERIOD_MAX  3600       /* seconds */
#define IM_BUCKET_BURST_MAX   1000000

typedef enum {
    IM_BUCKET_PASSED = 0,
    IM_BUCKET_DELAYED,
    IM_BUCKET_REJECTED
} im_bucket_verdict_t;

typedef struct {
    uint64_t       interval_ns;    /* of one event; rounded up */
    uint64_t       burst_ns;       /* ahead of the clock, then refused */
    uint64_t       delay_ns;       /* ahead of the clock, then delayed */
} im_bucket_rate_t;

/*
 * count events in period_s seconds, burst more at once; the first delay of
 * these pass without a delay.  IM_DECLINED: a count or a period of 0, or
 * something above its maximum.
 */
int im_bucket_rate(im_bucket_rate_t *r, uint64_t count, uint64_t period_s,
    uint64_t burst, uint64_t delay);

/*
 * What would become of an event; takes nothing.  full_ns: the bucket, 0 for a
 * new one.  *wait_ns: how long it is to be delayed, or after what time it would
 * not be refused.
 */
im_bucket_verdict_t im_bucket_test(const im_bucket_rate_t *r, uint64_t full_ns,
    uint64_t now_ns, uint64_t *wait_ns);

/*
 * The bucket as an event of now finds it: no further ahead than events of this
 * rate can have moved it.  More is the debt of a larger burst, before a new
 * configuration, or of a clock that stepped back; nobody is to work that off.
 * To be written back, also when the event is refused.
 */
uint64_t im_bucket_clip(const im_bucket_rate_t *r, uint64_t full_ns,
    uint64_t now_ns);

/* The bucket after an event that was not refused. */
uint64_t im_bucket_take(const im_bucket_rate_t *r, uint64_t full_ns,
    uint64_t now_ns);

#endif
