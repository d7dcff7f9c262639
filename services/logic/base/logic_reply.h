/*
 * logic_reply.h -- where the answer to a message goes: down the stream that
 * brought it, or to the caller of the unary Send.
 *
 * Any thread.  Stream answers only queue; logic_reply_flush() sends what the
 * calling thread has queued since its last flush.
 */

#ifndef LOGIC_REPLY_H
#define LOGIC_REPLY_H

#include "im_rpc.h"
#include "logic.pb-c.h"

/* The fields of an ack. */
typedef struct {
    const char       *cmid;
    uint64_t          msg_id;
    uint64_t          seq;
    uint64_t          time_ms;
    uint64_t          to;        /* 0: to the room */
    uint64_t          room;
    int               dup;
} logic_ack_t;

typedef struct {
    im_rpc_stream_t  *stream;    /* referenced, or NULL */
    uint64_t          conn;
    uint64_t          ref;       /* of the item that is answered */
    im_rpc_req_t     *req;       /* or NULL */
    unsigned          shared:1;  /* a refusal is for what no instance has */
} logic_reply_t;

/* Streams that a thread has queued answers on. */
#define LOGIC_REPLY_TOUCHED  64

typedef struct {
    im_rpc_stream_t  *streams[LOGIC_REPLY_TOUCHED];
    unsigned          n;
} logic_touched_t;

/* Each ends the reply: its reference is given back. */
void logic_reply_ack(logic_reply_t *r, logic_touched_t *t,
    const logic_ack_t *a);
void logic_reply_error(logic_reply_t *r, logic_touched_t *t,
    const char *cmid, const char *code, const char *text);
void logic_reply_opened(logic_reply_t *r, logic_touched_t *t,
    const uint64_t *rooms, size_t n);
/* The connection that wants to be open was replaced by another device. */
void logic_reply_replaced(logic_reply_t *r, logic_touched_t *t, uint64_t uid);
/* item: that connection has to end for this reason. */
void logic_reply_end_replaced(Im__DownItem *item, Im__End *end, uint64_t uid,
    uint64_t conn);
void logic_reply_closed(logic_reply_t *r, logic_touched_t *t);

void logic_reply_flush(logic_touched_t *t);

#endif
