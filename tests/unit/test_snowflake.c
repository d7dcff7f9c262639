/*
 * test_snowflake.c -- a message id is never given twice and rises with time,
 * whatever the clock does.
 */

#include "unit.h"

#include "im_snowflake.h"


#define T0  (IM_SNOWFLAKE_EPOCH_MS + 1000000)


static void
ids_rise_and_tell_their_time(void **state)
{
    uint64_t        id, last, ms;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 7, 0, UINT64_MAX);
    last = 0;

    for (ms = T0; ms < T0 + 100; ms++) {
        assert_int_equal(im_snowflake_next(&s, ms, &id), IM_OK);
        assert_true(id > last);
        assert_true(im_snowflake_time_ms(id) == ms);
        assert_int_equal(id >> 12 & 1023, 7);
        last = id;
    }
}


static void
two_nodes_never_give_the_same(void **state)
{
    uint64_t        x, y;
    im_snowflake_t  a, b;

    (void) state;

    im_snowflake_start(&a, 0, 0, UINT64_MAX);
    im_snowflake_start(&b, IM_SNOWFLAKE_NODES - 1, 0, UINT64_MAX);

    assert_int_equal(im_snowflake_next(&a, T0, &x), IM_OK);
    assert_int_equal(im_snowflake_next(&b, T0, &y), IM_OK);
    assert_true(x != y);
    assert_true(x >> 22 == y >> 22);
}


static void
a_burst_borrows_a_little_then_asks_to_wait(void **state)
{
    int             rc;
    unsigned        n;
    uint64_t        id, last;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1, 0, UINT64_MAX);
    last = 0;

    for (n = 0; n < 1000000; n++) {
        rc = im_snowflake_next(&s, T0, &id);
        if (rc != IM_OK) {
            break;
        }

        assert_true(id > last);
        last = id;
    }

    /* 4096 of the ms itself and of the 50 after it */

    assert_int_equal(rc, IM_AGAIN);
    assert_int_equal(n, 4096 * 51);
    assert_int_equal(im_snowflake_next(&s, T0, &id), IM_AGAIN);

    assert_int_equal(im_snowflake_next(&s, T0 + 1, &id), IM_OK);
    assert_true(id > last);
}


static void
a_clock_that_stands_still_or_steps_back_gives_no_id_twice(void **state)
{
    size_t          i;
    uint64_t        id, last;
    im_snowflake_t  s;

    /* where the clock stands, relative to T0, call by call */
    static const int64_t  steps[] = {
        0, 0, 0, 1, 1, 5000, 4000, 3000, 1, 5001, 5001, 4999, 10000, 5000,
    };

    (void) state;

    im_snowflake_start(&s, 1, 0, UINT64_MAX);
    last = 0;

    for (i = 0; i < UNIT_N(steps); i++) {
        assert_int_equal(im_snowflake_next(&s, T0 + (uint64_t) steps[i], &id),
                         IM_OK);
        assert_true(id > last);
        last = id;
    }
}


static void
a_clock_far_behind_is_refused_until_it_is_right_again(void **state)
{
    uint64_t        id, last;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1, 0, UINT64_MAX);
    assert_int_equal(im_snowflake_next(&s, T0 + 3600000, &last), IM_OK);

    assert_int_equal(im_snowflake_next(&s, T0 + 3600000 - 5001, &id),
                     IM_ERROR);
    assert_int_equal(im_snowflake_next(&s, T0, &id), IM_ERROR);
    assert_int_equal(im_snowflake_next(&s, 0, &id), IM_ERROR);
    assert_int_equal(im_snowflake_next(&s, IM_SNOWFLAKE_EPOCH_MS - 1, &id),
                     IM_ERROR);

    assert_int_equal(im_snowflake_next(&s, T0 + 3600000 - 5000, &id), IM_OK);
    assert_true(id > last);
}


static void
after_a_step_back_of_seconds_there_is_room_for_a_burst(void **state)
{
    unsigned        n;
    uint64_t        id, last;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1, 0, UINT64_MAX);
    assert_int_equal(im_snowflake_next(&s, T0, &last), IM_OK);

    for (n = 1; n < 4096 * 51; n++) {
        assert_int_equal(im_snowflake_next(&s, T0 - 3000, &id), IM_OK);
        assert_true(id > last);
        last = id;
    }

    assert_int_equal(im_snowflake_next(&s, T0 - 3000, &id), IM_AGAIN);
    assert_int_equal(im_snowflake_next(&s, T0 + 51, &id), IM_OK);
    assert_true(id > last);
}


static void
no_id_is_minted_up_to_the_floor(void **state)
{
    uint64_t        id;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1, T0, UINT64_MAX);
    assert_true(im_snowflake_minted_ms(&s) == T0);

    /* far below, a little below, at, above */

    assert_int_equal(im_snowflake_next(&s, T0 - 3600000, &id), IM_ERROR);
    assert_int_equal(im_snowflake_next(&s, T0 - 100, &id), IM_AGAIN);
    assert_int_equal(im_snowflake_next(&s, T0, &id), IM_OK);
    assert_true(im_snowflake_time_ms(id) == T0 + 1);

    im_snowflake_start(&s, 1, T0, UINT64_MAX);
    assert_int_equal(im_snowflake_next(&s, T0 + 7, &id), IM_OK);
    assert_true(im_snowflake_time_ms(id) == T0 + 7);
    assert_true(im_snowflake_minted_ms(&s) == T0 + 7);
}


static void
no_id_is_minted_above_the_limit_until_it_is_extended(void **state)
{
    int             rc;
    unsigned        n;
    uint64_t        id, last;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1, 0, T0);
    assert_int_equal(im_snowflake_next(&s, T0 + 1, &id), IM_DECLINED);
    assert_int_equal(im_snowflake_next(&s, T0 + 3600000, &id), IM_DECLINED);

    /* what was declined has not moved the clock part on; borrowing ends at
     * the limit, too */

    last = 0;
    n = 0;

    do {
        rc = im_snowflake_next(&s, T0, &id);
        assert_true(rc != IM_OK || id > last);
        last = (rc == IM_OK) ? id : last;
        n += (rc == IM_OK);
    } while (rc == IM_OK);

    assert_int_equal(rc, IM_DECLINED);
    assert_int_equal(n, 4096);
    assert_true(im_snowflake_time_ms(last) == T0);

    im_snowflake_extend(&s, T0 + 1000);
    assert_int_equal(im_snowflake_next(&s, T0 + 1000, &id), IM_OK);
    assert_true(id > last);
}


static void
a_clock_beyond_41_bits_is_refused(void **state)
{
    uint64_t        id;
    im_snowflake_t  s;

    (void) state;

    im_snowflake_start(&s, 1023, 0, UINT64_MAX);
    assert_int_equal(im_snowflake_next(&s, IM_SNOWFLAKE_EPOCH_MS
                                           + (1ULL << 41), &id), IM_ERROR);
    assert_int_equal(im_snowflake_next(&s, IM_SNOWFLAKE_EPOCH_MS
                                           + (1ULL << 41) - 1, &id), IM_OK);
    assert_true(id >> 63 == 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ids_rise_and_tell_their_time),
        cmocka_unit_test(two_nodes_never_give_the_same),
        cmocka_unit_test(a_burst_borrows_a_little_then_asks_to_wait),
        cmocka_unit_test(
            a_clock_that_stands_still_or_steps_back_gives_no_id_twice),
        cmocka_unit_test(a_clock_far_behind_is_refused_until_it_is_right_again),
        cmocka_unit_test(
            after_a_step_back_of_seconds_there_is_room_for_a_burst),
        cmocka_unit_test(no_id_is_minted_up_to_the_floor),
        cmocka_unit_test(no_id_is_minted_above_the_limit_until_it_is_extended),
        cmocka_unit_test(a_clock_beyond_41_bits_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
