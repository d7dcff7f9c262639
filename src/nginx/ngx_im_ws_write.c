/*
 * ngx_im_ws_write.c -- the way out: shared buffers, one flush a loop turn.
 *
 *     send_frame ---+                      posted event, end of the turn
 *     send_buf  ----+--> out[] + dirty ---> flush: one writev a connection
 *     send_control -+                       |
 *                                           +--> socket full: write handler
 *
 * All frames that a connection is given in one turn of the loop leave in one
 * system call.  A small private frame (an ack) is appended to the last private
 * buffer, so a burst of acks costs one buffer; a push is shared between its
 * recipients and never copied.
 *
 * A queue over im_ws_send_queue closes with 4002: the client reads too slowly,
 * comes back and fetches what it missed.
 */

#include "ngx_im_ws.h"
#include "im_error.h"


#define NGX_IM_WS_OUT_MAX     4096     /* buffers waiting on a connection */
#define NGX_IM_WS_CHAIN       64       /* buffers handed to one writev */
#define NGX_IM_WS_LINGER_MS   2000


static void ngx_im_ws_append(ngx_im_ws_t *ws, const u_char *data, size_t len);
static u_char *ngx_im_ws_reserve(ngx_im_ws_t *ws, size_t len);
static int ngx_im_ws_push(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
static int ngx_im_ws_room(ngx_im_ws_t *ws, size_t len);
static void ngx_im_ws_mark_dirty(ngx_im_ws_t *ws);
static void ngx_im_ws_flush_handler(ngx_event_t *ev);
static ngx_int_t ngx_im_ws_flush(ngx_im_ws_t *ws);
static size_t ngx_im_ws_chain(ngx_im_ws_t *ws, ngx_chain_t *chain,
    ngx_buf_t *bufs);
static void ngx_im_ws_consume(ngx_im_ws_t *ws, size_t sent);
static void ngx_im_ws_drop_out(ngx_im_ws_t *ws);
static void ngx_im_ws_cut_out(ngx_im_ws_t *ws);
static void ngx_im_ws_finish(ngx_im_ws_t *ws);
static void ngx_im_ws_reap_handler(ngx_event_t *ev);
static void ngx_im_ws_free(ngx_im_ws_t *ws);


static ngx_im_ws_t  *ngx_im_ws_dirty;
static ngx_im_ws_t  *ngx_im_ws_dead;

static ngx_event_t  ngx_im_ws_flush_event = {
    .handler = ngx_im_ws_flush_handler
};

static ngx_event_t  ngx_im_ws_reap_event = {
    .handler = ngx_im_ws_reap_handler
};


void
ngx_im_ws_send_buf(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
{
    if (!ngx_im_ws_room(ws, b->len)) {
        return;
    }

    b->refs++;

    if (ngx_im_ws_push(ws, b) != IM_OK) {
        ngx_im_ws_buf_release(b);
        ngx_im_ws_destroy(ws);
        return;
    }

    ngx_im_ws_mark_dirty(ws);
}


void
ngx_im_ws_send_frame(ngx_im_ws_t *ws, const Im__Frame *frame)
{
    u_char  *p;
    size_t   len;

    len = im_client_encode(frame, ws->encoding, NULL, 0);

    if (!ngx_im_ws_room(ws, len)) {
        return;
    }

    p = ngx_im_ws_reserve(ws, len);
    if (p == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    (void) im_client_encode(frame, ws->encoding, p, len);

    ngx_im_ws_mark_dirty(ws);
}


void
ngx_im_ws_send_error(ngx_im_ws_t *ws, const char *code, const char *message,
    const char *cmid)
{
    Im__Error          error = IM__ERROR__INIT;
    Im__Frame          frame = IM__FRAME__INIT;
    const im_error_t  *e;

    e = im_error_find(code, ngx_strlen(code));

    error.code = (char *) e->code;
    error.message = (char *) message;
    error.retryable = e->retryable;
    error.retry_after_ms = e->retryable ? 1000 : 0;

    if (cmid != NULL) {
        error.cmid = (char *) cmid;
    }

    frame.frame_case = IM__FRAME__FRAME_ERROR;
    frame.error = &error;

    ngx_im_ws_send_frame(ws, &frame);
}


void
ngx_im_ws_send_control(ngx_im_ws_t *ws, unsigned opcode, const u_char *data,
    size_t len)
{
    u_char  frame[2 + 125];
    size_t  n;

    if (!ngx_im_ws_room(ws, len + 2)) {
        return;
    }

    n = im_frame_header(frame, opcode, len);

    if (len != 0) {
        ngx_memcpy(frame + n, data, len);
    }

    ngx_im_ws_append(ws, frame, n + len);
}


static void
ngx_im_ws_append(ngx_im_ws_t *ws, const u_char *data, size_t len)
{
    u_char  *p;

    p = ngx_im_ws_reserve(ws, len);
    if (p == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    ngx_memcpy(p, data, len);
    ngx_im_ws_mark_dirty(ws);
}


/* len bytes at the end of the queue, counted as written. */
static u_char *
ngx_im_ws_reserve(ngx_im_ws_t *ws, size_t len)
{
    u_char           *p;
    ngx_im_ws_buf_t  *b;

    if (ws->out_n > 0) {
        b = ws->out[ws->out_n - 1];

        if (b->own && b->refs == 1 && b->cap - b->len >= len) {
            goto found;
        }
    }

    b = ngx_im_ws_buf_create(len);
    if (b == NULL) {
        return NULL;
    }

    b->own = 1;

    if (ngx_im_ws_push(ws, b) != IM_OK) {
        ngx_im_ws_buf_release(b);
        return NULL;
    }

found:

    p = b->data + b->len;
    b->len += len;
    ws->out_size += len;

    return p;
}


/* Appends a buffer whose reference is given away. */
static int
ngx_im_ws_push(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
{
    uint16_t           cap;
    ngx_im_ws_buf_t  **out;

    if (ws->out_n == ws->out_cap) {
        cap = ws->out_cap ? ws->out_cap * 2 : 8;

        out = ngx_alloc(cap * sizeof(ngx_im_ws_buf_t *), ngx_cycle->log);
        if (out == NULL) {
            return IM_ERROR;
        }

        if (ws->out_n > 0) {
            ngx_memcpy(out, ws->out, ws->out_n * sizeof(ngx_im_ws_buf_t *));
        }

        ngx_free(ws->out);
        ws->out = out;
        ws->out_cap = cap;
    }

    ws->out[ws->out_n++] = b;
    ws->out_size += b->len;

    return IM_OK;
}


/* Whether len more bytes may wait; a queue over its limit closes. */
static int
ngx_im_ws_room(ngx_im_ws_t *ws, size_t len)
{
    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return 0;
    }

    if (ws->out_size + len <= ws->conf->send_queue + 65536
        && (ws->out_size <= ws->conf->send_queue)
        && ws->out_n < NGX_IM_WS_OUT_MAX)
    {
        return 1;
    }

    ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                  "ws %uL: %uD bytes wait, over im_ws_send_queue, closing %d",
                  ws->id, ws->out_size, IM_CLOSE_SLOW);

    /* what waits is not readable by now: make room for the Close itself */
    ngx_im_ws_close(ws, IM_CLOSE_SLOW, "reads too slowly");

    return 0;
}


static void
ngx_im_ws_mark_dirty(ngx_im_ws_t *ws)
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

    if (wev->ready) {
        (void) ngx_im_ws_flush(c->data);
    }
}


/* Writes what the socket takes.  NGX_ERROR: the connection is being freed. */
static ngx_int_t
ngx_im_ws_flush(ngx_im_ws_t *ws)
{
    off_t              before;
    size_t             n;
    ngx_buf_t          bufs[NGX_IM_WS_CHAIN];
    ngx_chain_t       *rest, chain[NGX_IM_WS_CHAIN];
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->dead) {
        return NGX_ERROR;
    }

    while (ws->out_n > 0) {
        n = ngx_im_ws_chain(ws, chain, bufs);
        before = c->sent;

        rest = c->send_chain(c, chain, 0);

        if (rest == NGX_CHAIN_ERROR) {
            ngx_im_ws_destroy(ws);
            return NGX_ERROR;
        }

        ngx_im_ws_consume(ws, c->sent - before);

        if (rest != NULL || (size_t) (c->sent - before) < n) {
            break;
        }
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_im_ws_destroy(ws);
        return NGX_ERROR;
    }

    if (ws->out_n == 0 && ws->state == NGX_IM_WS_CLOSING && !c->buffered) {
        ngx_im_ws_finish(ws);
    }

    return NGX_OK;
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


static void
ngx_im_ws_drop_out(ngx_im_ws_t *ws)
{
    ngx_uint_t  i;

    for (i = 0; i < ws->out_n; i++) {
        ngx_im_ws_buf_release(ws->out[i]);
    }

    ngx_free(ws->out);
    ws->out = NULL;
    ws->out_n = 0;
    ws->out_cap = 0;
    ws->out_sent = 0;
    ws->out_size = 0;
}


/* Forgets what waits, but for the buffer that is half on its way. */
static void
ngx_im_ws_cut_out(ngx_im_ws_t *ws)
{
    while (ws->out_n > 1) {
        ngx_im_ws_buf_release(ws->out[--ws->out_n]);
    }

    ws->out_size = ws->out_n ? ws->out[0]->len - ws->out_sent : 0;
}


void
ngx_im_ws_close(ngx_im_ws_t *ws, unsigned code, const char *reason)
{
    u_char  payload[125], frame[2 + 125];
    size_t  len, n;

    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                  "ws %uL: closing %ui %s", ws->id, (ngx_uint_t) code, reason);

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
static void
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

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_im_ws_destroy(ws);         /* its shutdown says good-bye */
        return;
    }
#endif

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

    ngx_im_ws_flush_handler(NULL);

    while (ngx_im_ws_dead != NULL) {
        ws = ngx_im_ws_dead;
        ngx_im_ws_dead = ws->dead_next;
        ngx_im_ws_free(ws);
    }

    ngx_im_users_free();
    ngx_im_ws_buf_free_kept();
}
