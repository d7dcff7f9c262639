/*
 * im_h2_session.c -- frames of a peer, as nghttp2 reads them, become events of
 * an exchange.
 *
 * nghttp2 checks what RFC 9113 demands of frames, header fields and windows,
 * and answers SETTINGS and PING.  What is legal and yet makes work without
 * sense (pings, settings, resets, empty frames) is counted here: each takes one
 * of a budget that fills up slowly, and without it the peer is told to calm
 * down.  A peer that behaves sends a few of them a second.
 *
 * Streams are found by their user data, not by a pointer that nghttp2 would
 * keep: an exchange that has ended takes that away, and frames of its stream
 * that are still under way find nobody.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


#define SESSION_SETTINGS  4
#define SESSION_ACKS_MAX  2000         /* more than the budget */
#define SESSION_RESETS    1000000      /* of nghttp2's own limit: none */


static int session_on_begin(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static int session_on_header(nghttp2_session *session,
    const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags, void *data);
static int session_on_frame(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static int session_on_headers(im_h2_conn_t *c, const nghttp2_frame *frame);
static int session_on_chunk(nghttp2_session *session, uint8_t flags,
    int32_t id, const uint8_t *bytes, size_t len, void *data);
static int session_on_close(nghttp2_session *session, int32_t id,
    uint32_t error, void *data);
static int session_on_sent(nghttp2_session *session,
    const nghttp2_frame *frame, void *data);
static int session_on_invalid(nghttp2_session *session,
    const nghttp2_frame *frame, int error, void *data);
static int session_spend(im_h2_conn_t *c, const char *what);


int
im_h2_session_init(im_rpc_t *rpc)
{
    nghttp2_session_callbacks  *cb;

    if (nghttp2_session_callbacks_new(&rpc->callbacks) != 0
        || nghttp2_option_new(&rpc->option) != 0)
    {
        return IM_ERROR;
    }

    cb = rpc->callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb,
        session_on_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, session_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, session_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb,
        session_on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb,
        session_on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, session_on_sent);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb,
        session_on_invalid);
    nghttp2_session_callbacks_set_send_data_callback(cb, im_h2_out_data);

    /* closed streams are remembered for priorities only */
    nghttp2_option_set_no_closed_streams(rpc->option, 1);
    nghttp2_option_set_max_outbound_ack(rpc->option, SESSION_ACKS_MAX);
    /* resets are of our budget, whose error is the right one */
    nghttp2_option_set_stream_reset_rate_limit(rpc->option,
                                               SESSION_RESETS, SESSION_RESETS);

    return IM_OK;
}


void
im_h2_session_free(im_rpc_t *rpc)
{
    nghttp2_session_callbacks_del(rpc->callbacks);
    nghttp2_option_del(rpc->option);
}


/* Queues our settings; the caller writes. */
int
im_h2_session_start(im_h2_conn_t *c)
{
    int                     rc;
    im_rpc_t               *rpc;
    nghttp2_settings_entry  entries[SESSION_SETTINGS] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, IM_H2_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, IM_H2_HEAD_MAX },
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, IM_H2_STREAMS_MAX }
    };

    rpc = c->rpc;
    rc = (c->server != NULL)
         ? nghttp2_session_server_new2(&c->session, rpc->callbacks, c,
                                       rpc->option)
         : nghttp2_session_client_new2(&c->session, rpc->callbacks, c,
                                       rpc->option);

    if (rc != 0) {
        return IM_ERROR;
    }

    /* a server has no pushes to forbid */
    rc = (c->server != NULL)
         ? nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries + 1,
                                   SESSION_SETTINGS - 1)
         : nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries,
                                   SESSION_SETTINGS - 1);

    if (rc != 0
        || nghttp2_session_set_local_window_size(c->session,
               NGHTTP2_FLAG_NONE, 0, IM_H2_CONN_WINDOW) != 0)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


static int
session_on_begin(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    im_h2_conn_t      *c = data;
    im_h2_exchange_t  *x;

    if (c->state >= IM_H2_ENDING) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    if (frame->hd.type == NGHTTP2_HEADERS && c->server != NULL
        && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
    {
        x = im_h2_request_create(c);
        if (x == NULL) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }

        im_h2_exchange_attach(x, c, frame->hd.stream_id);
        return 0;
    }

    x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (x != NULL && !x->server) {
        im_h2_head_init(&x->head);
    }

    return 0;
}


static int
session_on_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_len, const uint8_t *value,
    size_t value_len, uint8_t flags, void *data)
{
    im_h2_exchange_t  *x;

    (void) flags;
    (void) data;

    x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (x == NULL) {
        return 0;
    }

    im_h2_head_take(&x->head, name, name_len, value, value_len);

    if (x->head.bytes > IM_H2_HEAD_MAX) {
        im_h2_exchange_end(x, IM_RPC_RESOURCE_EXHAUSTED,
                           "the metadata have more than %d bytes",
                           IM_H2_HEAD_MAX);
    }

    return 0;
}


static int
session_on_frame(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    im_h2_conn_t      *c = data;
    im_rpc_channel_t  *channel;
    im_h2_exchange_t  *x;

    if (c->state >= IM_H2_ENDING) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    switch (frame->hd.type) {

    case NGHTTP2_HEADERS:
        return session_on_headers(c, frame);

    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            x = nghttp2_session_get_stream_user_data(session,
                                                     frame->hd.stream_id);
            if (x != NULL) {
                im_h2_exchange_half(x);
            }

            break;
        }

        return (frame->hd.length == 0) ? session_spend(c, "empty frames") : 0;

    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            break;
        }

        if (c->state == IM_H2_SETTLING) {
            im_h2_conn_ready(c);
            break;
        }

        return session_spend(c, "settings");

    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            im_h2_conn_pong(c);
            break;
        }

        return session_spend(c, "pings");

    case NGHTTP2_RST_STREAM:
        return session_spend(c, "resets");

    case NGHTTP2_PRIORITY:
        return session_spend(c, "priorities");

    case NGHTTP2_GOAWAY:
        c->leaving = 1;

        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
            snprintf(c->why, sizeof(c->why), "the peer has ended it: %s",
                     nghttp2_http2_strerror(frame->goaway.error_code));
        }

        channel = c->channel;
        c->channel = NULL;

        if (channel != NULL) {
            im_h2_channel_lost(channel, c, "the peer is leaving");
        }

        im_h2_conn_dirty(c);           /* closes it, if nothing is left */
        break;
    }

    return (c->state >= IM_H2_ENDING) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}


static int
session_on_headers(im_h2_conn_t *c, const nghttp2_frame *frame)
{
    im_h2_exchange_t  *x;

    x = nghttp2_session_get_stream_user_data(c->session, frame->hd.stream_id);

    if (x == NULL) {
        return 0;
    }

    /* of a request the second set is its trailer, which says nothing to us */

    if (x->server ? frame->headers.cat == NGHTTP2_HCAT_REQUEST
                  : (x->head.http_status < 100 || x->head.http_status > 199))
    {
        im_h2_exchange_head(x, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    }

    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        /* looked up again: it may be another one's by now */
        x = nghttp2_session_get_stream_user_data(c->session,
                                                 frame->hd.stream_id);
        if (x != NULL) {
            im_h2_exchange_half(x);
        }
    }

    return (c->state >= IM_H2_ENDING) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}


static int
session_on_chunk(nghttp2_session *session, uint8_t flags, int32_t id,
    const uint8_t *bytes, size_t len, void *data)
{
    im_h2_conn_t      *c = data;
    im_h2_exchange_t  *x;

    (void) flags;

    if (c->state >= IM_H2_ENDING) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    x = nghttp2_session_get_stream_user_data(session, id);

    if (x != NULL) {
        im_h2_exchange_data(x, bytes, len);
    }

    return (c->state >= IM_H2_ENDING) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}


static int
session_on_close(nghttp2_session *session, int32_t id, uint32_t error,
    void *data)
{
    im_h2_exchange_t  *x;

    (void) data;

    x = nghttp2_session_get_stream_user_data(session, id);

    if (x != NULL) {
        im_h2_exchange_closed(x, error);
    }

    return 0;
}


static int
session_on_sent(nghttp2_session *session, const nghttp2_frame *frame,
    void *data)
{
    im_h2_conn_t      *c = data;
    im_h2_exchange_t  *x;

    if (frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }

    x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (x != NULL && !x->begun) {
        x->begun = 1;

        if (x->hooks->on_begun != NULL) {
            x->hooks->on_begun(x);
        }
    }

    /* an answer before the end of its request: the rest is not wanted */

    if (c->server != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        && nghttp2_session_get_stream_remote_close(session,
                                                   frame->hd.stream_id) == 0)
    {
        (void) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
                                         frame->hd.stream_id,
                                         NGHTTP2_NO_ERROR);
    }

    return 0;
}


/* nghttp2 answers it with an error of the stream or of the connection. */
static int
session_on_invalid(nghttp2_session *session, const nghttp2_frame *frame,
    int error, void *data)
{
    im_h2_conn_t  *c = data;

    (void) session;
    (void) frame;

    if (c->why[0] == '\0') {
        snprintf(c->why, sizeof(c->why), "HTTP/2: %s",
                 nghttp2_strerror(error));
    }

    return session_spend(c, "malformed frames");
}


static int
session_spend(im_h2_conn_t *c, const char *what)
{
    char      why[IM_H2_WHY];
    uint64_t  now, more;

    if (c->budget == 0) {
        now = im_h2_now_us();
        more = (now - c->budget_us) * IM_H2_BUDGET_S / 1000000;

        if (more > 0) {
            c->budget = (more < IM_H2_BUDGET) ? (unsigned) more : IM_H2_BUDGET;
            c->budget_us = now;
        }
    }

    if (c->budget > 0) {
        c->budget--;
        return 0;
    }

    snprintf(why, sizeof(why), "it sends too many %s", what);
    im_h2_conn_refuse(c, NGHTTP2_ENHANCE_YOUR_CALM, why);

    return NGHTTP2_ERR_CALLBACK_FAILURE;
}
