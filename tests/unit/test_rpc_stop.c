/*
 * test_rpc_stop.c -- a runtime that was destroyed is gone: a process that
 * exits then, as an nginx worker does, exits with no thread of gRPC behind
 * it.  The machine is kept busy, because an idle one hides what is late.
 */

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit_wait.h"

#include "im_rpc_int.h"
#include "logic.pb-c.h"

#define LIVES     150
#define BUSY      8
#define BUSY_S    60


static atomic_int  accepted;


static void
on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    (void) ctx;
    (void) s;
    (void) data;
    (void) len;
}


static void
on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) s;
    (void) status;

    im_rpc_channel_unref(ctx);         /* NULL on the server's side */
}


static void *
on_accept(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    atomic_store(&accepted, 1);

    return NULL;
}


static const im_rpc_stream_handler_t  handler = {
    .on_batch = on_batch,
    .on_close = on_close
};

static const im_rpc_handler_t  handlers[] = {
    { .name = "Exchange", .roles = IM_RPC_NGINX, .accept = on_accept,
      .stream = { .on_batch = on_batch, .on_close = on_close } },
    { .name = NULL }
};


static int
threads(void)
{
    int             n;
    DIR            *dir;
    struct dirent  *e;

    dir = opendir("/proc/self/task");
    assert_non_null(dir);

    for (n = 0, e = readdir(dir); e != NULL; e = readdir(dir)) {
        n += (e->d_name[0] != '.');
    }

    closedir(dir);

    return n;
}


/* A server, and a stream to it, stopped in mid-talk. */
static void
one_life(void)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_conf_t      conf;
    im_rpc_method_t    m;
    im_rpc_server_t   *server;
    im_rpc_channel_t  *ch;

    atomic_store(&accepted, 0);

    memset(&conf, 0, sizeof(conf));
    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor,
                          handlers, NULL);
    assert_non_null(server);

    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(server));

    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    assert_non_null(ch);

    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Exchange"), IM_OK);
    assert_non_null(im_rpc_stream_open(ch, &m, 5000, &handler, ch));

    UNIT_WITHIN(5000, atomic_load(&accepted));

    im_rpc_destroy(rpc);
}


static void
nothing_of_grpc_is_left_after_destroy(void **state)
{
    int       left, before, alive;
    pid_t     busy[BUSY];
    unsigned  i;

    (void) state;

    for (i = 0; i < BUSY; i++) {
        busy[i] = fork();
        assert_true(busy[i] != -1);

        if (busy[i] == 0) {
            alarm(BUSY_S);             /* also if we are killed */

            for ( ;; ) {
                /* a core's worth of work */
            }
        }
    }

    /* a sanitizer may start a thread of its own with the first of ours */

    one_life();
    unit_pause(500);
    before = threads();

    for (i = 0, left = 0, alive = 0; i < LIVES; i++) {
        one_life();
        left += grpc_is_initialized();
        alive += (threads() != before);
    }

    for (i = 0; i < BUSY; i++) {
        kill(busy[i], SIGKILL);
        waitpid(busy[i], NULL, 0);
    }

    assert_int_equal(left, 0);
    assert_int_equal(alive, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(nothing_of_grpc_is_left_after_destroy)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
