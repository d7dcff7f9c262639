/*
 * test_rpc_tls.c -- mutual TLS between the tiers: who is let in.
 */

#include "unit_rpc.h"
#include "unit_tls.h"


static void
only_who_has_our_certificates_gets_in(void **state)
{
    char               address[32];
    im_pem_t           pem;
    im_rpc_t          *server, *good, *plain, *named;
    im_rpc_tls_t       tls;
    im_rpc_channel_t  *ch;

    (void) state;

    load(&pem, "ca.pem", "im.pem", "im.key");
    tls.ca = pem.ca;
    tls.cert = pem.cert;
    tls.key = pem.key;
    tls.name = "im";

    server = runtime(&tls);
    serve(server, address, NULL);

    good = runtime(&tls);
    ch = im_rpc_channel_peer(good, address, im_rpc_boot(server));
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(good);

    /* without TLS, without a certificate, for another name */

    atomic_store(&handled, 0);
    plain = runtime(NULL);
    ch = im_rpc_channel_peer(plain, address, NULL);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);

    tls.cert = NULL;
    tls.key = NULL;
    ch = im_rpc_channel_stranger(plain, address, &tls);
    assert_non_null(ch);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(plain);

    tls.cert = pem.cert;
    tls.key = pem.key;
    tls.name = "other";
    named = runtime(&tls);
    ch = im_rpc_channel_peer(named, address, NULL);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(named);

    assert_int_equal(atomic_load(&handled), 0);
    im_rpc_destroy(server);
    im_pem_free(&pem);
}


static void
a_runtime_without_a_certificate_is_refused(void **state)
{
    im_pem_t       pem;
    im_rpc_conf_t  conf;

    (void) state;

    load(&pem, "ca.pem", NULL, NULL);
    memset(&conf, 0, sizeof(conf));
    conf.tls.ca = pem.ca;
    conf.tls.name = "im";
    assert_null(im_rpc_create(&conf));
    im_pem_free(&pem);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(only_who_has_our_certificates_gets_in),
        cmocka_unit_test(a_runtime_without_a_certificate_is_refused),
    };

    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
