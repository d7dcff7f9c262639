/*
 * im_rpc_call.c -- unary calls.
 *
 * A unary call is one batch of six operations, so its callback is one tag.
 *
 * Its end tells whether trying elsewhere is safe.  A handler marks its status
 * with a trailer: ANSWERED.  A server that refuses before any handler marks it
 * otherwise, and a call that never got a connection has no peer: NOT_SENT.
 * The rest may have been executed.
 *
 * Room: rpc.  Runs on: any thread starts; callbacks on the home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


struct im_rpc_call_s {
    im_rpc_t                         *rpc;
    im_rpc_channel_t                 *channel;
    grpc_call                        *call;
    im_rpc_live_t                     live;
    im_rpc_op_t                       op;
    const ProtobufCMessageDescriptor *output;
    im_rpc_reply_pt                   reply;
    void                             *ctx;
    grpc_byte_buffer                 *sent;
    grpc_byte_buffer                 *received;
    grpc_metadata_array               initial;
    grpc_metadata_array               trailing;
    grpc_status_code                  code;
    grpc_slice                        details;
};


static im_rpc_call_t *call_start(im_rpc_channel_t *ch,
    const im_rpc_method_t *m, grpc_byte_buffer *request, unsigned timeout_ms,
    const char *trace, im_rpc_reply_pt reply, void *ctx);
static void call_on_done(void *owner, int ok);
static ProtobufCMessage *call_unpack(im_rpc_call_t *c);
static im_rpc_sent_t call_sent(im_rpc_call_t *c);


int
im_rpc_method_find(im_rpc_method_t *m,
    const ProtobufCServiceDescriptor *service, const char *name)
{
    int                               n;
    const ProtobufCMethodDescriptor  *d;

    d = protobuf_c_service_descriptor_get_method_by_name(service, name);
    if (d == NULL) {
        return IM_DECLINED;
    }

    n = snprintf(m->path, sizeof(m->path), "/%s/%s", service->name, d->name);
    if (n < 0 || (size_t) n >= sizeof(m->path)) {
        return IM_DECLINED;
    }

    m->input = d->input;
    m->output = d->output;

    return IM_OK;
}


im_rpc_call_t *
im_rpc_call(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    const ProtobufCMessage *request, unsigned timeout_ms,
    im_rpc_reply_pt reply, void *ctx)
{
    return call_start(ch, m, im_rpc_pack(request), timeout_ms, NULL, reply,
                      ctx);
}


im_rpc_call_t *
im_rpc_call_packed(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    const im_str_t *request, unsigned timeout_ms, const char *trace,
    im_rpc_reply_pt reply, void *ctx)
{
    grpc_slice         slice;
    grpc_byte_buffer  *bb;

    slice = grpc_slice_from_copied_buffer((char *) request->data,
                                          request->len);
    bb = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);

    return call_start(ch, m, bb, timeout_ms, trace, reply, ctx);
}


/* Takes the buffer. */
static im_rpc_call_t *
call_start(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    grpc_byte_buffer *request, unsigned timeout_ms, const char *trace,
    im_rpc_reply_pt reply, void *ctx)
{
    size_t          n;
    grpc_op         ops[6];
    grpc_slice      path;
    grpc_metadata   md[IM_RPC_METADATA_MAX];
    im_rpc_call_t  *c;

    if (im_rpc_op_begin(ch->rpc) != IM_OK) {
        grpc_byte_buffer_destroy(request);
        return NULL;
    }

    c = calloc(1, sizeof(im_rpc_call_t));
    if (c == NULL) {
        im_rpc_op_end(ch->rpc);
        grpc_byte_buffer_destroy(request);
        return NULL;
    }

    c->rpc = ch->rpc;
    c->channel = ch;
    c->output = m->output;
    c->reply = reply;
    c->ctx = ctx;

    atomic_fetch_add(&ch->refs, 1);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    im_rpc_op_init(&c->op, call_on_done, c);

    path = grpc_slice_from_copied_string(m->path);

    c->call = grpc_channel_create_call(ch->channel, NULL,
                  GRPC_PROPAGATE_DEFAULTS, c->rpc->cq, path, NULL,
                  gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_millis(timeout_ms,
                                                    GPR_TIMESPAN)),
                  NULL);

    grpc_slice_unref(path);

    c->sent = request;
    im_rpc_live_add(c->rpc, &c->live, c->call);

    memset(ops, 0, sizeof(ops));

    /* not "wait for ready": a peer that refuses must be known at once */

    n = im_rpc_channel_metadata(ch, trace, md);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = n;
    ops[0].data.send_initial_metadata.metadata = md;

    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = c->sent;

    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;

    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->initial;

    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &c->received;

    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &c->trailing;
    ops[5].data.recv_status_on_client.status = &c->code;
    ops[5].data.recv_status_on_client.status_details = &c->details;

    if (grpc_call_start_batch(c->call, ops, 6, &c->op, NULL)
        != GRPC_CALL_OK)
    {
        /* our own mistake; a live call would leak */
        abort();
    }

    im_rpc_channel_metadata_free(md, n);

    return c;
}


void
im_rpc_call_cancel(im_rpc_call_t *c)
{
    if (c != NULL) {
        grpc_call_cancel(c->call, NULL);
    }
}


static void
call_on_done(void *owner, int ok)
{
    char              *text;
    im_rpc_call_t     *c = owner;
    im_rpc_status_t    status;
    ProtobufCMessage  *reply;

    (void) ok;                         /* the status says all */

    reply = NULL;
    text = grpc_slice_to_c_string(c->details);

    status.code = (int) c->code;
    status.message = text;
    status.sent = call_sent(c);

    if (c->code == GRPC_STATUS_OK) {
        reply = call_unpack(c);

        if (reply == NULL) {
            status.code = IM_RPC_INTERNAL;
            status.message = "internal: the reply is malformed";
        }
    }

    im_rpc_live_remove(c->rpc, &c->live);

    c->reply(c->ctx, &status, reply);

    if (reply != NULL) {
        protobuf_c_message_free_unpacked(reply, NULL);
    }

    gpr_free(text);
    grpc_slice_unref(c->details);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_byte_buffer_destroy(c->sent);
    grpc_byte_buffer_destroy(c->received);
    grpc_call_unref(c->call);
    im_rpc_channel_unref(c->channel);
    free(c);
}


static ProtobufCMessage *
call_unpack(im_rpc_call_t *c)
{
    grpc_slice         slice;
    ProtobufCMessage  *m;

    if (c->received == NULL || im_rpc_flatten(c->received, &slice) != IM_OK) {
        return NULL;
    }

    m = protobuf_c_message_unpack(c->output, NULL, GRPC_SLICE_LENGTH(slice),
                                  GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);

    return m;
}


static im_rpc_sent_t
call_sent(im_rpc_call_t *c)
{
    switch (im_rpc_mark_of(&c->trailing)) {

    case IM_RPC_MARK_HANDLED:
        return IM_RPC_ANSWERED;

    case IM_RPC_MARK_REFUSED:
        return IM_RPC_NOT_SENT;

    default:
        return im_rpc_channel_reached(c->channel, c->call)
               ? IM_RPC_MAYBE_SENT : IM_RPC_NOT_SENT;
    }
}


im_rpc_mark_t
im_rpc_mark_of(const grpc_metadata_array *trailing)
{
    size_t  i;

    for (i = 0; i < trailing->count; i++) {
        if (grpc_slice_str_cmp(trailing->metadata[i].key, IM_RPC_MD_MARK)
            == 0)
        {
            return grpc_slice_str_cmp(trailing->metadata[i].value, "1") == 0
                   ? IM_RPC_MARK_HANDLED : IM_RPC_MARK_REFUSED;
        }
    }

    return IM_RPC_MARK_NONE;
}
