/*
 * test_breaker.c -- who keeps failing is left alone, asked again by one call
 * at a time, and trusted again after it.
 */

#include "unit.h"

#include "im_breaker.h"


static const im_breaker_conf_t  conf = {
    .window_ms = 10000,
    .calls_min = 10,
    .failed_pct = 50,
    .open_min_ms = 1000,
    .open_max_ms = 8000
};


/* ok good and bad failed calls, all at this time. */
static void
calls(im_breaker_t *b, unsigned ok, unsigned bad, uint64_t now)
{
    unsigned  probe;

    while (ok-- > 0) {
        probe = im_breaker_start(b, now);
        im_breaker_ok(b, &conf, now, probe);
    }

    while (bad-- > 0) {
        probe = im_breaker_start(b, now);
        im_breaker_failed(b, &conf, now, probe);
    }
}


static void
a_few_failures_do_not_open_it(void **state)
{
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 0, 9, 5000);
    assert_true(im_breaker_allows(&b, 5000));

    im_breaker_init(&b);
    calls(&b, 60, 40, 5000);           /* many, but less than the share */
    assert_true(im_breaker_allows(&b, 5000));
}


static void
the_failure_rate_opens_it(void **state)
{
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 10, 10, 5000);

    assert_int_equal(b.state, IM_BREAKER_OPEN);
    assert_false(im_breaker_allows(&b, 5999));
    assert_int_equal(im_breaker_wait_ms(&b, 5400), 600);
}


static void
what_is_older_than_the_window_does_not_count(void **state)
{
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 0, 9, 1000);
    calls(&b, 0, 1, 11999);            /* the nine are out by now */
    assert_true(im_breaker_allows(&b, 11999));

    im_breaker_init(&b);
    calls(&b, 0, 9, 1000);
    calls(&b, 0, 1, 9000);
    assert_false(im_breaker_allows(&b, 9000));
}


static void
one_probe_at_a_time_is_let_through_after_the_pause(void **state)
{
    unsigned      probe;
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 0, 10, 5000);

    assert_true(im_breaker_allows(&b, 6000));
    probe = im_breaker_start(&b, 6000);
    assert_int_equal(probe, 1);
    assert_int_equal(b.state, IM_BREAKER_HALF_OPEN);
    assert_false(im_breaker_allows(&b, 6001));

    im_breaker_ok(&b, &conf, 6100, probe);
    assert_int_equal(b.state, IM_BREAKER_CLOSED);
    assert_true(im_breaker_allows(&b, 6100));

    calls(&b, 0, 1, 6200);             /* the old failures are forgotten */
    assert_true(im_breaker_allows(&b, 6200));
}


static void
a_failed_probe_doubles_the_pause_up_to_its_limit(void **state)
{
    uint64_t      now;
    unsigned      probe, pause;
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 0, 10, 5000);
    now = 6000;

    for (pause = 2000; pause <= 64000; pause *= 2) {
        probe = im_breaker_start(&b, now);
        assert_int_equal(probe, 1);
        im_breaker_failed(&b, &conf, now, probe);

        assert_int_equal(im_breaker_wait_ms(&b, now),
                         pause < 8000 ? pause : 8000);
        now += im_breaker_wait_ms(&b, now);
    }
}


static void
a_call_from_before_the_opening_does_not_close_it(void **state)
{
    unsigned      early, probe;
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    early = im_breaker_start(&b, 4000);
    calls(&b, 0, 10, 5000);

    probe = im_breaker_start(&b, 6000);
    im_breaker_ok(&b, &conf, 6100, early);
    assert_int_equal(b.state, IM_BREAKER_HALF_OPEN);

    im_breaker_failed(&b, &conf, 6200, probe);
    assert_int_equal(b.state, IM_BREAKER_OPEN);
}


static void
a_probe_that_is_given_up_lets_the_next_one_through(void **state)
{
    unsigned      probe;
    im_breaker_t  b;

    (void) state;

    im_breaker_init(&b);
    calls(&b, 0, 10, 5000);

    probe = im_breaker_start(&b, 6000);
    im_breaker_forget(&b, probe);

    assert_true(im_breaker_allows(&b, 6001));
    assert_int_equal(im_breaker_start(&b, 6001), 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_few_failures_do_not_open_it),
        cmocka_unit_test(the_failure_rate_opens_it),
        cmocka_unit_test(what_is_older_than_the_window_does_not_count),
        cmocka_unit_test(one_probe_at_a_time_is_let_through_after_the_pause),
        cmocka_unit_test(a_failed_probe_doubles_the_pause_up_to_its_limit),
        cmocka_unit_test(a_call_from_before_the_opening_does_not_close_it),
        cmocka_unit_test(a_probe_that_is_given_up_lets_the_next_one_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
