/*
 * test_keys.c -- names and values in Redis are what other versions expect.
 *
 * im-logic and im-task of two versions share Redis while one replaces the
 * other, so what is spelled out here must not change.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#include "im_keys.h"


#define UID  UINT64_C(9223372036854775807)


static char  made[IM_KEY_NAME_MAX];


static const char *
key(const char *format, ...)
{
    int      n;
    va_list  args;

    va_start(args, format);
    n = vsnprintf(made, sizeof(made), format, args);
    va_end(args);

    assert_true(n > 0 && (size_t) n < IM_KEY_MAX);

    return made;
}


static void
names_are_those_of_all_versions(void **state)
{
    (void) state;

    assert_string_equal(key(IM_KEY_USER, UID), "im:u:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_CONN, UINT64_C(171)), "00000000000000ab");
    assert_string_equal(key(IM_KEY_OFF), "im:off");
    assert_string_equal(key(IM_KEY_NEWS), "im:news");
    assert_string_equal(key(IM_KEY_VERSION), "im:pv");
    assert_string_equal(key(IM_KEY_SUBSCRIBERS, UID),
                        "im:ps:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_REPLACED, "00000000000000ab"),
                        "im:re:00000000000000ab");
    assert_string_equal(key(IM_KEY_PRESENCE), "im:presence");
    assert_string_equal(key(IM_KEY_SWEPT, "web-1"), "im:swept:web-1");
    assert_string_equal(key(IM_KEY_REVOKED, "s"), "im:rev:s");
    assert_string_equal(key(IM_KEY_REVOKED_LAST), "im:revs");
    assert_string_equal(key(IM_KEY_TICKET, "h"), "im:tkt:h");
    assert_string_equal(key(IM_KEY_BLOCKS), "im:blocks");
    assert_string_equal(key(IM_KEY_GROUPS, UID),
                        "im:g:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_REMOVED, UID),
                        "im:rm:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_ROOM, UID), "im:r:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_ROOM_USERS, UINT64_C(7), 3, "web-1"),
                        "im:rl:{7}:web");
    assert_string_equal(key(IM_KEY_KEPT, UID), "im:rk:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_SEQ, 63, UID, UID),
                        "im:s:{63}:9223372036854775807:9223372036854775807");
    assert_string_equal(key(IM_KEY_DEDUPE, 63), "im:d:{63}:");
    assert_string_equal(key(IM_KEY_MEMORY, 63), "im:memory:{63}");
    assert_string_equal(key(IM_KEY_DECIDED, 63), "im:decided:{63}");
    assert_string_equal(key(IM_KEY_FRESH, UID),
                        "im:fresh:{9223372036854775807}");
    assert_string_equal(key(IM_KEY_PROBE), "im:probe");
}


static int
parse(im_keys_route_t *r, const char *value)
{
    return im_keys_route_read(r, value, strlen(value));
}


static void
a_route_is_four_words(void **state)
{
    im_keys_route_t  r;

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
a_route_of_an_older_logic_has_no_time(void **state)
{
    im_keys_route_t  r;

    (void) state;

    assert_int_equal(parse(&r, "instance sid device"), IM_OK);
    assert_int_equal(r.device.len, 6);
    assert_int_equal(r.since_ms, 0);
}


static void
what_is_no_route_is_declined(void **state)
{
    size_t         i;
    im_keys_route_t  r;

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
    im_keys_route_t  r;

    (void) state;

    assert_int_equal(parse(&r, "i s d 12x4"), IM_OK);
    assert_int_equal(r.since_ms, 0);
    assert_int_equal(parse(&r, "i s d 99999999999999999999999"), IM_OK);
    assert_int_equal(r.since_ms, 0);
    assert_int_equal(parse(&r, "i s d "), IM_OK);
    assert_int_equal(r.since_ms, 0);
}


static void
a_route_is_written_as_it_is_read(void **state)
{
    char             value[100];
    im_keys_route_t  r;

    static const char  words[] = "host-1-ab sid phone.x 1700000000123";

    (void) state;

    assert_int_equal(parse(&r, words), IM_OK);
    assert_int_equal(im_keys_route_write(value, sizeof(value), &r),
                     sizeof(words) - 1);
    assert_string_equal(value, words);
}


static void
a_ticket_is_three_words(void **state)
{
    char              value[IM_KEYS_TICKET_MAX];
    size_t            i;
    im_keys_ticket_t  t, other;

    static const char *const  bad[] = {
        "", "7", "7 abcdefghijklmnopqrstuv", "7 short phone",
        "7 abcdefghijklmnopqrstuv phone more",
        "x abcdefghijklmnopqrstuv phone"
    };

    (void) state;

    t.uid = UID;
    strcpy(t.sid, "abcdefghijklmnopqrstuv");
    memset(t.device, 'd', IM_DEVICE_MAX);
    t.device[IM_DEVICE_MAX] = '\0';

    im_keys_ticket_write(value, &t);
    assert_memory_equal(value, "9223372036854775807 abcdefghijklmnopqrstuv d",
                        44);
    assert_int_equal(im_keys_ticket_read(&other, value, strlen(value)), IM_OK);
    assert_true(other.uid == t.uid);
    assert_string_equal(other.sid, t.sid);
    assert_string_equal(other.device, t.device);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(im_keys_ticket_read(&other, bad[i], strlen(bad[i])),
                         IM_DECLINED);
    }
}


static void
a_pair_is_two_numbers(void **state)
{
    char      value[IM_KEYS_PAIR_MAX];
    uint64_t  one, other;

    (void) state;

    im_keys_pair_write(value, UID, 8);
    assert_string_equal(value, "9223372036854775807 8");
    assert_int_equal(im_keys_pair_read(value, &one, &other), IM_OK);
    assert_true(one == UID && other == 8);
    assert_int_equal(im_keys_pair_read("7", &one, &other), IM_DECLINED);
    assert_int_equal(im_keys_pair_read("x 7", &one, &other), IM_DECLINED);
}


static void
removals_are_a_number_and_users(void **state)
{
    char      value[3 * IM_KEYS_NUMBER_MAX + 1], *p;
    size_t    n;
    uint64_t  last, uids[2];

    (void) state;

    p = im_keys_number_write(value, value, 7);
    p = im_keys_number_write(value, p, 123);
    p = im_keys_number_write(value, p, UID);
    assert_string_equal(value, "7 123 9223372036854775807");
    assert_ptr_equal(p, value + strlen(value));

    n = 2;
    assert_int_equal(im_keys_removals_read(value, &last, uids, &n), IM_OK);
    assert_true(last == 7 && n == 2 && uids[0] == 123 && uids[1] == UID);

    n = 1;
    assert_int_equal(im_keys_removals_read(value, &last, uids, &n), IM_OK);
    assert_int_equal(n, 1);

    n = 2;
    assert_int_equal(im_keys_removals_read("x0123", &last, uids, &n),
                     IM_DECLINED);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_are_those_of_all_versions),
        cmocka_unit_test(a_route_is_four_words),
        cmocka_unit_test(a_route_of_an_older_logic_has_no_time),
        cmocka_unit_test(what_is_no_route_is_declined),
        cmocka_unit_test(a_time_that_is_none_is_not_told),
        cmocka_unit_test(a_route_is_written_as_it_is_read),
        cmocka_unit_test(a_ticket_is_three_words),
        cmocka_unit_test(a_pair_is_two_numbers),
        cmocka_unit_test(removals_are_a_number_and_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
