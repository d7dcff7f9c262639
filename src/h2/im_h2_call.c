/*
 * im_h2_call.c -- unary calls.
 *
 * A call's request is packed when it starts, and goes out with the metadata at
 * the end of the turn, or when its channel is connected.  The reply is unpacked
 * where it was read, and given to the caller with the status.
 *
 * Whether trying elsewhere is safe is told as in src/rpc/im_rpc_call.c: by the
 * mark of the answer, else by whether the metadata have gone out.  What a peer
 * has refused by HTTP/2 (REFUSED_STREAM, or a GOAWAY of a lower stream) no
 * handler has seen, by RFC 9113.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


struct im_rpc_call_s {
    im_h2_exchange_t                  x;           /* first */
    const ProtobufCMessageDescriptor *output;
    ProtobufCMessage                 *answer;
    unsigned                          messages;
    im_rpc_reply_pt                   reply;
    void                             *ctx;
};


static im_rpc_call_t *call_start(im_rpc_channel_t *ch,
    const im_rpc_method_t *m, im_h2_buf_t *request, unsigned timeout_ms,
    const char *trace, im_rpc_reply_pt reply, void *ctx);
static void call_on_message(im_h2_exchange_t *x, const uint8_t *data,
    size_t len);
static void call_on_deadline(void *data);
static void call_on_end(void *data);


static const im_h2_hooks_t  call_hooks = {
    .on_message = call_on_message,
    .on_end = call_on_end
};


im_rpc_call_t *
im_rpc_call(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    const ProtobufCMessage *request, unsigned timeout_ms,
    im_rpc_reply_pt reply, void *ctx)
{
    return call_start(ch, m, im_h2_buf_pack(request), timeout_ms, NULL, reply,
                      ctx);
}


im_rpc_call_t *
im_rpc_call_packed(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    const im_str_t *request, unsigned timeout_ms, const char *trace,
    im_rpc_reply_pt reply, void *ctx)
{
    return call_start(ch, m, im_h2_buf_copy(request->data, request->len),
                      timeout_ms, trace, reply, ctx);
}


/* Takes the buffer, also NULL. */
static im_rpc_call_t *
call_start(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    im_h2_buf_t *request, unsigned timeout_ms, const char *trace,
    im_rpc_reply_pt reply, void *ctx)
{
    im_rpc_call_t     *c;
    im_h2_exchange_t  *x;

    c = (ch->rpc->stopping || request == NULL)
        ? NULL : malloc(sizeof(im_rpc_call_t));

    if (c == NULL) {
        im_h2_buf_release(request);
        return NULL;
    }

    x = &c->x;
    im_h2_exchange_init(x, ch->rpc, &call_hooks);
    c->output = m->output;
    c->answer = NULL;
    c->messages = 0;
    c->reply = reply;
    c->ctx = ctx;
    x->out = request;
    x->last = 1;
    x->deadline_us = im_h2_now_us() + (uint64_t) timeout_ms * 1000;
    snprintf(x->head.path, sizeof(x->head.path), "%s", m->path);

    if (trace != NULL) {
        snprintf(x->head.trace, sizeof(x->head.trace), "%s", trace);
    }

    if (im_h2_exchange_timer(x, timeout_ms, call_on_deadline) != IM_OK) {
        im_h2_exchange_free(x);
        free(c);
        return NULL;
    }

    if (request->len - IM_H2_PREFIX > ch->rpc->conf.message_max) {
        im_h2_exchange_end(x, IM_RPC_RESOURCE_EXHAUSTED, "a message of %zu "
                           "bytes is longer than %zu",
                           request->len - IM_H2_PREFIX,
                           ch->rpc->conf.message_max);
        return c;
    }

    im_h2_channel_take(ch, x);

    return c;
}


void
im_rpc_call_cancel(im_rpc_call_t *c)
{
    if (c != NULL) {
        im_h2_exchange_end(&c->x, IM_RPC_CANCELLED, "CANCELLED");
    }
}


void
im_rpc_call_last(im_rpc_call_t *c)
{
    c->x.leaving = 1;
}


static void
call_on_deadline(void *data)
{
    im_h2_exchange_end(data, IM_RPC_DEADLINE_EXCEEDED, "Deadline Exceeded");
}


static void
call_on_message(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    im_rpc_call_t  *c = (im_rpc_call_t *) x;

    if (c->messages++ == 0) {
        c->answer = protobuf_c_message_unpack(c->output, NULL, len, data);
        return;
    }

    im_h2_exchange_end(x, IM_RPC_INTERNAL,
                       "the answer to a unary call has several messages");
}


static void
call_on_end(void *data)
{
    im_rpc_call_t     *c = data;
    im_rpc_status_t    status;

    status.code = c->x.code;
    status.message = c->x.text;
    status.sent = im_h2_exchange_sent(&c->x);
    status.retry_ms = (c->x.mark != IM_RPC_MARK_NONE) ? c->x.head.retry_ms : 0;

    if (status.code == IM_RPC_OK && c->answer == NULL) {
        status.code = IM_RPC_INTERNAL;
        status.message = "internal: the reply is malformed";
    }

    c->reply(c->ctx, &status, status.code == IM_RPC_OK ? c->answer : NULL);

    if (c->answer != NULL) {
        protobuf_c_message_free_unpacked(c->answer, NULL);
    }

    im_h2_exchange_free(&c->x);
    free(c);
}
