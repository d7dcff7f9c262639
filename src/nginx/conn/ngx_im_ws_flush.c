/*
 * ngx_im_ws_flush.c -- what waits on a connection goes to its socket.
 *
 *     queued --> dirty list --> posted event, end of the turn --> send
 *                                  socket full: write handler ------^
 *
 * A system call for each connection and turn: in a fan-out that is nearly all
 * that a delivery costs.  So a few frames are copied into one buffer, since
 * send() is cheaper than writev() by more than the copy costs; what is larger,
 * or goes by TLS, is handed over as it lies there.
 */

#include "ngx_im_ws_out.h"


#define NGX_IM_WS_COPY   4096          /* bytes */
#define NGX_IM_WS_CHAIN  64            /* buffers handed to one writev */


static void ngx_im_ws_flush_handler(ngx_event_t *ev);
static ngx_int_t ngx_im_ws_send(ngx_im_ws_t *ws, size_t *n);
static size_t ngx_im_ws_copy(ngx_im_ws_t *ws, u_char *p);
static size_t ngx_im_ws_chain(ngx_im_ws_t *ws, ngx_chain_t *chain,
    ngx_buf_t *bufs);
static void ngx_im_ws_consume(ngx_im_ws_t *ws, size_t sent);


static ngx_im_ws_t  *ngx_im_ws_dirty;

static ngx_event_t  ngx_im_ws_flush_event = {
    .handler = ngx_im_ws_flush_handler
};


void
ngx_im_ws_flush_later(ngx_im_ws_t *ws)
{
    if (ws->dirty || ws->dead) {
        return;
    }

    ws->dirty = 1;
    ws->work_next = ngx_im_ws_dirty;
    ngx_im_ws_dirty = ws;

    if (!ngx_im_ws_flush_event.posted) {
        ngx_im_ws_flush_event.log = ngx_cycle->log;
        ngx_post_event(&ngx_im_ws_flush_event, &ngx_posted_events);
    }
}


void
ngx_im_ws_flush_all(void)
{
    ngx_im_ws_flush_handler(NULL);
}


static void
ngx_im_ws_flush_handler(ngx_event_t *ev)
{
    ngx_im_ws_t  *ws;

    while (ngx_im_ws_dirty != NULL) {
        ws = ngx_im_ws_dirty;
        ngx_im_ws_dirty = ws->work_next;
        ws->dirty = 0;

        if (!ws->dead && ws->connection->write->ready) {
            (void) ngx_im_ws_flush(ws);
        }
    }
}


void
ngx_im_ws_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    if (wev->timedout) {
        wev->timedout = 0;
        ngx_im_ws_hold_timeout(c->data);
        return;
    }

    if (wev->ready) {
        (void) ngx_im_ws_flush(c->data);
    }
}


ngx_int_t
ngx_im_ws_flush(ngx_im_ws_t *ws)
{
    off_t              before;
    size_t             n;
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->dead) {
        return NGX_ERROR;
    }

    while (ws->out_n > 0) {
        before = c->sent;

        if (ngx_im_ws_send(ws, &n) != NGX_OK) {
            ngx_im_ws_destroy(ws);
            return NGX_ERROR;
        }

        ngx_im_ws_consume(ws, c->sent - before);

        if ((size_t) (c->sent - before) < n) {
            break;
        }
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_im_ws_destroy(ws);
        return NGX_ERROR;
    }

    if (ws->behind) {
        ngx_im_ws_catch_up(ws);
    }

    if (ws->out_n == 0 && ws->state == NGX_IM_WS_CLOSING && !c->buffered) {
        ngx_im_ws_finish(ws);
    }

    return NGX_OK;
}


/* Once; n bytes were to go, c->sent is how many did. */
static ngx_int_t
ngx_im_ws_send(ngx_im_ws_t *ws, size_t *n)
{
    u_char             copy[NGX_IM_WS_COPY];
    ngx_buf_t          bufs[NGX_IM_WS_CHAIN];
    ngx_chain_t        chain[NGX_IM_WS_CHAIN];
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->out_size <= NGX_IM_WS_COPY && !ngx_im_ws_is_tls(c)) {
        *n = ngx_im_ws_copy(ws, copy);

        return (c->send(c, copy, *n) == NGX_ERROR) ? NGX_ERROR : NGX_OK;
    }

    *n = ngx_im_ws_chain(ws, chain, bufs);

    return (c->send_chain(c, chain, 0) == NGX_CHAIN_ERROR) ? NGX_ERROR
                                                           : NGX_OK;
}


static size_t
ngx_im_ws_copy(ngx_im_ws_t *ws, u_char *p)
{
    size_t       skip;
    u_char      *start;
    ngx_uint_t   i;

    start = p;
    skip = ws->out_sent;

    for (i = 0; i < ws->out_n; i++) {
        p = ngx_cpymem(p, ws->out[i]->data + skip, ws->out[i]->len - skip);
        skip = 0;
    }

    return p - start;
}


static size_t
ngx_im_ws_chain(ngx_im_ws_t *ws, ngx_chain_t *chain, ngx_buf_t *bufs)
{
    size_t            size;
    ngx_uint_t        i, n;
    ngx_im_ws_buf_t  *b;

    size = 0;
    n = ngx_min(ws->out_n, NGX_IM_WS_CHAIN);

    ngx_memzero(bufs, n * sizeof(ngx_buf_t));

    for (i = 0; i < n; i++) {
        b = ws->out[i];

        bufs[i].pos = b->data + (i == 0 ? ws->out_sent : 0);
        bufs[i].last = b->data + b->len;
        bufs[i].start = bufs[i].pos;
        bufs[i].end = bufs[i].last;
        bufs[i].memory = 1;
        bufs[i].flush = 1;             /* TLS must not hold it back */

        chain[i].buf = &bufs[i];
        chain[i].next = (i + 1 < n) ? &chain[i + 1] : NULL;

        size += bufs[i].last - bufs[i].pos;
    }

    return size;
}


static void
ngx_im_ws_consume(ngx_im_ws_t *ws, size_t sent)
{
    size_t            left;
    ngx_uint_t        i;
    ngx_im_ws_buf_t  *b;

    ws->out_size -= sent;

    for (i = 0; i < ws->out_n; i++) {
        b = ws->out[i];
        left = b->len - ws->out_sent;

        if (sent < left) {
            ws->out_sent += sent;
            break;
        }

        sent -= left;
        ws->out_sent = 0;
        ngx_im_ws_buf_release(b);
    }

    ws->out_n -= i;

    if (ws->out_n == 0) {
        ngx_free(ws->out);             /* an idle connection owns no queue */
        ws->out = NULL;
        ws->out_cap = 0;

    } else if (i > 0) {
        ngx_memmove(ws->out, ws->out + i,
                    ws->out_n * sizeof(ngx_im_ws_buf_t *));
    }
}
