/*
 * bench_calls.c -- CPU of a unary call, and of a message on a stream.
 *
 * Two processes, as in life: the server is forked before either of them knows
 * gRPC.  Messages are packed and unpacked on both sides.  Streams work in
 * lockstep, several of them, so that a batch has exactly the size asked for.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_rpc.h"
#include "im_rpc.h"
#include "logic.pb-c.h"

#define STREAMS     8
#define BATCH_MAX   1024
#define BODY        200
#define WARM_S      1


typedef struct {
    im_rpc_stream_t  *stream;
    uint64_t          items;       /* answered */
} lane_t;

static void on_answer(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);


static im_rpc_channel_t  *channel;
static im_rpc_method_t    method;
static atomic_ullong      done;
static atomic_int         ended;   /* stop asking */
static unsigned           batch_size;
static lane_t             lanes[STREAMS];


static void
on_auth(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    Im__AuthReply  reply = IM__AUTH_REPLY__INIT;

    (void) ctx;
    (void) in;

    im_rpc_reply(req, &reply.base);
}


static void *
on_accept(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    return NULL;
}


/* One answer for a batch, as Task gets it. */
static void
on_up(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    Im__UpBatch   *up;
    Im__Closed     closed = IM__CLOSED__INIT;
    Im__DownItem   item = IM__DOWN_ITEM__INIT;

    (void) ctx;

    up = im__up_batch__unpack(NULL, len, data);
    if (up == NULL) {
        return;
    }

    item.item_case = IM__DOWN_ITEM__ITEM_CLOSED;
    item.closed = &closed;
    item.ref = up->n_items;

    im__up_batch__free_unpacked(up, NULL);

    (void) im_rpc_stream_add(s, &item.base);
    im_rpc_stream_flush(s);
}


static void
on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) ctx;
    (void) s;
    (void) status;
}


static const im_rpc_handler_t  handlers[] = {
    { .name = "Auth", .roles = IM_RPC_NGINX, .unary = on_auth },
    { .name = "Exchange", .roles = IM_RPC_NGINX, .accept = on_accept,
      .stream = { .on_batch = on_up, .on_close = on_close } },
    { .name = NULL }
};


/* Ends when its parent does. */
static pid_t
server_start(char *address, size_t size)
{
    int               pipes[2];
    pid_t             pid;
    im_rpc_t         *rpc;
    im_rpc_conf_t     conf;
    im_rpc_server_t  *server;

    if (pipe(pipes) != 0) {
        return -1;
    }

    pid = fork();

    if (pid == 0) {
        memset(&conf, 0, sizeof(conf));
        rpc = im_rpc_create(&conf);
        server = rpc ? im_rpc_serve(rpc, "127.0.0.1:0",
                                    &im__logic__descriptor, handlers, NULL)
                     : NULL;
        if (server == NULL) {
            _exit(1);
        }

        snprintf(address, size, "127.0.0.1:%u", im_rpc_server_port(server));

        if (write(pipes[1], address, size) != (ssize_t) size) {
            _exit(1);
        }

        alarm(120);
        pause();                       /* SIGTERM ends it */
        _exit(0);
    }

    close(pipes[1]);

    if (pid == -1 || read(pipes[0], address, size) != (ssize_t) size) {
        pid = -1;
    }

    close(pipes[0]);

    return pid;
}


static void
ask(void)
{
    Im__Caller       caller = IM__CALLER__INIT;
    Im__AuthRequest  r = IM__AUTH_REQUEST__INIT;

    caller.uid = 1234567;
    caller.sid = "0123456789012345678901";
    caller.device = "bench";
    r.caller = &caller;

    (void) im_rpc_call(channel, &method, &r.base, 5000, on_answer, NULL);
}


static void
on_answer(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    (void) ctx;
    (void) reply;

    if (status->code != IM_RPC_OK) {
        fprintf(stderr, "im-bench-rpc: %s\n", status->message);
        exit(1);
    }

    atomic_fetch_add(&done, 1);

    if (!atomic_load(&ended)) {
        ask();
    }
}


static void
say(lane_t *lane)
{
    unsigned       i;
    static char    body[BODY];
    Im__UpItem     item = IM__UP_ITEM__INIT;
    Im__Deliver    send = IM__DELIVER__INIT;

    memset(body, 'x', sizeof(body));
    send.from = 1234567;
    send.to = 7654321;
    send.cmid = "0123456789ab-1234";
    send.body.data = (uint8_t *) body;
    send.body.len = sizeof(body);
    item.conn = 77;
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &send;

    for (i = 0; i < batch_size; i++) {
        item.ref = i + 1;
        (void) im_rpc_stream_add(lane->stream, &item.base);
    }

    im_rpc_stream_flush(lane->stream);
}


static void
on_down(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    lane_t         *lane = ctx;
    Im__DownBatch  *down;

    (void) s;

    down = im__down_batch__unpack(NULL, len, data);

    if (down == NULL || down->n_items != 1
        || down->items[0]->ref != batch_size)
    {
        fprintf(stderr, "im-bench-rpc: a batch was not answered as one\n");
        exit(1);
    }

    im__down_batch__free_unpacked(down, NULL);
    atomic_fetch_add(&done, batch_size);

    if (!atomic_load(&ended)) {
        say(lane);
    }
}


static void
report(const char *what, pid_t server, uint64_t began, uint64_t cpu,
    uint64_t count)
{
    double    seconds;
    uint64_t  total;

    seconds = (double) (bench_now_us() - began) / 1e6;

    kill(server, SIGTERM);
    waitpid(server, NULL, 0);          /* its CPU counts as ours from here */

    total = bench_cpu_us() - cpu;

    printf("%-28s %9.0f /s   %7.2f us of CPU each, both processes\n", what,
           (double) count / seconds, (double) total / (double) count);
}


static void
run(unsigned seconds)
{
    struct timespec  ts = { (time_t) seconds, 0 };

    nanosleep(&ts, NULL);
}


static im_rpc_t *
client_start(const char *address, const char *name)
{
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    rpc = im_rpc_create(&conf);

    if (rpc == NULL
        || im_rpc_method_find(&method, &im__logic__descriptor, name) != IM_OK)
    {
        return NULL;
    }

    channel = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);

    return (channel != NULL) ? rpc : NULL;
}


/* The start-up of both processes is in the sum, and so is the warm-up: both
 * are divided by all calls, also those of the warm-up. */
int
bench_unary(unsigned depth, unsigned seconds)
{
    char       what[64], address[32];
    pid_t      server;
    uint64_t   cpu, began;
    unsigned   i;
    im_rpc_t  *rpc;

    cpu = bench_cpu_us();
    server = server_start(address, sizeof(address));
    rpc = (server > 0) ? client_start(address, "Auth") : NULL;

    if (rpc == NULL) {
        return 1;
    }

    began = bench_now_us();

    for (i = 0; i < depth; i++) {
        ask();
    }

    run(WARM_S + seconds);
    atomic_store(&ended, 1);
    run(1);

    snprintf(what, sizeof(what), "unary, %u outstanding", depth);
    report(what, server, began + 1000000, cpu, atomic_load(&done));

    im_rpc_channel_unref(channel);
    im_rpc_destroy(rpc);

    return 0;
}


int
bench_stream(unsigned batch, unsigned seconds)
{
    char       what[64], address[32];
    pid_t      server;
    uint64_t   cpu, began;
    unsigned   i;
    im_rpc_t  *rpc;

    static const im_rpc_stream_handler_t  handler = {
        .on_batch = on_down, .on_close = on_close
    };

    batch_size = (batch < BATCH_MAX) ? batch : BATCH_MAX;
    cpu = bench_cpu_us();
    server = server_start(address, sizeof(address));
    rpc = (server > 0) ? client_start(address, "Exchange") : NULL;

    if (rpc == NULL) {
        return 1;
    }

    began = bench_now_us();

    for (i = 0; i < STREAMS; i++) {
        lanes[i].stream = im_rpc_stream_open(channel, &method, 2000, &handler,
                                             &lanes[i]);
        if (lanes[i].stream == NULL) {
            return 1;
        }

        say(&lanes[i]);
    }

    run(WARM_S + seconds);
    atomic_store(&ended, 1);
    run(1);

    snprintf(what, sizeof(what), "stream, batches of %u", batch_size);
    report(what, server, began + 1000000, cpu, atomic_load(&done));

    im_rpc_channel_unref(channel);
    im_rpc_destroy(rpc);

    return 0;
}
