/*
 * test_address.c -- addresses of a configuration are accepted or refused with
 * a reason, before anything dials them.
 */

#include "unit.h"

#include "im_address.h"


static char  reason[IM_ADDRESS_REASON_MAX];


static void
lists_of_addresses_are_accepted(void **state)
{
    size_t  i;

    static const char *const  good[] = {
        "127.0.0.1:2379", "a:1", "etcd-1.example.org:2379,b:65535",
        "a:1, b:2 c:3", "[::1]:2379", "[2001:db8::1]:1,10.0.0.1:2",
        ",a:1,", "etcd_0:1"
    };

    (void) state;

    for (i = 0; i < UNIT_N(good); i++) {
        assert_int_equal(im_address_check_list(good[i], 16, reason,
                                               sizeof(reason)), IM_OK);
    }
}


static void
what_is_no_list_of_addresses_is_refused_with_a_reason(void **state)
{
    size_t  i;
    char    words[64];

    static const struct {
        const char  *text;
        const char  *reason;
    } bad[] = {
        { "", "there is no address" },
        { " , ", "there is no address" },
        { "etcd", "\"etcd\" has no port" },
        { "a:1,etcd", "\"etcd\" has no port" },
        { "http://a:1", "\"http://a:1\": host:port is wanted, without a "
                        "scheme" },
        { "a:", "\"a:\": the port is not in 1-65535" },
        { "a:0", "\"a:0\": the port is not in 1-65535" },
        { "a:65536", "\"a:65536\": the port is not in 1-65535" },
        { "a:99999999999999999999",
          "\"a:99999999999999999999\": the port is not in 1-65535" },
        { "a:1x", "\"a:1x\": the port is not in 1-65535" },
        { "a:-1", "\"a:-1\": the port is not in 1-65535" },
        { ":1", "a host has 1 to 255 bytes" },
        { "a/b:1", "\"a/b\" is not a host name, an IPv4 address or an [IPv6 "
                   "address]" },
        { "::1:2379", "\"::1\" is not a host name, an IPv4 address or an "
                      "[IPv6 address]" },
        { "[::1:2379", "\"[::1\" is not a host name, an IPv4 address or an "
                       "[IPv6 address]" },
        { "[]:1", "\"[]\" is not a host name, an IPv4 address or an [IPv6 "
                  "address]" },
        { "[::1]", "\"[::1]\" has no port" },
        { "a:1 b:2 c:3 d:4", "there are more than 3 addresses" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        assert_int_equal(im_address_check_list(bad[i].text, 3, reason,
                                               sizeof(reason)), IM_ERROR);
        assert_string_equal(reason, bad[i].reason);
    }

    /* a reason fits what it is given */

    assert_int_equal(im_address_check_list("etcd.example.org", 3, words, 8),
                     IM_ERROR);
    assert_string_equal(words, "\"etcd.e");
}


static void
an_address_is_taken_apart_as_a_resolver_wants_it(void **state)
{
    size_t    i;
    char      host[IM_ADDRESS_HOST_MAX + 1];
    unsigned  port;

    static const char *const  bad[] = {
        "", "redis", "redis:", "redis:637x", "redis:65536", "redis:0",
        ":6379", "::1", "[::1]", "a b:1", "a:1,b:2"
    };

    (void) state;

    assert_int_equal(im_address_split("redis.lan:6379", host, &port, reason,
                                      sizeof(reason)), IM_OK);
    assert_string_equal(host, "redis.lan");
    assert_int_equal(port, 6379);

    assert_int_equal(im_address_split("[::1]:65535", host, &port, reason,
                                      sizeof(reason)), IM_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 65535);

    for (i = 0; i < UNIT_N(bad); i++) {
        reason[0] = '\0';
        assert_int_equal(im_address_split(bad[i], host, &port, reason,
                                          sizeof(reason)), IM_ERROR);
        assert_true(reason[0] != '\0');
    }
}


static void
a_host_is_a_name_or_an_address(void **state)
{
    char  name[IM_ADDRESS_HOST_MAX + 2];

    (void) state;

    assert_int_equal(im_address_check_host("10.0.0.1", reason,
                                           sizeof(reason)), IM_OK);
    assert_int_equal(im_address_check_host("[::]", reason, sizeof(reason)),
                     IM_OK);
    assert_int_equal(im_address_check_host("web-1.lan", reason,
                                           sizeof(reason)), IM_OK);
    assert_int_equal(im_address_check_host("10.0.0.1:80", reason,
                                           sizeof(reason)), IM_ERROR);
    assert_int_equal(im_address_check_host("a b", reason, sizeof(reason)),
                     IM_ERROR);
    assert_int_equal(im_address_check_host("", reason, sizeof(reason)),
                     IM_ERROR);

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(im_address_check_host(name, reason, sizeof(reason)),
                     IM_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(lists_of_addresses_are_accepted),
        cmocka_unit_test(what_is_no_list_of_addresses_is_refused_with_a_reason),
        cmocka_unit_test(an_address_is_taken_apart_as_a_resolver_wants_it),
        cmocka_unit_test(a_host_is_a_name_or_an_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
