/*
 * ngx_im_loop.c -- nginx's event loop, as src/h2 wants it: connections, timers,
 * and the end of a turn.
 *
 * A descriptor of the runtime is an ngx_connection_t with read->channel = 1, so
 * that neither the shutdown timer nor the "open socket left" alert touches it.
 * Timers are cancelable: they do not hold up a worker that shuts down.  The end
 * of a turn is a posted event; before the first turn, while a worker starts, it
 * is one of the next turn, since the loop would wait for a socket first.
 *
 * Of a build without IM_RPC_H2 nothing of this is left.
 */

#include "ngx_im.h"

#ifdef IM_RPC_H2

#include "ngx_im_loop.h"


typedef struct {
    ngx_connection_t  *connection;
    im_h2_fn_pt        on_read;
    im_h2_fn_pt        on_write;
    void              *data;
} ngx_im_loop_watch_t;

typedef struct {
    ngx_event_t        event;          /* first */
    im_h2_fn_pt        fn;
    void              *data;
} ngx_im_loop_timer_t;

typedef struct {
    ngx_im_loop_timer_t  post;         /* its event is posted */
    ngx_connection_t     nobody;       /* debug lines name a socket */
    ngx_uint_t           turns;        /* it has had a turn */
} ngx_im_loop_t;


static void *ngx_im_loop_watch(void *ctx, int fd, im_h2_fn_pt on_read,
    im_h2_fn_pt on_write, void *data);
static ngx_int_t ngx_im_loop_add(ngx_connection_t *c);
static void ngx_im_loop_on_read(ngx_event_t *ev);
static void ngx_im_loop_on_write(ngx_event_t *ev);
static void ngx_im_loop_want_write(void *watch, int want);
static int ngx_im_loop_has_ended(void *watch);
static void ngx_im_loop_close(void *watch);
static void *ngx_im_loop_timer(void *ctx, im_h2_fn_pt fn, void *data);
static void ngx_im_loop_on_timer(ngx_event_t *ev);
static void ngx_im_loop_timer_set(void *timer, unsigned ms);
static void ngx_im_loop_timer_stop(void *timer);
static void ngx_im_loop_timer_free(void *timer);
static void ngx_im_loop_post(void *ctx, im_h2_fn_pt fn, void *data);
static void ngx_im_loop_on_post(ngx_event_t *ev);
static void ngx_im_loop_unpost(void *ctx);


static ngx_im_loop_t  ngx_im_loop;


void
ngx_im_loop_init(im_h2_loop_t *loop)
{
    ngx_memzero(&ngx_im_loop, sizeof(ngx_im_loop_t));
    ngx_im_loop.nobody.fd = (ngx_socket_t) -1;

    ngx_im_loop.post.event.data = &ngx_im_loop.nobody;
    ngx_im_loop.post.event.handler = ngx_im_loop_on_post;
    ngx_im_loop.post.event.log = ngx_cycle->log;

    ngx_memzero(loop, sizeof(im_h2_loop_t));
    loop->watch = ngx_im_loop_watch;
    loop->want_write = ngx_im_loop_want_write;
    loop->has_ended = ngx_im_loop_has_ended;
    loop->close = ngx_im_loop_close;
    loop->timer = ngx_im_loop_timer;
    loop->timer_set = ngx_im_loop_timer_set;
    loop->timer_stop = ngx_im_loop_timer_stop;
    loop->timer_free = ngx_im_loop_timer_free;
    loop->post = ngx_im_loop_post;
    loop->unpost = ngx_im_loop_unpost;
}


static void *
ngx_im_loop_watch(void *ctx, int fd, im_h2_fn_pt on_read,
    im_h2_fn_pt on_write, void *data)
{
    ngx_connection_t     *c;
    ngx_im_loop_watch_t  *w;

    w = ngx_calloc(sizeof(ngx_im_loop_watch_t), ngx_cycle->log);
    if (w == NULL) {
        return NULL;
    }

    c = ngx_get_connection(fd, ngx_cycle->log);
    if (c == NULL) {
        ngx_free(w);
        return NULL;
    }

    w->connection = c;
    w->on_read = on_read;
    w->on_write = on_write;
    w->data = data;

    c->data = w;
    c->log = ngx_cycle->log;
    c->read->handler = ngx_im_loop_on_read;
    c->read->log = ngx_cycle->log;
    c->read->channel = 1;
    c->write->handler = ngx_im_loop_on_write;
    c->write->log = ngx_cycle->log;

    if (ngx_im_loop_add(c) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;     /* the caller closes it */
        ngx_free(w);
        return NULL;
    }

    return w;
}


/* Both directions once, where the method reports changes; else reading. */
static ngx_int_t
ngx_im_loop_add(ngx_connection_t *c)
{
    if (ngx_add_conn) {
        return ngx_add_conn(c);
    }

    if (!(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        return ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
    }

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_CLEAR_EVENT);
}


static void
ngx_im_loop_on_read(ngx_event_t *ev)
{
    ngx_connection_t     *c = ev->data;
    ngx_im_loop_watch_t  *w = c->data;

    ev->ready = 0;
    w->on_read(w->data);
}


static void
ngx_im_loop_on_write(ngx_event_t *ev)
{
    ngx_connection_t     *c = ev->data;
    ngx_im_loop_watch_t  *w = c->data;

    ev->ready = 0;
    w->on_write(w->data);
}


static void
ngx_im_loop_want_write(void *watch, int want)
{
    ngx_int_t             rc;
    ngx_event_t          *wev;
    ngx_im_loop_watch_t  *w = watch;

    if (ngx_event_flags & NGX_USE_CLEAR_EVENT) {
        return;                        /* it is reported in any case */
    }

    wev = w->connection->write;
    rc = NGX_OK;

    if (want && !wev->active) {
        rc = ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);

    } else if (!want && wev->active) {
        rc = ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "im: the loop cannot watch a connection for writing");
    }
}


static int
ngx_im_loop_has_ended(void *watch)
{
    ngx_im_loop_watch_t  *w = watch;

    if (!(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        return 0;                      /* it is reported again */
    }

#if (NGX_HAVE_EPOLLRDHUP)
    if (ngx_use_epoll_rdhup) {
        return w->connection->read->pending_eof;
    }
#endif

    return w->connection != NULL;      /* it cannot be told: maybe */
}


static void
ngx_im_loop_close(void *watch)
{
    ngx_im_loop_watch_t  *w = watch;

    ngx_close_connection(w->connection);
    ngx_free(w);
}


static void *
ngx_im_loop_timer(void *ctx, im_h2_fn_pt fn, void *data)
{
    ngx_im_loop_timer_t  *t;

    t = ngx_calloc(sizeof(ngx_im_loop_timer_t), ngx_cycle->log);
    if (t == NULL) {
        return NULL;
    }

    t->event.data = &ngx_im_loop.nobody;
    t->event.handler = ngx_im_loop_on_timer;
    t->event.log = ngx_cycle->log;
    t->event.cancelable = 1;
    t->fn = fn;
    t->data = data;

    return t;
}


static void
ngx_im_loop_on_timer(ngx_event_t *ev)
{
    ngx_im_loop_timer_t  *t = (ngx_im_loop_timer_t *) ev;

    t->fn(t->data);                    /* it may be gone after this */
}


static void
ngx_im_loop_timer_set(void *timer, unsigned ms)
{
    ngx_im_loop_timer_t  *t = timer;

    /* nginx leaves one that is set and is to run 300 ms sooner as it is */

    ngx_im_loop_timer_stop(timer);
    ngx_add_timer(&t->event, ms);
}


static void
ngx_im_loop_timer_stop(void *timer)
{
    ngx_im_loop_timer_t  *t = timer;

    if (t->event.timer_set) {
        ngx_del_timer(&t->event);
    }
}


static void
ngx_im_loop_timer_free(void *timer)
{
    ngx_im_loop_timer_stop(timer);
    ngx_free(timer);
}


static void
ngx_im_loop_post(void *ctx, im_h2_fn_pt fn, void *data)
{
    ngx_im_loop.post.fn = fn;
    ngx_im_loop.post.data = data;

    ngx_post_event(&ngx_im_loop.post.event,
                   ngx_im_loop.turns ? &ngx_posted_events
                                     : &ngx_posted_next_events);
}


static void
ngx_im_loop_on_post(ngx_event_t *ev)
{
    ngx_im_loop_timer_t  *t = (ngx_im_loop_timer_t *) ev;

    ngx_im_loop.turns = 1;
    t->fn(t->data);
}


static void
ngx_im_loop_unpost(void *ctx)
{
    if (ngx_im_loop.post.event.posted) {
        ngx_delete_posted_event(&ngx_im_loop.post.event);
    }
}

#endif
