/*
 * unit_talk.h -- a side of a conversation by gRPC: a server that answers and
 * echoes, a caller, and what became of both.
 *
 * For both implementations of im_rpc.h: unit_core.c has it for the C core,
 * whose callbacks run on a thread, a test with IM_RPC_H2 for src/h2.
 */

#ifndef UNIT_TALK_H
#define UNIT_TALK_H

#include <stdatomic.h>
#include <stdio.h>

#include "unit_wait.h"

#include "im_rpc.h"
#include "logic.pb-c.h"

typedef struct {
    atomic_uint      handled;          /* unary calls */
    atomic_uint      accepted;         /* streams */
    atomic_uint      ended;
    atomic_int       code;             /* of the last that ended */
    atomic_uint      items;
    atomic_int       left_ms;          /* of the last call */
    char             trace[IM_RPC_TRACE_MAX + 1];
    /* What the server does. */
    atomic_uint      late_us;
    atomic_uint      refuses;          /* with this text: */
    const char      *text;
    atomic_uint      mute;             /* echoes nothing */
} talk_server_t;

typedef struct {
    atomic_int       done;
    int              code;
    im_rpc_sent_t    sent;
    unsigned         retry_ms;
    char             message[256];
    atomic_uint      opened;
    atomic_uint      items;            /* that came back */
    atomic_uint      wrong;            /* not as they were sent */
    atomic_uint      writable;
    char             answer[64];       /* "of 4711" */
} talk_outcome_t;


static inline void
talk_on_unary(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    talk_server_t        *t = ctx;
    char                   answer[64];
    Im__TicketReply        reply = IM__TICKET_REPLY__INIT;
    const Im__TicketRequest *r = (const Im__TicketRequest *) in;

    atomic_store(&t->left_ms, im_rpc_req_left_ms(req));
    snprintf(t->trace, sizeof(t->trace), "%s", im_rpc_req_trace(req));
    unit_pause_us(atomic_load(&t->late_us));
    atomic_fetch_add(&t->handled, 1);

    if (atomic_load(&t->refuses)) {
        im_rpc_fail(req, IM_RPC_UNAVAILABLE, t->text, 1700);
        return;
    }

    snprintf(answer, sizeof(answer), "of %u", (unsigned) r->caller->uid);
    reply.ticket = answer;
    im_rpc_reply(req, &reply.base);
}


static inline void *
talk_on_accept(void *ctx, im_rpc_stream_t *s)
{
    talk_server_t  *t = ctx;

    (void) s;

    atomic_fetch_add(&t->accepted, 1);

    return t;
}


static inline void
talk_on_items(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t           i;
    Im__UpBatch     *batch;
    talk_server_t   *t = ctx;

    batch = im__up_batch__unpack(NULL, len, data);

    if (batch == NULL) {
        im_rpc_stream_cancel(s);
        return;
    }

    for (i = 0; i < batch->n_items && !atomic_load(&t->mute); i++) {
        (void) im_rpc_stream_add(s, &batch->items[i]->base);
    }

    im_rpc_stream_flush(s);
    atomic_fetch_add(&t->items, (unsigned) batch->n_items);
    im__up_batch__free_unpacked(batch, NULL);
}


static inline void
talk_on_server_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status)
{
    talk_server_t  *t = ctx;

    (void) s;

    atomic_store(&t->code, status->code);
    atomic_fetch_add(&t->ended, 1);
}


static const im_rpc_handler_t  talk_handlers[] = {
    { .name = "Ticket", .roles = IM_RPC_NGINX, .unary = talk_on_unary },
    { .name = "Exchange", .roles = IM_RPC_NGINX, .accept = talk_on_accept,
      .stream = { .on_batch = talk_on_items, .on_close = talk_on_server_close,
                  .beat_ms = 100, .dead_ms = 3000 } },
    { .name = NULL }
};


static inline im_rpc_server_t *
talk_serve(im_rpc_t *rpc, char address[32], talk_server_t *t)
{
    im_rpc_server_t  *server;

    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__logic__descriptor,
                          talk_handlers, t);
    assert_non_null(server);
    snprintf(address, 32, "127.0.0.1:%u", im_rpc_server_port(server));

    return server;
}


static inline void
talk_end(talk_outcome_t *o, const im_rpc_status_t *status)
{
    o->code = status->code;
    o->sent = status->sent;
    o->retry_ms = status->retry_ms;
    snprintf(o->message, sizeof(o->message), "%s", status->message);
    atomic_store(&o->done, 1);
}


static inline void
talk_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    talk_outcome_t  *o = ctx;

    snprintf(o->answer, sizeof(o->answer), "%s", reply == NULL ? "none"
             : ((const Im__TicketReply *) reply)->ticket);
    talk_end(o, status);
}


static inline im_rpc_call_t *
talk_call(im_rpc_channel_t *ch, talk_outcome_t *o, const char *trace,
    unsigned timeout_ms)
{
    Im__Caller        caller = IM__CALLER__INIT;
    Im__TicketRequest r = IM__TICKET_REQUEST__INIT;
    im_str_t          packed;
    im_rpc_call_t    *c;
    unsigned char     buf[64];
    im_rpc_method_t   m;

    memset(o, 0, sizeof(talk_outcome_t));
    caller.uid = 4711;
    caller.sid = "s";
    caller.device = "d";
    r.caller = &caller;
    packed.data = buf;
    packed.len = im__ticket_request__pack(&r, buf);

    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Ticket"), IM_OK);
    c = im_rpc_call_packed(ch, &m, &packed, timeout_ms, trace, talk_on_reply,
                           o);
    assert_non_null(c);

    return c;
}


static inline void
talk_on_open(void *ctx, im_rpc_stream_t *s)
{
    talk_outcome_t  *o = ctx;

    (void) s;

    atomic_fetch_add(&o->opened, 1);
}


/* Each carries its number, and a body whose bytes are of it. */
static inline void
talk_on_echo(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t           i, k;
    uint64_t         no;
    Im__UpBatch     *batch;
    talk_outcome_t  *o = ctx;

    (void) s;

    batch = im__up_batch__unpack(NULL, len, data);

    if (batch == NULL) {
        atomic_fetch_add(&o->wrong, 1);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        no = atomic_fetch_add(&o->items, 1) + 1;

        if (batch->items[i]->conn != no
            || batch->items[i]->item_case != IM__UP_ITEM__ITEM_SEND)
        {
            atomic_fetch_add(&o->wrong, 1);
            continue;
        }

        for (k = 0; k < batch->items[i]->send->body.len; k++) {
            if (batch->items[i]->send->body.data[k] != (uint8_t) no) {
                atomic_fetch_add(&o->wrong, 1);
                break;
            }
        }
    }

    im__up_batch__free_unpacked(batch, NULL);
}


static inline void
talk_on_writable(void *ctx, im_rpc_stream_t *s)
{
    talk_outcome_t  *o = ctx;

    (void) s;

    atomic_fetch_add(&o->writable, 1);
}


static inline void
talk_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) s;

    talk_end(ctx, status);
}


static inline im_rpc_stream_t *
talk_open(im_rpc_channel_t *ch, talk_outcome_t *o)
{
    im_rpc_stream_t          *s;
    im_rpc_method_t           m;
    im_rpc_stream_handler_t   h = {
        .on_open = talk_on_open, .on_batch = talk_on_echo,
        .on_writable = talk_on_writable, .on_close = talk_on_close,
        .beat_ms = 100, .dead_ms = 3000
    };

    memset(o, 0, sizeof(talk_outcome_t));
    assert_int_equal(im_rpc_method_find(&m, &im__logic__descriptor,
                                        "Exchange"), IM_OK);
    s = im_rpc_stream_open(ch, &m, 5000, &h, o);
    assert_non_null(s);

    return s;
}


/* Items from..to with bodies of len bytes; the number of the last that was
 * taken. */
static inline unsigned
talk_say(im_rpc_stream_t *s, unsigned from, unsigned to, size_t len)
{
    int           rc;
    uint8_t      *body;
    unsigned      no;
    Im__UpItem    item = IM__UP_ITEM__INIT;
    Im__Deliver   deliver = IM__DELIVER__INIT;

    body = malloc(len + 1);
    assert_non_null(body);
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &deliver;
    deliver.body.data = body;
    deliver.body.len = len;

    for (no = from; no <= to; no++) {
        memset(body, (int) (uint8_t) no, len + 1);
        item.conn = no;
        rc = im_rpc_stream_add(s, &item.base);

        if (rc != IM_OK) {
            assert_int_equal(rc, IM_BUSY);
            break;
        }
    }

    free(body);
    im_rpc_stream_flush(s);

    return no - 1;
}

#endif
