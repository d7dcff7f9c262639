/*
 * im_h2_server.c -- a method table on a port: its start, its callers, its end.
 *
 * No more than IM_H2_CONNS_MAX connections are served; one that is more is
 * closed at once.  A caller has a moment for its handshake and its settings
 * (im_h2_conn.c).
 *
 * Room: h2.  Runs on: the loop.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "im_h2_int.h"


#define SERVER_BACKLOG  511
#define SERVER_ACCEPTS  64             /* of one turn */


static int server_methods(im_rpc_server_t *server,
    const ProtobufCServiceDescriptor *service);
static int server_listen(im_rpc_server_t *server, const char *address,
    char why[IM_H2_WHY]);
static int server_bind(const im_h2_address_t *a, char why[IM_H2_WHY]);
static void server_on_accept(void *data);
static void server_on_write(void *data);
static void server_take(im_rpc_server_t *server, int fd,
    const struct sockaddr_storage *addr);
static void server_peer(const struct sockaddr_storage *addr, char peer[64]);
static void server_cancel(im_rpc_server_t *server);
static void server_on_grace(void *data);
static void server_on_done(void *owner);


im_rpc_server_t *
im_rpc_serve(im_rpc_t *rpc, const char *address,
    const ProtobufCServiceDescriptor *service,
    const im_rpc_handler_t *handlers, void *ctx)
{
    int               fd;
    char              why[IM_H2_WHY];
    im_rpc_server_t  *server;

    server = calloc(1, sizeof(im_rpc_server_t));
    if (server == NULL) {
        return NULL;
    }

    server->rpc = rpc;
    server->handlers = handlers;
    server->ctx = ctx;
    im_h2_event_init(&server->done, server_on_done, server);
    im_h2_event_init(&server->more, server_on_accept, server);

    if (server_methods(server, service) != IM_OK) {
        im_h2_server_free(server);
        return NULL;
    }

    fd = server_listen(server, address, why);

    server->fd = fd;

    if (fd != -1) {
        server->watch = rpc->loop.watch(rpc->loop.ctx, fd, server_on_accept,
                                        server_on_write, server);
    }

    if (fd != -1 && server->watch == NULL) {
        snprintf(why, sizeof(why), "the loop has no room for it");
        close(fd);
    }

    if (server->watch == NULL) {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: cannot bind %s: %s", address, why);
        im_h2_server_free(server);
        return NULL;
    }

    server->next = rpc->servers;
    rpc->servers = server;

    return server;
}


/* A method that nobody was named for must not be one for all. */
static int
server_methods(im_rpc_server_t *server,
    const ProtobufCServiceDescriptor *service)
{
    unsigned                 i;
    const im_rpc_handler_t  *h;

    for (h = server->handlers; h->name != NULL; h++) {
        server->n++;
    }

    server->methods = calloc(server->n + 1, sizeof(im_rpc_method_t));
    if (server->methods == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < server->n; i++) {
        h = &server->handlers[i];

        if (h->roles == 0) {
            im_h2_log(server->rpc, IM_LOG_ERR, "rpc: method %s has no roles: "
                      "who may call it?", h->name);
            return IM_ERROR;
        }

        if (im_rpc_method_find(&server->methods[i], service, h->name)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


/* The descriptor, or -1. */
static int
server_listen(im_rpc_server_t *server, const char *address,
    char why[IM_H2_WHY])
{
    int                       fd;
    socklen_t                 len;
    im_h2_lookup_t           *lookup;
    im_h2_addresses_t         a;
    struct sockaddr_un       *sun;
    struct sockaddr_storage   bound;

    lookup = NULL;

    switch (im_h2_lookup(server->rpc, address, &a, &lookup, NULL, NULL, why)) {

    case IM_OK:
        break;

    case IM_AGAIN:
        im_h2_lookup_cancel(lookup);
        snprintf(why, IM_H2_WHY, "the host is not a numeric address");
        /* fall through */

    default:
        return -1;
    }

    fd = server_bind(&a.list[0], why);
    if (fd == -1) {
        return -1;
    }

    len = sizeof(bound);
    memset(&bound, 0, sizeof(bound));
    (void) getsockname(fd, (struct sockaddr *) &bound, &len);

    switch (bound.ss_family) {

    case AF_INET:
        server->port = ntohs(((struct sockaddr_in *) &bound)->sin_port);
        break;

    case AF_INET6:
        server->port = ntohs(((struct sockaddr_in6 *) &bound)->sin6_port);
        break;

    default:
        sun = (struct sockaddr_un *) &a.list[0].addr;
        server->port = 1;              /* as the C core says */
        snprintf(server->path, sizeof(server->path), "%.*s",
                 (int) sizeof(sun->sun_path) - 1, sun->sun_path);
    }

    return fd;
}


static int
server_bind(const im_h2_address_t *a, char why[IM_H2_WHY])
{
    int                        fd, on;
    struct stat                st;
    const struct sockaddr_un  *sun;

    /* what a process that died has left; a file that is none stays */

    sun = (const struct sockaddr_un *) &a->addr;

    if (sun->sun_family == AF_UNIX && lstat(sun->sun_path, &st) == 0
        && S_ISSOCK(st.st_mode))
    {
        (void) unlink(sun->sun_path);
    }

    on = 1;
    fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || bind(fd, (const struct sockaddr *) &a->addr, a->len) == -1
        || listen(fd, SERVER_BACKLOG) == -1)
    {
        snprintf(why, IM_H2_WHY, "%s", strerror(errno));

        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    return fd;
}


unsigned
im_rpc_server_port(im_rpc_server_t *server)
{
    return server->port;
}


static void
server_on_accept(void *data)
{
    int                       fd;
    socklen_t                 len;
    unsigned                  i;
    im_rpc_server_t          *server = data;
    struct sockaddr_storage   addr;

    for (i = 0; i < SERVER_ACCEPTS && server->watch != NULL; i++) {
        len = sizeof(addr);
        memset(&addr, 0, sizeof(addr));

        fd = accept4(server->fd, (struct sockaddr *) &addr, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd == -1 && (errno == EINTR || errno == ECONNABORTED)) {
            continue;
        }

        if (fd == -1) {
            return;                    /* none is left, or no descriptor */
        }

        server_take(server, fd, &addr);
    }

    im_h2_raise(server->rpc, &server->more);       /* others first */
}


static void
server_on_write(void *data)
{
    (void) data;                       /* it is never asked for */
}


static void
server_take(im_rpc_server_t *server, int fd,
    const struct sockaddr_storage *addr)
{
    int            on, ms;
    char           why[IM_H2_WHY];
    im_rpc_t      *rpc;
    im_h2_conn_t  *c;

    rpc = server->rpc;
    on = 1;
    ms = IM_RPC_PING_WAIT_MS;

    if (addr->ss_family == AF_INET || addr->ss_family == AF_INET6) {
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    }

    c = im_h2_conn_create(rpc, fd, 1, rpc->server_ctx, NULL, 1, why);
    if (c == NULL) {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: a connection was not accepted: %s",
                  why);
        return;
    }

    c->server = server;
    server_peer(addr, c->peer);

    if (server->conns >= IM_H2_CONNS_MAX) {
        snprintf(why, sizeof(why), "there are %d connections already",
                 IM_H2_CONNS_MAX);
        im_h2_log_peer(c, why);
        im_h2_conn_close(c, why);
        return;
    }

    server->conns++;
    c->counted = 1;
    im_h2_conn_start(c);

    /* its first bytes may be here already, and then nothing new happens */
    if (c->state != IM_H2_CLOSED) {
        c->again = (c->state >= IM_H2_SETTLING);
        im_h2_post(rpc);
    }
}


/* "127.0.0.1 port 4100" */
static void
server_peer(const struct sockaddr_storage *addr, char peer[64])
{
    char                        host[INET6_ADDRSTRLEN];
    unsigned                    port;
    const void                 *from;
    const struct sockaddr_in   *sin = (const struct sockaddr_in *) addr;
    const struct sockaddr_in6  *sin6 = (const struct sockaddr_in6 *) addr;

    switch (addr->ss_family) {

    case AF_INET:
        from = &sin->sin_addr;
        port = ntohs(sin->sin_port);
        break;

    case AF_INET6:
        from = &sin6->sin6_addr;
        port = ntohs(sin6->sin6_port);
        break;

    default:
        snprintf(peer, 64, "unix");
        return;
    }

    if (inet_ntop(addr->ss_family, from, host, sizeof(host)) == NULL) {
        host[0] = '\0';
    }

    snprintf(peer, 64, "%s port %u", host, port);
}


void
im_rpc_server_drain(im_rpc_server_t *server, unsigned grace_ms,
    void (*done)(void *ctx), void *ctx)
{
    im_rpc_t      *rpc;
    im_h2_conn_t  *c;
    im_h2_link_t  *l;

    rpc = server->rpc;

    if (server->down) {
        return;
    }

    server->down = 1;
    server->drained = done;
    server->drained_ctx = ctx;
    rpc->loop.close(server->watch);
    server->watch = NULL;

    server->grace = rpc->loop.timer(rpc->loop.ctx, server_on_grace, server);

    for (l = rpc->conns.next; l != &rpc->conns; l = l->next) {
        c = im_h2_of(l, im_h2_conn_t, link);

        if (c->server == server) {
            im_h2_conn_leave(c);
        }
    }

    if (server->conns == 0) {
        im_h2_raise(rpc, &server->done);

    } else if (server->grace != NULL) {
        rpc->loop.timer_set(server->grace, grace_ms);

    } else {
        server_cancel(server);
    }
}


static void
server_on_grace(void *data)
{
    server_cancel(data);
}


static void
server_cancel(im_rpc_server_t *server)
{
    im_h2_conn_t  *c;
    im_h2_link_t  *l;

    for (l = server->rpc->conns.next; l != &server->rpc->conns; l = l->next) {
        c = im_h2_of(l, im_h2_conn_t, link);

        if (c->server == server && c->state != IM_H2_CLOSED) {
            im_h2_conn_close(c, "the server ends");
        }
    }
}


void
im_h2_server_conn_gone(im_rpc_server_t *server)
{
    server->conns--;

    if (server->down && server->conns == 0) {
        im_h2_raise(server->rpc, &server->done);
    }
}


static void
server_on_done(void *owner)
{
    void            (*drained)(void *ctx);
    im_rpc_server_t  *server = owner;

    if (server->grace != NULL) {
        server->rpc->loop.timer_stop(server->grace);
    }

    drained = server->drained;
    server->drained = NULL;

    if (drained != NULL) {
        drained(server->drained_ctx);
    }
}


/* The runtime ends: what is under way is cancelled by it. */
void
im_h2_server_stop(im_rpc_server_t *server)
{
    if (server->watch != NULL) {
        server->rpc->loop.close(server->watch);
        server->watch = NULL;
    }

    server->down = 1;
}


void
im_h2_server_free(im_rpc_server_t *server)
{
    im_h2_lower(server->rpc, &server->done);
    im_h2_lower(server->rpc, &server->more);

    if (server->watch != NULL) {
        server->rpc->loop.close(server->watch);
    }

    if (server->grace != NULL) {
        server->rpc->loop.timer_free(server->grace);
    }

    if (server->path[0] != '\0') {
        (void) unlink(server->path);
    }

    free(server->methods);
    free(server);
}
