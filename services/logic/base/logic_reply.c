/*
 * logic_reply.c -- answers, collected by stream.
 */

#include <string.h>

#include "im_error.h"
#include "logic_fail.h"
#include "logic_probes.h"
#include "logic_reply.h"


static void reply_ack_call(im_rpc_req_t *req, const logic_ack_t *a);
static void reply_send(logic_reply_t *r, logic_touched_t *t,
    Im__DownItem *item);


void
logic_reply_ack(logic_reply_t *r, logic_touched_t *t, const logic_ack_t *a)
{
    Im__Ack        ack = IM__ACK__INIT;
    Im__DownItem   item = IM__DOWN_ITEM__INIT;

    if (r->req != NULL) {
        reply_ack_call(r->req, a);
        r->req = NULL;
        return;
    }

    ack.cmid = (char *) a->cmid;
    ack.msg_id = a->msg_id;
    ack.seq = a->seq;
    ack.time_ms = a->time_ms;
    ack.dup = a->dup;
    ack.to = a->to;
    ack.room = a->room;

    item.item_case = IM__DOWN_ITEM__ITEM_ACK;
    item.ack = &ack;

    reply_send(r, t, &item);
}


static void
reply_ack_call(im_rpc_req_t *req, const logic_ack_t *a)
{
    Im__SendReply  reply = IM__SEND_REPLY__INIT;

    reply.msg_id = a->msg_id;
    reply.seq = a->seq;
    reply.time_ms = a->time_ms;
    reply.has_dup = 1;
    reply.dup = a->dup;
    reply.has_to = (a->to != 0);
    reply.to = a->to;
    reply.has_room = (a->to == 0);
    reply.room = a->room;

    im_rpc_reply(req, &reply.base);
}


void
logic_reply_error(logic_reply_t *r, logic_touched_t *t, const char *cmid,
    const char *code, const char *text)
{
    Im__Error          error = IM__ERROR__INIT;
    Im__DownItem       item = IM__DOWN_ITEM__INIT;
    const im_error_t  *e;

    if (r->req != NULL) {

        if (r->shared) {
            logic_fail_shared(r->req, code, text);

        } else {
            logic_fail(r->req, code, "%s", text);
        }

        r->req = NULL;
        return;
    }

    e = im_error_find(code, strlen(code));

    error.code = (char *) e->code;
    error.message = (char *) text;
    error.cmid = (char *) cmid;
    error.retryable = e->retryable;
    error.retry_after_ms = im_error_retry_ms(e, logic_probes_away_ms());

    item.item_case = IM__DOWN_ITEM__ITEM_ERROR;
    item.error = &error;

    reply_send(r, t, &item);
}


void
logic_reply_opened(logic_reply_t *r, logic_touched_t *t,
    const uint64_t *rooms, size_t n)
{
    Im__Opened    opened = IM__OPENED__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    opened.rooms = (uint64_t *) rooms;
    opened.n_rooms = n;

    item.item_case = IM__DOWN_ITEM__ITEM_OPENED;
    item.opened = &opened;

    reply_send(r, t, &item);
}


void
logic_reply_closed(logic_reply_t *r, logic_touched_t *t)
{
    Im__Closed    closed = IM__CLOSED__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    item.item_case = IM__DOWN_ITEM__ITEM_CLOSED;
    item.closed = &closed;

    reply_send(r, t, &item);
}


/* The item that ends it goes first; then the question is answered. */
void
logic_reply_replaced(logic_reply_t *r, logic_touched_t *t, uint64_t uid)
{
    Im__End       end = IM__END__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    if (r->stream != NULL) {
        logic_reply_end_replaced(&item, &end, uid, r->conn);

        if (im_rpc_stream_add(r->stream, &item.base) == IM_BUSY) {
            im_rpc_stream_cancel(r->stream);   /* announced again, then ended */
        }
    }

    logic_reply_closed(r, t);
}


void
logic_reply_end_replaced(Im__DownItem *item, Im__End *end, uint64_t uid,
    uint64_t conn)
{
    end->uid = uid;
    end->sid = "";
    end->code = "replaced";
    end->message = "another device has taken over";
    end->conn = conn;

    item->item_case = IM__DOWN_ITEM__ITEM_END;
    item->end = end;
}


/* The stream's reference moves to the list of touched ones. */
static void
reply_send(logic_reply_t *r, logic_touched_t *t, Im__DownItem *item)
{
    unsigned  i;

    if (r->stream == NULL) {
        return;
    }

    item->conn = r->conn;
    item->ref = r->ref;

    /* closed, or full because the worker does not read: the client repeats */
    (void) im_rpc_stream_add(r->stream, &item->base);

    for (i = 0; i < t->n; i++) {
        if (t->streams[i] == r->stream) {
            im_rpc_stream_unref(r->stream);
            r->stream = NULL;
            return;
        }
    }

    if (t->n == LOGIC_REPLY_TOUCHED) {
        logic_reply_flush(t);
    }

    t->streams[t->n++] = r->stream;
    r->stream = NULL;
}


void
logic_reply_flush(logic_touched_t *t)
{
    unsigned  i;

    for (i = 0; i < t->n; i++) {
        im_rpc_stream_flush(t->streams[i]);
        im_rpc_stream_unref(t->streams[i]);
    }

    t->n = 0;
}
