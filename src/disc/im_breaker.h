/*
 * im_breaker.h -- stops asking somebody who keeps failing.
 *
 *     closed --failure rate--> open --pause over--> half-open --ok--> closed
 *                               ^                      |
 *                               +------- failed -------+   (pause doubled)
 *
 * After M. Nygard, "Release It!" (2007), "Circuit Breaker".  Failures are
 * counted over a sliding window; half-open lets one probe through at a time.
 * The clock is an argument, in milliseconds of any monotonic origin.
 */

#ifndef IM_BREAKER_H
#define IM_BREAKER_H

#include "im_core.h"

#define IM_BREAKER_BUCKETS  5

typedef struct {
    unsigned       window_ms;     /* what is older does not count */
    unsigned       calls_min;     /* fewer in the window: it stays closed */
    unsigned       failed_pct;    /* 1-100; opens from this share on */
    unsigned       open_min_ms;   /* first pause; doubled by a failed probe */
    unsigned       open_max_ms;
} im_breaker_conf_t;

typedef enum {
    IM_BREAKER_CLOSED = 0,
    IM_BREAKER_OPEN,
    IM_BREAKER_HALF_OPEN
} im_breaker_state_t;

typedef struct {
    im_breaker_state_t  state;
    unsigned            probing:1;    /* half-open: the probe is under way */
    unsigned            pause_ms;     /* of the last opening */
    uint64_t            until_ms;     /* open: then a probe */
    uint64_t            epoch;        /* now / bucket length, when last used */
    uint32_t            calls[IM_BREAKER_BUCKETS];
    uint32_t            failed[IM_BREAKER_BUCKETS];
} im_breaker_t;

void im_breaker_init(im_breaker_t *b);

/* Would a call be let through now?  Changes nothing. */
int im_breaker_allows(const im_breaker_t *b, uint64_t now_ms);
/*
 * A call starts; it must have been allowed.  Returns 1 if it is the probe,
 * which its end is told: exactly one of ok, failed and forget (it was given
 * up: neither good nor bad).
 */
unsigned im_breaker_start(im_breaker_t *b, uint64_t now_ms);
void im_breaker_ok(im_breaker_t *b, const im_breaker_conf_t *conf,
    uint64_t now_ms, unsigned probe);
void im_breaker_failed(im_breaker_t *b, const im_breaker_conf_t *conf,
    uint64_t now_ms, unsigned probe);
void im_breaker_forget(im_breaker_t *b, unsigned probe);
/* Until the next call may be let through; 0 if one is now. */
unsigned im_breaker_wait_ms(const im_breaker_t *b, uint64_t now_ms);

#endif
