/*
 * im_h2_stream.c -- long-lived streams whose messages are batches.
 *
 *   add(item) --> queue --flush--> taken at the end of the turn --> peer
 *                   ^                                |
 *                   +-- collects while it goes out --+
 *
 * All items of a turn are one message, and while a message waits for the socket
 * or for the peer's window, the next one collects.
 *
 * The heartbeat is an empty batch, sent when nothing else was for a while, as
 * in src/rpc/im_rpc_stream.c: a beat that comes late itself means that we were
 * stopped, and the peer gets its time again.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


struct im_rpc_stream_s {
    im_h2_exchange_t          x;           /* first */
    im_rpc_stream_handler_t   handler;
    void                     *ctx;
    unsigned                  refs;
    im_h2_queue_t             queue;
    im_h2_event_t             writable;
    void                     *beat;
    uint64_t                  beat_us;     /* it was set then */
    uint64_t                  heard_us;
    uint64_t                  said_us;
    unsigned                  go:1;        /* what is queued is to be sent */
    unsigned                  beats:1;     /* an empty batch is */
    unsigned                  busy:1;      /* add() has refused */
    unsigned                  ending:1;    /* close() was called */
    unsigned                  closed:1;    /* on_close has run */
};


static im_rpc_stream_t *stream_create(im_rpc_t *rpc,
    const im_h2_hooks_t *hooks, const im_rpc_stream_handler_t *handler,
    void *ctx);
static void stream_on_connect_timeout(void *data);
static void stream_on_head(im_h2_exchange_t *x);
static void stream_on_begun(im_h2_exchange_t *x);
static void stream_on_message(im_h2_exchange_t *x, const uint8_t *data,
    size_t len);
static void stream_on_half(im_h2_exchange_t *x);
static void stream_fill(im_h2_exchange_t *x);
static void stream_on_taken(im_h2_exchange_t *x);
static void stream_on_writable(void *owner);
static void stream_beat_in(im_rpc_stream_t *s);
static void stream_on_beat(void *data);
static void stream_on_end(void *data);


static const im_h2_hooks_t  stream_client = {
    .on_head = stream_on_head,
    .on_message = stream_on_message,
    .on_begun = stream_on_begun,
    .fill = stream_fill,
    .on_taken = stream_on_taken,
    .on_end = stream_on_end
};

static const im_h2_hooks_t  stream_server = {
    .on_message = stream_on_message,
    .on_half = stream_on_half,
    .fill = stream_fill,
    .on_taken = stream_on_taken,
    .on_end = stream_on_end
};


im_rpc_stream_t *
im_rpc_stream_open(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    unsigned connect_timeout_ms, const im_rpc_stream_handler_t *handler,
    void *ctx)
{
    im_rpc_stream_t  *s;

    s = ch->rpc->stopping ? NULL
                          : stream_create(ch->rpc, &stream_client, handler,
                                          ctx);
    if (s == NULL) {
        return NULL;
    }

    s->x.waits = 1;
    snprintf(s->x.head.path, sizeof(s->x.head.path), "%s", m->path);

    if (im_h2_exchange_timer(&s->x, connect_timeout_ms,
                             stream_on_connect_timeout) != IM_OK)
    {
        im_rpc_stream_unref(s);
        return NULL;
    }

    im_h2_channel_take(ch, &s->x);

    return s;
}


void
im_h2_stream_accept(im_h2_exchange_t *from, const im_rpc_handler_t *handler,
    void *server_ctx)
{
    int32_t           id;
    im_h2_conn_t     *c;
    im_rpc_stream_t  *s;

    s = stream_create(from->rpc, &stream_server, &handler->stream, NULL);
    if (s == NULL) {
        im_h2_exchange_end(from, IM_RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }

    c = from->conn;
    id = from->id;
    s->x.server = 1;

    /* the HTTP/2 stream changes hands */

    im_h2_exchange_detach(from);
    im_h2_exchange_end(from, IM_RPC_OK, "%s", "");
    im_h2_exchange_attach(&s->x, c, id);

    s->ctx = handler->accept(server_ctx, s);

    if (!s->x.ended) {
        stream_on_begun(&s->x);
    }

    if (!s->x.ended && im_h2_exchange_open(&s->x) != IM_OK) {
        im_h2_exchange_end(&s->x, IM_RPC_CANCELLED, "out of memory");
    }
}


static im_rpc_stream_t *
stream_create(im_rpc_t *rpc, const im_h2_hooks_t *hooks,
    const im_rpc_stream_handler_t *handler, void *ctx)
{
    size_t            max;
    im_rpc_stream_t  *s;

    s = calloc(1, sizeof(im_rpc_stream_t));
    if (s == NULL) {
        return NULL;
    }

    im_h2_exchange_init(&s->x, rpc, hooks);
    s->handler = *handler;
    s->ctx = ctx;
    s->refs = 1;
    im_h2_event_init(&s->writable, stream_on_writable, s);

    /* a batch that the peer would refuse must not come to be */
    max = rpc->conf.stream_queue_max;
    im_h2_queue_init(&s->queue, max < rpc->conf.message_max
                                ? max : rpc->conf.message_max);

    return s;
}


static void
stream_on_connect_timeout(void *data)
{
    im_h2_exchange_end(data, IM_RPC_UNAVAILABLE, "no connection in time");
}


static void
stream_on_head(im_h2_exchange_t *x)
{
    im_rpc_stream_t  *s = (im_rpc_stream_t *) x;

    if (x->head.mark == IM_RPC_MARK_HANDLED && s->handler.on_open != NULL) {
        s->handler.on_open(s->ctx, s);
    }
}


/* Our metadata are out: a client's wait for a connection is over. */
static void
stream_on_begun(im_h2_exchange_t *x)
{
    im_rpc_stream_t  *s = (im_rpc_stream_t *) x;

    if (x->timer != NULL) {
        x->rpc->loop.timer_stop(x->timer);
    }

    s->go = 1;

    if (s->handler.beat_ms == 0) {
        return;
    }

    s->beat = x->rpc->loop.timer(x->rpc->loop.ctx, stream_on_beat, s);

    if (s->beat == NULL) {
        im_h2_exchange_end(x, IM_RPC_UNAVAILABLE, "out of memory");
        return;
    }

    s->heard_us = im_h2_now_us();
    stream_beat_in(s);
}


static void
stream_beat_in(im_rpc_stream_t *s)
{
    s->beat_us = im_h2_now_us();
    s->x.rpc->loop.timer_set(s->beat, s->handler.beat_ms);
}


static void
stream_on_beat(void *data)
{
    uint64_t          now, beat;
    im_rpc_stream_t  *s = data;

    if (s->x.ended) {
        return;
    }

    now = im_h2_now_us();
    beat = (uint64_t) s->handler.beat_ms * 1000;

    if (now - s->beat_us > 2 * beat) {
        s->heard_us = now;
    }

    if (now - s->heard_us >= (uint64_t) s->handler.dead_ms * 1000) {
        im_h2_exchange_end(&s->x, IM_RPC_UNAVAILABLE,
                           "nothing heard for %u ms", s->handler.dead_ms);
        return;
    }

    if (s->x.out == NULL && !s->ending && s->queue.bytes == 0
        && now - s->said_us >= beat / 2)
    {
        s->beats = 1;
        im_h2_exchange_resume(&s->x);
    }

    stream_beat_in(s);
}


static void
stream_on_message(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    im_rpc_stream_t  *s = (im_rpc_stream_t *) x;

    s->heard_us = im_h2_now_us();

    if (len > 0) {
        s->handler.on_batch(s->ctx, s, data, len);
    }
}


/* The peer says nothing more; a server ends its side, too. */
static void
stream_on_half(im_h2_exchange_t *x)
{
    im_rpc_stream_close((im_rpc_stream_t *) x);
}


/* What goes out next: a batch, a heartbeat, our last word, or nothing yet. */
static void
stream_fill(im_h2_exchange_t *x)
{
    im_rpc_stream_t  *s = (im_rpc_stream_t *) x;

    if (s->queue.bytes > 0 ? (s->go || s->ending) : s->beats) {
        x->out = im_h2_queue_take(&s->queue);
        s->said_us = im_h2_now_us();
    }

    s->beats = 0;
    s->go = 0;

    if (s->ending && s->queue.bytes == 0) {

        if (x->server) {
            im_h2_exchange_answer(x, IM_RPC_OK, "", 0);

        } else {
            x->last = 1;
        }
    }
}


static void
stream_on_taken(im_h2_exchange_t *x)
{
    im_rpc_stream_t  *s = (im_rpc_stream_t *) x;

    s->go = (s->queue.bytes > 0);

    if (s->busy && s->queue.bytes < s->queue.max / 2) {
        s->busy = 0;

        if (!s->ending && s->handler.on_writable != NULL) {
            im_h2_raise(x->rpc, &s->writable);
        }
    }
}


static void
stream_on_writable(void *owner)
{
    im_rpc_stream_t  *s = owner;

    if (!s->x.ended && !s->ending) {
        s->handler.on_writable(s->ctx, s);
    }
}


static void
stream_on_end(void *data)
{
    im_rpc_status_t   status;
    im_rpc_stream_t  *s = data;

    im_h2_lower(s->x.rpc, &s->writable);

    status.code = s->x.code;
    status.message = s->x.server ? "" : s->x.text;
    status.sent = s->x.server ? IM_RPC_ANSWERED : im_h2_exchange_sent(&s->x);
    status.retry_ms = 0;

    s->handler.on_close(s->ctx, s, &status);

    if (s->beat != NULL) {
        s->x.rpc->loop.timer_free(s->beat);
        s->beat = NULL;
    }

    im_h2_exchange_free(&s->x);
    s->closed = 1;
    im_rpc_stream_unref(s);
}


int
im_rpc_stream_add(im_rpc_stream_t *s, const ProtobufCMessage *item)
{
    int  rc;

    if (s->x.ended || s->ending) {
        return IM_ERROR;
    }

    rc = im_h2_queue_add(&s->queue, item);
    s->busy |= (rc == IM_BUSY);

    return rc;
}


int
im_rpc_stream_add_packed(im_rpc_stream_t *s, const im_str_t *item)
{
    int  rc;

    if (s->x.ended || s->ending) {
        return IM_ERROR;
    }

    rc = im_h2_queue_add_packed(&s->queue, item);
    s->busy |= (rc == IM_BUSY);

    return rc;
}


int
im_rpc_stream_send(im_rpc_stream_t *s, const ProtobufCMessage *message)
{
    int  rc;

    if (s->x.ended || s->ending) {
        return IM_ERROR;
    }

    rc = im_h2_queue_push(&s->queue, message);

    if (rc == IM_OK) {
        s->go = 1;
        im_h2_exchange_resume(&s->x);
    }

    return rc;
}


void
im_rpc_stream_flush(im_rpc_stream_t *s)
{
    if (!s->x.ended && s->queue.bytes > 0) {
        s->go = 1;
        im_h2_exchange_resume(&s->x);
    }
}


void
im_rpc_stream_close(im_rpc_stream_t *s)
{
    if (!s->x.ended) {
        s->ending = 1;
        im_h2_exchange_resume(&s->x);
    }
}


void
im_rpc_stream_cancel(im_rpc_stream_t *s)
{
    im_h2_exchange_end(&s->x, IM_RPC_CANCELLED, "CANCELLED");
}


void
im_rpc_stream_ref(im_rpc_stream_t *s)
{
    s->refs++;
}


void
im_rpc_stream_unref(im_rpc_stream_t *s)
{
    if (s == NULL || --s->refs > 0) {
        return;
    }

    if (!s->closed) {
        im_h2_exchange_free(&s->x);    /* it was never opened */
    }

    im_h2_queue_free(&s->queue);
    free(s);
}
