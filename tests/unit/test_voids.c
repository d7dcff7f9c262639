/*
 * test_voids.c -- ranges of numbers that are nobody's.
 */

#include "unit.h"

#include "logic_voids.h"


#define MERGE(...)                                                            \
    logic_void_t  v[] = { __VA_ARGS__ };                                      \
    size_t        n = logic_voids_merge(v, UNIT_N(v))

#define VOID(b, from, to)  { { 1, b }, from, to }


static void
assert_void(const logic_void_t *v, uint64_t b, uint64_t from, uint64_t to)
{
    assert_int_equal(v->conv.a, 1);
    assert_int_equal(v->conv.b, b);
    assert_int_equal(v->from, from);
    assert_int_equal(v->to, to);
}


static void
numbers_refused_one_by_one_become_one_range(void **state)
{
    MERGE(VOID(2, 7, 7), VOID(2, 5, 5), VOID(2, 6, 6), VOID(2, 9, 9));

    (void) state;

    assert_int_equal(n, 2);
    assert_void(&v[0], 2, 5, 7);
    assert_void(&v[1], 2, 9, 9);
}


static void
ranges_that_overlap_become_one(void **state)
{
    MERGE(VOID(2, 1, 10), VOID(2, 3, 4), VOID(2, 8, 12), VOID(2, 1, 10));

    (void) state;

    assert_int_equal(n, 1);
    assert_void(&v[0], 2, 1, 12);
}


static void
a_void_of_one_conversation_is_none_of_another(void **state)
{
    MERGE(VOID(3, 2, 2), VOID(2, 1, 1), VOID(3, 1, 1), VOID(2, 3, 3));

    (void) state;

    assert_int_equal(n, 3);
    assert_void(&v[0], 2, 1, 1);
    assert_void(&v[1], 2, 3, 3);
    assert_void(&v[2], 3, 1, 2);
}


static void
nothing_stays_nothing(void **state)
{
    (void) state;

    assert_int_equal(logic_voids_merge(NULL, 0), 0);
    assert_int_equal(logic_voids_reach(NULL, 0, 5), 4);
}


static void
a_gap_is_void_only_as_far_as_it_is_written_down(void **state)
{
    MERGE(VOID(2, 3, 5), VOID(2, 8, 8), VOID(2, 20, 1 << 20));

    (void) state;

    assert_int_equal(n, 3);
    assert_int_equal(logic_voids_reach(v, n, 1), 0);
    assert_int_equal(logic_voids_reach(v, n, 2), 1);
    assert_int_equal(logic_voids_reach(v, n, 3), 5);
    assert_int_equal(logic_voids_reach(v, n, 5), 5);
    assert_int_equal(logic_voids_reach(v, n, 6), 5);
    assert_int_equal(logic_voids_reach(v, n, 8), 8);
    assert_int_equal(logic_voids_reach(v, n, 9), 8);
    assert_int_equal(logic_voids_reach(v, n, 21), 1 << 20);
    assert_int_equal(logic_voids_reach(v, n, (1 << 20) + 1), 1 << 20);
}


static void
a_floor_makes_no_number_void(void **state)
{
    size_t        n;
    logic_void_t  v[3] = { VOID(2, 3, 5), VOID(0, 0, 0), VOID(2, 102, 110) };

    (void) state;

    logic_voids_floor(&v[1], &v[0].conv, 100);
    n = logic_voids_merge(v, 3);

    assert_int_equal(logic_voids_reach(v, n, 99), 98);
    assert_int_equal(logic_voids_reach(v, n, 100), 99);
    assert_int_equal(logic_voids_reach(v, n, 101), 100);
    assert_int_equal(logic_voids_reach(v, n, 102), 110);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(numbers_refused_one_by_one_become_one_range),
        cmocka_unit_test(ranges_that_overlap_become_one),
        cmocka_unit_test(a_void_of_one_conversation_is_none_of_another),
        cmocka_unit_test(nothing_stays_nothing),
        cmocka_unit_test(a_gap_is_void_only_as_far_as_it_is_written_down),
        cmocka_unit_test(a_floor_makes_no_number_void)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
