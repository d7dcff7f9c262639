/*
 * test_rpc_status.c -- what a caller is told when a call or a stream does not
 * work: whether it may try elsewhere, soon enough, and never by a hang.
 *
 * Real sockets: nobody listens, somebody listens and says nothing, somebody
 * speaks HTTP/1, another process has the port, certificates do not match.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "im_rpc_int.h"
#include "im_timeouts.h"
#include "logic.pb-c.h"

#define WAIT_MS  5000


typedef struct {
    atomic_int       done;
    int              code;
    im_rpc_sent_t    sent;
    char             message[200];
    uint64_t         took_us;
    uint64_t         began_us;
} outcome_t;

static outcome_t   outcome;
static char        trace[IM_RPC_TRACE_MAX + 1];
static atomic_int  opened;
static atomic_uint handled;
static atomic_uint late_us;            /* an answer takes so long */


static void
on_unary(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    Im__AuthReply  reply = IM__AUTH_REPLY__INIT;

    (void) in;

    snprintf(trace, sizeof(trace), "%s", im_rpc_req_trace(req));
    atomic_fetch_add(&handled, 1);
    usleep(atomic_load(&late_us));

    if (ctx != NULL) {
        im_rpc_fail(req, IM_RPC_UNAVAILABLE, "unavailable: redis is away");
        return;
    }

    im_rpc_reply(req, &reply.base);
}


static void *
on_accept(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    return NULL;
}


static void
on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    (void) ctx;
    (void) s;
    (void) data;
    (void) len;
}


static void
on_server_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) ctx;
    (void) s;
    (void) status;
}


static const im_rpc_handler_t  handlers[] = {
    { .name = "Auth", .unary = on_unary },
    /* this one never beats */
    { .name = "Exchange", .accept = on_accept,
      .stream = { .on_batch = on_batch, .on_close = on_server_close } },
    { .name = NULL }
};


static void
on_open(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    atomic_store(&opened, 1);
}


static void
on_end(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    outcome_t  *o = ctx;

    (void) s;

    o->code = status->code;
    o->sent = status->sent;
    o->took_us = im_rpc_now_us() - o->began_us;
    snprintf(o->message, sizeof(o->message), "%s", status->message);
    atomic_store(&o->done, 1);
}


static void
on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    (void) reply;

    on_end(ctx, NULL, status);
}


static void
wait_for(atomic_int *flag)
{
    int  ms;

    for (ms = 0; ms < WAIT_MS && !atomic_load(flag); ms++) {
        usleep(1000);
    }

    assert_true(atomic_load(flag));
}


static im_rpc_t *
runtime(const im_rpc_tls_t *tls)
{
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.message_max = 1 << 20;

    if (tls != NULL) {
        conf.tls = *tls;
    }

    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    return rpc;
}


static void
serve(im_rpc_t *rpc, char *address, void *ctx)
{
    im_rpc_server_t  *server;

    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor,
                          handlers, ctx);
    assert_non_null(server);

    snprintf(address, 32, "127.0.0.1:%u", im_rpc_server_port(server));
}


/* A port on which a raw socket listens, or does not (listens 0). */
static int
listener(char *address, int listens)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(sin);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd != -1);
    assert_int_equal(bind(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &sin, &len), 0);

    if (listens) {
        assert_int_equal(listen(fd, 16), 0);
    }

    snprintf(address, 32, "127.0.0.1:%d", ntohs(sin.sin_port));

    return fd;
}


static im_rpc_call_t *
call_start(im_rpc_channel_t *ch, const char *id, unsigned timeout_ms)
{
    Im__Caller        caller = IM__CALLER__INIT;
    Im__AuthRequest   r = IM__AUTH_REQUEST__INIT;
    im_str_t          packed;
    im_rpc_call_t    *c;
    unsigned char     buf[64];
    im_rpc_method_t   m;

    caller.sid = "s";
    caller.device = "d";
    r.caller = &caller;
    packed.data = buf;
    packed.len = im__auth_request__pack(&r, buf);

    memset(&outcome, 0, sizeof(outcome));
    outcome.began_us = im_rpc_now_us();

    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor, "Auth"),
                     IM_OK);
    c = im_rpc_call_packed(ch, &m, &packed, timeout_ms, id, on_reply,
                           &outcome);
    assert_non_null(c);

    return c;
}


static void
call(im_rpc_channel_t *ch, const char *id, unsigned timeout_ms)
{
    (void) call_start(ch, id, timeout_ms);
    wait_for(&outcome.done);
}


static void
stream(im_rpc_channel_t *ch, unsigned connect_ms, unsigned dead_ms)
{
    im_rpc_method_t          m;
    im_rpc_stream_handler_t  h = { .on_open = on_open, .on_batch = on_batch,
                                   .on_close = on_end, .beat_ms = dead_ms / 3,
                                   .dead_ms = dead_ms };

    memset(&outcome, 0, sizeof(outcome));
    outcome.began_us = im_rpc_now_us();
    atomic_store(&opened, 0);

    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Exchange"), IM_OK);
    assert_non_null(im_rpc_stream_open(ch, &m, connect_ms, &h, &outcome));
    wait_for(&outcome.done);
}


static void
an_answer_is_an_answer_also_if_it_is_no(void **state)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, rpc);
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(rpc));

    call(ch, NULL, 2000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_ANSWERED);
    assert_string_equal(outcome.message, "unavailable: redis is away");

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
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(rpc));

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

    ch = im_rpc_channel_peer(rpc, address, "0123456789abcdef");
    call(ch, NULL, 2000);
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
    ch = im_rpc_channel_peer(rpc, address, NULL);

    call(ch, NULL, 3000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_true(outcome.took_us < 1000000);

    stream(ch, 300, 0);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
    close(fd);
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
    ch = im_rpc_channel_peer(rpc, address, NULL);

    call(ch, NULL, 4000);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_NOT_SENT);
    assert_true(outcome.took_us < (IM_RPC_CONNECT_MS + 1500) * 1000);

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
    ch = im_rpc_channel_peer(rpc, address, NULL);

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
    ch = im_rpc_channel_peer(rpc, address, NULL);

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
a_peer_that_goes_silent_ends_the_stream(void **state)
{
    char               address[32];
    im_rpc_t          *rpc;
    im_rpc_channel_t  *ch;

    (void) state;

    rpc = runtime(NULL);
    serve(rpc, address, NULL);
    ch = im_rpc_channel_peer(rpc, address, NULL);

    stream(ch, 2000, 600);
    assert_int_equal(atomic_load(&opened), 1);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_string_equal(outcome.message, "nothing heard for 600 ms");
    assert_in_range(outcome.took_us, 600000, 2000000);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


/* A home loop, as in a worker: nothing runs between start and destroy. */
static void
leave(const char *address, const char *boot, unsigned last)
{
    im_rpc_t          *rpc;
    im_rpc_call_t     *c;
    im_rpc_conf_t      conf;
    im_rpc_channel_t  *ch;

    memset(&conf, 0, sizeof(conf));
    conf.home = IM_RPC_HOME_LOOP;
    conf.message_max = 1 << 20;

    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    ch = im_rpc_channel_peer(rpc, address, boot);
    c = call_start(ch, NULL, 4000);

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
    atomic_store(&late_us, 50000);

    leave(address, im_rpc_boot(rpc), 0);
    assert_int_equal(outcome.code, IM_RPC_CANCELLED);

    leave(address, im_rpc_boot(rpc), 1);
    assert_int_equal(outcome.code, IM_RPC_OK);

    atomic_store(&late_us, (IM_RPC_LEAVE_MS + 2000) * 1000);
    leave(address, im_rpc_boot(rpc), 1);
    assert_int_equal(outcome.code, IM_RPC_CANCELLED);

    atomic_store(&late_us, 0);
    im_rpc_destroy(rpc);
}


static void *
kill_soon(void *arg)
{
    usleep(100000);
    kill(*(pid_t *) arg, SIGKILL);

    return NULL;
}


static void
a_stopped_or_killed_process_leaves_maybe_sent(void **state)
{
    int                pipes[2];
    char               address[32];
    pid_t              pid;
    im_rpc_t          *rpc;
    pthread_t          killer;
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
        pause();
        _exit(0);
    }

    assert_int_equal(read(pipes[0], address, sizeof(address)),
                     sizeof(address));

    rpc = runtime(NULL);
    ch = im_rpc_channel_peer(rpc, address, NULL);
    call(ch, NULL, 2000);
    assert_int_equal(outcome.code, IM_RPC_OK);

    /* stopped: the call arrives but is not read */

    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);    /* it has */
    call(ch, NULL, 300);
    assert_int_equal(outcome.code, IM_RPC_DEADLINE_EXCEEDED);
    assert_int_equal(outcome.sent, IM_RPC_MAYBE_SENT);

    /* killed, while a call waits there */

    assert_int_equal(pthread_create(&killer, NULL, kill_soon, &pid), 0);
    call(ch, NULL, 4000);
    pthread_join(killer, NULL);
    assert_int_equal(outcome.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(outcome.sent, IM_RPC_MAYBE_SENT);
    assert_true(outcome.took_us < 1000000);

    waitpid(pid, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);

    im_rpc_channel_unref(ch);
    im_rpc_destroy(rpc);
}


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
    unsigned           tries;
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

    /* a busy machine may need several tries for TLS within the limit */

    good = runtime(&tls);
    ch = im_rpc_channel_peer(good, address, im_rpc_boot(server));
    tries = 0;

    do {
        call(ch, NULL, 3000);
    } while (outcome.sent == IM_RPC_NOT_SENT && ++tries < 20);

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
    /* the one that forks comes first: a child must not inherit gRPC */

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_stopped_or_killed_process_leaves_maybe_sent),
        cmocka_unit_test(an_answer_is_an_answer_also_if_it_is_no),
        cmocka_unit_test(a_trace_id_arrives_and_cannot_forge_a_log_line),
        cmocka_unit_test(
            another_process_on_the_port_refuses_before_any_handler),
        cmocka_unit_test(nobody_there_is_known_at_once_and_surely),
        cmocka_unit_test(
            silence_after_connect_is_known_within_the_connect_limit),
        cmocka_unit_test(a_peer_of_http1_is_no_peer),
        cmocka_unit_test(
            a_message_over_the_limit_is_refused_and_the_channel_lives),
        cmocka_unit_test(a_peer_that_goes_silent_ends_the_stream),
        cmocka_unit_test(the_last_words_are_heard_and_do_not_hold_up_the_exit),
        cmocka_unit_test(only_who_has_our_certificates_gets_in),
        cmocka_unit_test(a_missing_certificate_is_said_at_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
