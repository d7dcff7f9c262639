/*
 * test_pace.c -- a lone message never waits for company; a batch is held open
 * only under load, and never longer than configured.
 */

#include "unit.h"

#include "im_pace.h"


/* rate messages a second for ms milliseconds, from *now_us on. */
static void
load(im_pace_t *p, uint64_t *now_us, unsigned rate, unsigned ms)
{
    unsigned  i;

    for (i = 0; i < ms; i++) {
        *now_us += 1000;
        im_pace_count(p, rate / 1000, *now_us);
    }
}


static void
nobody_waits_for_company_that_will_not_come(void **state)
{
    uint64_t   now;
    im_pace_t  p;

    (void) state;

    now = 1000000;
    im_pace_init(&p, 1000);
    assert_int_equal(im_pace_hold_us(&p, now), 0);

    im_pace_count(&p, 1, now);
    assert_int_equal(im_pace_hold_us(&p, now), 0);

    /* one in the longest hold */

    load(&p, &now, 1000, 1000);
    assert_in_range(im_pace_hold_us(&p, now), 0, 1);
}


static void
the_hold_grows_with_the_company_up_to_its_limit(void **state)
{
    uint64_t   now;
    unsigned   rate, hold, last;
    im_pace_t  p;

    (void) state;

    now = 1000000;
    last = 0;
    im_pace_init(&p, 1000);

    for (rate = 1000; rate <= 10000; rate += 1000) {
        load(&p, &now, rate, 2000);
        hold = im_pace_hold_us(&p, now);
        assert_true(hold >= last);
        assert_true(hold <= 1000);
        last = hold;
    }

    assert_int_equal(last, 1000);

    /* 3 is half way between 1 and 5 */

    load(&p, &now, 3000, 3000);
    assert_in_range(im_pace_hold_us(&p, now), 490, 510);
}


static void
after_a_silence_the_old_rate_is_forgotten(void **state)
{
    uint64_t   now;
    im_pace_t  p;

    (void) state;

    now = 1000000;
    im_pace_init(&p, 5000);
    load(&p, &now, 20000, 2000);
    assert_int_equal(im_pace_hold_us(&p, now), 5000);

    /* the first one after it does not wait either */

    now += 10000000;
    assert_int_equal(im_pace_hold_us(&p, now), 0);
    im_pace_count(&p, 1, now);
    assert_int_equal(im_pace_hold_us(&p, now), 0);
}


static void
one_large_batch_is_not_taken_for_load(void **state)
{
    uint64_t   now;
    im_pace_t  p;

    (void) state;

    now = 1000000;
    im_pace_init(&p, 1000);
    load(&p, &now, 1000, 1000);

    now += 1000;
    im_pace_count(&p, 100, now);
    assert_in_range(im_pace_hold_us(&p, now), 0, 300);
}


static void
a_hold_of_nothing_is_none(void **state)
{
    uint64_t   now;
    im_pace_t  p;

    (void) state;

    now = 1000000;
    im_pace_init(&p, 0);
    load(&p, &now, 100000, 500);
    assert_int_equal(im_pace_hold_us(&p, now), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(nobody_waits_for_company_that_will_not_come),
        cmocka_unit_test(the_hold_grows_with_the_company_up_to_its_limit),
        cmocka_unit_test(after_a_silence_the_old_rate_is_forgotten),
        cmocka_unit_test(one_large_batch_is_not_taken_for_load),
        cmocka_unit_test(a_hold_of_nothing_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
