/*
 * im_h2_conn.c -- a connection: its socket, its pings, its end (im_h2_out.c:
 * what it writes).
 *
 *   connecting --> securing (TLS) --> settling --> ready --> ending --> closed
 *                                                               |
 *                                        the reason is written, and read
 *
 * A peer that is refused gets a GOAWAY of our own making, because the session
 * may be broken, and has a moment to read it: closing at once, with bytes of
 * the peer unread, would make the kernel throw the reason away.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "im_h2_int.h"


#define CONN_GOAWAY  17


static void conn_on_read(void *data);
static void conn_on_write(void *data);
static void conn_on_timer(void *data);
static void conn_secure(im_h2_conn_t *c);
static ssize_t conn_recv(im_h2_conn_t *c);
static void conn_broken(im_h2_conn_t *c, ssize_t error);
static void conn_lose_exchanges(im_h2_conn_t *c);


im_h2_conn_t *
im_h2_conn_create(im_rpc_t *rpc, int fd, int server, SSL_CTX *ctx,
    const char *name, int peer, char why[IM_H2_WHY])
{
    im_h2_conn_t  *c;

    c = calloc(1, sizeof(im_h2_conn_t));
    if (c == NULL) {
        goto failed;
    }

    c->rpc = rpc;
    c->fd = fd;
    c->roles = (ctx == NULL) ? ~0u : 0;
    c->budget = IM_H2_BUDGET;
    c->budget_us = im_h2_now_us();
    im_h2_link_init(&c->link);
    im_h2_link_init(&c->exchanges);

    if (ctx != NULL) {
        c->ssl = im_h2_secure_create(ctx, fd, server, name, peer);
    }

    c->timer = rpc->loop.timer(rpc->loop.ctx, conn_on_timer, c);

    if ((ctx != NULL && c->ssl == NULL) || c->timer == NULL) {
        goto failed;
    }

    c->watch = rpc->loop.watch(rpc->loop.ctx, fd, conn_on_read, conn_on_write,
                               c);
    if (c->watch == NULL) {
        snprintf(why, IM_H2_WHY, "the loop has no room for a connection");
        im_h2_conn_free(c);
        close(fd);
        return NULL;
    }

    im_h2_link_add(&rpc->conns, &c->link);

    return c;

failed:

    snprintf(why, IM_H2_WHY, "out of memory");

    if (c != NULL) {
        im_h2_conn_free(c);
    }

    close(fd);

    return NULL;
}


void
im_h2_conn_start(im_h2_conn_t *c)
{
    if (c->server != NULL) {
        c->rpc->loop.timer_set(c->timer, IM_RPC_HELLO_MS);
    }

    if (c->ssl != NULL) {
        c->state = IM_H2_SECURING;
        conn_secure(c);
        return;
    }

    c->state = IM_H2_SETTLING;

    if (im_h2_session_start(c) != IM_OK) {
        im_h2_conn_close(c, "out of memory");
        return;
    }

    im_h2_conn_dirty(c);
}


static void
conn_secure(im_h2_conn_t *c)
{
    int   write;
    char  why[IM_H2_WHY];

    write = 0;

    switch (im_h2_secure_handshake(c->ssl, &write, why)) {

    case IM_AGAIN:
        c->rpc->loop.want_write(c->watch, write);
        return;

    case IM_OK:
        break;

    default:
        if (c->server != NULL) {
            im_h2_log_peer(c, why);
        }

        im_h2_conn_close(c, why);
        return;
    }

    c->rpc->loop.want_write(c->watch, 0);
    c->roles = im_h2_tls_roles(c->rpc, c->ssl);
    c->state = IM_H2_SETTLING;

    if (im_h2_session_start(c) != IM_OK) {
        im_h2_conn_close(c, "out of memory");
        return;
    }

    c->again = 1;                      /* what came with the handshake */
    im_h2_conn_dirty(c);
}


static void
conn_on_read(void *data)
{
    im_h2_conn_t  *c = data;

    switch (c->state) {

    case IM_H2_CONNECTING:             /* conn_on_write() has the outcome */
    case IM_H2_CLOSED:
        return;

    case IM_H2_SECURING:
        conn_secure(c);
        return;

    default:
        im_h2_conn_read(c);
    }
}


static void
conn_on_write(void *data)
{
    int            error;
    socklen_t      len;
    im_h2_conn_t  *c = data;

    switch (c->state) {

    case IM_H2_CLOSED:
        return;

    case IM_H2_CONNECTING:
        len = sizeof(error);
        error = 0;

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1) {
            error = errno;
        }

        if (error != 0) {
            im_h2_conn_close(c, strerror(error));
            return;
        }

        c->rpc->loop.want_write(c->watch, 0);
        im_h2_conn_start(c);
        return;

    case IM_H2_SECURING:
        conn_secure(c);
        return;

    default:
        if (c->blocked) {
            c->blocked = 0;
            c->rpc->loop.want_write(c->watch, 0);
            im_h2_conn_dirty(c);
        }
    }
}


void
im_h2_conn_read(im_h2_conn_t *c)
{
    ssize_t   n, rc;
    unsigned  i;

    c->again = 0;

    for (i = 0; i < IM_H2_READS; i++) {
        n = conn_recv(c);

        if (n == IM_AGAIN) {
            break;
        }

        if (n <= 0) {
            im_h2_conn_close(c, n == 0 ? "the peer has closed it"
                                       : strerror(errno));
            return;
        }

        if (c->state == IM_H2_ENDING) {
            continue;                  /* nothing of it counts any more */
        }

        c->heard_us = im_h2_now_us();
        rc = nghttp2_session_mem_recv(c->session, c->rpc->read, (size_t) n);

        if (c->state >= IM_H2_ENDING) {
            if (c->state == IM_H2_CLOSED) {
                return;
            }

            continue;                  /* it has been refused meanwhile */
        }

        if (rc < 0) {
            conn_broken(c, rc);
            return;
        }

        if (c->ssl == NULL && n < IM_H2_READ
            && !c->rpc->loop.has_ended(c->watch))
        {
            break;                     /* there was no more */
        }
    }

    if (i == IM_H2_READS) {
        c->again = 1;                  /* others first */
        im_h2_post(c->rpc);
    }

    if (c->state < IM_H2_ENDING && !c->dirty
        && (nghttp2_session_want_write(c->session)
            || !nghttp2_session_want_read(c->session)))
    {
        im_h2_conn_dirty(c);
    }
}


/* Bytes, 0: the end, IM_AGAIN, IM_ERROR: errno. */
static ssize_t
conn_recv(im_h2_conn_t *c)
{
    ssize_t  n;

    if (c->ssl != NULL) {
        return im_h2_secure_read(c->ssl, c->rpc->read, IM_H2_READ);
    }

    do {
        n = recv(c->fd, c->rpc->read, IM_H2_READ, 0);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return (errno == EAGAIN || errno == EWOULDBLOCK) ? IM_AGAIN : IM_ERROR;
    }

    return n;
}


/* What nghttp2 does not answer by itself. */
static void
conn_broken(im_h2_conn_t *c, ssize_t error)
{
    char      why[IM_H2_WHY];
    uint32_t  code;

    switch (error) {

    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        code = NGHTTP2_ENHANCE_YOUR_CALM;
        break;

    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
        code = NGHTTP2_INTERNAL_ERROR;
        break;

    default:
        code = NGHTTP2_PROTOCOL_ERROR;
        break;
    }

    snprintf(why, sizeof(why), "HTTP/2: %s", nghttp2_strerror((int) error));
    im_h2_conn_refuse(c, code, why);
}


/* SETTINGS of the peer are there: calls may begin. */
void
im_h2_conn_ready(im_h2_conn_t *c)
{
    if (c->state != IM_H2_SETTLING) {
        return;
    }

    c->state = IM_H2_READY;
    c->heard_us = im_h2_now_us();
    c->rpc->loop.timer_set(c->timer, c->server != NULL ? IM_RPC_SERVER_PING_MS
                                                       : IM_RPC_PING_MS);

    if (c->channel != NULL) {
        im_h2_channel_ready(c->channel, c);
    }
}


void
im_h2_conn_pong(im_h2_conn_t *c)
{
    if (c->pinging) {
        c->pinging = 0;
        c->rpc->loop.timer_set(c->timer, c->server ? IM_RPC_SERVER_PING_MS
                                                   : IM_RPC_PING_MS);
    }
}


/* A ping is for a connection that was silent; a client sends none for a
 * connection without calls, which etcd would not like. */
static void
conn_on_timer(void *data)
{
    char           why[IM_H2_WHY];
    unsigned       ping_ms;
    uint64_t       silent_ms;
    im_h2_conn_t  *c = data;

    if (c->state == IM_H2_CLOSED) {
        return;
    }

    if (c->state != IM_H2_READY || c->pinging) {

        if (c->pinging) {
            snprintf(why, sizeof(why), "no answer to a ping for %d ms",
                     IM_RPC_PING_WAIT_MS);

        } else {
            snprintf(why, sizeof(why), "no HTTP/2 settings in %d ms",
                     IM_RPC_HELLO_MS);
        }

        if (c->server != NULL && c->state != IM_H2_ENDING) {
            im_h2_log_peer(c, why);
        }

        im_h2_conn_close(c, why);
        return;
    }

    ping_ms = c->server ? IM_RPC_SERVER_PING_MS : IM_RPC_PING_MS;
    silent_ms = (im_h2_now_us() - c->heard_us) / 1000;

    if (silent_ms + 1 < ping_ms) {
        c->rpc->loop.timer_set(c->timer, ping_ms - (unsigned) silent_ms);
        return;
    }

    if (c->server == NULL && c->exchange_n == 0) {
        c->rpc->loop.timer_set(c->timer, ping_ms);
        return;
    }

    c->pinging = 1;
    c->rpc->loop.timer_set(c->timer, IM_RPC_PING_WAIT_MS);
    (void) nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
    im_h2_conn_dirty(c);
}


void
im_h2_conn_dirty(im_h2_conn_t *c)
{
    c->dirty = 1;
    im_h2_post(c->rpc);
}


void
im_h2_conn_leave(im_h2_conn_t *c)
{
    if (c->leaving || c->state >= IM_H2_ENDING) {
        return;
    }

    c->leaving = 1;

    if (c->state < IM_H2_SETTLING) {
        im_h2_conn_close(c, "it was not needed any more");
        return;
    }

    /* what the peer has begun meanwhile is still served */
    if (c->server != NULL) {
        (void) nghttp2_submit_shutdown_notice(c->session);

    } else {
        (void) nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, 0,
                                     NGHTTP2_NO_ERROR, NULL, 0);
    }

    im_h2_conn_dirty(c);
}


void
im_h2_conn_refuse(im_h2_conn_t *c, uint32_t error, const char *why)
{
    int      i;
    int32_t  last;
    uint8_t  frame[CONN_GOAWAY];

    if (c->state >= IM_H2_ENDING) {
        return;
    }

    last = nghttp2_session_get_last_proc_stream_id(c->session);

    memset(frame, 0, sizeof(frame));
    frame[2] = CONN_GOAWAY - 9;
    frame[3] = NGHTTP2_GOAWAY;

    for (i = 0; i < 4; i++) {
        frame[9 + i] = (uint8_t) ((uint32_t) last >> (24 - 8 * i));
        frame[13 + i] = (uint8_t) (error >> (24 - 8 * i));
    }

    (void) im_h2_out_put(c, frame, sizeof(frame));
    im_h2_conn_end(c, why);
}


/* The last frame is on its way; what comes is read and thrown away. */
void
im_h2_conn_end(im_h2_conn_t *c, const char *why)
{
    if (c->why[0] == '\0') {
        snprintf(c->why, sizeof(c->why), "%s", why);
    }

    if (c->server != NULL) {
        im_h2_log_peer(c, c->why);
    }

    c->state = IM_H2_ENDING;
    c->pinging = 0;

    conn_lose_exchanges(c);
    c->rpc->loop.timer_set(c->timer, IM_RPC_LINGER_MS);
    im_h2_conn_dirty(c);
}


void
im_h2_conn_close(im_h2_conn_t *c, const char *why)
{
    if (c->state == IM_H2_CLOSED) {
        return;
    }

    if (c->why[0] == '\0') {
        snprintf(c->why, sizeof(c->why), "%s", why);
    }

    c->state = IM_H2_CLOSED;
    c->rpc->loop.timer_stop(c->timer);
    c->rpc->loop.close(c->watch);
    c->watch = NULL;

    conn_lose_exchanges(c);
    im_h2_post(c->rpc);                /* which frees */

    if (c->server != NULL && c->counted) {
        c->counted = 0;
        im_h2_server_conn_gone(c->server);
    }
}


static void
conn_lose_exchanges(im_h2_conn_t *c)
{
    im_rpc_channel_t  *channel;

    while (c->exchanges.next != &c->exchanges) {
        im_h2_exchange_lost(im_h2_of(c->exchanges.next, im_h2_exchange_t,
                                     link), c->why);
    }

    channel = c->channel;
    c->channel = NULL;

    if (channel != NULL) {
        im_h2_channel_lost(channel, c, c->why);
    }
}


void
im_h2_conn_free(im_h2_conn_t *c)
{
    if (c->watch != NULL) {
        im_h2_conn_close(c, "");
    }

    if (c->timer != NULL) {
        c->rpc->loop.timer_free(c->timer);
    }

    im_h2_link_remove(&c->link);
    nghttp2_session_del(c->session);
    im_h2_secure_close(c->ssl);
    im_h2_out_free(c);
    free(c);
}
