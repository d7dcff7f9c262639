/*
 * im_h2_out.c -- what a connection has to write.
 *
 *   nghttp2 --frames--> frames[] --+
 *                                  +--> pieces: one sendmsg() for all of them
 *   messages --by reference--------+
 *
 * What nghttp2 makes (frame heads, metadata, acknowledgements) is copied into
 * one array, messages stay where they were packed, unless they are so short
 * that a piece of their own costs more.  nghttp2 is asked for more only while
 * less than IM_H2_OUT_MAX bytes wait, so a peer that reads nothing costs no
 * more than that; that it reads nothing is noticed by a ping.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "im_h2_int.h"


#define OUT_PIECES   64                /* of one write */
#define OUT_HEAD     9                 /* bytes before a payload */
#define OUT_RECORD   16384             /* bytes of a TLS record */
#define OUT_FRAMES   4096              /* the array, in the beginning */
#define OUT_AT_MAX   1024              /* pieces that are written already */


static void out_drain(im_h2_conn_t *c);
static int out_fill(im_h2_conn_t *c);
static int out_write(im_h2_conn_t *c);
static int out_write_plain(im_h2_conn_t *c);
static int out_write_secure(im_h2_conn_t *c);
static void out_written(im_h2_conn_t *c, size_t n);
static void out_compact(im_h2_conn_t *c);
static void out_trailer(im_h2_exchange_t *x);
static int out_put_buf(im_h2_conn_t *c, im_h2_buf_t *buf, size_t at,
    size_t len);
static int out_grow(void **array, size_t *cap, size_t need, size_t size);


void
im_h2_conn_flush(im_h2_conn_t *c)
{
    int  rc, over;

    c->dirty = 0;

    if (c->state < IM_H2_SETTLING || c->state == IM_H2_CLOSED) {
        return;
    }

    while (!c->blocked) {

        if (c->state != IM_H2_ENDING && out_fill(c) != IM_OK) {
            im_h2_conn_close(c, "HTTP/2 failed");
            return;
        }

        if (c->out == 0) {
            break;
        }

        rc = out_write(c);

        if (rc == IM_ERROR) {
            im_h2_conn_close(c, strerror(errno));
            return;
        }

        if (rc == IM_AGAIN) {
            c->blocked = 1;
            c->rpc->loop.want_write(c->watch, 1);
        }
    }

    if (c->out != 0) {
        return;
    }

    if (c->state == IM_H2_ENDING) {
        out_drain(c);
        return;
    }

    over = !nghttp2_session_want_read(c->session)
           && !nghttp2_session_want_write(c->session);

    if (c->leaving && (over || c->exchange_n == 0)) {
        im_h2_conn_close(c, "it was not needed any more");

    } else if (over) {
        im_h2_conn_end(c, "it breaks the rules of HTTP/2");
    }
}


/* All is written: the peer reads it, and closes; else the timer does. */
static void
out_drain(im_h2_conn_t *c)
{
    (void) shutdown(c->fd, SHUT_WR);
}


static int
out_fill(im_h2_conn_t *c)
{
    ssize_t         n;
    const uint8_t  *data;

    while (c->out < IM_H2_OUT_MAX) {
        n = nghttp2_session_mem_send(c->session, &data);

        if (n == 0) {
            break;
        }

        if (n < 0 || im_h2_out_put(c, data, (size_t) n) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
out_write(im_h2_conn_t *c)
{
    return (c->ssl != NULL) ? out_write_secure(c) : out_write_plain(c);
}


static int
out_write_plain(im_h2_conn_t *c)
{
    size_t         i;
    ssize_t        n;
    struct iovec   iov[OUT_PIECES];
    struct msghdr  msg;
    im_h2_piece_t *p;

    for (i = 0; i < OUT_PIECES && c->pieces_at + i < c->pieces_n; i++) {
        p = &c->pieces[c->pieces_at + i];
        iov[i].iov_base = (p->buf ? p->buf->data : c->frames) + p->at;
        iov[i].iov_len = p->len;
    }

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = i;

    do {
        n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return (errno == EAGAIN || errno == EWOULDBLOCK) ? IM_AGAIN : IM_ERROR;
    }

    out_written(c, (size_t) n);

    return IM_OK;
}


/* A record is one piece of memory: the copy that TLS makes in any case would
 * be several records otherwise. */
static int
out_write_secure(im_h2_conn_t *c)
{
    size_t         i, len, part;
    ssize_t        n;
    uint8_t        record[OUT_RECORD];
    im_h2_piece_t *p;

    len = 0;

    for (i = c->pieces_at; i < c->pieces_n && len < sizeof(record); i++) {
        p = &c->pieces[i];
        part = (p->len < sizeof(record) - len) ? p->len : sizeof(record) - len;
        memcpy(record + len, (p->buf ? p->buf->data : c->frames) + p->at,
               part);
        len += part;
    }

    n = im_h2_secure_write(c->ssl, record, len);

    if (n < 0) {
        return (int) n;
    }

    out_written(c, (size_t) n);

    return IM_OK;
}


static void
out_written(im_h2_conn_t *c, size_t n)
{
    im_h2_piece_t  *p;

    c->out -= n;

    while (n > 0) {
        p = &c->pieces[c->pieces_at];

        if (n < p->len) {
            p->at += n;
            p->len -= n;
            break;
        }

        n -= p->len;
        im_h2_buf_release(p->buf);
        c->pieces_at++;
    }

    if (c->pieces_at == c->pieces_n) {
        c->pieces_at = 0;
        c->pieces_n = 0;
        c->frames_n = 0;

    } else if (c->frames_n > 2 * IM_H2_OUT_MAX || c->pieces_at > OUT_AT_MAX) {
        out_compact(c);
    }
}


/* A connection that always has something to write never begins anew. */
static void
out_compact(im_h2_conn_t *c)
{
    size_t  i, base;

    memmove(c->pieces, c->pieces + c->pieces_at,
            (c->pieces_n - c->pieces_at) * sizeof(im_h2_piece_t));
    c->pieces_n -= c->pieces_at;
    c->pieces_at = 0;
    base = c->frames_n;

    for (i = 0; i < c->pieces_n; i++) {
        if (c->pieces[i].buf == NULL) {
            base = c->pieces[i].at;
            break;
        }
    }

    memmove(c->frames, c->frames + base, c->frames_n - base);
    c->frames_n -= base;

    for ( /* void */ ; i < c->pieces_n; i++) {
        if (c->pieces[i].buf == NULL) {
            c->pieces[i].at -= base;
        }
    }
}


int
im_h2_out_put(im_h2_conn_t *c, const uint8_t *data, size_t len)
{
    im_h2_piece_t  *p;

    if (out_grow((void **) &c->frames, &c->frames_cap, c->frames_n + len, 1)
        != IM_OK)
    {
        return IM_ERROR;
    }

    memcpy(c->frames + c->frames_n, data, len);
    p = (c->pieces_n > c->pieces_at) ? &c->pieces[c->pieces_n - 1] : NULL;

    if (p != NULL && p->buf == NULL && p->at + p->len == c->frames_n) {
        p->len += len;

    } else {
        if (out_grow((void **) &c->pieces, &c->pieces_cap, c->pieces_n + 1,
                      sizeof(im_h2_piece_t)) != IM_OK)
        {
            return IM_ERROR;
        }

        p = &c->pieces[c->pieces_n++];
        p->buf = NULL;
        p->at = c->frames_n;
        p->len = len;
    }

    c->frames_n += len;
    c->out += len;

    return IM_OK;
}


/* By reference, if it is worth it. */
static int
out_put_buf(im_h2_conn_t *c, im_h2_buf_t *buf, size_t at, size_t len)
{
    im_h2_piece_t  *p;

    if (len < IM_H2_SMALL) {
        return im_h2_out_put(c, buf->data + at, len);
    }

    if (out_grow((void **) &c->pieces, &c->pieces_cap, c->pieces_n + 1,
                  sizeof(im_h2_piece_t)) != IM_OK)
    {
        return IM_ERROR;
    }

    p = &c->pieces[c->pieces_n++];
    p->buf = buf;
    p->at = at;
    p->len = len;
    buf->refs++;
    c->out += len;

    return IM_OK;
}


static int
out_grow(void **array, size_t *cap, size_t need, size_t size)
{
    void    *bigger;
    size_t   n;

    if (need <= *cap) {
        return IM_OK;
    }

    n = *cap ? *cap : OUT_FRAMES / size;

    while (n < need) {
        n *= 2;
    }

    bigger = realloc(*array, n * size);
    if (bigger == NULL) {
        return IM_ERROR;
    }

    *array = bigger;
    *cap = n;

    return IM_OK;
}


/* Of nghttp2, which asks for the next bytes of a stream. */
ssize_t
im_h2_out_read(nghttp2_session *session, int32_t id, uint8_t *buf,
    size_t len, uint32_t *flags, nghttp2_data_source *source, void *data)
{
    size_t             n;
    im_h2_exchange_t  *x;

    (void) buf;
    (void) source;
    (void) data;

    x = nghttp2_session_get_stream_user_data(session, id);

    if (x == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }

    if (x->out == NULL && !x->last && x->hooks->fill != NULL) {
        x->hooks->fill(x);
    }

    if (x->out == NULL && !x->last) {
        x->deferred = 1;
        return NGHTTP2_ERR_DEFERRED;
    }

    n = 0;

    if (x->out != NULL) {
        n = x->out->len - x->out_at;
        n = (n < len) ? n : len;
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }

    if (x->last && (x->out == NULL || x->out_at + n == x->out->len)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;

        if (x->server) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            out_trailer(x);
        }
    }

    return (ssize_t) n;
}


static void
out_trailer(im_h2_exchange_t *x)
{
    char        text[IM_H2_TRAILER];
    size_t      n;
    nghttp2_nv  nv[IM_H2_FIELDS];

    n = im_h2_head_trailer(x->head.status, x->head.message, x->refused,
                           x->head.retry_ms, nv, text);

    (void) nghttp2_submit_trailer(x->conn->session, x->id, nv, n);
}


/* Of nghttp2: a DATA frame, whose payload is ours. */
int
im_h2_out_data(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *head, size_t len, nghttp2_data_source *source, void *data)
{
    im_h2_conn_t      *c = data;
    im_h2_exchange_t  *x;

    (void) source;

    x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (x == NULL || x->out == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }

    if (c->out >= IM_H2_OUT_MAX) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }

    if (im_h2_out_put(c, head, OUT_HEAD) != IM_OK
        || out_put_buf(c, x->out, x->out_at, len) != IM_OK)
    {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    x->out_at += len;

    if (x->out_at == x->out->len) {
        im_h2_buf_release(x->out);
        x->out = NULL;
        x->out_at = 0;

        if (x->hooks->on_taken != NULL) {
            x->hooks->on_taken(x);
        }
    }

    return 0;
}


void
im_h2_out_free(im_h2_conn_t *c)
{
    size_t  i;

    for (i = c->pieces_at; i < c->pieces_n; i++) {
        im_h2_buf_release(c->pieces[i].buf);
    }

    free(c->frames);
    free(c->pieces);
}
