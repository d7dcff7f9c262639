/*
 * test_conn_id.c -- no two connections of a worker have one number, whatever
 * the size of its table.
 */

#include "unit.h"
#include "im_conn_id.h"


static const size_t  sizes[] = {
    1, 512, 1 << 20, (1 << 20) + 1, 3 << 20, 1 << 24, (size_t) 1 << 32
};


static void
test_a_connection_is_found_at_its_place(void **state)
{
    size_t         i, k, place;
    uint64_t       id;
    im_conn_id_t   g;

    (void) state;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        im_conn_id_init(&g, 0xabcdef123456, sizes[i]);

        for (k = 0; k < 1000; k++) {
            place = (sizes[i] - 1) - k % sizes[i];
            id = im_conn_id_next(&g, place);

            assert_true(im_conn_id_place(&g, id) == place);
        }
    }
}


static void
test_two_places_never_have_one_number(void **state)
{
    size_t         i;
    uint64_t       a, b;
    im_conn_id_t   g;

    (void) state;

    for (i = 3; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        im_conn_id_init(&g, 7, sizes[i]);

        /* what was one turn later, in fixed bits */
        a = im_conn_id_next(&g, 1 << 20);
        b = im_conn_id_next(&g, 0);

        assert_true(a != b);
        assert_true(im_conn_id_place(&g, a) == 1 << 20);
        assert_true(im_conn_id_place(&g, b) == 0);
    }
}


static void
test_who_follows_at_a_place_has_another_number(void **state)
{
    size_t         i, k;
    uint64_t       id, before;
    im_conn_id_t   g;

    (void) state;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        im_conn_id_init(&g, 7, sizes[i]);
        before = im_conn_id_next(&g, 0);

        for (k = 0; k < 255; k++) {
            id = im_conn_id_next(&g, 0);
            assert_true(id != before && id != 0);
        }
    }
}


static void
test_no_connection_is_number_0(void **state)
{
    unsigned      k;
    im_conn_id_t  g;

    (void) state;

    im_conn_id_init(&g, 0, 1);

    for (k = 0; k < 3 << 20; k++) {
        assert_true(im_conn_id_next(&g, 0) != 0);
    }
}


static void
test_processes_differ_by_their_random_number(void **state)
{
    im_conn_id_t  a, b;

    (void) state;

    im_conn_id_init(&a, 1, 512);
    im_conn_id_init(&b, 2, 512);

    assert_true(im_conn_id_next(&a, 5) != im_conn_id_next(&b, 5));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_connection_is_found_at_its_place),
        cmocka_unit_test(test_two_places_never_have_one_number),
        cmocka_unit_test(test_who_follows_at_a_place_has_another_number),
        cmocka_unit_test(test_no_connection_is_number_0),
        cmocka_unit_test(test_processes_differ_by_their_random_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
