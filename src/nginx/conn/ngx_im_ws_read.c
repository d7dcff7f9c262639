/*
 * ngx_im_ws_read.c -- the way in: bytes -> frames -> messages.
 *
 * Reads into one buffer of the worker and parses frames where they lie.  Only
 * what is left of an incomplete frame is copied, to memory that grows with
 * what has really arrived: a client that announces 64 KB and sends one byte
 * costs 256 bytes.  While a login is under way nothing is read, so that the
 * kernel's buffer, not ours, holds what an eager client sends.
 */

#include "ngx_im_ws_out.h"
#include "im_utf8.h"


#define NGX_IM_WS_READ_SIZE   65536
#define NGX_IM_WS_READ_TURNS  4        /* recv calls a loop turn */
#define NGX_IM_WS_PART_MIN    256
#define NGX_IM_WS_DISCARD_MAX (16 * 1024 * 1024)  /* read after our Close */
#define NGX_IM_WS_FRAME_HEAD  14       /* largest header of a client frame */


static void ngx_im_ws_read(ngx_im_ws_t *ws);
static ngx_int_t ngx_im_ws_recv(ngx_im_ws_t *ws);
static size_t ngx_im_ws_parse(ngx_im_ws_t *ws, u_char *data, size_t len,
    size_t *need);
static void ngx_im_ws_on_frame(ngx_im_ws_t *ws, im_frame_t *f);
static void ngx_im_ws_on_data(ngx_im_ws_t *ws, im_frame_t *f);
static void ngx_im_ws_on_message(ngx_im_ws_t *ws, unsigned opcode,
    im_str_t *message);
static int ngx_im_ws_paused(ngx_im_ws_t *ws);
static void ngx_im_ws_discard(ngx_im_ws_t *ws);
static void ngx_im_ws_drain(ngx_im_ws_t *ws);


static u_char  *ngx_im_ws_read_buf;


ngx_int_t
ngx_im_ws_read_init(ngx_cycle_t *cycle)
{
    if (ngx_im_ws_read_buf == NULL) {
        ngx_im_ws_read_buf = ngx_palloc(cycle->pool, NGX_IM_WS_READ_SIZE);
    }

    return (ngx_im_ws_read_buf != NULL) ? NGX_OK : NGX_ERROR;
}


void
ngx_im_ws_read_handler(ngx_event_t *rev)
{
    ngx_im_ws_t       *ws;
    ngx_connection_t  *c;

    c = rev->data;
    ws = c->data;

    if (ws->dead) {
        return;
    }

    if (c->close) {
        c->close = 0;
        ngx_im_ws_drain(ws);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_im_ws_talk->timer(ws);
        return;
    }

    if (ws->rest) {
        ngx_im_ws_resume(ws);

    } else if (rev->ready) {
        ngx_im_ws_read(ws);
    }
}


/*
 * The worker is leaving (reload, quit): each client gets 4001 and reconnects,
 * at a random moment within the next second, so that they do not all arrive at
 * once.  The timer keeps the worker alive until then.
 */
static void
ngx_im_ws_drain(ngx_im_ws_t *ws)
{
    if (ws->draining || ws->connection->error) {
        ngx_im_ws_destroy(ws);         /* worker_shutdown_timeout is over */
        return;
    }

    ws->draining = 1;

    if (ws->state == NGX_IM_WS_CLOSING) {
        return;                        /* it lingers; its timer ends that */
    }

    ngx_add_timer(ws->connection->read, 1 + ngx_random() % 1000);
}


void
ngx_im_ws_resume(ngx_im_ws_t *ws)
{
    size_t             need;
    ngx_im_ws_part_t  *part;

    /* frames that came along with the handshake, behind the auth frame, or
     * behind the one for which it was held */

    if (ws->frame != NULL && !ngx_im_ws_paused(ws)) {
        part = ws->frame;
        ws->frame = NULL;

        part->off += ngx_im_ws_parse(ws, part->data + part->off,
                                     part->len - part->off, &need);

        ws->rest = !ws->dead && part->off < part->len && ngx_im_ws_paused(ws);

        if (ws->rest) {
            ws->frame = part;          /* as it lies there */
            part = NULL;

        } else if (!ws->dead && part->off < part->len) {

            if (ngx_im_ws_part_keep(&ws->frame, part->data + part->off,
                                    part->len - part->off, 0)
                != IM_OK)
            {
                ngx_im_ws_destroy(ws);

            } else {
                ws->frame->need = need;
            }
        }

        ngx_im_ws_part_free(&part);
    }

    if (!ws->dead) {
        ngx_im_ws_read(ws);
    }
}


static int
ngx_im_ws_paused(ngx_im_ws_t *ws)
{
    return ws->state == NGX_IM_WS_LOGIN || ws->held;
}


static void
ngx_im_ws_read(ngx_im_ws_t *ws)
{
    ngx_int_t          rc;
    ngx_uint_t         turns;
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->state == NGX_IM_WS_CLOSING) {
        ngx_im_ws_discard(ws);
        return;
    }

    for (turns = 0; turns < NGX_IM_WS_READ_TURNS; turns++) {

        if (ws->dead || ws->state == NGX_IM_WS_CLOSING) {
            return;
        }

        if (ngx_im_ws_paused(ws)) {
            /* resume() comes back; until then select() and poll() must not
             * report what is not read */
            break;
        }

        rc = ngx_im_ws_recv(ws);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc != NGX_OK) {
            ngx_im_ws_destroy(ws);
            return;
        }

        if (!c->read->ready) {
            break;
        }
    }

    if (ws->dead) {
        return;
    }

    if (c->read->ready && !ngx_im_ws_paused(ws)) {
        /* more is there: others first */
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_im_ws_destroy(ws);
    }
}


/* One recv, and all frames in it. */
static ngx_int_t
ngx_im_ws_recv(ngx_im_ws_t *ws)
{
    u_char            *data;
    size_t             cap, len, used, need;
    ssize_t            n;
    ngx_im_ws_part_t  *part;

    part = ws->frame;
    len = 0;

    if (part != NULL && part->need > NGX_IM_WS_READ_SIZE / 2) {

        /* a large frame is collected in place, not copied at each read */

        if (part->len == part->cap
            && ngx_im_ws_part_keep(&ws->frame, NULL, 0, part->need) != IM_OK)
        {
            return NGX_ERROR;
        }

        data = part->data;
        cap = part->cap;
        len = part->len;

    } else {
        data = ngx_im_ws_read_buf;
        cap = NGX_IM_WS_READ_SIZE;

        if (part != NULL) {
            len = part->len;
            ngx_memcpy(data, part->data, len);
        }
    }

    n = ws->connection->recv(ws->connection, data + len, cap - len);

    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (n == NGX_ERROR || n == 0) {
        return NGX_ERROR;              /* gone without a Close */
    }

    ws->heard_s = ngx_time();
    len += n;

    if (part != NULL && data == part->data) {
        part->len = len;

        if (len < part->need) {
            return NGX_OK;
        }
    }

    ws->frame = NULL;
    used = ngx_im_ws_parse(ws, data, len, &need);

    if (!ws->dead && used < len) {
        if (ngx_im_ws_part_keep(&ws->frame, data + used, len - used, need)
            != IM_OK)
        {
            ngx_im_ws_part_free(&part);
            return NGX_ERROR;
        }

        ws->frame->need = need;
        ws->rest = ws->held != 0;
    }

    ngx_im_ws_part_free(&part);

    return NGX_OK;
}


/* Handles all whole frames; returns the bytes used.  *need: size of the frame
 * that is incomplete, 0 if not known. */
static size_t
ngx_im_ws_parse(ngx_im_ws_t *ws, u_char *data, size_t len, size_t *need)
{
    int          rc;
    size_t       used;
    unsigned     code;
    im_frame_t   f;
    const char  *reason;

    used = 0;
    *need = 0;

    while (used < len && !ws->dead && !ngx_im_ws_paused(ws)
           && ws->state != NGX_IM_WS_CLOSING)
    {
        rc = im_frame_parse(&f, data + used, len - used,
                            ws->conf->max_message, &code, &reason);

        if (rc == IM_AGAIN) {
            *need = f.size;
            break;
        }

        if (rc == IM_ERROR) {
            if (code == IM_CLOSE_TOO_BIG) {
                ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                              "ws %uL: frame %uz > %uz, closing 1009",
                              ws->id, f.payload.len, ws->conf->max_message);
            }

            ngx_im_ws_close(ws, code, reason);
            return len;
        }

        used += f.size;
        ngx_im_ws_on_frame(ws, &f);
    }

    /* after a Close nothing counts any more */

    return (ws->state == NGX_IM_WS_CLOSING) ? len : used;
}


static void
ngx_im_ws_on_frame(ngx_im_ws_t *ws, im_frame_t *f)
{
    unsigned  code;

    switch (f->opcode) {

    case IM_FRAME_PING:
        ngx_im_ws_send_control(ws, IM_FRAME_PONG, f->payload.data,
                               f->payload.len);
        break;

    case IM_FRAME_PONG:
        break;                         /* heard_s is what counts */

    case IM_FRAME_CLOSE:
        (void) im_frame_close_parse((im_str_t *) &f->payload, &code);
        ngx_im_ws_close(ws, code, "");
        break;

    default:
        ngx_im_ws_on_data(ws, f);
        break;
    }
}


static void
ngx_im_ws_on_data(ngx_im_ws_t *ws, im_frame_t *f)
{
    uint8_t            opcode;
    im_str_t           message;
    ngx_im_ws_part_t  *part;

    if (f->opcode == IM_FRAME_CONT && ws->message == NULL) {
        ngx_im_ws_close(ws, IM_CLOSE_PROTOCOL, "continuation of nothing");
        return;
    }

    if (f->opcode != IM_FRAME_CONT && ws->message != NULL) {
        ngx_im_ws_close(ws, IM_CLOSE_PROTOCOL, "message inside a message");
        return;
    }

    if (f->fin && ws->message == NULL) {
        ngx_im_ws_on_message(ws, f->opcode, (im_str_t *) &f->payload);
        return;
    }

    opcode = (ws->message != NULL) ? ws->message->opcode : f->opcode;

    if (ws->message != NULL
        && ws->message->len + f->payload.len > ws->conf->max_message)
    {
        ngx_im_ws_close(ws, IM_CLOSE_TOO_BIG, "message too large");
        return;
    }

    if (ngx_im_ws_part_keep(&ws->message, f->payload.data, f->payload.len, 0)
        != IM_OK)
    {
        ngx_im_ws_destroy(ws);
        return;
    }

    ws->message->opcode = opcode;

    if (!f->fin) {
        return;
    }

    part = ws->message;
    ws->message = NULL;

    message.data = part->data;
    message.len = part->len;
    ngx_im_ws_on_message(ws, opcode, &message);

    ngx_im_ws_part_free(&part);
}


static void
ngx_im_ws_on_message(ngx_im_ws_t *ws, unsigned opcode, im_str_t *message)
{
    if (opcode == IM_FRAME_TEXT
        && im_utf8_check(message->data, message->len) != IM_OK)
    {
        ngx_im_ws_close(ws, IM_CLOSE_INVALID, "text is not UTF-8");
        return;
    }

    if ((opcode == IM_FRAME_TEXT) != (ws->encoding == IM_ENCODING_JSON)) {
        ngx_im_ws_close(ws, IM_CLOSE_UNSUPPORTED,
                        ws->encoding == IM_ENCODING_JSON
                        ? "im.v1.json speaks text" : "im.v1.proto is binary");
        return;
    }

    ngx_im_ws_talk->message(ws, message);
}


/*
 * After our Close: everything is thrown away until the peer's FIN.  If that
 * comes while frames are queued still, they are sent first: the peer may have
 * closed one direction only.
 */
static void
ngx_im_ws_discard(ngx_im_ws_t *ws)
{
    ssize_t            n;
    ngx_uint_t         turns;
    ngx_connection_t  *c;

    c = ws->connection;

#if (NGX_HTTP_SSL)
    if (c->ssl && c->ssl->no_wait_shutdown && !c->read->eof
        && !c->read->error)
    {
        /* close_notify waits for room: TLS would read no more and take that
         * for the end; ngx_im_ws_close_notify() comes back here */
        return;
    }
#endif

    for (turns = 0; turns < NGX_IM_WS_READ_TURNS; turns++) {
        n = c->recv(c, ngx_im_ws_read_buf, NGX_IM_WS_READ_SIZE);

        if (n == 0 && !ws->fin_sent
            && ngx_handle_read_event(c->read, NGX_CLOSE_EVENT) == NGX_OK)
        {
            return;                    /* ngx_im_ws_finish() sees the FIN */
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_im_ws_destroy(ws);
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        ws->discarded += n;

        if (ws->discarded > NGX_IM_WS_DISCARD_MAX) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "ws %uL: %uD bytes after the Close, "
                          "not read any longer", ws->id, ws->discarded);
            ngx_im_ws_destroy(ws);
            return;
        }
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_im_ws_destroy(ws);
    }
}


/*
 * Appends to a part, creating it; with data NULL only makes room.  It grows
 * by doubling, never beyond limit (0: none) unless what is there needs it.
 */
int
ngx_im_ws_part_keep(ngx_im_ws_part_t **pp, const u_char *data, size_t len,
    size_t limit)
{
    u_char            *p;
    size_t             cap;
    ngx_im_ws_part_t  *part;

    part = *pp;

    if (part == NULL) {
        part = ngx_calloc(sizeof(ngx_im_ws_part_t), ngx_cycle->log);
        if (part == NULL) {
            return IM_ERROR;
        }

        *pp = part;
    }

    if (part->len + len > part->cap || part->len == part->cap) {
        cap = ngx_max(part->cap * 2, NGX_IM_WS_PART_MIN);

        if (limit != 0) {
            cap = ngx_min(cap, limit);
        }

        cap = ngx_max(cap, part->len + len);

        p = ngx_alloc(cap, ngx_cycle->log);
        if (p == NULL) {
            return IM_ERROR;
        }

        if (part->len != 0) {
            ngx_memcpy(p, part->data, part->len);
        }

        ngx_free(part->data);
        part->data = p;
        part->cap = cap;
    }

    if (len != 0) {
        ngx_memcpy(part->data + part->len, data, len);
        part->len += len;
    }

    return IM_OK;
}


void
ngx_im_ws_part_free(ngx_im_ws_part_t **pp)
{
    if (*pp != NULL) {
        ngx_free((*pp)->data);
        ngx_free(*pp);
        *pp = NULL;
    }
}
