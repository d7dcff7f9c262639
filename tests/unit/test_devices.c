/*
 * test_devices.c -- what Redis holds of a connection, and which of them may be
 * there at the same time.
 */

#include <string.h>

#include "unit.h"

#include "logic_devices.h"


static int
parse(logic_route_t *r, const char *value)
{
    return logic_route_parse(r, value, strlen(value));
}


static im_str_t
device(const char *s)
{
    im_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}


static int
replaces(logic_devices_policy_t policy, const char *one, const char *other)
{
    im_str_t  a, b;

    a = device(one);
    b = device(other);

    return logic_devices_replaces(policy, &a, &b);
}


static void
a_value_is_four_words(void **state)
{
    logic_route_t  r;

    (void) state;

    assert_int_equal(parse(&r, "host-1-ab sid phone.x 1700000000123"), IM_OK);
    assert_int_equal(r.instance.len, 9);
    assert_memory_equal(r.instance.data, "host-1-ab", 9);
    assert_memory_equal(r.sid.data, "sid ", 4);
    assert_int_equal(r.sid.len, 3);
    assert_int_equal(r.device.len, 7);
    assert_int_equal(r.since_ms, 1700000000123ULL);
}


static void
a_value_of_an_older_logic_has_no_time(void **state)
{
    logic_route_t  r;

    (void) state;

    assert_int_equal(parse(&r, "instance sid device"), IM_OK);
    assert_int_equal(r.device.len, 6);
    assert_int_equal(r.since_ms, 0);
}


static void
what_is_no_value_is_declined(void **state)
{
    size_t         i;
    logic_route_t  r;

    static const char *const  bad[] = {
        "", " ", "one", "one two", "one two ", " one two three", "one  three",
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(&r, bad[i]), IM_DECLINED);
    }
}


static void
a_time_that_is_none_is_not_told(void **state)
{
    logic_route_t  r;

    (void) state;

    assert_int_equal(parse(&r, "i s d 12x4"), IM_OK);
    assert_int_equal(r.since_ms, 0);
    assert_int_equal(parse(&r, "i s d 99999999999999999999999"), IM_OK);
    assert_int_equal(r.since_ms, 0);
    assert_int_equal(parse(&r, "i s d "), IM_OK);
    assert_int_equal(r.since_ms, 0);
}


static void
policies_have_three_names(void **state)
{
    logic_devices_policy_t  p;

    (void) state;

    assert_int_equal(logic_devices_policy("all", &p), IM_OK);
    assert_int_equal(p, LOGIC_DEVICES_ALL);
    assert_int_equal(logic_devices_policy("one", &p), IM_OK);
    assert_int_equal(p, LOGIC_DEVICES_ONE);
    assert_int_equal(logic_devices_policy("one_per_class", &p), IM_OK);
    assert_int_equal(p, LOGIC_DEVICES_ONE_PER_CLASS);
    assert_int_equal(logic_devices_policy("", &p), IM_DECLINED);
    assert_int_equal(logic_devices_policy("One", &p), IM_DECLINED);
}


static void
a_class_ends_at_the_first_dot(void **state)
{
    (void) state;

    assert_true(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "phone.a", "phone.b"));
    assert_true(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "phone", "phone.b.c"));
    assert_true(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "phone.a.x", "phone"));
    assert_true(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "desk", "desk"));
    assert_true(replaces(LOGIC_DEVICES_ONE_PER_CLASS, ".a", ".b"));
    assert_false(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "phone", "phones"));
    assert_false(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "phone.a", "desk.a"));
    assert_false(replaces(LOGIC_DEVICES_ONE_PER_CLASS, "", "a"));
}


static void
other_policies_look_at_no_name(void **state)
{
    (void) state;

    assert_false(replaces(LOGIC_DEVICES_ALL, "phone", "phone"));
    assert_true(replaces(LOGIC_DEVICES_ONE, "phone", "desk"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_value_is_four_words),
        cmocka_unit_test(a_value_of_an_older_logic_has_no_time),
        cmocka_unit_test(what_is_no_value_is_declined),
        cmocka_unit_test(a_time_that_is_none_is_not_told),
        cmocka_unit_test(policies_have_three_names),
        cmocka_unit_test(a_class_ends_at_the_first_dot),
        cmocka_unit_test(other_policies_look_at_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
