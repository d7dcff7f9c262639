/*
 * unit_rpc.h -- a server and a caller of Logic's calls, on real sockets, and
 * what became of the last call or stream.
 *
 * The same for both implementations of im_rpc.h: with IM_RPC_H2 that of
 * src/h2, whose loop turns while a test waits.
 */

#ifndef UNIT_RPC_H
#define UNIT_RPC_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdatomic.h>

#include "unit_wait.h"

#ifdef IM_RPC_H2

#include "unit_h2.h"

#define UNIT_CREATE(conf)       h2_create(conf)
#define UNIT_UNTIL(ms, what)    H2_WITHIN(ms, what)
#define UNIT_FOR_EVER()         for ( ;; ) { h2_turn(1000); }
#define im_rpc_now_us           h2_now_us

#else

#include "im_rpc_int.h"

#define UNIT_CREATE(conf)       im_rpc_create(conf)
#define UNIT_UNTIL(ms, what)    UNIT_WITHIN(ms, what)
#define UNIT_FOR_EVER()         pause()

#endif

#include "im_timeouts.h"
#include "logic.pb-c.h"

#define WAIT_MS   15000
#define RETRY_MS  1700     /* of a refusal */


typedef struct {
    atomic_int       done;
    int              code;
    im_rpc_sent_t    sent;
    char             message[200];
    unsigned         retry_ms;
    uint64_t         took_us;
    uint64_t         began_us;
} outcome_t;

static outcome_t   outcome;
static char        trace[IM_RPC_TRACE_MAX + 1];
static atomic_int  opened;
static atomic_uint handled;
static atomic_uint late_us;            /* an answer takes so long */


static inline void
on_unary(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    Im__AuthReply  reply = IM__AUTH_REPLY__INIT;

    (void) in;

    snprintf(trace, sizeof(trace), "%s", im_rpc_req_trace(req));
    atomic_fetch_add(&handled, 1);
    unit_pause_us(atomic_load(&late_us));

    if (ctx != NULL) {
        im_rpc_fail(req, IM_RPC_UNAVAILABLE, "unavailable: redis is away",
                    RETRY_MS);
        return;
    }

    im_rpc_reply(req, &reply.base);
}


static inline void *
on_accept(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    return NULL;
}


static inline void
on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    (void) ctx;
    (void) s;
    (void) data;
    (void) len;
}


static inline void
on_server_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) ctx;
    (void) s;
    (void) status;
}


static const im_rpc_handler_t  handlers[] = {
    { .name = "Auth", .roles = IM_RPC_NGINX, .unary = on_unary },
    /* this one never beats */
    { .name = "Exchange", .roles = IM_RPC_NGINX, .accept = on_accept,
      .stream = { .on_batch = on_batch, .on_close = on_server_close } },
    { .name = NULL }
};


static inline void
on_open(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;
    (void) s;

    atomic_store(&opened, 1);
}


static inline void
on_end(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    outcome_t  *o = ctx;

    (void) s;

    o->code = status->code;
    o->sent = status->sent;
    o->retry_ms = status->retry_ms;
    o->took_us = im_rpc_now_us() - o->began_us;
    snprintf(o->message, sizeof(o->message), "%s", status->message);
    atomic_store(&o->done, 1);
}


static inline void
on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    (void) reply;

    on_end(ctx, NULL, status);
}


static inline void
wait_for(atomic_int *flag)
{
    UNIT_UNTIL(WAIT_MS, atomic_load(flag));
}


static inline im_rpc_t *
runtime(const im_rpc_tls_t *tls)
{
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.message_max = 1 << 20;

    if (tls != NULL) {
        conf.tls = *tls;
    }

    rpc = UNIT_CREATE(&conf);
    assert_non_null(rpc);

    return rpc;
}


static inline void
serve(im_rpc_t *rpc, char *address, void *ctx)
{
    im_rpc_server_t  *server;

    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor,
                          handlers, ctx);
    assert_non_null(server);

    snprintf(address, 32, "127.0.0.1:%u", im_rpc_server_port(server));
}


/* A port on which a raw socket listens, or does not (listens 0). */
static inline int
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


static inline im_rpc_call_t *
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


static inline void
call(im_rpc_channel_t *ch, const char *id, unsigned timeout_ms)
{
    (void) call_start(ch, id, timeout_ms);
    wait_for(&outcome.done);
}


/* A busy machine may need several tries to connect within the limit, which is
 * half a second, with pauses between them; what is tested then is what comes
 * on a connection. */
static inline void
reach(im_rpc_channel_t *ch)
{
    unsigned  tries;

    tries = 0;

    do {
        call(ch, NULL, 3000);
        unit_pause(outcome.code == IM_RPC_UNAVAILABLE ? 20 : 0);
    } while (outcome.code == IM_RPC_UNAVAILABLE
             && outcome.sent == IM_RPC_NOT_SENT && ++tries < 200);
}


static inline void
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

#endif
