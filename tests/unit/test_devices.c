/*
 * test_devices.c -- which connections of a user may be there at the same time.
 */

#include <string.h>

#include "unit.h"

#include "logic_devices.h"


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
        cmocka_unit_test(policies_have_three_names),
        cmocka_unit_test(a_class_ends_at_the_first_dot),
        cmocka_unit_test(other_policies_look_at_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
