/*
 * im_h2.c -- the runtime: events, turns of the loop, timers, its end.
 *
 *   the loop: sockets, timers --> frames --> callbacks --> more to say
 *                                              |              |
 *                                          an event     a dirty connection
 *                                              |              |
 *   end of the turn:                        it runs  ----> one write each
 *
 * What a turn of the loop has to say to a peer is collected and leaves in one
 * write.  Callbacks that a function of ours causes (a call that was cancelled)
 * are events, so none runs before that function has returned; messages of peers
 * are handed over as they are read, from the bytes that were read.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "im_h2_int.h"


#define H2_MESSAGE_MAX  (8 * 1024 * 1024)
#define H2_QUEUE_MAX    (4 * 1024 * 1024)
#define H2_SAID_S       60
#define H2_ROUNDS       16         /* of last callbacks that cause others */
#define H2_POLL_MAX     64


struct im_rpc_timer_s {
    im_rpc_t       *rpc;
    im_h2_link_t    link;
    void           *timer;
    void          (*fn)(void *ctx);
    void           *ctx;
};

/* im_rpc_post() */
typedef struct {
    im_h2_event_t   event;
    void          (*fn)(void *ctx);
    void           *ctx;
} h2_posted_t;


static void h2_turn(void *data);
static void h2_run_events(im_rpc_t *rpc);
static void h2_on_posted(void *owner);
static void h2_on_timer(void *data);
static void h2_end_live(im_rpc_t *rpc, int all);
static void h2_wait_last(im_rpc_t *rpc);
static int h2_has_last(im_rpc_t *rpc);
static void h2_poll(im_rpc_t *rpc, int ms);
static void h2_free(im_rpc_t *rpc);


im_rpc_t *
im_h2_create(const im_rpc_conf_t *conf, const im_h2_loop_t *loop)
{
    im_rpc_t  *rpc;
    uint64_t   id;

    rpc = calloc(1, sizeof(im_rpc_t));
    if (rpc == NULL) {
        return NULL;
    }

    rpc->conf = *conf;
    rpc->loop = *loop;
    rpc->events_tail = &rpc->events;
    im_h2_link_init(&rpc->conns);
    im_h2_link_init(&rpc->live);
    im_h2_link_init(&rpc->timers);

    if (rpc->conf.message_max == 0) {
        rpc->conf.message_max = H2_MESSAGE_MAX;
    }

    if (rpc->conf.stream_queue_max == 0) {
        rpc->conf.stream_queue_max = H2_QUEUE_MAX;
    }

    if (getrandom(&id, sizeof(id), 0) != (ssize_t) sizeof(id)) {
        id = im_h2_now_us() ^ (uint64_t) getpid() << 32;
    }

    snprintf(rpc->boot, sizeof(rpc->boot), "%016llx",
             (unsigned long long) id);

    if (im_h2_tls_init(rpc) != IM_OK || im_h2_session_init(rpc) != IM_OK) {
        h2_free(rpc);
        return NULL;
    }

    return rpc;
}


const char *
im_rpc_boot(im_rpc_t *rpc)
{
    return rpc->boot;
}


uint64_t
im_h2_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


void
im_h2_event_init(im_h2_event_t *e, void (*fn)(void *owner), void *owner)
{
    e->fn = fn;
    e->owner = owner;
    e->raised = 0;
}


void
im_h2_raise(im_rpc_t *rpc, im_h2_event_t *e)
{
    if (e->raised) {
        return;
    }

    e->raised = 1;
    e->next = NULL;
    *rpc->events_tail = e;
    rpc->events_tail = &e->next;

    im_h2_post(rpc);
}


void
im_h2_lower(im_rpc_t *rpc, im_h2_event_t *e)
{
    im_h2_event_t  **p;

    if (!e->raised) {
        return;
    }

    for (p = &rpc->events; *p != NULL; p = &(*p)->next) {
        if (*p == e) {
            *p = e->next;

            if (e->next == NULL) {
                rpc->events_tail = p;
            }

            break;
        }
    }

    e->raised = 0;
}


void
im_h2_post(im_rpc_t *rpc)
{
    if (!rpc->posted) {
        rpc->posted = 1;
        rpc->loop.post(rpc->loop.ctx, h2_turn, rpc);
    }
}


/* The end of a turn of the loop. */
static void
h2_turn(void *data)
{
    im_rpc_t      *rpc = data;
    im_h2_conn_t  *c;
    im_h2_link_t  *l, *next;

    rpc->posted = 0;
    h2_run_events(rpc);

    for (l = rpc->conns.next; l != &rpc->conns; l = next) {
        next = l->next;
        c = im_h2_of(l, im_h2_conn_t, link);

        if (c->again) {
            im_h2_conn_read(c);
        }

        if (c->dirty) {
            im_h2_conn_flush(c);
        }

        if (c->state == IM_H2_CLOSED) {
            im_h2_conn_free(c);
        }
    }
}


/* One after another: an event may raise or lower others. */
static void
h2_run_events(im_rpc_t *rpc)
{
    im_h2_event_t  *e, last;

    if (rpc->events == NULL) {
        return;
    }

    /* what is raised meanwhile has its turn, so that none goes on for ever */

    im_h2_event_init(&last, NULL, NULL);
    last.next = NULL;
    *rpc->events_tail = &last;
    rpc->events_tail = &last.next;

    for ( ;; ) {
        e = rpc->events;
        rpc->events = e->next;

        if (rpc->events == NULL) {
            rpc->events_tail = &rpc->events;
        }

        if (e == &last) {
            break;
        }

        e->raised = 0;
        e->fn(e->owner);               /* it may be gone after this */
    }

    if (rpc->events != NULL) {
        im_h2_post(rpc);
    }
}


int
im_rpc_post(im_rpc_t *rpc, void (*fn)(void *ctx), void *ctx)
{
    h2_posted_t  *p;

    p = rpc->stopping ? NULL : calloc(1, sizeof(h2_posted_t));
    if (p == NULL) {
        return IM_ERROR;
    }

    p->fn = fn;
    p->ctx = ctx;
    im_h2_event_init(&p->event, h2_on_posted, p);
    im_h2_raise(rpc, &p->event);

    return IM_OK;
}


static void
h2_on_posted(void *owner)
{
    h2_posted_t  *p = owner;

    p->fn(p->ctx);
    free(p);
}


im_rpc_timer_t *
im_rpc_timer(im_rpc_t *rpc, unsigned ms, void (*fn)(void *ctx), void *ctx)
{
    im_rpc_timer_t  *t;

    t = rpc->stopping ? NULL : calloc(1, sizeof(im_rpc_timer_t));
    if (t == NULL) {
        return NULL;
    }

    t->timer = rpc->loop.timer(rpc->loop.ctx, h2_on_timer, t);
    if (t->timer == NULL) {
        free(t);
        return NULL;
    }

    t->rpc = rpc;
    t->fn = fn;
    t->ctx = ctx;
    im_h2_link_add(&rpc->timers, &t->link);
    rpc->loop.timer_set(t->timer, ms);

    return t;
}


void
im_rpc_timer_cancel(im_rpc_timer_t *t)
{
    if (t != NULL) {
        im_h2_link_remove(&t->link);
        t->rpc->loop.timer_free(t->timer);
        free(t);
    }
}


static void
h2_on_timer(void *data)
{
    void            *ctx;
    void           (*fn)(void *ctx);
    im_rpc_timer_t  *t = data;

    fn = t->fn;
    ctx = t->ctx;
    im_rpc_timer_cancel(t);            /* the handle is dead */

    fn(ctx);
}


int
im_rpc_destroy(im_rpc_t *rpc)
{
    unsigned          i;
    im_rpc_server_t  *server;

    if (rpc == NULL) {
        return IM_OK;
    }

    rpc->stopping = 1;

    for (server = rpc->servers; server != NULL; server = server->next) {
        im_h2_server_stop(server);
    }

    h2_end_live(rpc, 0);
    h2_turn(rpc);
    h2_wait_last(rpc);
    h2_end_live(rpc, 1);

    for (i = 0; i < H2_ROUNDS && rpc->events != NULL; i++) {
        h2_turn(rpc);
    }

    h2_free(rpc);

    return IM_OK;
}


/* All but last words, or these, too. */
static void
h2_end_live(im_rpc_t *rpc, int all)
{
    im_h2_link_t      *l, *next;
    im_h2_exchange_t  *x;

    for (l = rpc->live.next; l != &rpc->live; l = next) {
        next = l->next;
        x = im_h2_of(l, im_h2_exchange_t, live);

        if (all || !x->leaving) {
            im_h2_exchange_end(x, IM_RPC_CANCELLED, "the runtime ends");
        }
    }
}


/* Calls that remove our keys from etcd get a moment. */
static void
h2_wait_last(im_rpc_t *rpc)
{
    uint64_t  until, now;

    until = im_h2_now_us() + IM_RPC_LEAVE_MS * 1000;

    while (h2_has_last(rpc)) {
        now = im_h2_now_us();
        if (now >= until) {
            return;
        }

        h2_poll(rpc, (int) ((until - now) / 1000) + 1);
        h2_turn(rpc);
    }
}


static int
h2_has_last(im_rpc_t *rpc)
{
    im_h2_link_t  *l;

    for (l = rpc->live.next; l != &rpc->live; l = l->next) {
        if (im_h2_of(l, im_h2_exchange_t, live)->leaving) {
            return 1;
        }
    }

    return 0;
}


/* The loop does not run any more: connections that are there, and no timers. */
static void
h2_poll(im_rpc_t *rpc, int ms)
{
    nfds_t         i, n;
    im_h2_conn_t  *c, *of[H2_POLL_MAX];
    im_h2_link_t  *l;
    struct pollfd  fds[H2_POLL_MAX];

    n = 0;

    for (l = rpc->conns.next; l != &rpc->conns && n < H2_POLL_MAX;
         l = l->next)
    {
        c = im_h2_of(l, im_h2_conn_t, link);

        if (c->state >= IM_H2_SETTLING && c->state < IM_H2_CLOSED) {
            of[n] = c;
            fds[n].fd = c->fd;
            fds[n++].events = POLLIN | (c->blocked ? POLLOUT : 0);
        }
    }

    if (poll(fds, n, ms) <= 0) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (fds[i].revents & POLLOUT) {
            of[i]->blocked = 0;
            im_h2_conn_flush(of[i]);
        }

        if ((fds[i].revents & ~POLLOUT) && of[i]->state != IM_H2_CLOSED) {
            im_h2_conn_read(of[i]);
        }
    }
}


static void
h2_free(im_rpc_t *rpc)
{
    im_h2_conn_t     *c;
    im_rpc_server_t  *server;

    while (rpc->conns.next != &rpc->conns) {
        c = im_h2_of(rpc->conns.next, im_h2_conn_t, link);

        if (c->state >= IM_H2_SETTLING && c->state < IM_H2_ENDING) {
            c->leaving = 1;
            (void) nghttp2_session_terminate_session(c->session,
                                                     NGHTTP2_NO_ERROR);
            im_h2_conn_flush(c);
        }

        im_h2_conn_close(c, "the runtime ends");
        im_h2_conn_free(c);
    }

    while (rpc->timers.next != &rpc->timers) {
        im_rpc_timer_cancel(im_h2_of(rpc->timers.next, im_rpc_timer_t, link));
    }

    while (rpc->servers != NULL) {
        server = rpc->servers;
        rpc->servers = server->next;
        im_h2_server_free(server);
    }

    rpc->loop.unpost(rpc->loop.ctx);
    im_h2_session_free(rpc);
    im_h2_tls_free(rpc);
    free(rpc);
}


int
im_h2_says(im_h2_said_t *said)
{
    uint64_t  now;

    now = im_h2_now_us();
    said->n++;

    if (said->us != 0 && now - said->us < H2_SAID_S * 1000000ull) {
        return 0;
    }

    said->us = now;

    return 1;
}


/* Of more peers than we remember, the one whose line is oldest is forgotten. */
void
im_h2_log_peer(im_h2_conn_t *c, const char *what)
{
    size_t              len;
    unsigned            i;
    im_rpc_t           *rpc;
    im_h2_said_peer_t  *p, *oldest;

    rpc = c->rpc;
    oldest = &rpc->peers[0];
    len = strcspn(c->peer, " ");       /* without the port */

    for (i = 0; i < IM_H2_SAID; i++) {
        p = &rpc->peers[i];

        if (strlen(p->peer) == len && memcmp(p->peer, c->peer, len) == 0) {
            break;
        }

        if (p->said.us < oldest->said.us) {
            oldest = p;
        }
    }

    if (i == IM_H2_SAID) {
        p = oldest;
        memset(p, 0, sizeof(im_h2_said_peer_t));
        memcpy(p->peer, c->peer, len);
    }

    if (im_h2_says(&p->said)) {
        im_h2_log(rpc, IM_LOG_WARN, "rpc: a connection of %s was closed (%llu "
                  "so far), %s", p->peer, (unsigned long long) p->said.n,
                  what);
    }
}


void
im_h2_log(im_rpc_t *rpc, int level, const char *fmt, ...)
{
    char     text[1024];
    va_list  args;

    if (rpc->conf.log == NULL) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    rpc->conf.log(rpc->conf.log_ctx, level, text);
}
