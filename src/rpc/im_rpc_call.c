/*
 * im_rpc_call.c -- channels and unary calls.
 *
 * A unary call is one batch of six operations, so its callback is one tag.
 *
 * Room: rpc.  Runs on: any thread starts; callbacks on the home.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


#define RPC_MARK          "im-h"   /* trailer of every answer of a handler */
#define RPC_KEEPALIVE_MS  7000     /* etcd drops who pings each 5 s */
#define RPC_PING_WAIT_MS  2000


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


static void call_on_done(void *owner, int ok);
static ProtobufCMessage *call_unpack(im_rpc_call_t *c);
static int call_answered(const grpc_metadata_array *trailing);


im_rpc_channel_t *
im_rpc_channel_open(im_rpc_t *rpc, const char *address)
{
    char                      target[300];
    grpc_channel_args         args;
    im_rpc_channel_t         *ch;
    grpc_channel_credentials *creds;

    /* every time-out of the core is set: its defaults are minutes */

    grpc_arg  a[] = {
        { .type = GRPC_ARG_INTEGER, .key = "grpc.enable_http_proxy",
          .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.use_local_subchannel_pool",
          .value.integer = 1 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length",
          .value.integer = (int) rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_send_message_length",
          .value.integer = (int) rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_time_ms",
          .value.integer = RPC_KEEPALIVE_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_timeout_ms",
          .value.integer = RPC_PING_WAIT_MS },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.keepalive_permit_without_calls", .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.http2.max_pings_without_data", .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.initial_reconnect_backoff_ms",
          .value.integer = 100 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.min_reconnect_backoff_ms",
          .value.integer = 500 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_reconnect_backoff_ms",
          .value.integer = 1000 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.client_idle_timeout_ms",
          .value.integer = INT_MAX },
    };

    ch = calloc(1, sizeof(im_rpc_channel_t));
    if (ch == NULL) {
        return NULL;
    }

    /* an address of numbers must not wake the resolver's thread */

    if (strncmp(address, "unix:", 5) != 0 && address[0] >= '0'
        && address[0] <= '9')
    {
        snprintf(target, sizeof(target), "ipv4:%s", address);

    } else {
        snprintf(target, sizeof(target), "%s", address);
    }

    args.num_args = sizeof(a) / sizeof(a[0]);
    args.args = a;

    creds = grpc_insecure_credentials_create();
    ch->channel = grpc_channel_create(target, creds, &args);
    grpc_channel_credentials_release(creds);

    ch->rpc = rpc;
    atomic_init(&ch->refs, 1);

    return ch;
}


void
im_rpc_channel_unref(im_rpc_channel_t *ch)
{
    if (ch != NULL && atomic_fetch_sub(&ch->refs, 1) == 1) {
        grpc_channel_destroy(ch->channel);
        free(ch);
    }
}


void
im_rpc_channel_kick(im_rpc_channel_t *ch)
{
    grpc_channel_reset_connect_backoff(ch->channel);
}


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
    grpc_op         ops[6];
    grpc_slice      path;
    im_rpc_call_t  *c;

    if (im_rpc_op_begin(ch->rpc) != IM_OK) {
        return NULL;
    }

    c = calloc(1, sizeof(im_rpc_call_t));
    if (c == NULL) {
        im_rpc_op_end(ch->rpc);
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

    c->sent = im_rpc_pack(request);
    im_rpc_live_add(c->rpc, &c->live, c->call);

    memset(ops, 0, sizeof(ops));

    /* not "wait for ready": a peer that refuses must be known at once */

    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;

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
    status.answered = call_answered(&c->trailing);

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


static int
call_answered(const grpc_metadata_array *trailing)
{
    size_t  i;

    for (i = 0; i < trailing->count; i++) {
        if (grpc_slice_str_cmp(trailing->metadata[i].key, RPC_MARK) == 0) {
            return 1;
        }
    }

    return 0;
}
