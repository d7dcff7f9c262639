/*
 * test_links.c -- what a worker calls itself on its stream to Logic.
 */

#include "unit_rpc.h"

#include "im_clock.h"
#include "im_log.h"
#include "logic_links.h"


static char  log_text[8192];


/* A stream whose first item says `name`; the log's lines meanwhile. */
static void
hello(const char *name)
{
    int                      fds[2], err, ms;
    char                     address[32];
    ssize_t                  n;
    im_rpc_t                *rpc;
    Im__Hello                h = IM__HELLO__INIT;
    Im__UpItem               item = IM__UP_ITEM__INIT;
    im_rpc_method_t          m;
    im_rpc_server_t         *server;
    im_rpc_stream_t         *s;
    im_rpc_channel_t        *ch;
    im_rpc_handler_t         table[2];

    static const im_rpc_stream_handler_t  client = {
        .on_batch = on_batch, .on_close = on_end
    };

    memset(table, 0, sizeof(table));
    table[0] = handlers[1];
    table[0].accept = logic_links_accept;
    table[0].stream = logic_links_handler;

    memset(&outcome, 0, sizeof(outcome));
    assert_int_equal(pipe(fds), 0);
    err = dup(STDERR_FILENO);
    assert_true(dup2(fds[1], STDERR_FILENO) != -1);

    rpc = runtime(NULL);
    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor, table,
                          NULL);
    assert_non_null(server);
    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(server));
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Exchange"), IM_OK);
    s = im_rpc_stream_open(ch, &m, 5000, &client, &outcome);
    assert_non_null(s);

    h.instance = (char *) name;
    item.item_case = IM__UP_ITEM__ITEM_HELLO;
    item.hello = &h;
    assert_int_equal(im_rpc_stream_add(s, &item.base), IM_OK);
    im_rpc_stream_flush(s);

    for (ms = 0; ms < WAIT_MS && !atomic_load(&outcome.done); ms++) {
        unit_pause(1);
    }

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);

    assert_true(dup2(err, STDERR_FILENO) != -1);
    close(err);
    close(fds[1]);
    n = read(fds[0], log_text, sizeof(log_text) - 1);
    close(fds[0]);
    assert_true(n > 0);
    log_text[n] = '\0';
    assert_true(atomic_load(&outcome.done));
}


static void
a_worker_with_a_name_that_could_forge_logs_gets_no_link(void **state)
{
    (void) state;

    hello("web\r\n2026-01-01T00:00:00.000Z err forged \x1b[2J");

    assert_int_not_equal(outcome.code, IM_RPC_OK);
    assert_non_null(strstr(log_text, "a link is refused: its instance "
                           "\"web\\x0d\\x0a2026-01-01T00:00:00.000Z err "
                           "forged \\x1b[2J\" is not 1 to 128 of"));
    assert_null(strchr(log_text, '\x1b'));
    assert_null(strstr(log_text, "linked"));

    hello("");
    assert_non_null(strstr(log_text, "a link is refused"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(
            a_worker_with_a_name_that_could_forge_logs_gets_no_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
