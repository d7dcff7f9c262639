/*
 * bench_hist.c -- latencies in log-linear steps.
 *
 * The idea of HdrHistogram: within a power of two 64 equal steps, so a value
 * is known to 1.6 % from 64 us to days, in 20 KB and with no allocation.
 * Below 128 us each microsecond has its own slot.
 *
 *     v (us)      slot
 *     0..127      v
 *     128..255    128 + (v - 128) / 2
 *     256..511    192 + (v - 256) / 4  ...
 */

#include <string.h>

#include "bench.h"


#define HIST_BITS  6


static size_t
hist_slot(uint64_t us)
{
    unsigned  shift;

    if (us < (2U << HIST_BITS)) {
        return (size_t) us;
    }

    if (us >= (1ULL << 40)) {
        us = (1ULL << 40) - 1;
    }

    shift = 63 - HIST_BITS - (unsigned) __builtin_clzll(us);

    return ((size_t) shift << HIST_BITS) + (size_t) (us >> shift);
}


/* The largest value of a slot: a quantile is never flattered. */
static uint64_t
hist_top(size_t slot)
{
    unsigned  shift;
    uint64_t  step;

    if (slot < (2U << HIST_BITS)) {
        return slot;
    }

    shift = (unsigned) (slot >> HIST_BITS) - 1;
    step = slot - ((size_t) shift << HIST_BITS);

    return ((step + 1) << shift) - 1;
}


void
bench_hist_add(bench_hist_t *h, uint64_t ns)
{
    uint64_t  us;

    us = ns / 1000;

    h->slot[hist_slot(us)]++;
    h->count++;
    h->sum_us += (double) ns / 1000;

    if (us > h->max_us) {
        h->max_us = us;
    }
}


/* In ms; 0 when nothing was counted. */
double
bench_hist_ms(const bench_hist_t *h, double quantile)
{
    size_t    i;
    uint64_t  seen, want, top;

    if (h->count == 0) {
        return 0;
    }

    want = (uint64_t) (quantile * (double) h->count + 0.999999);
    if (want < 1) {
        want = 1;
    }

    seen = 0;
    top = h->max_us;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        seen += h->slot[i];

        if (seen >= want) {
            top = hist_top(i);
            break;
        }
    }

    if (top > h->max_us) {
        top = h->max_us;
    }

    return (double) top / 1000;
}
