/*
 * im_breaker.c -- see im_breaker.h.
 *
 * The window is a ring of buckets; those that time has passed over are
 * emptied when the breaker is used next, so an idle one costs nothing.
 *
 * A call that started before the breaker opened may end after: its result
 * counts in the window, but only that of the probe decides.
 *
 * Room: disc.
 */

#include <string.h>

#include "im_breaker.h"


static void breaker_count(im_breaker_t *b, const im_breaker_conf_t *conf,
    uint64_t now_ms, unsigned failed);
static void breaker_open(im_breaker_t *b, const im_breaker_conf_t *conf,
    uint64_t now_ms);


void
im_breaker_init(im_breaker_t *b)
{
    memset(b, 0, sizeof(im_breaker_t));
}


int
im_breaker_allows(const im_breaker_t *b, uint64_t now_ms)
{
    switch (b->state) {

    case IM_BREAKER_CLOSED:
        return 1;

    case IM_BREAKER_OPEN:
        return now_ms >= b->until_ms;

    default:
        return !b->probing;
    }
}


unsigned
im_breaker_start(im_breaker_t *b, uint64_t now_ms)
{
    if (b->state == IM_BREAKER_OPEN && now_ms >= b->until_ms) {
        b->state = IM_BREAKER_HALF_OPEN;
    }

    if (b->state == IM_BREAKER_CLOSED || b->probing) {
        return 0;
    }

    b->probing = 1;

    return 1;
}


void
im_breaker_ok(im_breaker_t *b, const im_breaker_conf_t *conf, uint64_t now_ms,
    unsigned probe)
{
    if (probe) {
        im_breaker_init(b);            /* what was before is forgotten */
    }

    breaker_count(b, conf, now_ms, 0);
}


void
im_breaker_failed(im_breaker_t *b, const im_breaker_conf_t *conf,
    uint64_t now_ms, unsigned probe)
{
    unsigned  i, calls, failed;

    breaker_count(b, conf, now_ms, 1);

    if (probe) {
        breaker_open(b, conf, now_ms);
        return;
    }

    if (b->state != IM_BREAKER_CLOSED) {
        return;
    }

    calls = 0;
    failed = 0;

    for (i = 0; i < IM_BREAKER_BUCKETS; i++) {
        calls += b->calls[i];
        failed += b->failed[i];
    }

    if (calls >= conf->calls_min
        && (uint64_t) failed * 100 >= (uint64_t) calls * conf->failed_pct)
    {
        breaker_open(b, conf, now_ms);
    }
}


void
im_breaker_forget(im_breaker_t *b, unsigned probe)
{
    if (probe) {
        b->probing = 0;
    }
}


unsigned
im_breaker_wait_ms(const im_breaker_t *b, uint64_t now_ms)
{
    if (b->state == IM_BREAKER_OPEN && now_ms < b->until_ms) {
        return (unsigned) (b->until_ms - now_ms);
    }

    /* a probe under way: its end is not known, the shortest pause is fair */

    return (b->state == IM_BREAKER_HALF_OPEN && b->probing) ? b->pause_ms : 0;
}


static void
breaker_count(im_breaker_t *b, const im_breaker_conf_t *conf, uint64_t now_ms,
    unsigned failed)
{
    unsigned  i;
    uint64_t  epoch, passed;

    epoch = now_ms / (conf->window_ms / IM_BREAKER_BUCKETS);
    passed = epoch - b->epoch;

    if (passed > IM_BREAKER_BUCKETS) {
        passed = IM_BREAKER_BUCKETS;
    }

    for (i = 0; i < passed; i++) {
        b->calls[(epoch - i) % IM_BREAKER_BUCKETS] = 0;
        b->failed[(epoch - i) % IM_BREAKER_BUCKETS] = 0;
    }

    b->epoch = epoch;
    b->calls[epoch % IM_BREAKER_BUCKETS]++;
    b->failed[epoch % IM_BREAKER_BUCKETS] += failed;
}


static void
breaker_open(im_breaker_t *b, const im_breaker_conf_t *conf, uint64_t now_ms)
{
    if (b->state == IM_BREAKER_CLOSED || b->pause_ms == 0) {
        b->pause_ms = conf->open_min_ms;

    } else if (b->pause_ms < conf->open_max_ms / 2) {
        b->pause_ms *= 2;

    } else {
        b->pause_ms = conf->open_max_ms;
    }

    b->state = IM_BREAKER_OPEN;
    b->probing = 0;
    b->until_ms = now_ms + b->pause_ms;
}
