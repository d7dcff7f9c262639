/*
 * im_h2_exchange.c -- one gRPC call on one HTTP/2 stream, on either side: its
 * start, what comes in, its answer, and how it ended (im_h2_out.c: messages
 * that go out).
 *
 * A message that has come whole is handed over where it was read; one in
 * pieces is collected in memory that grows as it comes, whatever its prefix
 * promises.
 *
 *   waiting at a channel --> attached to a stream --> ended --> on_end, freed
 *          |                                            ^
 *          +--------------------------------------------+
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


#define EXCHANGE_PART_MIN  16384       /* of a message in pieces */


static void exchange_status(im_h2_exchange_t *x);
static int exchange_prefix(im_h2_exchange_t *x);
static void exchange_message(im_h2_exchange_t *x, const uint8_t *data,
    size_t len);
static int exchange_keep(im_h2_exchange_t *x, const uint8_t *data, size_t len);
static void exchange_forget(im_h2_exchange_t *x);
static void exchange_bad(im_h2_exchange_t *x, int code, const char *text);


void
im_h2_exchange_init(im_h2_exchange_t *x, im_rpc_t *rpc,
    const im_h2_hooks_t *hooks)
{
    memset(x, 0, sizeof(im_h2_exchange_t));

    x->rpc = rpc;
    x->hooks = hooks;
    im_h2_head_init(&x->head);
    im_h2_event_init(&x->end, hooks->on_end, x);
    im_h2_link_init(&x->link);
    im_h2_link_add(&rpc->live, &x->live);
}


void
im_h2_exchange_attach(im_h2_exchange_t *x, im_h2_conn_t *c, int32_t id)
{
    x->conn = c;
    x->id = id;
    c->exchange_n++;
    im_h2_link_add(&c->exchanges, &x->link);
    (void) nghttp2_session_set_stream_user_data(c->session, id, x);
}


void
im_h2_exchange_begin(im_h2_exchange_t *x, im_h2_conn_t *c)
{
    char                   text[IM_H2_TEXT];
    size_t                 n;
    int32_t                id;
    nghttp2_nv             nv[IM_H2_FIELDS];
    nghttp2_data_provider  data;

    memset(&data, 0, sizeof(data));
    data.read_callback = im_h2_out_read;

    x->conn = c;
    n = im_h2_head_request(x, nv, text);
    x->conn = NULL;

    id = nghttp2_submit_request(c->session, NULL, nv, n, &data, x);

    if (id < 0) {
        im_h2_exchange_end(x, IM_RPC_UNAVAILABLE, "HTTP/2: %s",
                           nghttp2_strerror(id));
        return;
    }

    im_h2_exchange_attach(x, c, id);
    im_h2_conn_dirty(c);
}


int
im_h2_exchange_timer(im_h2_exchange_t *x, unsigned ms, im_h2_fn_pt fn)
{
    x->timer = x->rpc->loop.timer(x->rpc->loop.ctx, fn, x);
    if (x->timer == NULL) {
        return IM_ERROR;
    }

    x->rpc->loop.timer_set(x->timer, ms);

    return IM_OK;
}


void
im_h2_exchange_end(im_h2_exchange_t *x, int code, const char *fmt, ...)
{
    va_list        args;
    im_h2_conn_t  *c;

    if (x->ended) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(x->text, sizeof(x->text), fmt, args);
    va_end(args);

    x->code = code;
    x->ended = 1;

    if (x->timer != NULL) {
        x->rpc->loop.timer_stop(x->timer);
    }

    if (x->waiting) {
        x->waiting = 0;
        x->channel->waiting_n--;
        im_h2_link_remove(&x->link);
    }

    c = x->conn;

    if (c != NULL) {
        im_h2_exchange_detach(x);

        /* nghttp2 does not count what is just being read */

        if (c->state < IM_H2_ENDING
            && (!x->half
                || nghttp2_session_get_stream_local_close(c->session, x->id)
                   != 1))
        {
            (void) nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE,
                       x->id, code == IM_RPC_RESOURCE_EXHAUSTED
                              ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_CANCEL);
            im_h2_conn_dirty(c);
        }
    }

    exchange_forget(x);
    im_h2_raise(x->rpc, &x->end);
}


void
im_h2_exchange_detach(im_h2_exchange_t *x)
{
    im_h2_conn_t  *c;

    c = x->conn;
    c->parts -= x->part_cap;
    c->exchange_n--;
    x->conn = NULL;
    im_h2_link_remove(&x->link);

    (void) nghttp2_session_set_stream_user_data(c->session, x->id, NULL);

    if (c->leaving) {
        im_h2_conn_dirty(c);           /* maybe it was the last one */
    }
}


/* What was collected goes at once: the owner may take long to let go. */
static void
exchange_forget(im_h2_exchange_t *x)
{
    free(x->part);
    x->part = NULL;
    x->part_n = 0;
    x->part_cap = 0;
}


void
im_h2_exchange_closed(im_h2_exchange_t *x, uint32_t error)
{
    im_h2_exchange_detach(x);

    if (x->server) {
        im_h2_exchange_end(x, error == NGHTTP2_NO_ERROR ? IM_RPC_OK
                                                        : IM_RPC_CANCELLED,
                           "%s", "");
        return;
    }

    x->refused = (error == NGHTTP2_REFUSED_STREAM);

    im_h2_exchange_end(x, im_h2_head_code_of_error(error),
                       "the peer has reset the call: %s",
                       nghttp2_http2_strerror(error));
}


void
im_h2_exchange_lost(im_h2_exchange_t *x, const char *why)
{
    im_h2_exchange_detach(x);
    im_h2_exchange_end(x, x->server ? IM_RPC_CANCELLED : IM_RPC_UNAVAILABLE,
                       "the connection was lost: %s", why);
}


void
im_h2_exchange_head(im_h2_exchange_t *x, int end)
{
    im_h2_head_t  *h = &x->head;

    if (x->server) {
        x->hooks->on_head(x);
        return;
    }

    if (end) {
        x->half = 1;
        exchange_status(x);
        return;
    }

    if (h->http_status != 0 && h->http_status != 200) {
        im_h2_exchange_end(x, im_h2_head_code_of_http(h->http_status),
                           "HTTP status %d", h->http_status);

    } else if (!h->grpc) {
        im_h2_exchange_end(x, IM_RPC_UNKNOWN,
                           "the answer has another content-type than gRPC's");

    } else if (h->encoded) {
        im_h2_exchange_end(x, IM_RPC_INTERNAL,
                           "the answer is compressed, which was not offered");

    } else if (x->hooks->on_head != NULL) {
        x->hooks->on_head(x);
    }
}


/* The trailer, or all that the peer says. */
static void
exchange_status(im_h2_exchange_t *x)
{
    im_h2_head_t  *h = &x->head;

    if (h->status == -1 && h->http_status != 0 && h->http_status != 200) {
        im_h2_exchange_end(x, im_h2_head_code_of_http(h->http_status),
                           "HTTP status %d", h->http_status);
        return;
    }

    if (h->status == -1) {
        im_h2_exchange_end(x, IM_RPC_UNKNOWN, "the answer has no grpc-status");
        return;
    }

    if (h->status == IM_RPC_OK && x->prefix_n > 0) {
        im_h2_exchange_end(x, IM_RPC_INTERNAL, "a message was cut short");
        return;
    }

    x->mark = h->mark;
    im_h2_exchange_end(x, h->status <= IM_RPC_UNAUTHENTICATED
                          ? h->status : IM_RPC_UNKNOWN, "%s", h->message);
}


void
im_h2_exchange_half(im_h2_exchange_t *x)
{
    x->half = 1;

    if (!x->server) {
        im_h2_exchange_end(x, IM_RPC_INTERNAL,
                           "the peer has ended it without a status");
        return;
    }

    if (x->prefix_n > 0) {
        exchange_bad(x, IM_RPC_INTERNAL, "a message was cut short");
        return;
    }

    if (x->hooks->on_half != NULL) {
        x->hooks->on_half(x);
    }
}


void
im_h2_exchange_data(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    size_t  n;

    while (len > 0 && x->conn != NULL && !x->answered) {

        if (x->prefix_n < IM_H2_PREFIX) {
            x->prefix[x->prefix_n++] = *data++;
            len--;

            if (x->prefix_n == IM_H2_PREFIX && exchange_prefix(x) != IM_OK) {
                return;
            }

            if (x->prefix_n == IM_H2_PREFIX && x->need == 0) {
                exchange_message(x, data, 0);
            }

            continue;
        }

        if (x->part_n == 0 && len >= x->need) {
            n = x->need;
            exchange_message(x, data, n);

        } else {
            n = (len < x->need - x->part_n) ? len : x->need - x->part_n;

            if (exchange_keep(x, data, n) != IM_OK) {
                return;
            }

            if (x->part_n == x->need) {
                exchange_message(x, x->part, x->need);
            }
        }

        data += n;
        len -= n;
    }
}


static int
exchange_prefix(im_h2_exchange_t *x)
{
    char            text[IM_H2_TEXT];
    const uint8_t  *p = x->prefix;

    if (p[0] != 0) {
        exchange_bad(x, IM_RPC_INTERNAL,
                     "a message is compressed, which was not offered");
        return IM_ERROR;
    }

    x->need = (size_t) p[1] << 24 | (size_t) p[2] << 16 | (size_t) p[3] << 8
              | p[4];

    if (x->need > x->rpc->conf.message_max) {
        snprintf(text, sizeof(text), "a message of %zu bytes is longer than "
                 "%zu", x->need, x->rpc->conf.message_max);
        exchange_bad(x, IM_RPC_RESOURCE_EXHAUSTED, text);
        return IM_ERROR;
    }

    return IM_OK;
}


/* The owner may end the exchange meanwhile, and what was collected with it:
 * the memory is ours until it has returned. */
static void
exchange_message(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    uint8_t  *part;

    part = x->part;

    if (x->conn != NULL) {
        x->conn->parts -= x->part_cap;
    }

    x->part = NULL;
    x->part_n = 0;
    x->part_cap = 0;
    x->prefix_n = 0;

    x->hooks->on_message(x, data, len);
    free(part);
}


static int
exchange_keep(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    size_t    cap;
    uint8_t  *bigger;

    if (x->part_n + len > x->part_cap) {
        cap = x->part_cap ? x->part_cap * 2 : EXCHANGE_PART_MIN;

        while (cap < x->part_n + len) {
            cap *= 2;
        }

        cap = (cap < x->need) ? cap : x->need;

        if (x->conn->parts + cap - x->part_cap > IM_H2_PARTS_MAX) {
            exchange_bad(x, IM_RPC_RESOURCE_EXHAUSTED,
                         "too many messages of this connection are unfinished");
            return IM_ERROR;
        }

        bigger = realloc(x->part, cap);
        if (bigger == NULL) {
            exchange_bad(x, IM_RPC_RESOURCE_EXHAUSTED, "out of memory");
            return IM_ERROR;
        }

        x->conn->parts += cap - x->part_cap;
        x->part = bigger;
        x->part_cap = cap;
    }

    memcpy(x->part + x->part_n, data, len);
    x->part_n += len;

    return IM_OK;
}


/* What the peer sends is not a message. */
static void
exchange_bad(im_h2_exchange_t *x, int code, const char *text)
{
    if (!x->server) {
        im_h2_exchange_end(x, code, "%s", text);
        return;
    }

    x->refused = !x->opened;           /* a stream has a handler already */
    im_h2_exchange_answer(x, code, text, 0);
}


void
im_h2_exchange_resume(im_h2_exchange_t *x)
{
    if (x->conn == NULL || x->conn->state >= IM_H2_ENDING) {
        return;
    }

    if (x->deferred) {
        x->deferred = 0;
        (void) nghttp2_session_resume_data(x->conn->session, x->id);
    }

    im_h2_conn_dirty(x->conn);
}


int
im_h2_exchange_open(im_h2_exchange_t *x)
{
    char                   text[IM_H2_TRAILER];
    size_t                 n;
    nghttp2_nv             nv[IM_H2_FIELDS], trailer[IM_H2_FIELDS];
    nghttp2_data_provider  data;

    /* the same mark that a trailer has: a handler has taken the stream */

    n = im_h2_head_trailer(IM_RPC_OK, "", 0, 0, trailer, text);
    n = im_h2_head_response(nv);
    nv[n++] = trailer[1];

    memset(&data, 0, sizeof(data));
    data.read_callback = im_h2_out_read;

    if (nghttp2_submit_response(x->conn->session, x->id, nv, n, &data) != 0) {
        return IM_ERROR;
    }

    x->opened = 1;
    im_h2_conn_dirty(x->conn);

    return IM_OK;
}


void
im_h2_exchange_answer(im_h2_exchange_t *x, int code, const char *text,
    unsigned retry_ms)
{
    char                   buf[IM_H2_TRAILER];
    size_t                 n;
    nghttp2_nv             nv[IM_H2_FIELDS];
    nghttp2_data_provider  data;

    if (x->conn == NULL || x->answered) {
        return;                        /* the caller has gone */
    }

    x->answered = 1;
    x->last = 1;
    x->head.status = code;
    x->head.retry_ms = retry_ms;
    snprintf(x->head.message, sizeof(x->head.message), "%s", text);

    if (x->opened) {
        im_h2_exchange_resume(x);
        return;
    }

    memset(&data, 0, sizeof(data));
    data.read_callback = im_h2_out_read;

    n = im_h2_head_response(nv);
    x->opened = 1;

    if (x->out == NULL) {
        n += im_h2_head_trailer(code, x->head.message, x->refused, retry_ms,
                                nv + n, buf);
    }

    (void) nghttp2_submit_response(x->conn->session, x->id, nv, n,
                                   x->out ? &data : NULL);
    im_h2_conn_dirty(x->conn);
}


im_rpc_sent_t
im_h2_exchange_sent(im_h2_exchange_t *x)
{
    switch (x->mark) {

    case IM_RPC_MARK_HANDLED:
        return IM_RPC_ANSWERED;

    case IM_RPC_MARK_REFUSED:
        return IM_RPC_NOT_SENT;

    default:
        return (x->begun && !x->refused) ? IM_RPC_MAYBE_SENT : IM_RPC_NOT_SENT;
    }
}


void
im_h2_exchange_free(im_h2_exchange_t *x)
{
    im_h2_lower(x->rpc, &x->end);

    if (x->timer != NULL) {
        x->rpc->loop.timer_free(x->timer);
    }

    if (x->conn != NULL) {
        im_h2_exchange_detach(x);
    }

    exchange_forget(x);
    im_h2_buf_release(x->out);
    x->out = NULL;
    im_h2_link_remove(&x->live);
    im_rpc_channel_unref(x->channel);
    x->channel = NULL;
}
