/*
 * im_rpc_stream_send.c -- a stream's way out: one write in flight, the rest
 * collects (im_rpc_queue.c) and goes as one batch when it is done.
 *
 * Room: rpc.  Any thread, under the stream's lock.
 */

#include <string.h>

#include "im_rpc_int.h"


static void stream_on_send(void *owner, int ok);


void
im_rpc_stream_send_init(im_rpc_stream_t *s)
{
    im_rpc_queue_init(&s->queue, s->rpc->conf.stream_queue_max);
    im_rpc_op_init(&s->op_send, stream_on_send, s);
}


int
im_rpc_stream_add(im_rpc_stream_t *s, const ProtobufCMessage *item)
{
    int  rc;

    pthread_mutex_lock(&s->lock);

    rc = IM_ERROR;

    if (!s->dead && !s->ending) {
        rc = im_rpc_queue_add(&s->queue, item);
        s->busy |= (rc == IM_BUSY);
    }

    pthread_mutex_unlock(&s->lock);

    return rc;
}


int
im_rpc_stream_add_packed(im_rpc_stream_t *s, const im_str_t *item)
{
    int  rc;

    pthread_mutex_lock(&s->lock);

    rc = IM_ERROR;

    if (!s->dead && !s->ending) {
        rc = im_rpc_queue_add_packed(&s->queue, item);
        s->busy |= (rc == IM_BUSY);
    }

    pthread_mutex_unlock(&s->lock);

    return rc;
}


int
im_rpc_stream_send(im_rpc_stream_t *s, const ProtobufCMessage *message)
{
    int  rc;

    pthread_mutex_lock(&s->lock);

    rc = IM_ERROR;

    if (!s->dead && !s->ending) {
        rc = im_rpc_queue_push(&s->queue, message);
    }

    if (rc == IM_OK && !s->writing) {
        im_rpc_stream_send_start(s);
    }

    pthread_mutex_unlock(&s->lock);

    return rc;
}


void
im_rpc_stream_flush(im_rpc_stream_t *s)
{
    pthread_mutex_lock(&s->lock);

    if (!s->writing && !s->dead && s->queue.bytes > 0) {
        im_rpc_stream_send_start(s);
    }

    pthread_mutex_unlock(&s->lock);
}


/* Under the lock, with nothing in flight.  Nothing queued: a heartbeat. */
void
im_rpc_stream_send_start(im_rpc_stream_t *s)
{
    grpc_op  op;

    s->said_us = im_rpc_now_us();
    s->sent = im_rpc_queue_take(&s->queue);
    s->writing = 1;

    memset(&op, 0, sizeof(op));
    op.op = GRPC_OP_SEND_MESSAGE;
    op.data.send_message.send_message = s->sent;

    if (im_rpc_stream_batch(s, &op, 1, &s->op_send) != IM_OK) {
        grpc_byte_buffer_destroy(s->sent);
        s->sent = NULL;
        s->writing = 0;
        s->dead = 1;
        grpc_call_cancel(s->call, NULL);
    }
}


static void
stream_on_send(void *owner, int ok)
{
    int               writable;
    im_rpc_stream_t  *s = owner;

    pthread_mutex_lock(&s->lock);

    grpc_byte_buffer_destroy(s->sent);
    s->sent = NULL;
    s->writing = 0;
    writable = 0;

    if (!ok) {
        s->dead = 1;

    } else {
        if (s->busy && s->queue.bytes < s->rpc->conf.stream_queue_max / 2) {
            s->busy = 0;
            writable = !s->ending;
        }

        im_rpc_stream_write_next(s);
    }

    if (writable && s->handler.on_writable != NULL) {
        pthread_mutex_unlock(&s->lock);
        s->handler.on_writable(s->ctx, s);
        pthread_mutex_lock(&s->lock);
    }

    im_rpc_stream_op_done(s);
}


/* The next batch, or our last word. */
void
im_rpc_stream_write_next(im_rpc_stream_t *s)
{
    grpc_op        op;
    grpc_slice     empty;
    grpc_metadata  mark;

    if (s->writing || s->dead) {
        return;
    }

    if (s->queue.bytes > 0) {
        im_rpc_stream_send_start(s);
        return;
    }

    if (!s->ending || s->finished) {
        return;
    }

    s->finished = 1;
    memset(&op, 0, sizeof(op));

    if (!s->server) {
        op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        im_rpc_stream_batch(s, &op, 1, &s->op_finish);
        return;
    }

    empty = grpc_empty_slice();
    memset(&mark, 0, sizeof(mark));
    mark.key = grpc_slice_from_static_string(IM_RPC_MD_MARK);
    mark.value = grpc_slice_from_static_string("1");

    op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op.data.send_status_from_server.status = GRPC_STATUS_OK;
    op.data.send_status_from_server.status_details = &empty;
    op.data.send_status_from_server.trailing_metadata_count = 1;
    op.data.send_status_from_server.trailing_metadata = &mark;

    im_rpc_stream_batch(s, &op, 1, &s->op_finish);
}
