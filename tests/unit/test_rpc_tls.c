/*
 * test_rpc_tls.c -- mutual TLS between the tiers: who is let in, and who hears
 * at start that a certificate is missing.
 */

#include "unit_rpc.h"


static void
certificates(const char *dir)
{
    char         command[4000];
    const char  *d = dir;

    snprintf(command, sizeof(command),
        "exec 2>/dev/null; cd %s && "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
        "-nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && "
        "for n in im other; do "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        "-keyout $n.key -out $n.csr -subj /CN=$n && "
        "echo subjectAltName=DNS:$n > $n.ext && "
        "openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -days 2 "
        "-set_serial 0x$(openssl rand -hex 8) -extfile $n.ext -out $n.pem "
        "|| exit 1; done", d);

    assert_int_equal(system(command), 0);
}


static void
only_who_has_our_certificates_gets_in(void **state)
{
    char               dir[] = "/tmp/im-tls-XXXXXX";
    char               address[32], ca[64], cert[64], key[64], command[64];
    im_rpc_t          *server, *good, *plain, *named;
    im_rpc_tls_t       tls;
    im_rpc_channel_t  *ch;

    (void) state;

    assert_non_null(mkdtemp(dir));
    certificates(dir);

    snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    snprintf(cert, sizeof(cert), "%s/im.pem", dir);
    snprintf(key, sizeof(key), "%s/im.key", dir);
    tls.ca = ca;
    tls.cert = cert;
    tls.key = key;
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

    tls.cert = cert;
    tls.key = key;
    tls.name = "other";
    named = runtime(&tls);
    ch = im_rpc_channel_peer(named, address, NULL);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(named);

    assert_int_equal(atomic_load(&handled), 0);
    im_rpc_destroy(server);

    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}


static void
a_missing_certificate_is_said_at_start(void **state)
{
    im_rpc_conf_t  conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    conf.tls.ca = "/nonexistent/ca.pem";
    conf.tls.cert = conf.tls.key = conf.tls.ca;
    assert_null(im_rpc_create(&conf));

    conf.tls.ca = conf.tls.cert = conf.tls.key = "/proc/self/status";
    assert_null(im_rpc_create(&conf));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(only_who_has_our_certificates_gets_in),
        cmocka_unit_test(a_missing_certificate_is_said_at_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
