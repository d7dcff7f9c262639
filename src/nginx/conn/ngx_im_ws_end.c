/*
 * ngx_im_ws_end.c -- how a connection ends: politely, or at once.
 *
 *     close --> queued frames, Close --> close_notify, FIN --> peer's FIN
 *                  |                                              |
 *     error        | at most IM_WS_LINGER_MS        the same  |
 *       |          v                                        |     v
 *       +------> destroy <----------------------------------+-----+
 *                  |
 *                  +--> posted event, end of turn: freed
 *
 * A socket that is closed with unread input answers with a reset, and the
 * reset makes the peer lose what it has not read yet: the last pushes and the
 * close code.  So after the FIN input is read and thrown away until the peer
 * has read everything and sends its own FIN.
 *
 * TLS is no exception.  After its close_notify has left, the SSL object is
 * freed and the ciphertext is thrown away unread: a lingering connection costs
 * the same over ws and wss.
 *
 * Nothing is freed under a caller's feet: destroy only marks.
 */

#include "ngx_im_ws_out.h"
#include "ngx_im_worker.h"
#include "im_timeouts.h"


#if (NGX_HTTP_SSL)
static ngx_int_t ngx_im_ws_close_notify(ngx_im_ws_t *ws);
#endif
static void ngx_im_ws_reap_handler(ngx_event_t *ev);
static void ngx_im_ws_free(ngx_im_ws_t *ws);


static ngx_im_ws_t  *ngx_im_ws_dead;

static ngx_event_t  ngx_im_ws_reap_event = {
    .handler = ngx_im_ws_reap_handler
};


void
ngx_im_ws_close(ngx_im_ws_t *ws, unsigned code, const char *reason)
{
    u_char  payload[125], frame[2 + 125];
    size_t  len, n;

    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    ngx_im_log_error(NGX_LOG_INFO, ws->connection->log,
                     "ws %uL: closing %ui %s", ws->id, (ngx_uint_t) code,
                     reason);

    ngx_im_ws_talk->end(ws);

    if (code == IM_CLOSE_SLOW) {
        ngx_im_ws_cut_out(ws);
    }

    ws->close_code = code;

    len = (code == 1005) ? 0 : im_frame_close_payload(payload, code, reason);

    n = im_frame_header(frame, IM_FRAME_CLOSE, len);
    ngx_memcpy(frame + n, payload, len);
    ngx_im_ws_append(ws, frame, n + len);

    if (ws->dead) {
        return;
    }

    ngx_im_ws_set_state(ws, NGX_IM_WS_CLOSING);

    /* the peer has this long to read what is queued and the Close */
    ngx_add_timer(ws->connection->read, IM_WS_LINGER_MS);

    if (ws->connection->read->ready) {
        /* what was not read during the login is thrown away */
        ngx_post_event(ws->connection->read, &ngx_posted_next_events);
    }
}


/* The Close has left: half-close, and go on reading until the peer's FIN. */
void
ngx_im_ws_finish(ngx_im_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->fin_sent) {
        return;
    }

    if (c->read->eof || c->read->error) {
        ngx_im_ws_destroy(ws);
        return;
    }

#if (NGX_HTTP_SSL)
    /* built without nginx's TLS: the client gets a FIN, no close_notify */

    if (c->ssl) {
        switch (ngx_im_ws_close_notify(ws)) {

        case NGX_OK:
            break;

        case NGX_AGAIN:
            return;                    /* the write handler comes back */

        default:
            ngx_im_ws_destroy(ws);
            return;
        }
    }
#endif

    ws->fin_sent = 1;

    ngx_im_ws_part_free(&ws->frame);
    ngx_im_ws_part_free(&ws->message);
    ngx_free(ws->login);
    ws->login = NULL;

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_im_ws_destroy(ws);
        return;
    }

    /* the peer has this long to answer */
    ngx_add_timer(c->read, IM_WS_LINGER_MS);
}


#if (NGX_HTTP_SSL)

/*
 * NGX_OK: c->ssl is gone, c->recv reads the bare socket.  NGX_AGAIN: the
 * socket is full; nginx has then put handlers and a timer of its own in place
 * of ours, which would end the connection without reading on.
 */
static ngx_int_t
ngx_im_ws_close_notify(ngx_im_ws_t *ws)
{
    ngx_int_t          rc;
    ngx_msec_t         end;
    ngx_connection_t  *c;

    c = ws->connection;
    end = c->read->timer.key;

    c->ssl->no_wait_shutdown = 1;      /* the peer's is not waited for here */

    rc = ngx_ssl_shutdown(c);

    if (rc == NGX_AGAIN) {
        c->read->handler = ngx_im_ws_read_handler;
        c->write->handler = ngx_im_ws_write_handler;

        ngx_add_timer(c->read, ngx_max((ngx_msec_int_t)
                                       (end - ngx_current_msec), 1));
        return NGX_AGAIN;
    }

    if (rc != NGX_OK || c->ssl != NULL) {
        return NGX_ERROR;
    }

    /* the SSL object may have held input that epoll reports no more */

    c->read->ready = 1;
    c->read->available = -1;

    ngx_post_event(c->read, &ngx_posted_next_events);

    return NGX_OK;
}

#endif


void
ngx_im_ws_destroy(ngx_im_ws_t *ws)
{
    if (ws->dead) {
        return;
    }

    ngx_im_ws_talk->end(ws);

    ws->dead = 1;
    ws->dead_next = ngx_im_ws_dead;
    ngx_im_ws_dead = ws;

    if (!ngx_im_ws_reap_event.posted) {
        ngx_im_ws_reap_event.log = ngx_cycle->log;
        ngx_post_event(&ngx_im_ws_reap_event, &ngx_posted_events);
    }
}


static void
ngx_im_ws_reap_handler(ngx_event_t *ev)
{
    ngx_im_ws_t  *ws, *next, *again;

    again = NULL;

    for (ws = ngx_im_ws_dead; ws != NULL; ws = next) {
        next = ws->dead_next;

        if (ws->dirty) {
            /* still on the flush list: freed in the next round */
            ws->dead_next = again;
            again = ws;
            continue;
        }

        ngx_im_ws_free(ws);
    }

    ngx_im_ws_dead = again;

    if (again != NULL) {
        ngx_post_event(&ngx_im_ws_reap_event, &ngx_posted_next_events);
    }
}


static void
ngx_im_ws_free(ngx_im_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    ngx_im_ws_drop_out(ws);
    ngx_im_ws_part_free(&ws->frame);
    ngx_im_ws_part_free(&ws->message);
    ngx_free(ws->login);

    c->data = NULL;
    c->idle = 0;
    c->log->action = "closing websocket";
    ngx_free(ws);

    ngx_http_close_connection(c);
}


void
ngx_im_ws_end_all(void)
{
    ngx_im_ws_t       *ws;
    ngx_uint_t         i, n;
    ngx_connection_t  *c;

    /* a fast exit finds connections: their memory is ours, sockets nginx's */

    c = ngx_im_worker_connections(&n);

    for (i = 0; i < n; i++) {
        if (c[i].fd != (ngx_socket_t) -1 && c[i].read != NULL
            && c[i].read->handler == ngx_im_ws_read_handler)
        {
            ngx_im_ws_destroy(c[i].data);
        }
    }

    ngx_im_ws_flush_all();

    while (ngx_im_ws_dead != NULL) {
        ws = ngx_im_ws_dead;
        ngx_im_ws_dead = ws->dead_next;
        ngx_im_ws_free(ws);
    }
}
