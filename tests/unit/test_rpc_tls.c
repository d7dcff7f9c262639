/*
 * test_rpc_tls.c -- mutual TLS between the tiers: who is let in, to what, and
 * what happens when there are other certificates.
 */

#include "unit_rpc.h"
#include "unit_tls.h"


static char          log_text[4096];
static unsigned      log_n;
static atomic_int    batches;


static void
on_log(void *ctx, int level, const char *msg)
{
    (void) ctx;
    (void) level;

    log_n++;
    snprintf(log_text, sizeof(log_text), "%s", msg);
}


/* A runtime with the certificate <cert>.pem. */
static im_rpc_t *
tls_runtime(const char *cert)
{
    char            file[64], key[64];
    im_pem_t        pem;
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    snprintf(file, sizeof(file), "%s.pem", cert);
    snprintf(key, sizeof(key), "%s.key", cert);
    load(&pem, "ca.pem", file, key);

    memset(&conf, 0, sizeof(conf));
    conf.message_max = 1 << 20;
    conf.log = on_log;
    conf.tls.ca = pem.ca;
    conf.tls.cert = pem.cert;
    conf.tls.key = pem.key;
    conf.tls.name = "im";

    rpc = UNIT_CREATE(&conf);
    assert_non_null(rpc);
    im_pem_free(&pem);

    return rpc;
}


/* Other certificates for it: <cert>.pem. */
static void
renew(im_rpc_t *rpc, const char *cert)
{
    char          file[64], key[64];
    im_pem_t      pem;
    im_rpc_tls_t  tls;

    snprintf(file, sizeof(file), "%s.pem", cert);
    snprintf(key, sizeof(key), "%s.key", cert);
    load(&pem, "ca.pem", file, key);

    tls.ca = pem.ca;
    tls.cert = pem.cert;
    tls.key = pem.key;
    tls.name = "im";
    assert_int_equal(im_rpc_set_tls(rpc, &tls), IM_OK);
    im_pem_free(&pem);
}


static void
only_who_has_our_certificates_gets_in(void **state)
{
    char               address[32];
    im_pem_t           pem;
    im_rpc_t          *server, *good, *plain;
    im_rpc_tls_t       tls;
    im_rpc_channel_t  *ch;

    (void) state;

    server = tls_runtime("logic");
    serve(server, address, NULL);

    good = tls_runtime("nginx");
    ch = im_rpc_channel_peer(good, address, im_rpc_boot(server), IM_RPC_LOGIC);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(good);

    /* without TLS, without a certificate */

    atomic_store(&handled, 0);
    plain = runtime(NULL);
    ch = im_rpc_channel_peer(plain, address, NULL, IM_RPC_LOGIC);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);

    load(&pem, "ca.pem", NULL, NULL);
    memset(&tls, 0, sizeof(tls));
    tls.ca = pem.ca;
    tls.name = "logic.im";
    ch = im_rpc_channel_stranger(plain, address, &tls);
    assert_non_null(ch);
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(plain);
    im_pem_free(&pem);

    assert_int_equal(atomic_load(&handled), 0);
    im_rpc_destroy(server);
}


static void
a_server_of_another_tier_is_not_called(void **state)
{
    char               address[32];
    unsigned           i;
    im_rpc_t          *server, *rpc;
    im_rpc_channel_t  *ch;

    static const char *const  certs[] = { "task", "im", "other" };

    (void) state;

    rpc = tls_runtime("nginx");
    atomic_store(&handled, 0);

    for (i = 0; i < UNIT_N(certs); i++) {
        server = tls_runtime(certs[i]);
        serve(server, address, NULL);

        ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(server),
                                 IM_RPC_LOGIC);
        call(ch, NULL, 3000);
        assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
        assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);

        im_rpc_channel_unref(ch);
        im_rpc_destroy(server);
    }

    assert_int_equal(atomic_load(&handled), 0);
    im_rpc_destroy(rpc);
}


/* A server whose Auth and Exchange are for nginx, called by all others. */
static void
a_caller_of_another_tier_is_refused_counted_and_logged_once(void **state)
{
    char               address[32];
    unsigned           i;
    im_rpc_t          *server, *rpc;
    im_rpc_refused_t   before, after;
    im_rpc_channel_t  *ch;

    static const char *const  certs[] = { "task", "logic", "im", "other" };

    (void) state;

    server = tls_runtime("logic");
    serve(server, address, NULL);
    im_rpc_refused(&before);
    atomic_store(&handled, 0);
    log_n = 0;

    for (i = 0; i < UNIT_N(certs); i++) {
        rpc = tls_runtime(certs[i]);
        ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(server),
                                 IM_RPC_LOGIC);
        reach(ch);
        assert_int_equal(outcome.code, IM_RPC_PERMISSION_DENIED);
        assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
        assert_int_equal(strncmp(outcome.message, "unavailable: ", 13), 0);

        stream(ch, 3000, 0);
        assert_int_equal(outcome.code, IM_RPC_PERMISSION_DENIED);
        assert_int_equal(atomic_load(&opened), 0);

        im_rpc_channel_unref(ch);
        im_rpc_destroy(rpc);
    }

    im_rpc_refused(&after);
    assert_int_equal(after.forbidden - before.forbidden, 2 * UNIT_N(certs));
    assert_int_equal(after.not_meant, before.not_meant);
    assert_int_equal(atomic_load(&handled), 0);

    assert_int_equal(log_n, 1);
    assert_non_null(strstr(log_text, "Auth is for nginx.im, the caller's "
                           "certificate carries task.im"));

    /* one that carries several is several */

    rpc = tls_runtime("both");
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(server), IM_RPC_LOGIC);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);
    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    im_rpc_destroy(server);
}


static void
a_method_that_nobody_is_named_for_is_not_served(void **state)
{
    im_rpc_t          *rpc;
    im_rpc_handler_t   table[3];

    (void) state;

    rpc = tls_runtime("logic");
    memcpy(table, handlers, sizeof(table));
    table[1].roles = 0;

    assert_null(im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor, table,
                             NULL));
    assert_non_null(strstr(log_text, "method Exchange has no roles"));
    im_rpc_destroy(rpc);
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
    assert_null(UNIT_CREATE(&conf));
    im_pem_free(&pem);
}


static void
count_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    (void) ctx;
    (void) s;
    (void) data;
    (void) len;

    atomic_fetch_add(&batches, 1);
}


/* A server and a stream to it, as a worker and its Logic; both renewed. */
static void
new_certificates_are_for_new_connections_and_streams_stay(void **state)
{
    char                     address[32];
    im_rpc_t                *server, *rpc;
    Im__UpItem               item = IM__UP_ITEM__INIT;
    im_rpc_method_t          m;
    im_rpc_handler_t         table[3];
    im_rpc_server_t         *listening;
    im_rpc_stream_t         *s;
    im_rpc_channel_t        *ch;
    static outcome_t         end;

    static const im_rpc_stream_handler_t  client = {
        .on_open = on_open, .on_batch = on_batch, .on_close = on_end
    };

    (void) state;

    memcpy(table, handlers, sizeof(table));
    table[1].stream.on_batch = count_batch;

    server = tls_runtime("logic");
    listening = im_rpc_serve(server, "127.0.0.1:0", &im__logic__descriptor,
                             table, NULL);
    assert_non_null(listening);
    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(listening));

    rpc = tls_runtime("nginx");
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(server), IM_RPC_LOGIC);

    atomic_store(&opened, 0);
    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Exchange"), IM_OK);
    s = im_rpc_stream_open(ch, &m, 5000, &client, &end);
    assert_non_null(s);
    wait_for(&opened);

    /* the caller's: a call comes by a new connection, which is not nginx's */

    renew(rpc, "task");
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_PERMISSION_DENIED);
    assert_int_equal(atomic_load(&end.done), 0);

    renew(rpc, "nginx");
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);

    /* the server's: a certificate of another tier, so that it shows; what is
     * connected stays, what connects sees the new one */

    renew(server, "other");
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_OK);
    renew(rpc, "nginx");               /* only to connect anew */
    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    renew(server, "again");
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);

    /* all the time the stream of the first certificates has been there */

    atomic_store(&batches, 0);
    item.ref = 1;
    assert_int_equal(im_rpc_stream_add(s, &item.base), IM_OK);
    im_rpc_stream_flush(s);
    wait_for(&batches);
    assert_int_equal(atomic_load(&end.done), 0);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    im_rpc_destroy(server);
}


static void
certificate(im_rpc_tls_t *tls, im_pem_t *pem, const char *cert)
{
    char  file[64], key[64];

    snprintf(file, sizeof(file), "%s.pem", cert);
    snprintf(key, sizeof(key), "%s.key", cert);
    load(pem, "ca.pem", file, key);

    tls->ca = pem->ca;
    tls->cert = pem->cert;
    tls->key = pem->key;
    tls->name = "logic.im";
}


static void
a_channel_to_a_stranger_takes_new_certificates_too(void **state)
{
    char               address[32];
    im_pem_t           pem;
    im_rpc_t          *server, *rpc;
    im_rpc_tls_t       tls;
    im_rpc_channel_t  *ch;

    (void) state;

    server = tls_runtime("logic");
    serve(server, address, NULL);

    rpc = runtime(NULL);
    certificate(&tls, &pem, "task");
    ch = im_rpc_channel_stranger(rpc, address, &tls);
    assert_non_null(ch);
    im_pem_free(&pem);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_PERMISSION_DENIED);

    certificate(&tls, &pem, "nginx");
    assert_int_equal(im_rpc_channel_set_tls(ch, &tls), IM_OK);
    im_pem_free(&pem);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    im_rpc_destroy(server);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(only_who_has_our_certificates_gets_in),
        cmocka_unit_test(a_server_of_another_tier_is_not_called),
        cmocka_unit_test(
            a_caller_of_another_tier_is_refused_counted_and_logged_once),
        cmocka_unit_test(a_method_that_nobody_is_named_for_is_not_served),
        cmocka_unit_test(a_runtime_without_a_certificate_is_refused),
        cmocka_unit_test(
            new_certificates_are_for_new_connections_and_streams_stay),
        cmocka_unit_test(a_channel_to_a_stranger_takes_new_certificates_too),
    };

    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
