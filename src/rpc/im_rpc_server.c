/*
 * im_rpc_server.c -- a method table on a port.
 *
 * Each registered method has a few requests armed; one that arrives is armed
 * again first, since callers of a method with nothing armed wait silently.
 * What the table does not know is answered UNIMPLEMENTED by a generic request.
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

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "im_rpc_int.h"
#include "im_timeouts.h"


#define SERVER_ARMED_UNARY   32
#define SERVER_ARMED_STREAM  4
#define SERVER_REFUSED_S     60
#define SERVER_GENERIC       0xffffffffu


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


static int server_bind(im_rpc_server_t *server, const char *address);
static const char *server_bind_error(const char *address);
static void server_arm(im_rpc_server_t *server, unsigned index);
static void server_on_request(void *owner, int ok);
static void server_on_unary(im_rpc_req_t *req);
static int server_has_roles(im_rpc_server_t *server);
static int server_is_meant(im_rpc_req_t *req);
static int server_may_call(im_rpc_req_t *req);
static void server_refuse(im_rpc_req_t *req, int code, const char *text);
static void server_log_refused(im_rpc_t *rpc, im_rpc_said_t *said,
    const char *text);
static const char *server_metadata(im_rpc_req_t *req, const char *key,
    char *out, size_t size);
static void server_answer(im_rpc_req_t *req, int code, const char *message);
static void server_on_answered(void *owner, int ok);
static void server_req_free(im_rpc_req_t *req);
static void server_on_shutdown(void *owner, int ok);
static void server_on_grace(void *ctx);


static atomic_ullong  server_not_meant;    /* calls, of this process */
static atomic_ullong  server_forbidden;


im_rpc_server_t *
im_rpc_serve(im_rpc_t *rpc, const char *address,
    const ProtobufCServiceDescriptor *service,
    const im_rpc_handler_t *handlers, void *ctx)
{
    unsigned          i, k;
    im_rpc_method_t   m;
    im_rpc_server_t  *server;

    server = calloc(1, sizeof(im_rpc_server_t));
    if (server == NULL) {
        return NULL;
    }

    for (i = 0; handlers[i].name != NULL; i++) { /* count */ }

    server->rpc = rpc;
    server->handlers = handlers;
    server->ctx = ctx;
    server->n = i;
    server->methods = calloc(i + 1, sizeof(void *));
    server->descriptors = calloc(i + 1, sizeof(void *));

    if (server->methods == NULL || server->descriptors == NULL
        || server_has_roles(server) != IM_OK
        || server_bind(server, address) != IM_OK)
    {
        im_rpc_server_free(server);
        return NULL;
    }

    for (i = 0; i < server->n; i++) {

        if (im_rpc_method_find(&m, service, handlers[i].name) != IM_OK) {
            im_rpc_server_free(server);
            return NULL;
        }

        server->descriptors[i] =
            protobuf_c_service_descriptor_get_method_by_name(service,
                                                       handlers[i].name);
        server->methods[i] =
            grpc_server_register_method(server->server, m.path, NULL,
                handlers[i].unary ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER
                                  : GRPC_SRM_PAYLOAD_NONE, 0);
    }

    grpc_server_start(server->server);

    server->next = rpc->servers;
    rpc->servers = server;

    for (i = 0; i < server->n; i++) {
        for (k = 0; k < (handlers[i].unary ? SERVER_ARMED_UNARY
                                           : SERVER_ARMED_STREAM); k++)
        {
            server_arm(server, i);
        }
    }

    server_arm(server, SERVER_GENERIC);

    return server;
}


/* A method that nobody was named for must not be one for all. */
static int
server_has_roles(im_rpc_server_t *server)
{
    unsigned  i;

    for (i = 0; i < server->n; i++) {
        if (server->handlers[i].roles == 0) {
            im_rpc_log(server->rpc, IM_LOG_ERR, "rpc: method %s has no roles: "
                       "who may call it?", server->handlers[i].name);
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
server_bind(im_rpc_server_t *server, const char *address)
{
    int                       port;
    grpc_channel_args         args;
    grpc_server_credentials  *creds;

    grpc_arg  a[] = {
        /* two servers on one port would share it silently */
        { .type = GRPC_ARG_INTEGER, .key = "grpc.so_reuseport",
          .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length",
          .value.integer = (int) server->rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_send_message_length",
          .value.integer = (int) server->rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_time_ms",
          .value.integer = IM_RPC_SERVER_PING_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_timeout_ms",
          .value.integer = IM_RPC_PING_WAIT_MS },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.keepalive_permit_without_calls", .value.integer = 1 },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.http2.max_pings_without_data", .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.http2.min_ping_interval_without_data_ms",
          .value.integer = IM_RPC_PING_ALLOWED_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.http2.max_ping_strikes",
          .value.integer = 0 },
    };

    args.num_args = sizeof(a) / sizeof(a[0]);
    args.args = a;

    server->server = grpc_server_create(&args, NULL);
    grpc_server_register_completion_queue(server->server, server->rpc->cq,
                                          NULL);

    creds = im_rpc_tls_server(server->rpc);
    if (creds == NULL) {
        return IM_ERROR;
    }

    port = grpc_server_add_http2_port(server->server, address, creds);
    grpc_server_credentials_release(creds);

    if (port == 0) {
        im_rpc_log(server->rpc, IM_LOG_ERR, "rpc: cannot bind %s: %s",
                   address, server_bind_error(address));
        return IM_ERROR;
    }

    server->port = (unsigned) port;

    return IM_OK;
}


/* The core does not say why, so it is tried once more. */
static const char *
server_bind_error(const char *address)
{
    int               fd, on, rc;
    char              host[128];
    const char       *colon;
    struct addrinfo   hints, *a;

    colon = strrchr(address, ':');

    if (colon == NULL || (size_t) (colon - address) >= sizeof(host)) {
        return "it is not an address and a port";
    }

    memcpy(host, address, (size_t) (colon - address));
    host[colon - address] = '\0';

    memset(&hints, 0, sizeof(hints));
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;    /* no DNS here */
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(host, colon + 1, &hints, &a) != 0) {
        return "the host is not a numeric address";
    }

    on = 1;
    rc = -1;
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd != -1) {
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        rc = bind(fd, a->ai_addr, a->ai_addrlen);
    }

    rc = (rc == 0) ? 0 : errno;
    freeaddrinfo(a);

    if (fd != -1) {
        close(fd);
    }

    return (rc != 0) ? strerror(rc) : "gRPC does not say why";
}


unsigned
im_rpc_server_port(im_rpc_server_t *server)
{
    return server->port;
}


static void
server_arm(im_rpc_server_t *server, unsigned index)
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
    im_rpc_op_init(&req->op, server_on_request, req);

    im_tsan_give(&req->op);

    if (index == SERVER_GENERIC) {
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
        server_req_free(req);
    }
}


static void
server_on_request(void *owner, int ok)
{
    grpc_call               *call;
    im_rpc_req_t            *req = owner;
    im_rpc_server_t         *server;
    const im_rpc_handler_t  *handler;

    server = req->server;

    if (!ok) {
        req->call = NULL;              /* shutdown: never filled */
        server_req_free(req);
        return;
    }

    server_arm(server, req->index);

    if (req->index == SERVER_GENERIC) {
        im_rpc_live_add(req->rpc, &req->live, req->call);
        server_answer(req, IM_RPC_UNIMPLEMENTED, "not_found: no such method");
        return;
    }

    handler = &server->handlers[req->index];

    if (!server_is_meant(req) || !server_may_call(req)) {
        return;
    }

    if (handler->unary == NULL) {
        call = req->call;
        req->call = NULL;
        server_req_free(req);
        im_rpc_stream_accept(server->rpc, call, handler, server->ctx);
        return;
    }

    im_rpc_live_add(req->rpc, &req->live, req->call);
    server_on_unary(req);
}


/* 0: it has been refused. */
static int
server_is_meant(im_rpc_req_t *req)
{
    char         text[160], boot[IM_RPC_BOOT_MAX + 1], protocol[16];
    const char  *ours;

    ours = req->rpc->boot;

    if (server_metadata(req, IM_RPC_MD_PROTOCOL, protocol, sizeof(protocol))
        && strcmp(protocol, IM_RPC_STR(IM_RPC_PROTOCOL)) != 0)
    {
        snprintf(text, sizeof(text), "unavailable: protocol %s is not %d",
                 protocol, IM_RPC_PROTOCOL);

    } else if (server_metadata(req, IM_RPC_MD_BOOT, boot, sizeof(boot))
               && strcmp(boot, ours) != 0)
    {
        snprintf(text, sizeof(text), "unavailable: boot id %s is not %s",
                 boot, ours);

    } else {
        return 1;
    }

    atomic_fetch_add(&server_not_meant, 1);
    server_log_refused(req->rpc, &req->rpc->not_meant, text);
    server_refuse(req, IM_RPC_FAILED_PRECONDITION, text);

    return 0;
}


/* 0: it has been refused. */
static int
server_may_call(im_rpc_req_t *req)
{
    char                     text[800], caller[200], wanted[400];
    const im_rpc_handler_t  *handler;

    handler = &req->server->handlers[req->index];

    if (im_rpc_tls_roles(req->rpc, req->call) & handler->roles) {
        return 1;
    }

    im_rpc_tls_caller(req->call, caller, sizeof(caller));
    im_rpc_tls_wanted(req->rpc, handler->roles, wanted, sizeof(wanted));
    snprintf(text, sizeof(text), "%s is for %s, the caller's certificate "
             "carries %s", handler->name, wanted, caller);

    atomic_fetch_add(&server_forbidden, 1);
    server_log_refused(req->rpc, &req->rpc->forbidden, text);
    server_refuse(req, IM_RPC_PERMISSION_DENIED, "unavailable: the caller's "
                  "certificate is not of a tier that may call this");

    return 0;
}


static void
server_refuse(im_rpc_req_t *req, int code, const char *text)
{
    im_rpc_live_add(req->rpc, &req->live, req->call);
    req->refused = 1;
    server_answer(req, code, text);
}


/* Rejected peers retry, so this line is limited to one a minute. */
static void
server_log_refused(im_rpc_t *rpc, im_rpc_said_t *said, const char *text)
{
    uint64_t  now;

    now = im_rpc_now_us();
    said->n++;

    if (said->us == 0 || now - said->us >= SERVER_REFUSED_S * 1000000ull) {
        said->us = now;
        im_rpc_log(rpc, IM_LOG_WARN, "rpc: a call was refused (%llu so far), "
                   "%s", (unsigned long long) said->n, text);
    }
}


void
im_rpc_refused(im_rpc_refused_t *refused)
{
    refused->not_meant = atomic_load(&server_not_meant);
    refused->forbidden = atomic_load(&server_forbidden);
}


/* NULL if there is none. */
static const char *
server_metadata(im_rpc_req_t *req, const char *key, char *out, size_t size)
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

    if (server_metadata(req, IM_RPC_MD_TRACE, req->trace, sizeof(req->trace))
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
server_on_unary(im_rpc_req_t *req)
{
    grpc_slice        slice;
    im_rpc_server_t  *server;

    server = req->server;

    if (req->payload != NULL && im_rpc_flatten(req->payload, &slice) == IM_OK)
    {
        req->in = protobuf_c_message_unpack(
                      server->descriptors[req->index]->input, NULL,
                      GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
        grpc_slice_unref(slice);
    }

    if (req->in == NULL) {
        server_answer(req, IM_RPC_INVALID_ARGUMENT,
                      "bad_request: the message is malformed");
        return;
    }

    server->handlers[req->index].unary(server->ctx, req, req->in);
}


void
im_rpc_reply(im_rpc_req_t *req, const ProtobufCMessage *out)
{
    req->answer = im_rpc_pack(out);
    server_answer(req, IM_RPC_OK, "");
}


void
im_rpc_fail(im_rpc_req_t *req, int code, const char *message)
{
    server_answer(req, code, message);
}


/* Ends in server_on_answered(), also if the caller is gone. */
static void
server_answer(im_rpc_req_t *req, int code, const char *message)
{
    size_t         n;
    grpc_op        ops[4];
    grpc_slice     details;
    grpc_metadata  mark;

    memset(ops, 0, sizeof(ops));
    n = 0;

    ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;

    if (req->answer != NULL) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = req->answer;
    }

    details = grpc_slice_from_copied_string(message);
    memset(&mark, 0, sizeof(mark));
    mark.key = grpc_slice_from_static_string(IM_RPC_MD_MARK);
    mark.value = grpc_slice_from_static_string(req->refused ? "0" : "1");

    ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[n].data.send_status_from_server.status = (grpc_status_code) code;
    ops[n].data.send_status_from_server.status_details = &details;
    ops[n].data.send_status_from_server.trailing_metadata_count = 1;
    ops[n++].data.send_status_from_server.trailing_metadata = &mark;

    ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[n++].data.recv_close_on_server.cancelled = &req->cancelled;

    im_rpc_op_init(&req->op, server_on_answered, req);

    if (im_rpc_op_batch(req->rpc, req->call, ops, n, &req->op) != IM_OK) {
        server_on_answered(req, 0);
    }

    grpc_slice_unref(details);
}


static void
server_on_answered(void *owner, int ok)
{
    im_rpc_req_t  *req = owner;

    (void) ok;

    im_rpc_live_remove(req->rpc, &req->live);
    server_req_free(req);
}


static void
server_req_free(im_rpc_req_t *req)
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


void
im_rpc_server_drain(im_rpc_server_t *server, unsigned grace_ms,
    void (*done)(void *ctx), void *ctx)
{
    if (server->down) {
        return;
    }

    server->drained = done;
    server->drained_ctx = ctx;
    server->grace = im_rpc_timer(server->rpc, grace_ms, server_on_grace,
                                 server);
    im_rpc_server_stop(server);
}


void
im_rpc_server_stop(im_rpc_server_t *server)
{
    im_rpc_t  *rpc;

    rpc = server->rpc;

    if (server->down) {
        grpc_server_cancel_all_calls(server->server);
        return;
    }

    server->down = 1;
    im_rpc_op_init(&server->shutdown, server_on_shutdown, server);

    im_rpc_op_count(rpc);
    im_tsan_give(&server->shutdown);

    grpc_server_shutdown_and_notify(server->server, rpc->cq,
                                    &server->shutdown);

    if (server->drained == NULL) {
        grpc_server_cancel_all_calls(server->server);
    }
}


static void
server_on_grace(void *ctx)
{
    im_rpc_server_t  *server = ctx;

    server->grace = NULL;
    grpc_server_cancel_all_calls(server->server);
}


static void
server_on_shutdown(void *owner, int ok)
{
    im_rpc_server_t  *server = owner;

    (void) ok;

    if (server->grace != NULL) {
        im_rpc_timer_cancel(server->grace);
        server->grace = NULL;
    }

    if (server->drained != NULL) {
        server->drained(server->drained_ctx);
    }
}


/* After its shutdown has completed, or before it was started. */
void
im_rpc_server_free(im_rpc_server_t *server)
{
    if (server->server != NULL) {
        grpc_server_destroy(server->server);
    }

    free(server->methods);
    free(server->descriptors);
    free(server);
}
