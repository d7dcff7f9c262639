/*
 * test_rpc_status.c -- what a caller is told when a call or a stream does not
 * work: whether it may try elsewhere, soon enough, and never by a hang.
 *
 * Real sockets: nobody listens, somebody listens and says nothing, somebody
 * speaks HTTP/1, another process has the port.
 */

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "unit_rpc.h"


static void
an_answer_is_an_answer_also_if_it_is_no(void **state)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, rpc);
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(rpc), IM_RPC_LOGIC);

    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_ANSWERED);
    assert_string_equal(outcome.message, "unavailable: redis is away");
    assert_int_equal(outcome.retry_ms, RETRY_MS);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
a_trace_id_arrives_and_cannot_forge_a_log_line(void **state)
{
    char               address[32], big[100];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(rpc), IM_RPC_LOGIC);
    reach(ch);

    call(ch, "7f3a90", 2000);
    assert_int_equal(outcome.code, IM_RPC_OK);
    assert_string_equal(trace, "7f3a90");

    call(ch, NULL, 2000);
    assert_string_equal(trace, "-");

    call(ch, "a b", 2000);
    assert_string_equal(trace, "a?b");

    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    call(ch, big, 2000);
    assert_int_equal(strlen(trace), IM_RPC_TRACE_MAX);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
another_process_on_the_port_refuses_before_any_handler(void **state)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);
    atomic_store(&handled, 0);

    ch = im_rpc_channel_peer(rpc, address, "0123456789abcdef", IM_RPC_LOGIC);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_FAILED_PRECONDITION);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_int_equal(atomic_load(&handled), 0);

    stream(ch, 1000, 0);
    assert_int_equal(outcome.code, IM_RPC_FAILED_PRECONDITION);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_int_equal(atomic_load(&opened), 0);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
nobody_there_is_known_at_once_and_surely(void **state)
{
    int                fd;
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    fd = listener(address, 0);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    call(ch, NULL, 4000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_int_equal(outcome.retry_ms, 0);
    assert_in_range(outcome.took_us, 0, 3000000);

    stream(ch, 300, 0);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    close(fd);
}


static void
a_name_that_has_no_address_is_surely_not_sent(void **state)
{
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    ch = im_rpc_channel_peer(rpc, "no-such-host.invalid:4100", NULL,
                             IM_RPC_LOGIC);

    call(ch, NULL, 6000);
    assert_int_not_equal(outcome.code, IM_RPC_OK);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
silence_after_connect_is_known_within_the_connect_limit(void **state)
{
    int                fd;
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    fd = listener(address, 1);         /* the kernel accepts, nobody reads */
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    call(ch, NULL, 4000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_in_range(outcome.took_us, 0, (IM_RPC_CONNECT_MS + 2500) * 1000);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    close(fd);
}


/* One connection after another, for as long as the test runs. */
static void *
http1_server(void *arg)
{
    int           fd, *lfd = arg;
    ssize_t       n;
    char          buf[1000];
    static const char  no[] = "HTTP/1.1 400 Bad Request\r\n"
                              "Content-Length: 0\r\n\r\n";

    for ( ;; ) {
        fd = accept(*lfd, NULL, NULL);
        if (fd == -1) {
            return NULL;
        }

        n = read(fd, buf, sizeof(buf));
        n += write(fd, no, sizeof(no) - 1);
        (void) n;
        close(fd);
    }
}


static void
a_peer_of_http1_is_no_peer(void **state)
{
    int                fd;
    char               address[32];
    im_rpc_t          *rpc;
    pthread_t          thread;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    fd = listener(address, 1);
    assert_int_equal(pthread_create(&thread, NULL, http1_server, &fd), 0);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    call(ch, NULL, 4000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_not_equal(outcome.sent, IM_RPC_ANSWERED);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    shutdown(fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fd);
}


static void
a_message_over_the_limit_is_refused_and_the_channel_lives(void **state)
{
    char              *big;
    char               address[32];
    im_rpc_t          *rpc;
    im_str_t           packed;
    im_rpc_method_t    m;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    reach(ch);

    packed.len = 3 << 20;
    big = calloc(1, packed.len);
    assert_non_null(big);
    packed.data = (unsigned char *) big;

    memset(&outcome, 0, sizeof(outcome));
    im_rpc_method_find(&m, &im__logic__descriptor, "Auth");
    assert_non_null(im_rpc_call_packed(ch, &m, &packed, 3000, NULL, on_reply,
                                       &outcome));
    wait_for(&outcome.done);
    assert_int_equal(outcome.code, IM_RPC_RESOURCE_EXHAUSTED);
    free(big);

    call(ch, NULL, 2000);
    assert_int_equal(outcome.code, IM_RPC_OK);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
a_request_over_the_limit_of_its_method_reaches_no_handler(void **state)
{
    char                    address[32];
    im_rpc_t               *rpc;
    im_rpc_server_t        *server;
    im_rpc_channel_t       *ch;

    static const im_rpc_handler_t  table[] = {
        { .name = "Auth", .roles = IM_RPC_NGINX, .request_max = 4,
          .unary = on_unary },
        { .name = NULL }
    };

    (void) state;

    rpc = runtime(NULL);
    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor, table,
                          NULL);
    assert_non_null(server);
    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(server));
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    atomic_store(&late_us, 0);
    atomic_store(&handled, 0);
    reach(ch);

    assert_int_equal(outcome.code, IM_RPC_INVALID_ARGUMENT);
    assert_int_equal(outcome.sent, IM_RPC_ANSWERED);
    assert_string_equal(outcome.message,
                        "too_large: the request is too long");
    assert_int_equal(atomic_load(&handled), 0);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


static void
a_peer_that_goes_silent_ends_the_stream(void **state)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    reach(ch);

    stream(ch, 2000, 300);
    assert_int_equal(atomic_load(&opened), 1);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_string_equal(outcome.message, "nothing heard for 300 ms");
    assert_in_range(outcome.took_us, 300000, 8000000);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


#ifndef IM_RPC_H2      /* test_h2_core.c has it, with a server elsewhere */

/* A home loop, as in a worker that is connected and leaves: nothing runs
 * between the start of the call, whose answer takes us, and destroy. */
static void
leave(const char *address, const char *boot, unsigned last, unsigned us)
{
    int                ms;
    im_rpc_t          *rpc;
    im_rpc_call_t     *c;
    im_rpc_conf_t      conf;
    im_rpc_channel_t  *ch;

    memset(&conf, 0, sizeof(conf));
    conf.home = IM_RPC_HOME_LOOP;
    conf.message_max = 1 << 20;

    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    ch = im_rpc_channel_peer(rpc, address, boot, IM_RPC_LOGIC);
    atomic_store(&late_us, 0);
    (void) call_start(ch, NULL, 4000);

    for (ms = 0; ms < WAIT_MS && !atomic_load(&outcome.done); ms++) {
        im_rpc_dispatch(rpc);
        unit_pause(1);
    }

    assert_int_equal(outcome.code, IM_RPC_OK);

    atomic_store(&late_us, us);
    c = call_start(ch, NULL, 8000);

    if (last) {
        im_rpc_call_last(c);
    }

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    assert_int_equal(atomic_load(&outcome.done), 1);
}


static void
the_last_words_are_heard_and_do_not_hold_up_the_exit(void **state)
{
    char       address[32];
    im_rpc_t  *rpc;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);

    leave(address, im_rpc_boot(rpc), 1, 50000);
    assert_int_equal(outcome.code, IM_RPC_OK);

    leave(address, im_rpc_boot(rpc), 0, 1000000);
    assert_int_equal(outcome.code, IM_RPC_CANCELLED);

    leave(address, im_rpc_boot(rpc), 1, (IM_RPC_LEAVE_MS + 2000) * 1000);
    assert_int_equal(outcome.code, IM_RPC_CANCELLED);

    atomic_store(&late_us, 0);
    im_rpc_destroy(rpc);
}


#endif


static void
a_stopped_or_killed_process_leaves_maybe_sent(void **state)
{
    int                pipes[2];
    char               address[32];
    pid_t              pid;
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        rpc = runtime(NULL);
        serve(rpc, address, NULL);

        if (write(pipes[1], address, sizeof(address)) < 0) {
            _exit(1);
        }

        alarm(20);
        UNIT_FOR_EVER();
        _exit(0);
    }

    assert_int_equal(read(pipes[0], address, sizeof(address)),
                     sizeof(address));

    rpc = runtime(NULL);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    reach(ch);
    assert_int_equal(outcome.code, IM_RPC_OK);

    /* stopped: the call arrives but is not read */

    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);    /* it has */
    call(ch, NULL, 1000);
    assert_int_equal(outcome.code, IM_RPC_DEADLINE_EXCEEDED);
    assert_int_equal(outcome.sent, IM_RPC_MAYBE_SENT);

    /* killed, while a call waits there */

    (void) call_start(ch, NULL, 5000);
    unit_pause(500);
    assert_int_equal(atomic_load(&outcome.done), 0);
    kill(pid, SIGKILL);
    wait_for(&outcome.done);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_MAYBE_SENT);
    assert_in_range(outcome.took_us, 500000, 4000000);

    waitpid(pid, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


int
main(void)
{
    /* the one that forks comes first: a child must not inherit gRPC */

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_stopped_or_killed_process_leaves_maybe_sent),
        cmocka_unit_test(an_answer_is_an_answer_also_if_it_is_no),
        cmocka_unit_test(a_trace_id_arrives_and_cannot_forge_a_log_line),
        cmocka_unit_test(
            another_process_on_the_port_refuses_before_any_handler),
        cmocka_unit_test(nobody_there_is_known_at_once_and_surely),
        cmocka_unit_test(a_name_that_has_no_address_is_surely_not_sent),
        cmocka_unit_test(
            silence_after_connect_is_known_within_the_connect_limit),
        cmocka_unit_test(a_peer_of_http1_is_no_peer),
        cmocka_unit_test(
            a_message_over_the_limit_is_refused_and_the_channel_lives),
        cmocka_unit_test(
            a_request_over_the_limit_of_its_method_reaches_no_handler),
        cmocka_unit_test(a_peer_that_goes_silent_ends_the_stream),
#ifndef IM_RPC_H2
        cmocka_unit_test(the_last_words_are_heard_and_do_not_hold_up_the_exit),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
