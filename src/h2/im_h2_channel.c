/*
 * im_h2_channel.c -- connects to one address when somebody has something to
 * say, and backs off when nobody is there.
 *
 *   idle --call--> looking up --> dialling --settings--> connected
 *    ^                |              |                       |
 *    |                +--- failed ---+                       |
 *    |                       |                               |
 *    +--- 0.1 to 1 s -- backing off            lost, or leaves: idle
 *
 * A call that comes while a channel backs off ends at once, as not sent; one
 * that waits for a try ends with that try.  A stream waits for a connection as
 * long as its own limit says, through several tries.
 *
 * Other certificates are for new connections: what runs on the connection of
 * before stays there, and that is closed when the last of it has ended.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "im_h2_int.h"


#define CHANNEL_ID_MAX  0x7fff0000u    /* of 2^31 - 1 */


static im_rpc_channel_t *channel_create(im_rpc_t *rpc, const char *address,
    im_h2_creds_t *creds, const char *name);
static void channel_renew(im_rpc_channel_t *ch);
static void channel_connect(im_rpc_channel_t *ch);
static void channel_on_found(void *ctx, const char *why);
static void channel_dial(im_rpc_channel_t *ch);
static int channel_socket(const im_h2_address_t *to, char why[IM_H2_WHY]);
static void channel_host(im_rpc_channel_t *ch, char *host, size_t size);
static void channel_failed(im_rpc_channel_t *ch, const char *why);
static void channel_on_timer(void *data);
static void channel_drop(im_rpc_channel_t *ch, const char *why);


im_rpc_channel_t *
im_rpc_channel_peer(im_rpc_t *rpc, const char *address, const char *boot,
    im_rpc_role_t role)
{
    const char        *name;
    im_rpc_channel_t  *ch;

    name = rpc->tls ? im_rpc_tier_name(&rpc->tiers, role) : NULL;

    if (rpc->tls && name == NULL) {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: %s is of no tier that is known",
                  address);
        return NULL;
    }

    rpc->creds->refs++;
    ch = channel_create(rpc, address, rpc->creds, name);

    if (ch != NULL) {
        ch->peer = 1;
        snprintf(ch->boot, sizeof(ch->boot), "%s", boot ? boot : "");
    }

    return ch;
}


im_rpc_channel_t *
im_rpc_channel_stranger(im_rpc_t *rpc, const char *address,
    const im_rpc_tls_t *tls)
{
    im_h2_creds_t  *creds;

    creds = im_h2_creds_create(tls);
    if (creds == NULL) {
        return NULL;
    }

    return channel_create(rpc, address, creds, tls ? tls->name : NULL);
}


int
im_rpc_channel_set_tls(im_rpc_channel_t *ch, const im_rpc_tls_t *tls)
{
    return im_h2_creds_set(ch->creds, tls);
}


/* Takes the reference to the credentials. */
static im_rpc_channel_t *
channel_create(im_rpc_t *rpc, const char *address, im_h2_creds_t *creds,
    const char *name)
{
    im_rpc_channel_t  *ch;

    ch = calloc(1, sizeof(im_rpc_channel_t));
    if (ch == NULL) {
        im_h2_creds_unref(creds);
        return NULL;
    }

    ch->rpc = rpc;
    ch->refs = 1;
    ch->creds = creds;
    ch->backoff_ms = IM_RPC_BACKOFF_MIN_MS;
    im_h2_link_init(&ch->waiting);
    snprintf(ch->address, sizeof(ch->address), "%s", address);

    ch->timer = rpc->loop.timer(rpc->loop.ctx, channel_on_timer, ch);
    ch->name = (name != NULL) ? strdup(name) : NULL;

    if (ch->timer == NULL || (name != NULL && ch->name == NULL)) {
        im_rpc_channel_unref(ch);
        return NULL;
    }

    return ch;
}


/* Every exchange has a reference, so none waits here any more. */
void
im_rpc_channel_unref(im_rpc_channel_t *ch)
{
    if (ch == NULL || --ch->refs > 0) {
        return;
    }

    channel_drop(ch, "it was not needed any more");

    if (ch->timer != NULL) {
        ch->rpc->loop.timer_free(ch->timer);
    }

    im_h2_creds_unref(ch->creds);
    free(ch->name);
    free(ch);
}


/* Lets go of the connection, or of the try to have one. */
static void
channel_drop(im_rpc_channel_t *ch, const char *why)
{
    im_h2_conn_t  *c;

    im_h2_lookup_cancel(ch->lookup);
    ch->lookup = NULL;

    c = ch->conn;
    ch->conn = NULL;
    ch->state = IM_H2_IDLE;

    if (c == NULL) {
        return;
    }

    c->channel = NULL;

    if (c->state == IM_H2_READY) {
        im_h2_conn_leave(c);

    } else {
        im_h2_conn_close(c, why);
    }
}


void
im_h2_channel_take(im_rpc_channel_t *ch, im_h2_exchange_t *x)
{
    x->channel = ch;
    ch->refs++;

    channel_renew(ch);

    if (ch->state == IM_H2_CONNECTED) {
        im_h2_exchange_begin(x, ch->conn);
        return;
    }

    if (ch->state == IM_H2_BACKING_OFF && !x->waits) {
        im_h2_exchange_end(x, IM_RPC_UNAVAILABLE, "no connection to %s: %s",
                           ch->address, ch->why);
        return;
    }

    if (ch->waiting_n >= IM_H2_WAITING_MAX) {
        im_h2_exchange_end(x, IM_RPC_UNAVAILABLE,
                           "too many calls wait for a connection to %s",
                           ch->address);
        return;
    }

    x->waiting = 1;
    ch->waiting_n++;
    im_h2_link_add(&ch->waiting, &x->link);

    if (ch->state == IM_H2_IDLE) {
        channel_connect(ch);
    }
}


/* Other certificates than those that it was connected with, or no more ids of
 * streams: what begins now needs another connection. */
static void
channel_renew(im_rpc_channel_t *ch)
{
    if (ch->conn == NULL) {
        return;
    }

    if (ch->conn->version != ch->creds->version) {
        channel_drop(ch, "there are other certificates");

    } else if (ch->state == IM_H2_CONNECTED
               && nghttp2_session_get_next_stream_id(ch->conn->session)
                  > CHANNEL_ID_MAX)
    {
        channel_drop(ch, "its stream ids are used up");
    }
}


static void
channel_connect(im_rpc_channel_t *ch)
{
    char  why[IM_H2_WHY];

    ch->address_i = 0;
    ch->state = IM_H2_LOOKING_UP;
    ch->rpc->loop.timer_set(ch->timer, IM_RPC_NAME_MS);

    switch (im_h2_lookup(ch->rpc, ch->address, &ch->addresses, &ch->lookup,
                         channel_on_found, ch, why))
    {

    case IM_OK:
        channel_dial(ch);
        break;

    case IM_AGAIN:                     /* channel_on_found() */
        break;

    default:
        channel_failed(ch, why);
        break;
    }
}


static void
channel_on_found(void *ctx, const char *why)
{
    im_rpc_channel_t  *ch = ctx;

    ch->lookup = NULL;

    if (why != NULL) {
        channel_failed(ch, why);
        return;
    }

    channel_dial(ch);
}


/* The next of its addresses. */
static void
channel_dial(im_rpc_channel_t *ch)
{
    int                     fd, rc;
    char                    host[IM_H2_WHY], why[IM_H2_WHY];
    im_h2_conn_t           *c;
    const im_h2_address_t  *to;

    to = &ch->addresses.list[ch->address_i++];
    ch->state = IM_H2_DIALLING;
    ch->rpc->loop.timer_set(ch->timer, IM_RPC_CONNECT_MS);

    fd = channel_socket(to, why);
    if (fd == -1) {
        channel_failed(ch, why);
        return;
    }

    rc = connect(fd, (const struct sockaddr *) &to->addr, to->len);

    if (rc == -1 && errno != EINPROGRESS) {
        snprintf(why, sizeof(why), "%s", strerror(errno));
        close(fd);
        channel_failed(ch, why);
        return;
    }

    channel_host(ch, host, sizeof(host));
    c = im_h2_conn_create(ch->rpc, fd, 0, ch->creds->ctx,
                          ch->name ? ch->name : host, ch->peer, why);
    if (c == NULL) {
        channel_failed(ch, why);
        return;
    }

    c->channel = ch;
    c->version = ch->creds->version;
    ch->conn = c;
    snprintf(c->peer, sizeof(c->peer), "%.63s", ch->address);

    if (rc == 0) {
        im_h2_conn_start(c);
        return;
    }

    ch->rpc->loop.want_write(c->watch, 1);
}


static int
channel_socket(const im_h2_address_t *to, char why[IM_H2_WHY])
{
    int  fd, on, ms;

    fd = socket(to->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                0);
    if (fd == -1) {
        snprintf(why, IM_H2_WHY, "%s", strerror(errno));
        return -1;
    }

    if (to->addr.ss_family != AF_UNIX) {
        on = 1;
        ms = IM_RPC_PING_WAIT_MS;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    }

    return fd;
}


/* Without the port, and an IPv6 address without its brackets. */
static void
channel_host(im_rpc_channel_t *ch, char *host, size_t size)
{
    int          n;
    const char  *p, *end;

    p = ch->address;
    end = strrchr(p, ':');
    end = (end != NULL) ? end : p + strlen(p);

    if (*p == '[' && end > p + 2 && end[-1] == ']') {
        p++;
        end--;
    }

    n = (int) (end - p);
    snprintf(host, size, "%.*s", n, p);
}


/* The peer's settings have come. */
void
im_h2_channel_ready(im_rpc_channel_t *ch, im_h2_conn_t *c)
{
    if (ch->conn != c) {
        return;
    }

    ch->state = IM_H2_CONNECTED;
    ch->backoff_ms = IM_RPC_BACKOFF_MIN_MS;
    ch->rpc->loop.timer_stop(ch->timer);

    while (ch->waiting.next != &ch->waiting && ch->conn == c) {
        im_h2_exchange_t  *x;

        x = im_h2_of(ch->waiting.next, im_h2_exchange_t, link);
        im_h2_link_remove(&x->link);
        x->waiting = 0;
        ch->waiting_n--;
        im_h2_exchange_begin(x, c);
    }
}


void
im_h2_channel_lost(im_rpc_channel_t *ch, im_h2_conn_t *c, const char *why)
{
    im_h2_channel_state_t  was;

    if (ch->conn != c) {
        return;                        /* one of before */
    }

    was = ch->state;
    ch->conn = NULL;

    if (was == IM_H2_DIALLING) {
        channel_failed(ch, why);
        return;
    }

    ch->state = IM_H2_IDLE;

    if (ch->waiting_n > 0) {
        channel_connect(ch);
    }
}


/* Another address, or a pause. */
static void
channel_failed(im_rpc_channel_t *ch, const char *why)
{
    unsigned           ms;
    uint64_t           dice;
    im_h2_link_t      *l, *next;
    im_h2_exchange_t  *x;

    if (ch->state == IM_H2_DIALLING && ch->address_i < ch->addresses.n) {
        channel_dial(ch);
        return;
    }

    snprintf(ch->why, sizeof(ch->why), "%s", why);
    ch->state = IM_H2_BACKING_OFF;

    /* not all callers of a peer that is back at once */

    dice = im_h2_now_us() ^ (uintptr_t) ch >> 4;
    ms = ch->backoff_ms - (unsigned) (dice % (ch->backoff_ms / 4));
    ch->rpc->loop.timer_set(ch->timer, ms);
    ch->backoff_ms = (ch->backoff_ms * 2 < IM_RPC_BACKOFF_MAX_MS)
                     ? ch->backoff_ms * 2 : IM_RPC_BACKOFF_MAX_MS;

    for (l = ch->waiting.next; l != &ch->waiting; l = next) {
        next = l->next;
        x = im_h2_of(l, im_h2_exchange_t, link);

        if (!x->waits) {
            im_h2_exchange_end(x, IM_RPC_UNAVAILABLE,
                               "no connection to %s: %s", ch->address,
                               ch->why);
        }
    }
}


/* A try has taken too long, or a pause is over. */
static void
channel_on_timer(void *data)
{
    char               why[IM_H2_WHY];
    im_h2_conn_t      *c;
    im_rpc_channel_t  *ch = data;

    switch (ch->state) {

    case IM_H2_BACKING_OFF:
        ch->state = IM_H2_IDLE;

        if (ch->waiting_n > 0) {
            channel_connect(ch);
        }

        break;

    case IM_H2_LOOKING_UP:
        im_h2_lookup_cancel(ch->lookup);
        ch->lookup = NULL;
        snprintf(why, sizeof(why), "its name has no address within %d ms",
                 IM_RPC_NAME_MS);
        channel_failed(ch, why);
        break;

    case IM_H2_DIALLING:
        c = ch->conn;
        snprintf(why, sizeof(why), "%s within %d ms",
                 c->state == IM_H2_CONNECTING ? "no answer"
                 : c->state == IM_H2_SECURING ? "no TLS handshake"
                                              : "no HTTP/2 settings",
                 IM_RPC_CONNECT_MS);
        im_h2_conn_close(c, why);      /* im_h2_channel_lost() goes on */
        break;

    default:
        break;
    }
}
