/*
 * im_rpc_queue.c -- what waits to be sent on a stream.
 *
 *   add(item)     --> one growing slice, sent as one message: a batch
 *   push(message) --> a list, for peers whose messages are not batches
 *
 * A batch is a message whose only field is `repeated` and has number 1, so
 * packed items are appended by concatenation.  They are packed straight into
 * the slice that will be sent: the only copy of a body on its way out.
 *
 * Room: rpc.  The owner locks.
 */

#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"


#define QUEUE_SLICE_MIN  4096
#define QUEUE_TAG        0x0a      /* field 1, length-delimited */
#define QUEUE_HEAD_MAX   11        /* the tag and a length */


typedef struct im_rpc_queued_s {
    grpc_byte_buffer               *bb;
    STAILQ_ENTRY(im_rpc_queued_s)   link;
} im_rpc_queued_t;


static uint8_t *queue_room(im_rpc_queue_t *q, size_t size);
static uint8_t *queue_room(im_rpc_queue_t *q, size_t size);
static void queue_grow(im_rpc_queue_t *q, size_t need);
static size_t queue_put_varint(uint8_t *p, uint64_t v);


void
im_rpc_queue_init(im_rpc_queue_t *q, size_t max)
{
    memset(q, 0, sizeof(im_rpc_queue_t));
    q->batch = grpc_empty_slice();
    STAILQ_INIT(&q->messages);
    q->max = max;
}


void
im_rpc_queue_free(im_rpc_queue_t *q)
{
    im_rpc_queued_t  *m;

    while ((m = STAILQ_FIRST(&q->messages)) != NULL) {
        STAILQ_REMOVE_HEAD(&q->messages, link);
        grpc_byte_buffer_destroy(m->bb);
        free(m);
    }

    grpc_slice_unref(q->batch);
}


int
im_rpc_queue_add(im_rpc_queue_t *q, const ProtobufCMessage *item)
{
    uint8_t  *p;

    p = queue_room(q, protobuf_c_message_get_packed_size(item));
    if (p == NULL) {
        return IM_BUSY;
    }

    protobuf_c_message_pack(item, p);

    return IM_OK;
}


int
im_rpc_queue_add_packed(im_rpc_queue_t *q, const im_str_t *item)
{
    uint8_t  *p;

    p = queue_room(q, item->len);
    if (p == NULL) {
        return IM_BUSY;
    }

    memcpy(p, item->data, item->len);

    return IM_OK;
}


/* Where an item of this size goes, after its head; NULL: the queue is full. */
static uint8_t *
queue_room(im_rpc_queue_t *q, size_t size)
{
    uint8_t  *start, *p;

    if (q->bytes + size + QUEUE_HEAD_MAX > q->max) {
        return NULL;
    }

    queue_grow(q, size + QUEUE_HEAD_MAX);

    start = GRPC_SLICE_START_PTR(q->batch) + q->len;
    p = start;

    *p++ = QUEUE_TAG;
    p += queue_put_varint(p, size);

    q->len += (size_t) (p - start) + size;
    q->bytes += (size_t) (p - start) + size;

    return p;
}


static void
queue_grow(im_rpc_queue_t *q, size_t need)
{
    size_t      cap;
    grpc_slice  bigger;

    if (q->len + need <= q->cap) {
        return;
    }

    cap = q->cap ? q->cap * 2 : QUEUE_SLICE_MIN;

    while (cap < q->len + need) {
        cap *= 2;
    }

    bigger = grpc_slice_malloc(cap);

    if (q->len != 0) {
        memcpy(GRPC_SLICE_START_PTR(bigger), GRPC_SLICE_START_PTR(q->batch),
               q->len);
    }

    grpc_slice_unref(q->batch);
    q->batch = bigger;
    q->cap = cap;
}


static size_t
queue_put_varint(uint8_t *p, uint64_t v)
{
    size_t  n;

    for (n = 0; v >= 0x80; v >>= 7) {
        p[n++] = (uint8_t) (v | 0x80);
    }

    p[n++] = (uint8_t) v;

    return n;
}


int
im_rpc_queue_push(im_rpc_queue_t *q, const ProtobufCMessage *message)
{
    im_rpc_queued_t  *m;

    if (q->bytes + protobuf_c_message_get_packed_size(message) > q->max) {
        return IM_BUSY;
    }

    m = calloc(1, sizeof(im_rpc_queued_t));
    if (m == NULL) {
        return IM_BUSY;
    }

    m->bb = im_rpc_pack(message);
    STAILQ_INSERT_TAIL(&q->messages, m, link);
    q->bytes += grpc_byte_buffer_length(m->bb);

    return IM_OK;
}


grpc_byte_buffer *
im_rpc_queue_take(im_rpc_queue_t *q)
{
    im_rpc_queued_t   *m;
    grpc_byte_buffer  *bb;

    m = STAILQ_FIRST(&q->messages);

    if (m != NULL) {
        STAILQ_REMOVE_HEAD(&q->messages, link);
        bb = m->bb;
        free(m);

    } else {
        GRPC_SLICE_SET_LENGTH(q->batch, q->len);
        bb = grpc_raw_byte_buffer_create(&q->batch, 1);
        grpc_slice_unref(q->batch);

        q->batch = grpc_empty_slice();
        q->len = 0;
        q->cap = 0;
    }

    q->bytes -= grpc_byte_buffer_length(bb);

    return bb;
}
