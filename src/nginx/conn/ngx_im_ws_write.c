/*
 * ngx_im_ws_write.c -- the way out: shared buffers, one flush a loop turn.
 *
 *     send_frame ---+
 *     send_push ----+--> out[] --> ngx_im_ws_flush.c, end of the turn
 *     send_control -+
 *
 * All frames that a connection is given in one turn of the loop leave in one
 * system call.  A small private frame (an ack) is appended to the last private
 * buffer, so a burst of acks costs one buffer; a push is shared between its
 * recipients, not copied for each.
 *
 * A client that reads too slowly loses no push without knowing it.  A push that
 * does not fit into im_ws_send_queue is left out, and so are all after it,
 * until the queue has drained below half; then the client gets one sync_needed,
 * and asks for what it has missed.  What answers the client itself (acks,
 * errors, answers, pongs) cannot be asked for again: it may use twice that
 * much, and then the connection closes with 4002.
 */

#include "ngx_im_ws_out.h"
#include "im_error.h"
#include "im_timeouts.h"


#define NGX_IM_WS_OUT_MAX     4096     /* buffers waiting on a connection */
#define NGX_IM_WS_OVER        65536    /* the last one may go over by this */
#define NGX_IM_WS_PUSHES      1        /* shares of im_ws_send_queue */
#define NGX_IM_WS_ANSWERS     2


static void ngx_im_ws_share(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
static u_char *ngx_im_ws_reserve(ngx_im_ws_t *ws, size_t len);
static int ngx_im_ws_queue(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
static int ngx_im_ws_fits(ngx_im_ws_t *ws, size_t len, ngx_uint_t share);
static int ngx_im_ws_fits_now(ngx_im_ws_t *ws, size_t len, ngx_uint_t share);
static int ngx_im_ws_room(ngx_im_ws_t *ws, size_t len);
static void ngx_im_ws_put(ngx_im_ws_t *ws, const Im__Frame *frame,
    size_t len);


void
ngx_im_ws_send_push(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
{
    if (ws->dead || ws->behind || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    if (!ngx_im_ws_fits_now(ws, b->len, NGX_IM_WS_PUSHES)) {

        if (ws->dead) {
            return;
        }

        /* nothing is lost: ngx_im_ws_catch_up() sends sync_needed */

        ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                      "ws %uL: %uD bytes wait, pushes are left out",
                      ws->id, ws->out_size);
        ws->behind = 1;
        return;
    }

    ngx_im_ws_share(ws, b);
}


void
ngx_im_ws_send_event(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
{
    if (ws->dead || ws->behind || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    if (ngx_im_ws_fits_now(ws, b->len, NGX_IM_WS_PUSHES)) {
        ngx_im_ws_share(ws, b);

    } else if (!ws->dead) {
        ws->behind = 1;                /* it gets sync_needed, as for a push */
    }
}


/* The flush at the end of the turn sends sync_needed, if the client reads. */
void
ngx_im_ws_fall_behind(ngx_im_ws_t *ws)
{
    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    ws->behind = 1;
    ngx_im_ws_flush_later(ws);
}


static void
ngx_im_ws_share(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
{
    b->refs++;

    if (ngx_im_ws_queue(ws, b) != IM_OK) {
        ngx_im_ws_buf_release(b);
        ngx_im_ws_destroy(ws);
        return;
    }

    ngx_im_ws_flush_later(ws);
}


void
ngx_im_ws_send_frame(ngx_im_ws_t *ws, const Im__Frame *frame)
{
    size_t  len;

    len = im_client_encode(frame, ws->encoding, NULL, 0);

    if (ngx_im_ws_room(ws, len)) {
        ngx_im_ws_put(ws, frame, len);
    }
}


int
ngx_im_ws_send_answer(ngx_im_ws_t *ws, const Im__Frame *frame)
{
    size_t  len, limit;

    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return IM_OK;                  /* nobody waits for it */
    }

    len = im_client_encode(frame, ws->encoding, NULL, 0);

    if (!ngx_im_ws_fits_now(ws, len, NGX_IM_WS_ANSWERS)) {
        limit = NGX_IM_WS_ANSWERS * ws->conf->send_queue + NGX_IM_WS_OVER;

        return (len > limit) ? IM_DECLINED : IM_BUSY;
    }

    ngx_im_ws_put(ws, frame, len);

    return IM_OK;
}


static void
ngx_im_ws_put(ngx_im_ws_t *ws, const Im__Frame *frame, size_t len)
{
    u_char  *p;

    p = ngx_im_ws_reserve(ws, len);
    if (p == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    (void) im_client_encode(frame, ws->encoding, p, len);

    ngx_im_ws_flush_later(ws);
}


void
ngx_im_ws_send_error(ngx_im_ws_t *ws, const char *code, const char *message,
    const char *cmid)
{
    Im__Error  error = IM__ERROR__INIT;

    error.code = (char *) code;
    error.message = (char *) message;

    if (cmid != NULL) {
        error.cmid = (char *) cmid;
    }

    ngx_im_ws_send_refusal(ws, &error);
}


void
ngx_im_ws_send_refusal(ngx_im_ws_t *ws, Im__Error *error)
{
    Im__Frame          frame = IM__FRAME__INIT;
    const im_error_t  *e;

    e = im_error_find(error->code, ngx_strlen(error->code));

    error->code = (char *) e->code;
    error->retryable = e->retryable;

    if (e->retryable && error->retry_after_ms == 0) {
        error->retry_after_ms = IM_RETRY_MS;
    }

    frame.frame_case = IM__FRAME__FRAME_ERROR;
    frame.error = error;

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


void
ngx_im_ws_append(ngx_im_ws_t *ws, const u_char *data, size_t len)
{
    u_char  *p;

    p = ngx_im_ws_reserve(ws, len);
    if (p == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    ngx_memcpy(p, data, len);
    ngx_im_ws_flush_later(ws);
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

    if (ngx_im_ws_queue(ws, b) != IM_OK) {
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
ngx_im_ws_queue(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b)
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


/* Whether len more bytes may wait, of so many times im_ws_send_queue. */
static int
ngx_im_ws_fits(ngx_im_ws_t *ws, size_t len, ngx_uint_t share)
{
    size_t  limit;

    limit = share * ws->conf->send_queue;

    return ws->out_size <= limit
           && ws->out_size + len <= limit + NGX_IM_WS_OVER
           && ws->out_n < share * NGX_IM_WS_OUT_MAX;
}


/*
 * The same when the socket has taken what it takes: a burst of one loop turn
 * does not make a slow reader.  May end the connection.
 */
static int
ngx_im_ws_fits_now(ngx_im_ws_t *ws, size_t len, ngx_uint_t share)
{
    if (ngx_im_ws_fits(ws, len, share)) {
        return 1;
    }

    return ws->connection->write->ready
           && ngx_im_ws_flush(ws) == NGX_OK
           && ngx_im_ws_fits(ws, len, share);
}


/* The same for what cannot be left out: if there is none, it closes. */
static int
ngx_im_ws_room(ngx_im_ws_t *ws, size_t len)
{
    if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return 0;
    }

    if (ngx_im_ws_fits_now(ws, len, NGX_IM_WS_ANSWERS)) {
        return 1;
    }

    if (ws->dead) {
        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                  "ws %uL: %uD bytes wait, over im_ws_send_queue, closing %d",
                  ws->id, ws->out_size, IM_CLOSE_SLOW);

    /* what waits is not readable by now: make room for the Close itself */
    ngx_im_ws_close(ws, IM_CLOSE_SLOW, "reads too slowly");

    return 0;
}


/* The client reads again: it gets sync_needed, once, and pushes again. */
void
ngx_im_ws_catch_up(ngx_im_ws_t *ws)
{
    Im__Frame       frame = IM__FRAME__INIT;
    Im__SyncNeeded  needed = IM__SYNC_NEEDED__INIT;

    if (ws->out_size >= ws->conf->send_queue / 2
        || ws->out_n >= NGX_IM_WS_OUT_MAX / 2)
    {
        return;
    }

    ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                  "ws %uL: reads again, gets sync_needed", ws->id);

    ws->behind = 0;

    frame.frame_case = IM__FRAME__FRAME_SYNC_NEEDED;
    frame.sync_needed = &needed;

    ngx_im_ws_send_frame(ws, &frame);
}


void
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


/* All but the buffer that is half on its way. */
void
ngx_im_ws_cut_out(ngx_im_ws_t *ws)
{
    while (ws->out_n > 1) {
        ngx_im_ws_buf_release(ws->out[--ws->out_n]);
    }

    ws->out_size = ws->out_n ? ws->out[0]->len - ws->out_sent : 0;
}
