/*
 * test_rooms.c -- who is let into a live room; what Redis says of a user's
 * groups.
 */

#include "unit.h"

#include "im_keys.h"
#include "logic_rooms_admit.h"

#define SECOND  ((uint64_t) 1000000)


static void
test_a_crowd_gets_as_many_places_as_there_are(void **state)
{
    uint64_t  uid, in;

    (void) state;

    in = 0;

    for (uid = 1; uid <= 1000; uid++) {
        in += (logic_rooms_admit(7, uid, 20, 100, SECOND) == IM_OK);
    }

    assert_int_equal(in, 80);
    assert_int_equal(logic_rooms_admit(8, 1, 99, 100, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(8, 2, 99, 100, SECOND), IM_BUSY);

    logic_rooms_admit_clear();
}


static void
test_who_asks_twice_has_one_place(void **state)
{
    (void) state;

    assert_int_equal(logic_rooms_admit(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 2, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 3, 0, 2, SECOND), IM_BUSY);

    logic_rooms_admit_clear();
}


static void
test_who_was_reported_does_not_count_twice(void **state)
{
    uint64_t  uids[] = { 1, 9, 2 };

    (void) state;

    assert_int_equal(logic_rooms_admit(7, 1, 0, 3, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 2, 0, 3, SECOND), IM_OK);

    logic_rooms_admit_reported(7, uids, UNIT_N(uids));

    assert_int_equal(logic_rooms_admit(7, 3, 2, 3, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 4, 2, 3, SECOND), IM_BUSY);

    logic_rooms_admit_clear();
}


static void
test_who_never_comes_gives_the_place_back(void **state)
{
    (void) state;

    assert_int_equal(logic_rooms_admit(7, 1, 0, 1, SECOND), IM_OK);
    assert_int_equal(logic_rooms_admit(7, 2, 0, 1, 6 * SECOND), IM_BUSY);
    assert_int_equal(logic_rooms_admit(7, 2, 0, 1, 6 * SECOND + 1), IM_OK);

    logic_rooms_admit_clear();
}


typedef struct {
    size_t    n;
    uint64_t  rooms[4];
} groups_t;


static void
groups_on_group(void *ctx, uint64_t room)
{
    groups_t  *g = ctx;

    assert_true(g->n < UNIT_N(g->rooms));
    g->rooms[g->n++] = room;
}


static int
groups_take(groups_t *g, const char *text)
{
    g->n = 0;

    return im_keys_groups_read(text, strlen(text), groups_on_group, g);
}


static void
test_groups_that_redis_knows_are_all_taken(void **state)
{
    groups_t  g;

    (void) state;

    assert_int_equal(groups_take(&g, "7 18446744073709551615 9"), IM_OK);
    assert_int_equal(g.n, 3);
    assert_int_equal(g.rooms[0], 7);
    assert_true(g.rooms[1] == UINT64_MAX);
    assert_int_equal(g.rooms[2], 9);

    assert_int_equal(groups_take(&g, "12345"), IM_OK);
    assert_int_equal(g.n, 1);
}


static void
test_a_user_in_no_group_is_known_to_be_in_none(void **state)
{
    groups_t  g;

    (void) state;

    assert_int_equal(groups_take(&g, "0"), IM_OK);
    assert_int_equal(g.n, 0);
}


static void
test_what_is_no_list_of_groups_is_not_believed(void **state)
{
    groups_t  g;

    (void) state;

    assert_int_equal(groups_take(&g, "x"), IM_DECLINED);
    assert_int_equal(groups_take(&g, ""), IM_DECLINED);
    assert_int_equal(groups_take(&g, " "), IM_DECLINED);
    assert_int_equal(groups_take(&g, "7 x"), IM_DECLINED);
    assert_int_equal(groups_take(&g, "-7"), IM_DECLINED);
    assert_int_equal(im_keys_groups_read("7\0 8", 4, groups_on_group, &g),
                     IM_DECLINED);
    assert_int_equal(g.n, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_crowd_gets_as_many_places_as_there_are),
        cmocka_unit_test(test_who_asks_twice_has_one_place),
        cmocka_unit_test(test_who_was_reported_does_not_count_twice),
        cmocka_unit_test(test_who_never_comes_gives_the_place_back),
        cmocka_unit_test(test_groups_that_redis_knows_are_all_taken),
        cmocka_unit_test(test_a_user_in_no_group_is_known_to_be_in_none),
        cmocka_unit_test(test_what_is_no_list_of_groups_is_not_believed)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
