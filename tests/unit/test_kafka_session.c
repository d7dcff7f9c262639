/*
 * test_kafka_session.c -- a member that stood still for a moment is not
 * excluded the next time, and one that dies is replaced soon.
 */

#include "unit.h"

#include "im_kafka_int.h"


#define USUAL   2000
#define T       1000000
#define LONG    IM_KAFKA_SESSION_SAFE_MS
#define FOR_MS  IM_KAFKA_SESSION_LONG_MS


static void
start(im_kafka_session_t *s)
{
    memset(s, 0, sizeof(im_kafka_session_t));
    s->usual_ms = USUAL;
    s->now_ms = USUAL;
    s->long_ms = LONG;
    s->polled_ms = T;
}


static void
who_has_lost_nothing_keeps_the_usual_session(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_assigned(&s, T, 0);
    assert_int_equal(im_kafka_session_ms(&s, T), USUAL);
}


static void
who_was_held_up_for_a_moment_has_a_longer_one_for_minutes(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_lost(&s, T + 3000);
    assert_int_equal(im_kafka_session_ms(&s, T + 3000), LONG);

    s.now_ms = LONG;
    im_kafka_session_assigned(&s, T + 3500, 0);
    assert_int_equal(im_kafka_session_ms(&s, T + 3500 + FOR_MS - 1), LONG);
    assert_int_equal(im_kafka_session_ms(&s, T + 3500 + FOR_MS), USUAL);
}


static void
members_return_at_different_times(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_lost(&s, T + 3000);
    im_kafka_session_assigned(&s, T + 3500, FOR_MS);
    assert_int_equal(im_kafka_session_ms(&s, T + 3500 + FOR_MS), USUAL);

    start(&s);
    im_kafka_session_lost(&s, T + 3000);
    im_kafka_session_assigned(&s, T + 3500, FOR_MS - 1);
    assert_int_equal(im_kafka_session_ms(&s, T + 3500 + FOR_MS), LONG);
    assert_int_equal(im_kafka_session_ms(&s, T + 3500 + 2 * FOR_MS), USUAL);
}


static void
who_stood_still_for_longer_than_that_keeps_the_usual_one(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_lost(&s, T + LONG);
    assert_int_equal(im_kafka_session_ms(&s, T + LONG), USUAL);

    im_kafka_session_assigned(&s, T + LONG + 10, 0);
    assert_int_equal(im_kafka_session_ms(&s, T + LONG + 10), USUAL);
}


/* It was silent for a session when that was noticed. */
static void
a_broker_that_is_away_for_long_changes_nothing(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_lost(&s, T + 100);
    assert_int_equal(im_kafka_session_ms(&s, T + 100), LONG);
    assert_int_equal(im_kafka_session_ms(&s, T + 100 - USUAL + LONG), USUAL);

    im_kafka_session_assigned(&s, T + LONG, 0);
    assert_int_equal(im_kafka_session_ms(&s, T + LONG), USUAL);
}


static void
a_longer_one_that_was_not_enough_ends(void **state)
{
    im_kafka_session_t  s;

    (void) state;

    start(&s);
    im_kafka_session_lost(&s, T + 3000);
    s.now_ms = LONG;
    im_kafka_session_assigned(&s, T + 3500, 0);
    s.polled_ms = T + 10000;
    im_kafka_session_lost(&s, T + 10100);
    assert_int_equal(im_kafka_session_ms(&s, T + 10100), USUAL);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(who_has_lost_nothing_keeps_the_usual_session),
        cmocka_unit_test(
            who_was_held_up_for_a_moment_has_a_longer_one_for_minutes),
        cmocka_unit_test(members_return_at_different_times),
        cmocka_unit_test(
            who_stood_still_for_longer_than_that_keeps_the_usual_one),
        cmocka_unit_test(a_broker_that_is_away_for_long_changes_nothing),
        cmocka_unit_test(a_longer_one_that_was_not_enough_ends),
    };

    return cmocka_run_group_tests_name("kafka_session", tests, NULL, NULL);
}
