/*
 * ngx_im_ws_end.c -- how a connection ends: politely, or at once.
 *
 *     close ----> Close is sent, FIN follows, the peer's FIN --+
 *                 (at most NGX_IM_WS_LINGER_MS)                +--> destroy
 *     error, timeout, exit ------------------------------------+       |
 *                                       posted event, end of turn: freed
 *
 * Nothing is freed under a caller's feet: destroy only marks.
 */

#include "ngx_im_rooms.h"


#define NGX_IM_WS_LINGER_MS   2000


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

    ngx_im_ws_session_end(ws);

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

    /* the peer has this long to take the Close and answer */
    ngx_add_timer(ws->connection->read, NGX_IM_WS_LINGER_MS);
}


/* The Close has left: half-close, and read on until the peer's FIN, so that
 * no reset takes the Close away from it. */
void
ngx_im_ws_finish(ngx_im_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->fin_sent) {
        return;
    }

    ws->fin_sent = 1;

    if (c->read->eof || c->read->error) {
        ngx_im_ws_destroy(ws);
        return;
    }

    if (ngx_im_ws_is_tls(c)) {
        ngx_im_ws_destroy(ws);         /* its shutdown says good-bye */
        return;
    }

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_im_ws_destroy(ws);
        return;
    }
}


void
ngx_im_ws_destroy(ngx_im_ws_t *ws)
{
    if (ws->dead) {
        return;
    }

    ngx_im_ws_session_end(ws);

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
ngx_im_ws_exit_worker(ngx_cycle_t *cycle)
{
    ngx_im_ws_t       *ws;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    /* a fast exit finds connections: their memory is ours, sockets nginx's */

    c = cycle->connections;

    for (i = 0; i < cycle->connection_n; i++) {
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

    ngx_im_rooms_exit();
    ngx_im_users_free();
    ngx_im_ws_buf_free_kept();
}
