/*
 * new_rpc.c -- calls the RPC that test_new_rpc.py has added to a copy.
 *
 * Logic's own table and pools serve it, on a real socket.  No store is needed.
 */

#include "unit_rpc.h"

#include "im_logic_rpcs.h"
#include "logic_calls.h"
#include "logic_conf.h"


static char  answer[64];


static void
on_echo(void *ctx, im_rpc_status_t const *status,
    const ProtobufCMessage *reply)
{
    if (reply != NULL) {
        snprintf(answer, sizeof(answer), "%s",
                 ((const Im__EchoReply *) reply)->text);
    }

    on_reply(ctx, status, reply);
}


static void
echo(im_rpc_channel_t *ch, char *text)
{
    Im__EchoRequest        request = IM__ECHO_REQUEST__INIT;
    im_rpc_method_t        m;
    const im_logic_rpc_t  *row;

    row = im_logic_rpc_find("Echo");
    assert_non_null(row);
    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor, "Echo"),
                     IM_OK);

    request.text = text;
    memset(&outcome, 0, sizeof(outcome));
    assert_non_null(im_rpc_call(ch, &m, &request.base, row->deadline_ms,
                                on_echo, &outcome));
    wait_for(&outcome.done);
}


static void
the_new_rpc_answers_within_the_limits_of_its_row(void **state)
{
    char               address[32];
    static char        text[5000];
    im_rpc_t          *rpc;
    im_rpc_server_t   *server;
    im_rpc_channel_t  *ch;

    (void) state;

    logic_conf.rpc_listen = "127.0.0.1:0";
    logic_conf.common.redis_address = "127.0.0.1:1";
    logic_conf.common.mysql_address = "127.0.0.1:1";
    logic_conf.common.mysql_user = "im";
    logic_conf.common.mysql_database = "im";
    logic_conf.auth_threads = logic_conf.query_threads = 1;
    logic_conf.sync_threads = 1;
    logic_conf.auth_queue = logic_conf.query_queue = 8;
    logic_conf.sync_queue = 8;

    assert_int_equal(logic_calls_create(), IM_OK);
    assert_int_equal(logic_calls_start(), IM_OK);

    rpc = runtime(NULL);
    server = logic_calls_serve(rpc);
    assert_non_null(server);
    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(server));
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    echo(ch, "hello");
    assert_int_equal(outcome.code, IM_RPC_OK);
    assert_string_equal(answer, "hello");

    memset(text, 'x', sizeof(text) - 1);
    echo(ch, text);
    assert_int_equal(outcome.code, IM_RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(outcome.message, "too_large"));

    logic_calls_stop();
    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    logic_calls_destroy();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_new_rpc_answers_within_the_limits_of_its_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
