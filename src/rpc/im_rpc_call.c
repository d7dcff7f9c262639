/*
 * im_rpc_call.c -- unary calls.
 *
 * A call is one batch, whose tag is the callback: what is sent, and what is
 * received.  Without a connection it is two.
 *
 * The end tells whether trying elsewhere is safe.  A handler marks its status
 * with a trailer: ANSWERED.  A server that refuses before any handler marks it
 * otherwise: NOT_SENT.  Without a mark only our own steps are proof:
 *
 *   channel READY      headers + request, one batch ---> MAYBE_SENT
 *   otherwise          headers alone --failed----------> NOT_SENT
 *                         |
 *                         +--written--> request -------> MAYBE_SENT
 *
 * As long as the core has not been given the request, no handler can have
 * seen it.  A channel without a connection, where a call may have to wait for
 * one in vain, therefore gets the headers first; that costs one more write,
 * and only while there is no connection.  Not chosen: the text of the status
 * ("failed to connect ..."), which another version of the core words
 * differently; nor a write that failed, since bytes of several calls share a
 * connection and some may have left.
 *
 * One batch, because the completion of another would wake the rpc thread for
 * nothing.  Where there is another, it costs no turn of the loop: it is taken
 * on the rpc thread.  Should it come after the second, it brings that home.
 *
 * Room: rpc.  Runs on: any thread starts; callbacks on the home.
 */

#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


#define RETRY_DIGITS_MAX  9


struct im_rpc_call_s {
    im_rpc_t                         *rpc;
    im_rpc_channel_t                 *channel;
    im_rpc_wire_t                    *wire;
    grpc_call                        *call;
    im_rpc_live_t                     live;
    im_rpc_op_t                       op_send;
    im_rpc_op_t                       op;
    atomic_int                        left;        /* of the two */
    atomic_int                        given;       /* to the core: request */
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
static size_t call_request_ops(im_rpc_call_t *c, grpc_op *ops);
static void call_on_sent(void *owner, int ok);
static void call_on_done(void *owner, int ok);
static void call_on_end(void *owner, int ok);
static void call_end(im_rpc_call_t *c);
static unsigned call_retry_ms(const grpc_metadata_array *trailing);
static ProtobufCMessage *call_unpack(im_rpc_call_t *c);
static im_rpc_sent_t call_sent(im_rpc_call_t *c);


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
    size_t          n, n_ops;
    grpc_op         ops[6], *recv;
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
    c->wire = im_rpc_channel_wire(ch);
    c->output = m->output;
    c->reply = reply;
    c->ctx = ctx;

    atomic_fetch_add(&ch->refs, 1);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    im_rpc_op_init(&c->op, call_on_done, c);
    im_rpc_op_init(&c->op_send, call_on_sent, c);
    c->op_send.direct = 1;
    atomic_init(&c->left, 1);
    atomic_init(&c->given, 0);

    path = grpc_slice_from_copied_string(m->path);

    c->call = grpc_channel_create_call(c->wire->channel, NULL,
                  GRPC_PROPAGATE_DEFAULTS, c->rpc->cq, path, NULL,
                  gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_millis(timeout_ms,
                                                    GPR_TIMESPAN)),
                  NULL);

    grpc_slice_unref(path);

    c->sent = request;
    im_rpc_live_add(c->rpc, &c->live, c->call);

    /* not "wait for ready": a peer that refuses must be known at once */

    n = im_rpc_channel_metadata(ch, trace, md);

    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = n;
    ops[0].data.send_initial_metadata.metadata = md;

    if (grpc_channel_check_connectivity_state(c->wire->channel, 0)
        == GRPC_CHANNEL_READY)
    {
        n_ops = 1 + call_request_ops(c, &ops[1]);

    } else {
        n_ops = 0;
        atomic_store(&c->left, 2);

        if (im_rpc_op_batch(c->rpc, c->call, ops, 1, &c->op_send) != IM_OK) {
            abort();                   /* as below */
        }
    }

    recv = &ops[n_ops];
    memset(recv, 0, 3 * sizeof(grpc_op));

    recv[0].op = GRPC_OP_RECV_INITIAL_METADATA;
    recv[0].data.recv_initial_metadata.recv_initial_metadata = &c->initial;

    recv[1].op = GRPC_OP_RECV_MESSAGE;
    recv[1].data.recv_message.recv_message = &c->received;

    recv[2].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    recv[2].data.recv_status_on_client.trailing_metadata = &c->trailing;
    recv[2].data.recv_status_on_client.status = &c->code;
    recv[2].data.recv_status_on_client.status_details = &c->details;

    im_tsan_give(&c->op);

    if (grpc_call_start_batch(c->call, ops, n_ops + 3, &c->op, NULL)
        != GRPC_CALL_OK)
    {
        /* our own mistake; a live call would leak */
        abort();
    }

    im_rpc_channel_metadata_free(md, n);

    return c;
}


/* The number of operations.  From here on a handler may see the request. */
static size_t
call_request_ops(im_rpc_call_t *c, grpc_op *ops)
{
    atomic_store(&c->given, 1);

    memset(ops, 0, 2 * sizeof(grpc_op));

    ops[0].op = GRPC_OP_SEND_MESSAGE;
    ops[0].data.send_message.send_message = c->sent;
    ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;

    return 2;
}


void
im_rpc_call_cancel(im_rpc_call_t *c)
{
    if (c != NULL) {
        grpc_call_cancel(c->call, NULL);
    }
}


void
im_rpc_call_last(im_rpc_call_t *c)
{
    im_rpc_live_last(c->rpc, &c->live);
}


/* rpc thread */
static void
call_on_sent(void *owner, int ok)
{
    grpc_op         ops[2];
    im_rpc_t       *rpc;
    im_rpc_call_t  *c = owner;

    rpc = c->rpc;

    if (ok && !atomic_load(&c->given)
        && im_rpc_op_batch(rpc, c->call, ops, call_request_ops(c, ops),
                           &c->op_send)
           == IM_OK)
    {
        return;                        /* the request is on its way, too */
    }

    if (atomic_fetch_sub(&c->left, 1) != 1) {
        return;
    }

    if (rpc->conf.home == IM_RPC_HOME_THREAD) {
        call_end(c);
        return;
    }

    im_rpc_op_init(&c->op, call_on_end, c);
    im_rpc_op_count(rpc);
    im_rpc_hand_over(rpc, &c->op);
}


static void
call_on_done(void *owner, int ok)
{
    im_rpc_call_t  *c = owner;

    (void) ok;                         /* the status says all */

    if (atomic_fetch_sub(&c->left, 1) == 1) {
        call_end(c);
    }
}


static void
call_on_end(void *owner, int ok)
{
    (void) ok;

    call_end(owner);
}


static void
call_end(im_rpc_call_t *c)
{
    char              *text;
    im_rpc_status_t    status;
    ProtobufCMessage  *reply;

    reply = NULL;
    text = grpc_slice_to_c_string(c->details);

    status.code = (int) c->code;
    status.message = text;
    status.sent = call_sent(c);
    status.retry_ms = call_retry_ms(&c->trailing);

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
    im_rpc_wire_unref(c->wire);
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
        return atomic_load(&c->given) ? IM_RPC_MAYBE_SENT : IM_RPC_NOT_SENT;
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


/* 0: there is none, or it is no number of up to 9 digits. */
static unsigned
call_retry_ms(const grpc_metadata_array *trailing)
{
    size_t          i, n;
    unsigned        ms;
    const uint8_t  *p;

    for (i = 0; i < trailing->count; i++) {
        if (grpc_slice_str_cmp(trailing->metadata[i].key, IM_RPC_MD_RETRY)
            == 0)
        {
            break;
        }
    }

    if (i == trailing->count
        || GRPC_SLICE_LENGTH(trailing->metadata[i].value) > RETRY_DIGITS_MAX)
    {
        return 0;
    }

    p = GRPC_SLICE_START_PTR(trailing->metadata[i].value);

    for (ms = 0, n = GRPC_SLICE_LENGTH(trailing->metadata[i].value); n > 0;
         n--, p++)
    {
        if (*p < '0' || *p > '9') {
            return 0;
        }

        ms = ms * 10 + (unsigned) (*p - '0');
    }

    return ms;
}
