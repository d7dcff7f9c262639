/*
 * test_rooms.c -- who is let into a live room.
 */

#include "unit.h"

#include "logic_rooms_let.h"

#define SECOND  ((uint64_t) 1000000)


static void
test_a_crowd_gets_as_many_places_as_there_are(void **state)
{
    uint64_t  uid, in;

    (void) state;

    in = 0;

    for (uid = 1; uid <= 1000; uid++) {
        in += (logic_rooms_let(7, uid, 20, 100, SECOND) == IM_OK);
    }

    assert_int_equal(in, 80);
    assert_int_equal(logic_rooms_let(8, 1, 99, 100, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(8, 2, 99, 100, SECOND), IM_BUSY);

    logic_rooms_let_clear();
}


static void
test_who_asks_twice_has_one_place(void **state)
{
    (void) state;

    assert_int_equal(logic_rooms_let(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 2, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 1, 0, 2, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 3, 0, 2, SECOND), IM_BUSY);

    logic_rooms_let_clear();
}


static void
test_who_was_reported_does_not_count_twice(void **state)
{
    uint64_t  uids[] = { 1, 9, 2 };

    (void) state;

    assert_int_equal(logic_rooms_let(7, 1, 0, 3, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 2, 0, 3, SECOND), IM_OK);

    logic_rooms_let_reported(7, uids, UNIT_N(uids));

    assert_int_equal(logic_rooms_let(7, 3, 2, 3, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 4, 2, 3, SECOND), IM_BUSY);

    logic_rooms_let_clear();
}


static void
test_who_never_comes_gives_the_place_back(void **state)
{
    (void) state;

    assert_int_equal(logic_rooms_let(7, 1, 0, 1, SECOND), IM_OK);
    assert_int_equal(logic_rooms_let(7, 2, 0, 1, 6 * SECOND), IM_BUSY);
    assert_int_equal(logic_rooms_let(7, 2, 0, 1, 6 * SECOND + 1), IM_OK);

    logic_rooms_let_clear();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_crowd_gets_as_many_places_as_there_are),
        cmocka_unit_test(test_who_asks_twice_has_one_place),
        cmocka_unit_test(test_who_was_reported_does_not_count_twice),
        cmocka_unit_test(test_who_never_comes_gives_the_place_back)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
