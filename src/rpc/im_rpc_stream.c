/*
 * im_rpc_stream.c -- long-lived streams whose messages are batches.
 *
 *   add(item) --> queue --flush--> one write in flight --> peer
 *                   ^                        |
 *                   +---- collects while ----+
 *
 * Natural batching: no timer delays a lone item, and under load batches grow
 * by themselves (im_rpc_queue.c).
 *
 * A receive is always pending, because the core delivers a stream's status
 * only when no message is left unread.  on_close runs when the status is known
 * and no operation is left, so nothing comes after it.
 *
 * The heartbeat is an empty batch, sent when nothing else was for a while.  A
 * beat that comes late itself means that we were stopped, not the peer, and
 * the peer gets its time again.
 *
 * Room: rpc.  add, flush, close, cancel: any thread, under the stream's lock.
 * Callbacks: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


static im_rpc_stream_t *stream_create(im_rpc_t *rpc, grpc_call *call,
    const im_rpc_stream_handler_t *handler, void *ctx);
static void stream_receive(im_rpc_stream_t *s);
static void stream_on_connect_timeout(void *ctx);
static void stream_beat_in(im_rpc_stream_t *s);
static void stream_on_beat(void *ctx);
static void stream_on_start(void *owner, int ok);
static void stream_on_initial(void *owner, int ok);
static void stream_on_recv(void *owner, int ok);
static void stream_on_status(void *owner, int ok);
static void stream_on_finish(void *owner, int ok);
static void stream_closed(im_rpc_stream_t *s);
static im_rpc_sent_t stream_sent(im_rpc_stream_t *s);


im_rpc_stream_t *
im_rpc_stream_open(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    unsigned connect_timeout_ms, const im_rpc_stream_handler_t *handler,
    void *ctx)
{
    size_t            n;
    grpc_op           op;
    grpc_call        *call;
    grpc_slice        path;
    grpc_metadata     md[IM_RPC_METADATA_MAX];
    im_rpc_wire_t    *wire;
    im_rpc_stream_t  *s;

    if (im_rpc_op_begin(ch->rpc) != IM_OK) {
        return NULL;
    }

    wire = im_rpc_channel_wire(ch);
    path = grpc_slice_from_copied_string(m->path);

    call = grpc_channel_create_call(wire->channel, NULL,
               GRPC_PROPAGATE_DEFAULTS, ch->rpc->cq, path, NULL,
               gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

    grpc_slice_unref(path);

    s = stream_create(ch->rpc, call, handler, ctx);
    im_rpc_op_end(ch->rpc);

    if (s == NULL) {
        grpc_call_unref(call);
        im_rpc_wire_unref(wire);
        return NULL;
    }

    s->channel = ch;
    s->wire = wire;
    atomic_fetch_add(&ch->refs, 1);
    s->connect = im_rpc_timer(s->rpc, connect_timeout_ms,
                              stream_on_connect_timeout, s);

    pthread_mutex_lock(&s->lock);

    s->writing = 1;                    /* until the start has gone out */

    n = im_rpc_channel_metadata(ch, NULL, md);

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_SEND_INITIAL_METADATA;
    op.flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY
               | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    op.data.send_initial_metadata.count = n;
    op.data.send_initial_metadata.metadata = md;
    im_rpc_stream_batch(s, &op, 1, &s->op_start);
    im_rpc_channel_metadata_free(md, n);

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_INITIAL_METADATA;
    op.data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    im_rpc_stream_batch(s, &op, 1, &s->op_initial);

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    op.data.recv_status_on_client.trailing_metadata = &s->trailing;
    op.data.recv_status_on_client.status = &s->code;
    op.data.recv_status_on_client.status_details = &s->details;
    im_rpc_stream_batch(s, &op, 1, &s->op_status);

    stream_receive(s);

    pthread_mutex_unlock(&s->lock);

    return s;
}


void
im_rpc_stream_accept(im_rpc_t *rpc, grpc_call *call,
    const im_rpc_handler_t *handler, void *server_ctx)
{
    grpc_op           op;
    grpc_metadata     mark;
    im_rpc_stream_t  *s;

    s = stream_create(rpc, call, &handler->stream, NULL);
    if (s == NULL) {
        grpc_call_cancel(call, NULL);
        grpc_call_unref(call);
        return;
    }

    s->server = 1;
    s->writing = 1;
    s->code = GRPC_STATUS_OK;

    /* on the home, before any of its callbacks can run */
    s->ctx = handler->accept(server_ctx, s);

    pthread_mutex_lock(&s->lock);

    memset(&mark, 0, sizeof(mark));
    mark.key = grpc_slice_from_static_string(IM_RPC_MD_MARK);
    mark.value = grpc_slice_from_static_string("1");

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_SEND_INITIAL_METADATA;
    op.data.send_initial_metadata.count = 1;
    op.data.send_initial_metadata.metadata = &mark;
    im_rpc_stream_batch(s, &op, 1, &s->op_start);

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op.data.recv_close_on_server.cancelled = &s->cancelled;
    im_rpc_stream_batch(s, &op, 1, &s->op_status);

    stream_receive(s);

    pthread_mutex_unlock(&s->lock);
}


static im_rpc_stream_t *
stream_create(im_rpc_t *rpc, grpc_call *call,
    const im_rpc_stream_handler_t *handler, void *ctx)
{
    im_rpc_stream_t  *s;

    s = calloc(1, sizeof(im_rpc_stream_t));
    if (s == NULL) {
        return NULL;
    }

    s->rpc = rpc;
    s->call = call;
    s->handler = *handler;
    s->ctx = ctx;
    s->details = grpc_empty_slice();

    atomic_init(&s->refs, 1);
    pthread_mutex_init(&s->lock, NULL);
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);

    im_rpc_op_init(&s->op_start, stream_on_start, s);
    im_rpc_op_init(&s->op_initial, stream_on_initial, s);
    im_rpc_op_init(&s->op_status, stream_on_status, s);
    im_rpc_op_init(&s->op_recv, stream_on_recv, s);
    im_rpc_op_init(&s->op_finish, stream_on_finish, s);
    im_rpc_stream_send_init(s);

    im_rpc_live_add(rpc, &s->live, call);

    return s;
}


/* Under the lock. */
int
im_rpc_stream_batch(im_rpc_stream_t *s, grpc_op *ops, size_t n, im_rpc_op_t *op)
{
    s->ops++;

    if (im_rpc_op_batch(s->rpc, s->call, ops, n, op) != IM_OK) {
        s->ops--;
        return IM_ERROR;
    }

    return IM_OK;
}


static void
stream_receive(im_rpc_stream_t *s)
{
    grpc_op  op;

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &s->received;

    im_rpc_stream_batch(s, &op, 1, &s->op_recv);
}


static void
stream_on_connect_timeout(void *ctx)
{
    im_rpc_stream_t  *s = ctx;

    s->connect = NULL;

    grpc_call_cancel_with_status(s->call, GRPC_STATUS_UNAVAILABLE,
                                 "no connection in time", NULL);
}


static void
stream_on_start(void *owner, int ok)
{
    im_rpc_stream_t  *s = owner;

    if (s->connect != NULL) {
        im_rpc_timer_cancel(s->connect);
        s->connect = NULL;
    }

    if (ok && s->handler.beat_ms != 0) {
        s->heard_us = im_rpc_now_us();
        stream_beat_in(s);
    }

    pthread_mutex_lock(&s->lock);

    s->writing = 0;

    s->started = (ok != 0);

    if (ok) {
        im_rpc_stream_write_next(s);

    } else {
        s->dead = 1;
    }

    im_rpc_stream_op_done(s);
}


static void
stream_beat_in(im_rpc_stream_t *s)
{
    s->beat_us = im_rpc_now_us();
    s->beat = im_rpc_timer(s->rpc, s->handler.beat_ms, stream_on_beat, s);
}


static void
stream_on_beat(void *ctx)
{
    char              text[64];
    uint64_t          now, beat;
    im_rpc_stream_t  *s = ctx;

    s->beat = NULL;

    now = im_rpc_now_us();
    beat = (uint64_t) s->handler.beat_ms * 1000;

    if (now - s->beat_us > 2 * beat) {
        s->heard_us = now;
    }

    if (now - s->heard_us >= (uint64_t) s->handler.dead_ms * 1000) {
        snprintf(text, sizeof(text), "nothing heard for %u ms",
                 s->handler.dead_ms);
        grpc_call_cancel_with_status(s->call, GRPC_STATUS_UNAVAILABLE, text,
                                     NULL);
        return;
    }

    pthread_mutex_lock(&s->lock);

    if (!s->writing && !s->dead && !s->ending && s->queue.bytes == 0
        && now - s->said_us >= beat / 2)
    {
        im_rpc_stream_send_start(s);
    }

    pthread_mutex_unlock(&s->lock);

    stream_beat_in(s);
}


static void
stream_on_initial(void *owner, int ok)
{
    im_rpc_stream_t  *s = owner;

    if (ok && s->handler.on_open != NULL
        && im_rpc_mark_of(&s->initial) == IM_RPC_MARK_HANDLED)
    {
        s->handler.on_open(s->ctx, s);
    }

    pthread_mutex_lock(&s->lock);
    im_rpc_stream_op_done(s);
}


static void
stream_on_recv(void *owner, int ok)
{
    grpc_slice        slice;
    im_rpc_stream_t  *s = owner;

    (void) ok;

    if (s->received != NULL) {
        s->heard_us = im_rpc_now_us();

        if (grpc_byte_buffer_length(s->received) > 0
            && im_rpc_flatten(s->received, &slice) == IM_OK)
        {
            s->handler.on_batch(s->ctx, s, GRPC_SLICE_START_PTR(slice),
                                GRPC_SLICE_LENGTH(slice));
            grpc_slice_unref(slice);
        }

        grpc_byte_buffer_destroy(s->received);
        s->received = NULL;

        pthread_mutex_lock(&s->lock);
        stream_receive(s);
        im_rpc_stream_op_done(s);
        return;
    }

    /* the peer says nothing more; a server ends its side, too */

    pthread_mutex_lock(&s->lock);

    if (s->server) {
        s->ending = 1;
        im_rpc_stream_write_next(s);
    }

    im_rpc_stream_op_done(s);
}


static void
stream_on_status(void *owner, int ok)
{
    im_rpc_stream_t  *s = owner;

    (void) ok;

    pthread_mutex_lock(&s->lock);

    if (s->server && s->cancelled) {
        s->code = GRPC_STATUS_CANCELLED;
    }

    s->dead = 1;
    im_rpc_stream_op_done(s);
}


static void
stream_on_finish(void *owner, int ok)
{
    im_rpc_stream_t  *s = owner;

    (void) ok;

    pthread_mutex_lock(&s->lock);
    im_rpc_stream_op_done(s);
}


/* Unlocks.  The last operation of all reports the end. */
void
im_rpc_stream_op_done(im_rpc_stream_t *s)
{
    unsigned  left;

    left = --s->ops;

    pthread_mutex_unlock(&s->lock);

    if (left == 0) {
        stream_closed(s);
    }
}


static void
stream_closed(im_rpc_stream_t *s)
{
    char             *text;
    im_rpc_status_t   status;

    if (s->connect != NULL) {
        im_rpc_timer_cancel(s->connect);
        s->connect = NULL;
    }

    im_rpc_timer_cancel(s->beat);
    s->beat = NULL;

    text = grpc_slice_to_c_string(s->details);

    status.code = (int) s->code;
    status.message = text;
    status.sent = stream_sent(s);
    status.retry_ms = 0;

    im_rpc_live_remove(s->rpc, &s->live);

    s->handler.on_close(s->ctx, s, &status);

    gpr_free(text);
    im_rpc_stream_unref(s);
}


static im_rpc_sent_t
stream_sent(im_rpc_stream_t *s)
{
    if (s->server) {
        return IM_RPC_ANSWERED;
    }

    switch (im_rpc_mark_of(&s->trailing)) {

    case IM_RPC_MARK_HANDLED:
        return IM_RPC_ANSWERED;

    case IM_RPC_MARK_REFUSED:
        return IM_RPC_NOT_SENT;

    default:
        return s->started ? IM_RPC_MAYBE_SENT : IM_RPC_NOT_SENT;
    }
}


void
im_rpc_stream_close(im_rpc_stream_t *s)
{
    pthread_mutex_lock(&s->lock);

    s->ending = 1;
    im_rpc_stream_write_next(s);

    pthread_mutex_unlock(&s->lock);
}


void
im_rpc_stream_cancel(im_rpc_stream_t *s)
{
    pthread_mutex_lock(&s->lock);
    s->dead = 1;
    pthread_mutex_unlock(&s->lock);

    grpc_call_cancel(s->call, NULL);
}


void
im_rpc_stream_ref(im_rpc_stream_t *s)
{
    atomic_fetch_add(&s->refs, 1);
}


void
im_rpc_stream_unref(im_rpc_stream_t *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1) {
        return;
    }

    im_rpc_queue_free(&s->queue);
    grpc_slice_unref(s->details);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_call_unref(s->call);
    im_rpc_wire_unref(s->wire);
    im_rpc_channel_unref(s->channel);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
