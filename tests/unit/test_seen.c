/*
 * test_seen.c -- a push that comes again goes only to who has not had it.
 */

#include "unit.h"

#include "im_seen.h"


static void
a_repeat_is_known_and_says_who_has_had_it(void **state)
{
    uint32_t    upto;
    im_seen_t  *seen;

    (void) state;

    seen = im_seen_create(4096);
    assert_non_null(seen);

    assert_int_equal(im_seen_note(seen, 100, 7, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 100, 7, 6, &upto), IM_DONE);
    assert_int_equal(upto, 5);         /* connection 6 has not had it */
    assert_int_equal(im_seen_note(seen, 100, 7, 6, &upto), IM_DONE);
    assert_int_equal(upto, 6);         /* now it has */

    im_seen_destroy(seen);
}


static void
other_messages_and_other_users_are_not_repeats(void **state)
{
    uint32_t    upto;
    im_seen_t  *seen;

    (void) state;

    seen = im_seen_create(4096);

    assert_int_equal(im_seen_note(seen, 100, 7, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 100, 8, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 101, 7, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 7, 100, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 0, 0, 5, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 0, 0, 5, &upto), IM_DONE);

    im_seen_destroy(seen);
}


/* Dense ids and uids, as they are: the worst input for a bad hash. */
static void
nothing_new_is_ever_taken_for_a_repeat(void **state)
{
    uint32_t    upto;
    uint64_t    m, u;
    im_seen_t  *seen;

    (void) state;

    seen = im_seen_create(65536);

    for (m = 0; m < 1000; m++) {
        for (u = 0; u < 1000; u++) {
            assert_int_equal(im_seen_note(seen, m << 22, u, 1, &upto), IM_OK);
        }
    }

    im_seen_destroy(seen);
}


static void
the_latest_are_remembered_and_memory_is_bounded(void **state)
{
    uint32_t    upto;
    uint64_t    i, known;
    im_seen_t  *seen;

    (void) state;

    /* 65,536 entries: of the last quarter of them hardly one is forgotten */

    seen = im_seen_create(1024 * 1024);

    for (i = 0; i < 1000000; i++) {
        assert_int_equal(im_seen_note(seen, i, 7, 1, &upto), IM_OK);
    }

    known = 0;

    for (i = 1000000 - 16384; i < 1000000; i++) {
        known += im_seen_note(seen, i, 7, 1, &upto) == IM_DONE;
    }

    assert_true(known > 16384 * 98 / 100);
    assert_int_equal(im_seen_note(seen, 5, 7, 1, &upto), IM_OK);

    im_seen_destroy(seen);
}


static void
the_smallest_table_works_too(void **state)
{
    uint32_t    upto;
    im_seen_t  *seen;

    (void) state;

    seen = im_seen_create(0);
    assert_int_equal(im_seen_note(seen, 1, 1, 1, &upto), IM_OK);
    assert_int_equal(im_seen_note(seen, 1, 1, 1, &upto), IM_DONE);
    im_seen_destroy(seen);
    im_seen_destroy(NULL);
}


static void
numbers_of_connections_run_round(void **state)
{
    (void) state;

    assert_true(im_seen_is_later(6, 5));
    assert_false(im_seen_is_later(5, 5));
    assert_false(im_seen_is_later(4, 5));
    assert_true(im_seen_is_later(2, UINT32_MAX - 2));
    assert_false(im_seen_is_later(UINT32_MAX - 2, 2));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_repeat_is_known_and_says_who_has_had_it),
        cmocka_unit_test(other_messages_and_other_users_are_not_repeats),
        cmocka_unit_test(nothing_new_is_ever_taken_for_a_repeat),
        cmocka_unit_test(the_latest_are_remembered_and_memory_is_bounded),
        cmocka_unit_test(the_smallest_table_works_too),
        cmocka_unit_test(numbers_of_connections_run_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
