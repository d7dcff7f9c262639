/*
 * im_rpc_req.c -- one request to a server of ours: armed, arrived, answered.
 *
 * A request that arrives arms the next one first.  What the table does not
 * know is answered UNIMPLEMENTED by a generic request.
 *
 * A caller that means another process (its boot id is not ours) or speaks
 * another version of our protocol is refused before any handler, and the
 * trailer says so: it may safely go elsewhere.  Who says neither, a person
 * with a tool for example, is served.  With TLS the caller's certificate must
 * be of a tier that the row of the method allows; a stream is asked once.
 *
 * Room: rpc.  Handlers run on the home; im_rpc_reply and im_rpc_fail on any
 * thread.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


#define REQ_REFUSED_S  60



struct im_rpc_req_s {
    im_rpc_t             *rpc;
    im_rpc_server_t      *server;
    unsigned              index;       /* of the handler, or GENERIC */
    grpc_call            *call;
    im_rpc_live_t         live;
    gpr_timespec          deadline;
    grpc_metadata_array   metadata;
    grpc_call_details     details;
    grpc_byte_buffer     *payload;
    grpc_byte_buffer     *answer;
    ProtobufCMessage     *in;
    int                   cancelled;
    unsigned              refused:1;   /* before its handler */
    char                  trace[IM_RPC_TRACE_MAX + 1];
    im_rpc_op_t           op;          /* arrival, then the answer */
};


static void req_on_request(void *owner, int ok);
static void req_on_unary(im_rpc_req_t *req);
static int req_is_meant(im_rpc_req_t *req);
static int req_may_call(im_rpc_req_t *req);
static void req_refuse(im_rpc_req_t *req, int code, const char *text);
static void req_log_refused(im_rpc_t *rpc, im_rpc_said_t *said,
    const char *text);
static const char *req_metadata(im_rpc_req_t *req, const char *key,
    char *out, size_t size);
static void req_answer(im_rpc_req_t *req, int code, const char *message,
    unsigned retry_ms);
static void req_on_answered(void *owner, int ok);
static void req_free(im_rpc_req_t *req);


static atomic_ullong  req_not_meant;    /* calls, of this process */
static atomic_ullong  req_forbidden;


void
im_rpc_req_arm(im_rpc_server_t *server, unsigned index)
{
    grpc_call_error   error;
    im_rpc_req_t     *req;

    if (server->down || im_rpc_op_begin(server->rpc) != IM_OK) {
        return;
    }

    req = calloc(1, sizeof(im_rpc_req_t));
    if (req == NULL) {
        im_rpc_op_end(server->rpc);
        return;
    }

    req->rpc = server->rpc;
    req->server = server;
    req->index = index;
    grpc_metadata_array_init(&req->metadata);
    grpc_call_details_init(&req->details);
    im_rpc_op_init(&req->op, req_on_request, req);

    im_tsan_give(&req->op);

    if (index == IM_RPC_REQ_GENERIC) {
        error = grpc_server_request_call(server->server, &req->call,
                                         &req->details, &req->metadata,
                                         req->rpc->cq, req->rpc->cq,
                                         &req->op);

    } else {
        error = grpc_server_request_registered_call(server->server,
                    server->methods[index], &req->call, &req->deadline,
                    &req->metadata,
                    server->handlers[index].unary ? &req->payload : NULL,
                    req->rpc->cq, req->rpc->cq, &req->op);
    }

    if (error != GRPC_CALL_OK) {
        im_rpc_op_end(server->rpc);
        req_free(req);
    }
}


static void
req_on_request(void *owner, int ok)
{
    grpc_call               *call;
    im_rpc_req_t            *req = owner;
    im_rpc_server_t         *server;
    const im_rpc_handler_t  *handler;

    server = req->server;

    if (!ok) {
        req->call = NULL;              /* shutdown: never filled */
        req_free(req);
        return;
    }

    im_rpc_req_arm(server, req->index);

    if (req->index == IM_RPC_REQ_GENERIC) {
        im_rpc_live_add(req->rpc, &req->live, req->call);
        req_answer(req, IM_RPC_UNIMPLEMENTED, "not_found: no such method", 0);
        return;
    }

    handler = &server->handlers[req->index];

    if (!req_is_meant(req) || !req_may_call(req)) {
        return;
    }

    if (handler->unary == NULL) {
        call = req->call;
        req->call = NULL;
        req_free(req);
        im_rpc_stream_accept(server->rpc, call, handler, server->ctx);
        return;
    }

    im_rpc_live_add(req->rpc, &req->live, req->call);
    req_on_unary(req);
}


/* 0: it has been refused. */
static int
req_is_meant(im_rpc_req_t *req)
{
    char         text[160], boot[IM_RPC_BOOT_MAX + 1], protocol[16];
    const char  *ours;

    ours = req->rpc->boot;

    if (req_metadata(req, IM_RPC_MD_PROTOCOL, protocol, sizeof(protocol))
        && strcmp(protocol, IM_RPC_STR(IM_RPC_PROTOCOL)) != 0)
    {
        snprintf(text, sizeof(text), "unavailable: protocol %s is not %d",
                 protocol, IM_RPC_PROTOCOL);

    } else if (req_metadata(req, IM_RPC_MD_BOOT, boot, sizeof(boot))
               && strcmp(boot, ours) != 0)
    {
        snprintf(text, sizeof(text), "unavailable: boot id %s is not %s",
                 boot, ours);

    } else {
        return 1;
    }

    atomic_fetch_add(&req_not_meant, 1);
    req_log_refused(req->rpc, &req->rpc->not_meant, text);
    req_refuse(req, IM_RPC_FAILED_PRECONDITION, text);

    return 0;
}


/* 0: it has been refused. */
static int
req_may_call(im_rpc_req_t *req)
{
    char                     text[800], caller[200], wanted[400];
    const im_rpc_handler_t  *handler;

    handler = &req->server->handlers[req->index];

    if (im_rpc_tls_roles(req->rpc, req->call) & handler->roles) {
        return 1;
    }

    im_rpc_tls_caller(req->call, caller, sizeof(caller));
    im_rpc_tier_wanted(&req->rpc->tiers, handler->roles, wanted,
                       sizeof(wanted));
    snprintf(text, sizeof(text), "%s is for %s, the caller's certificate "
             "carries %s", handler->name, wanted, caller);

    atomic_fetch_add(&req_forbidden, 1);
    req_log_refused(req->rpc, &req->rpc->forbidden, text);
    req_refuse(req, IM_RPC_PERMISSION_DENIED, "unavailable: the caller's "
                  "certificate is not of a tier that may call this");

    return 0;
}


static void
req_refuse(im_rpc_req_t *req, int code, const char *text)
{
    im_rpc_live_add(req->rpc, &req->live, req->call);
    req->refused = 1;
    req_answer(req, code, text, 0);
}


/* Rejected peers retry, so this line is limited to one a minute. */
static void
req_log_refused(im_rpc_t *rpc, im_rpc_said_t *said, const char *text)
{
    uint64_t  now;

    now = im_rpc_now_us();
    said->n++;

    if (said->us == 0 || now - said->us >= REQ_REFUSED_S * 1000000ull) {
        said->us = now;
        im_rpc_log(rpc, IM_LOG_WARN, "rpc: a call was refused (%llu so far), "
                   "%s", (unsigned long long) said->n, text);
    }
}


void
im_rpc_refused(im_rpc_refused_t *refused)
{
    refused->not_meant = atomic_load(&req_not_meant);
    refused->forbidden = atomic_load(&req_forbidden);
}


/* NULL if there is none. */
static const char *
req_metadata(im_rpc_req_t *req, const char *key, char *out, size_t size)
{
    size_t      i, len;
    grpc_slice  value;

    for (i = 0; i < req->metadata.count; i++) {

        if (grpc_slice_str_cmp(req->metadata.metadata[i].key, key) == 0) {
            value = req->metadata.metadata[i].value;
            len = GRPC_SLICE_LENGTH(value);
            len = (len < size) ? len : size - 1;
            memcpy(out, GRPC_SLICE_START_PTR(value), len);
            out[len] = '\0';
            return out;
        }
    }

    return NULL;
}


const char *
im_rpc_req_trace(im_rpc_req_t *req)
{
    char  *p;

    if (req->trace[0] != '\0') {
        return req->trace;
    }

    if (req_metadata(req, IM_RPC_MD_TRACE, req->trace, sizeof(req->trace))
        == NULL)
    {
        return "-";
    }

    for (p = req->trace; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            *p = '?';                  /* it goes into log lines */
        }
    }

    return req->trace;
}


static void
req_on_unary(im_rpc_req_t *req)
{
    size_t            max;
    grpc_slice        slice;
    im_rpc_server_t  *server;

    server = req->server;
    max = server->handlers[req->index].request_max;

    if (req->payload != NULL && max != 0
        && grpc_byte_buffer_length(req->payload) > max)
    {
        req_answer(req, IM_RPC_INVALID_ARGUMENT,
                   "too_large: the request is too long", 0);
        return;
    }

    if (req->payload != NULL && im_rpc_flatten(req->payload, &slice) == IM_OK)
    {
        req->in = protobuf_c_message_unpack(
                      server->descriptors[req->index]->input, NULL,
                      GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
        grpc_slice_unref(slice);
    }

    if (req->in == NULL) {
        req_answer(req, IM_RPC_INVALID_ARGUMENT,
                   "bad_request: the message is malformed", 0);
        return;
    }

    server->handlers[req->index].unary(server->ctx, req, req->in);
}


void
im_rpc_reply(im_rpc_req_t *req, const ProtobufCMessage *out)
{
    req->answer = im_rpc_pack(out);
    req_answer(req, IM_RPC_OK, "", 0);
}


void
im_rpc_fail(im_rpc_req_t *req, int code, const char *message,
    unsigned retry_ms)
{
    req_answer(req, code, message, retry_ms);
}


/* Ends in req_on_answered(), also if the caller is gone. */
static void
req_answer(im_rpc_req_t *req, int code, const char *message,
    unsigned retry_ms)
{
    char           retry[12];
    size_t         n;
    grpc_op        ops[4];
    grpc_slice     details;
    grpc_metadata  trailing[2];

    memset(ops, 0, sizeof(ops));
    n = 0;

    ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;

    if (req->answer != NULL) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = req->answer;
    }

    details = grpc_slice_from_copied_string(message);
    memset(trailing, 0, sizeof(trailing));
    trailing[0].key = grpc_slice_from_static_string(IM_RPC_MD_MARK);
    trailing[0].value = grpc_slice_from_static_string(req->refused ? "0"
                                                                   : "1");
    snprintf(retry, sizeof(retry), "%u", retry_ms);
    trailing[1].key = grpc_slice_from_static_string(IM_RPC_MD_RETRY);
    trailing[1].value = grpc_slice_from_copied_string(retry);

    ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[n].data.send_status_from_server.status = (grpc_status_code) code;
    ops[n].data.send_status_from_server.status_details = &details;
    ops[n].data.send_status_from_server.trailing_metadata_count
        = (retry_ms != 0) ? 2 : 1;
    ops[n++].data.send_status_from_server.trailing_metadata = trailing;

    ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[n++].data.recv_close_on_server.cancelled = &req->cancelled;

    im_rpc_op_init(&req->op, req_on_answered, req);

    if (im_rpc_op_batch(req->rpc, req->call, ops, n, &req->op) != IM_OK) {
        req_on_answered(req, 0);
    }

    grpc_slice_unref(trailing[1].value);
    grpc_slice_unref(details);
}


static void
req_on_answered(void *owner, int ok)
{
    im_rpc_req_t  *req = owner;

    (void) ok;

    im_rpc_live_remove(req->rpc, &req->live);
    req_free(req);
}


static void
req_free(im_rpc_req_t *req)
{
    if (req->in != NULL) {
        protobuf_c_message_free_unpacked(req->in, NULL);
    }

    if (req->call != NULL) {
        grpc_call_unref(req->call);
    }

    grpc_byte_buffer_destroy(req->payload);
    grpc_byte_buffer_destroy(req->answer);
    grpc_metadata_array_destroy(&req->metadata);
    grpc_call_details_destroy(&req->details);
    free(req);
}


int
im_rpc_req_left_ms(im_rpc_req_t *req)
{
    gpr_timespec  left;

    left = gpr_time_sub(req->deadline,
                        gpr_now(req->deadline.clock_type));

    return gpr_time_to_millis(left);
}
