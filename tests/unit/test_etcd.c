/*
 * test_etcd.c -- which member of etcd is asked when one does not work.
 *
 * Nobody listens at these addresses and nothing is sent to them; real members
 * die in tests/e2e/test_discovery.py.
 */

#include "unit.h"

#include "im_etcd.h"


static im_rpc_t   *rpc;
static im_etcd_t  *etcd;


static int
setup(void **state)
{
    im_rpc_conf_t  conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    conf.message_max = 1 << 20;

    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    etcd = im_etcd_create(rpc, "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", NULL);
    assert_non_null(etcd);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    im_etcd_destroy(etcd);
    im_rpc_destroy(rpc);

    return 0;
}


/* The watch, the keep-alive and a call were at the member that died. */
static void
one_failure_moves_once(void **state)
{
    unsigned  at;

    (void) state;

    assert_int_equal(im_etcd_endpoints(etcd), 3);
    at = im_etcd_current(etcd);

    im_etcd_failed(etcd, at);
    im_etcd_failed(etcd, at);
    im_etcd_failed(etcd, at);

    assert_int_equal(im_etcd_current(etcd), (at + 1) % 3);
}


static void
when_each_fails_each_is_asked_in_turn(void **state)
{
    unsigned     i;
    const char  *first;

    (void) state;

    first = im_etcd_endpoint(etcd);

    for (i = 0; i < 3; i++) {
        im_etcd_failed(etcd, im_etcd_current(etcd));
        assert_int_equal(strcmp(im_etcd_endpoint(etcd), first) == 0, i == 2);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(one_failure_moves_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(when_each_fails_each_is_asked_in_turn,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
