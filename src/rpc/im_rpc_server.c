/*
 * im_rpc_server.c -- a method table on a port: its start and its end.
 *
 * Each registered method has a few requests armed (im_rpc_req.c), since callers
 * of a method with nothing armed wait silently.  What the table does not know
 * is taken by a generic request.
 *
 * Room: rpc.  Runs on: home.
 */

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "im_rpc_int.h"
#include "im_timeouts.h"


#define SERVER_ARMED_UNARY   32
#define SERVER_ARMED_STREAM  4


static int server_bind(im_rpc_server_t *server, const char *address);
static const char *server_bind_error(const char *address);
static int server_has_roles(im_rpc_server_t *server);
static void server_on_shutdown(void *owner, int ok);
static void server_on_grace(void *ctx);


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
            im_rpc_req_arm(server, i);
        }
    }

    im_rpc_req_arm(server, IM_RPC_REQ_GENERIC);

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
