/*
 * test_slot.c -- both sides of a conversation, and every process, agree on
 * its home; an instance that comes or goes moves only its share.
 */

#include "unit.h"

#include <stdio.h>

#include "im_hash128.h"
#include "im_slot.h"


#define INSTANCES  5


/* The instance with the highest weight, of the first n, without one. */
static unsigned
home(unsigned slot, unsigned n, unsigned without)
{
    char      name[32];
    unsigned  i, best;
    uint64_t  w, top;

    top = 0;
    best = n;

    for (i = 0; i < n; i++) {
        if (i == without) {
            continue;
        }

        snprintf(name, sizeof(name), "host-%u-abcdef%02u", 100 + i, i);
        w = im_slot_weight(slot, name, strlen(name));

        if (best == n || w > top) {
            top = w;
            best = i;
        }
    }

    return best;
}


/* Of the reference implementation, x64_128 with seed 0. */
static void
the_hash_is_murmur3(void **state)
{
    unsigned char  out[16];

    (void) state;

    im_hash128("", 0, out);
    assert_memory_equal(out, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);

    im_hash128("hello", 5, out);
    assert_memory_equal(out, "\x02\x9b\xbd\x41\xb3\xa7\xd8\xcb"
                             "\x19\x1d\xae\x48\x6a\x90\x1e\x5b", 16);
}


static void
both_users_have_the_same_conversation(void **state)
{
    im_conv_t  a, b;

    (void) state;

    a = im_conv_direct(7, 3);
    b = im_conv_direct(3, 7);
    assert_true(a.a == 3 && a.b == 7 && b.a == 3 && b.b == 7);
    assert_int_equal(im_slot_of_conv(&a), im_slot_of_conv(&b));

    a = im_conv_direct(5, 5);
    assert_true(a.a == 5 && a.b == 5);
}


/*
 * Stored data and running processes depend on these: a change of the slots is
 * a migration, not a refactoring.
 */
static void
the_other_user_of_a_conversation_is_the_peer_or_oneself(void **state)
{
    im_conv_t  conv = im_conv_direct(7, 3), own = im_conv_direct(5, 5);

    (void) state;

    assert_true(im_conv_other(&conv, 3) == 7);
    assert_true(im_conv_other(&conv, 7) == 3);
    assert_true(im_conv_other(&own, 5) == 5);
}


static void
slots_never_change(void **state)
{
    im_conv_t  c;

    (void) state;

    c = im_conv_direct(1, 2);
    assert_int_equal(im_slot_of_conv(&c), 6);
    c = im_conv_direct(1000000, 999999999999ULL);
    assert_int_equal(im_slot_of_conv(&c), 514);
    assert_int_equal(im_slot_of_user(1), 74);
}


static void
slots_are_used_evenly(void **state)
{
    unsigned   n[IM_SLOTS] = { 0 }, u[IM_SLOTS] = { 0 }, i;
    im_conv_t  c;

    (void) state;

    /* 100 expected in each: six standard deviations are 60 */

    for (i = 0; i < 100 * IM_SLOTS; i++) {
        c = im_conv_direct(i / 300 + 1, i % 300 + 1000000);
        n[im_slot_of_conv(&c)]++;
        u[im_slot_of_user(i + 1)]++;
    }

    for (i = 0; i < IM_SLOTS; i++) {
        assert_in_range(n[i], 40, 160);
        assert_in_range(u[i], 40, 160);
    }
}


static void
an_instance_that_leaves_moves_only_its_own_slots(void **state)
{
    unsigned  slot, before, after, moved, shares[INSTANCES] = { 0 };

    (void) state;

    moved = 0;

    for (slot = 0; slot < IM_SLOTS; slot++) {
        before = home(slot, INSTANCES, INSTANCES);
        after = home(slot, INSTANCES, 2);
        shares[before]++;

        if (before != 2) {
            assert_int_equal(before, after);

        } else {
            assert_int_not_equal(after, 2);
            moved++;
        }
    }

    assert_int_equal(moved, shares[2]);

    for (slot = 0; slot < INSTANCES; slot++) {
        assert_in_range(shares[slot], IM_SLOTS / INSTANCES * 7 / 10,
                        IM_SLOTS / INSTANCES * 13 / 10);
    }
}


static void
a_long_instance_name_is_no_overrun(void **state)
{
    char  name[300];

    (void) state;

    memset(name, 'x', sizeof(name));
    assert_true(im_slot_weight(1, name, sizeof(name))
                == im_slot_weight(1, name, 128));
    assert_true(im_slot_weight(1, name, 127) != im_slot_weight(1, name, 128));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_hash_is_murmur3),
        cmocka_unit_test(both_users_have_the_same_conversation),
        cmocka_unit_test(
            the_other_user_of_a_conversation_is_the_peer_or_oneself),
        cmocka_unit_test(slots_never_change),
        cmocka_unit_test(slots_are_used_evenly),
        cmocka_unit_test(an_instance_that_leaves_moves_only_its_own_slots),
        cmocka_unit_test(a_long_instance_name_is_no_overrun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
