/*
 * test_probe.c -- what is said of a dependency follows from looks at it, in
 * time, and changes once for each change.
 */

#include "unit.h"

#include "im_probe_state.h"
#include "im_timeouts.h"


static im_probe_state_t  s;


static void
look(uint64_t now, const char *error, im_probe_change_t change)
{
    im_probe_state_begin(&s, now);
    assert_int_equal(im_probe_state_end(&s, now + 1, error), change);
}


static void
before_the_first_look_nothing_is_ready(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    assert_int_equal(s.verdict, IM_PROBE_STARTING);
    assert_string_equal(s.error, "not asked yet");
    assert_int_equal(im_probe_state_pause_ms(&s), IM_PROBE_AWAY_MS);
}


static void
what_works_from_the_start_is_not_worth_a_line(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    look(1000, NULL, IM_PROBE_SAME);
    assert_int_equal(s.verdict, IM_PROBE_UP);
    assert_string_equal(s.error, "");
    assert_int_equal(im_probe_state_pause_ms(&s), IM_PROBE_EVERY_MS);
    look(3000, NULL, IM_PROBE_SAME);
}


static void
each_change_is_told_once_with_reason_and_since_when(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    look(1000, "refused", IM_PROBE_WENT);
    look(2000, "refused", IM_PROBE_SAME);
    assert_int_equal(s.since_ms, 1001);

    look(3000, "wrong password", IM_PROBE_OTHER);
    assert_string_equal(s.error, "wrong password");
    assert_int_equal(s.since_ms, 1001);
    assert_int_equal(im_probe_state_pause_ms(&s), IM_PROBE_AWAY_MS);

    look(4000, NULL, IM_PROBE_CAME);
    assert_int_equal(s.verdict, IM_PROBE_UP);
    assert_int_equal(s.since_ms, 4001);
    assert_int_equal(s.was_ms, 3000);

    look(6000, "refused", IM_PROBE_WENT);
    assert_int_equal(s.since_ms, 6001);
}


static void
a_look_that_hangs_is_bad_before_it_ends(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    look(1000, NULL, IM_PROBE_SAME);

    im_probe_state_begin(&s, 3000);
    assert_int_equal(im_probe_state_wait(&s, 3000 + IM_PROBE_DEADLINE_MS - 1),
                     IM_PROBE_SAME);
    assert_int_equal(im_probe_state_wait(&s, 3000 + IM_PROBE_DEADLINE_MS),
                     IM_PROBE_WENT);
    assert_int_equal(s.verdict, IM_PROBE_DOWN);
    assert_string_equal(s.error, "no answer in 1000 ms");

    /* nor does a late answer make it good: the next look decides */

    assert_int_equal(im_probe_state_wait(&s, 5000), IM_PROBE_SAME);
    assert_int_equal(im_probe_state_end(&s, 5500, NULL), IM_PROBE_OTHER);
    assert_int_equal(s.verdict, IM_PROBE_DOWN);
    assert_string_equal(s.error, "it answered after 2500 ms");

    look(6000, NULL, IM_PROBE_CAME);
}


static void
a_hanging_look_does_not_hide_the_last_error(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    look(1000, "refused", IM_PROBE_WENT);

    im_probe_state_begin(&s, 2000);
    assert_int_equal(im_probe_state_wait(&s, 9000), IM_PROBE_SAME);
    assert_string_equal(s.error, "refused");
}


static void
nothing_is_blamed_for_a_time_in_which_we_were_stopped(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    look(1000, NULL, IM_PROBE_SAME);

    im_probe_state_begin(&s, 3000);
    im_probe_state_held(&s, 60000);
    assert_int_equal(im_probe_state_wait(&s, 60000), IM_PROBE_SAME);
    assert_int_equal(im_probe_state_end(&s, 60001, NULL), IM_PROBE_SAME);
    assert_int_equal(s.verdict, IM_PROBE_UP);
}


static void
without_a_look_time_proves_nothing(void **state)
{
    (void) state;

    im_probe_state_init(&s, 1000);
    assert_int_equal(im_probe_state_wait(&s, 90000), IM_PROBE_SAME);
    look(90000, NULL, IM_PROBE_SAME);
    assert_int_equal(im_probe_state_wait(&s, 990000), IM_PROBE_SAME);
    assert_int_equal(s.verdict, IM_PROBE_UP);
}


static void
a_long_error_is_cut_and_does_not_look_like_another(void **state)
{
    char  error[2 * IM_PROBE_ERROR_MAX];

    (void) state;

    memset(error, 'x', sizeof(error));
    error[sizeof(error) - 1] = '\0';

    im_probe_state_init(&s, 1000);
    look(1000, error, IM_PROBE_WENT);
    look(2000, error, IM_PROBE_SAME);
    assert_int_equal(strlen(s.error), IM_PROBE_ERROR_MAX - 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(before_the_first_look_nothing_is_ready),
        cmocka_unit_test(what_works_from_the_start_is_not_worth_a_line),
        cmocka_unit_test(each_change_is_told_once_with_reason_and_since_when),
        cmocka_unit_test(a_look_that_hangs_is_bad_before_it_ends),
        cmocka_unit_test(a_hanging_look_does_not_hide_the_last_error),
        cmocka_unit_test(
            nothing_is_blamed_for_a_time_in_which_we_were_stopped),
        cmocka_unit_test(without_a_look_time_proves_nothing),
        cmocka_unit_test(a_long_error_is_cut_and_does_not_look_like_another)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
