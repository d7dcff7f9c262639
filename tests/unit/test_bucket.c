/*
 * test_bucket.c -- nobody gets more than the burst and the rate, and nobody
 * gets less.
 */

#include "unit.h"

#include "im_bucket.h"


#define SECOND  UINT64_C(1000000000)
#define EVENTS  400
#define TRIALS  300


static uint64_t  seed;


/* The same numbers each time (xorshift, G. Marsaglia). */
static uint64_t
chance(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return seed % below;
}


/* The verdict; takes what is not refused. */
static im_bucket_verdict_t
event(const im_bucket_rate_t *r, uint64_t *full, uint64_t now, uint64_t *wait)
{
    im_bucket_verdict_t  v;

    v = im_bucket_test(r, *full, now, wait);

    if (v != IM_BUCKET_REJECTED) {
        *full = im_bucket_take(r, *full, now);
    }

    return v;
}


static void
the_burst_passes_at_once_and_then_the_rate(void **state)
{
    unsigned          i;
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    full = 0;
    now = 5 * SECOND;
    assert_int_equal(im_bucket_rate(&r, 20, 1, 40, 40), IM_OK);

    for (i = 0; i < 41; i++) {
        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_PASSED);
    }

    assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_REJECTED);
    assert_int_equal(wait, SECOND / 20);

    assert_int_equal(event(&r, &full, now + wait - 1, &wait),
                     IM_BUCKET_REJECTED);
    assert_int_equal(wait, 1);
    assert_int_equal(event(&r, &full, now + SECOND / 20, &wait),
                     IM_BUCKET_PASSED);
}


static void
after_a_silence_the_whole_burst_is_back_and_no_more(void **state)
{
    unsigned          i, pass;
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    full = 0;
    now = SECOND;
    im_bucket_rate(&r, 7, 60, 3, 3);

    for (i = 0; i < 4; i++) {
        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_PASSED);
    }

    /* what has been taken comes back in four intervals, then it is full */

    for (pass = 0; pass < 3; pass++) {
        now += (pass == 2) ? 1000000 * SECOND : 4 * r.interval_ns;

        for (i = 0; i < 4; i++) {
            assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_PASSED);
        }

        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_REJECTED);
    }
}


static void
between_the_delay_and_the_burst_events_are_spread_by_the_rate(void **state)
{
    unsigned          i;
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    full = 0;
    now = SECOND;
    im_bucket_rate(&r, 10, 1, 5, 2);

    for (i = 0; i < 3; i++) {
        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_PASSED);
    }

    for (i = 1; i <= 3; i++) {
        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_DELAYED);
        assert_int_equal(wait, i * SECOND / 10);
    }

    assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_REJECTED);
}


static void
in_no_window_pass_more_than_the_burst_and_the_rate(void **state)
{
    unsigned          trial, i, j, n;
    uint64_t          count, period, burst, full, now, wait, most;
    uint64_t          passed[EVENTS];
    im_bucket_rate_t  r;

    (void) state;

    seed = 20261130;

    for (trial = 0; trial < TRIALS; trial++) {
        count = 1 + chance(trial % 3 == 0 ? 1000 : 30);
        period = (trial % 2 == 0) ? 1 : 60;
        burst = chance(20);
        assert_int_equal(im_bucket_rate(&r, count, period, burst,
                                        chance(burst + 1)),
                         IM_OK);

        full = 0;
        now = chance(SECOND);
        n = 0;

        while (n < EVENTS) {
            now += chance(4) ? chance(r.interval_ns / 2 + 1)
                             : chance(8 * r.interval_ns);

            if (event(&r, &full, now, &wait) != IM_BUCKET_REJECTED) {
                passed[n++] = now;
            }
        }

        for (i = 0; i < n; i++) {
            for (j = i; j < n; j++) {
                most = 1 + burst
                       + (passed[j] - passed[i]) * count / (period * SECOND);
                assert_true(j - i + 1 <= most);
            }
        }
    }
}


static void
who_asks_without_a_pause_gets_the_whole_rate(void **state)
{
    uint64_t          full, now, wait, end, n;
    im_bucket_rate_t  r;

    (void) state;

    /* a clock of milliseconds, a rate that none of them divides */

    full = 0;
    n = 0;
    end = SECOND + 100 * SECOND;
    im_bucket_rate(&r, 7, 1, 2, 2);

    for (now = SECOND; now <= end; now += 1000000) {
        n += event(&r, &full, now, &wait) != IM_BUCKET_REJECTED;
    }

    /* 700 and the burst and one; rounding up may cost the last */

    assert_in_range(n, 702, 703);

    /* one each minute, asked for each millisecond: no part of it gets lost */

    full = 0;
    n = 0;
    im_bucket_rate(&r, 1, 60, 0, 0);

    for (now = SECOND; now <= SECOND + 600 * SECOND; now += 1000000) {
        n += event(&r, &full, now, &wait) != IM_BUCKET_REJECTED;
    }

    assert_int_equal(n, 11);
}


static void
a_refused_event_passes_when_it_was_told_to_come(void **state)
{
    unsigned          i;
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    seed = 7;
    full = 0;
    now = 0;

    for (i = 0; i < 5000; i++) {
        if (i % 500 == 0) {
            im_bucket_rate(&r, 1 + chance(100), 1 + chance(60), chance(9), 9);
        }

        now += chance(r.interval_ns);

        if (event(&r, &full, now, &wait) == IM_BUCKET_REJECTED) {
            now += wait;
            assert_int_not_equal(event(&r, &full, now, &wait),
                                 IM_BUCKET_REJECTED);
        }
    }
}


static void
a_clock_that_steps_back_gives_nothing_away(void **state)
{
    uint64_t          full, wait;
    im_bucket_rate_t  r;

    (void) state;

    full = 0;
    im_bucket_rate(&r, 1, 1, 0, 0);

    assert_int_equal(event(&r, &full, 10 * SECOND, &wait), IM_BUCKET_PASSED);
    assert_int_equal(event(&r, &full, 9 * SECOND, &wait),
                     IM_BUCKET_REJECTED);
    assert_int_equal(wait, 2 * SECOND);
    assert_int_equal(event(&r, &full, 11 * SECOND, &wait), IM_BUCKET_PASSED);
}


static void
rates_that_make_no_sense_are_refused(void **state)
{
    im_bucket_rate_t  r;

    (void) state;

    assert_int_equal(im_bucket_rate(&r, 0, 1, 0, 0), IM_DECLINED);
    assert_int_equal(im_bucket_rate(&r, 1, 0, 0, 0), IM_DECLINED);
    assert_int_equal(im_bucket_rate(&r, IM_BUCKET_COUNT_MAX + 1, 1, 0, 0),
                     IM_DECLINED);
    assert_int_equal(im_bucket_rate(&r, 1, IM_BUCKET_PERIOD_MAX + 1, 0, 0),
                     IM_DECLINED);
    assert_int_equal(im_bucket_rate(&r, 1, 1, IM_BUCKET_BURST_MAX + 1, 0),
                     IM_DECLINED);
    assert_int_equal(im_bucket_rate(&r, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                    UINT64_MAX),
                     IM_DECLINED);
}


static void
the_largest_burst_of_the_slowest_rate_does_not_overflow(void **state)
{
    unsigned          i;
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    /* 57 years after the start of the machine */

    now = UINT64_C(1800000000) * SECOND;
    assert_int_equal(im_bucket_rate(&r, 1, IM_BUCKET_PERIOD_MAX,
                                    IM_BUCKET_BURST_MAX, IM_BUCKET_BURST_MAX),
                     IM_OK);

    full = now + r.burst_ns - 10 * r.interval_ns;

    for (i = 0; i < 11; i++) {
        assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_PASSED);
    }

    assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_REJECTED);
    assert_int_equal(wait, r.interval_ns);
}


/* A burst of an hour that a new configuration has made one of 10 s; and a clock
 * that stepped back by an hour. */
static void
nobody_works_off_more_than_the_burst_of_now(void **state)
{
    uint64_t          full, now, wait;
    im_bucket_rate_t  r;

    (void) state;

    now = 10000 * SECOND;
    full = now + 3600 * SECOND;
    assert_int_equal(im_bucket_rate(&r, 1, 1, 10, 10), IM_OK);

    full = im_bucket_clip(&r, full, now);
    assert_int_equal(event(&r, &full, now, &wait), IM_BUCKET_REJECTED);
    assert_int_equal(wait, SECOND);

    full = im_bucket_clip(&r, full, now + wait);
    assert_int_equal(event(&r, &full, now + wait, &wait), IM_BUCKET_PASSED);

    /* what a bucket has had itself stays */

    assert_int_equal(im_bucket_clip(&r, full, now + SECOND), full);
    assert_int_equal(im_bucket_clip(&r, 0, now), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_burst_passes_at_once_and_then_the_rate),
        cmocka_unit_test(after_a_silence_the_whole_burst_is_back_and_no_more),
        cmocka_unit_test(
            between_the_delay_and_the_burst_events_are_spread_by_the_rate),
        cmocka_unit_test(in_no_window_pass_more_than_the_burst_and_the_rate),
        cmocka_unit_test(who_asks_without_a_pause_gets_the_whole_rate),
        cmocka_unit_test(a_refused_event_passes_when_it_was_told_to_come),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing_away),
        cmocka_unit_test(rates_that_make_no_sense_are_refused),
        cmocka_unit_test(nobody_works_off_more_than_the_burst_of_now),
        cmocka_unit_test(
            the_largest_burst_of_the_slowest_rate_does_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
