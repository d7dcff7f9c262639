/*
 * im_h2_queue.c -- messages on their way out, packed where they stay.
 *
 *   add(item)     --> one growing buffer, sent as one message: a batch
 *   push(message) --> a list, for peers whose messages are not batches
 *
 * A buffer begins with gRPC's prefix of a message, which is filled in when it
 * is sent, so that prefix and message are one piece of memory.  Packed items of
 * a batch follow each other, as in im_rpc_queue.c: field 1, repeated.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


#define QUEUE_BUF_MIN   4096
#define QUEUE_FIELD     0x0a           /* number 1, of a known length */
#define QUEUE_FIELD_MAX 11             /* bytes of it and of a length */


struct im_h2_queued_s {
    im_h2_buf_t     *buf;
    im_h2_queued_t  *next;
};


static im_h2_buf_t *queue_buf(size_t cap);
static void queue_prefix(im_h2_buf_t *buf);
static uint8_t *queue_item(im_h2_queue_t *q, size_t size);


/* Of one reference, with the room for a prefix taken.  NULL: no memory. */
static im_h2_buf_t *
queue_buf(size_t cap)
{
    im_h2_buf_t  *buf;

    buf = malloc(sizeof(im_h2_buf_t) + cap);

    if (buf != NULL) {
        buf->refs = 1;
        buf->len = IM_H2_PREFIX;
        buf->cap = cap;
    }

    return buf;
}


/* Not compressed, and its length. */
static void
queue_prefix(im_h2_buf_t *buf)
{
    size_t  n;

    n = buf->len - IM_H2_PREFIX;
    buf->data[0] = 0;
    buf->data[1] = (uint8_t) (n >> 24);
    buf->data[2] = (uint8_t) (n >> 16);
    buf->data[3] = (uint8_t) (n >> 8);
    buf->data[4] = (uint8_t) n;
}


im_h2_buf_t *
im_h2_buf_pack(const ProtobufCMessage *message)
{
    size_t        n;
    im_h2_buf_t  *buf;

    n = protobuf_c_message_get_packed_size(message);
    buf = queue_buf(IM_H2_PREFIX + n);

    if (buf != NULL) {
        buf->len += protobuf_c_message_pack(message, buf->data + IM_H2_PREFIX);
        queue_prefix(buf);
    }

    return buf;
}


im_h2_buf_t *
im_h2_buf_copy(const uint8_t *data, size_t len)
{
    im_h2_buf_t  *buf;

    buf = queue_buf(IM_H2_PREFIX + len);

    if (buf != NULL) {
        memcpy(buf->data + IM_H2_PREFIX, data, len);
        buf->len += len;
        queue_prefix(buf);
    }

    return buf;
}


void
im_h2_buf_release(im_h2_buf_t *buf)
{
    if (buf != NULL && --buf->refs == 0) {
        free(buf);
    }
}


void
im_h2_queue_init(im_h2_queue_t *q, size_t max)
{
    memset(q, 0, sizeof(im_h2_queue_t));
    q->tail = &q->messages;
    q->max = max;
}


void
im_h2_queue_free(im_h2_queue_t *q)
{
    im_h2_queued_t  *m;

    while (q->messages != NULL) {
        m = q->messages;
        q->messages = m->next;
        im_h2_buf_release(m->buf);
        free(m);
    }

    im_h2_buf_release(q->batch);
    q->batch = NULL;
}


int
im_h2_queue_add(im_h2_queue_t *q, const ProtobufCMessage *item)
{
    uint8_t  *p;

    p = queue_item(q, protobuf_c_message_get_packed_size(item));
    if (p == NULL) {
        return IM_BUSY;
    }

    protobuf_c_message_pack(item, p);

    return IM_OK;
}


int
im_h2_queue_add_packed(im_h2_queue_t *q, const im_str_t *item)
{
    uint8_t  *p;

    p = queue_item(q, item->len);
    if (p == NULL) {
        return IM_BUSY;
    }

    memcpy(p, item->data, item->len);

    return IM_OK;
}


/* Where an item of this size goes; NULL: the queue is full. */
static uint8_t *
queue_item(im_h2_queue_t *q, size_t size)
{
    size_t        cap, used;
    uint8_t      *p, *start;
    uint64_t      v;
    im_h2_buf_t  *buf;

    if (q->bytes + size + QUEUE_FIELD_MAX > q->max) {
        return NULL;
    }

    buf = q->batch;
    used = (buf != NULL) ? buf->len : IM_H2_PREFIX;

    if (buf == NULL || used + size + QUEUE_FIELD_MAX > buf->cap) {
        cap = (buf != NULL) ? buf->cap * 2 : QUEUE_BUF_MIN;

        while (cap < used + size + QUEUE_FIELD_MAX) {
            cap *= 2;
        }

        buf = realloc(q->batch, sizeof(im_h2_buf_t) + cap);
        if (buf == NULL) {
            return NULL;
        }

        buf->refs = 1;
        buf->len = used;
        buf->cap = cap;
        q->batch = buf;
    }

    start = buf->data + buf->len;
    p = start;
    *p++ = QUEUE_FIELD;

    for (v = size; v >= 0x80; v >>= 7) {
        *p++ = (uint8_t) (v | 0x80);
    }

    *p++ = (uint8_t) v;

    buf->len += (size_t) (p - start) + size;
    q->bytes += (size_t) (p - start) + size;

    return p;
}


int
im_h2_queue_push(im_h2_queue_t *q, const ProtobufCMessage *message)
{
    im_h2_queued_t  *m;

    if (q->bytes + protobuf_c_message_get_packed_size(message) > q->max) {
        return IM_BUSY;
    }

    m = calloc(1, sizeof(im_h2_queued_t));
    if (m == NULL) {
        return IM_BUSY;
    }

    m->buf = im_h2_buf_pack(message);
    if (m->buf == NULL) {
        free(m);
        return IM_BUSY;
    }

    *q->tail = m;
    q->tail = &m->next;
    q->bytes += m->buf->len - IM_H2_PREFIX;

    return IM_OK;
}


im_h2_buf_t *
im_h2_queue_take(im_h2_queue_t *q)
{
    im_h2_buf_t     *buf;
    im_h2_queued_t  *m;

    m = q->messages;

    if (m != NULL) {
        q->messages = m->next;

        if (q->messages == NULL) {
            q->tail = &q->messages;
        }

        buf = m->buf;
        free(m);

    } else {
        buf = (q->batch != NULL) ? q->batch : queue_buf(IM_H2_PREFIX);
        q->batch = NULL;

        if (buf == NULL) {
            return NULL;
        }

        queue_prefix(buf);
    }

    q->bytes -= buf->len - IM_H2_PREFIX;

    return buf;
}
