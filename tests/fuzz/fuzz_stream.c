/*
 * fuzz_stream.c -- batches on the streams between the tiers.
 *
 * The first letter of an input says which kind of batch the rest is: Up and
 * Down between a worker and Logic, Push and pushed (`T`) between Task and a
 * worker.
 *
 * A batch packs to what it was unpacked from.  Two batches one behind the other
 * are the batch of all their items, which im_rpc_stream_add() counts on.  What
 * a worker hands on to clients is JSON there, if the texts in it are text.
 */

#include "fuzz.h"
#include "im_client.h"
#include "im_utf8.h"
#include "stream.pb-c.h"


/* What each batch begins with. */
typedef struct {
    ProtobufCMessage    base;
    size_t              n_items;
    ProtobufCMessage  **items;
} stream_batch_t;

_Static_assert(offsetof(stream_batch_t, items)
               == offsetof(Im__UpBatch, items)
               && offsetof(stream_batch_t, items)
                  == offsetof(Im__DownBatch, items)
               && offsetof(stream_batch_t, items)
                  == offsetof(Im__PushBatch, items)
               && offsetof(stream_batch_t, items)
                  == offsetof(Im__PushedBatch, items),
               "a batch is one list of items");


static void stream_twice(const stream_batch_t *b);
static void stream_down(const Im__DownItem *item);
static void stream_push(const Im__PushItem *item);
static void stream_to_client(Im__Frame *frame);
static int stream_is_text(const ProtobufCMessage *m);


void
fuzz_stream(const uint8_t *data, size_t size)
{
    size_t                             i;
    stream_batch_t                    *b;
    const ProtobufCMessageDescriptor  *d;

    if (size == 0) {
        return;
    }

    switch (data[0]) {

    case 'U':
        d = &im__up_batch__descriptor;
        break;

    case 'D':
        d = &im__down_batch__descriptor;
        break;

    case 'P':
        d = &im__push_batch__descriptor;
        break;

    default:
        d = &im__pushed_batch__descriptor;
        break;
    }

    b = (stream_batch_t *) protobuf_c_message_unpack(d, NULL, size - 1,
                                                     data + 1);
    if (b == NULL) {
        return;
    }

    fuzz_check_packs(&b->base);
    stream_twice(b);

    for (i = 0; i < b->n_items; i++) {

        if (d == &im__down_batch__descriptor) {
            stream_down((Im__DownItem *) b->items[i]);

        } else if (d == &im__push_batch__descriptor) {
            stream_push((Im__PushItem *) b->items[i]);
        }
    }

    protobuf_c_message_free_unpacked(&b->base, NULL);
}


static void
stream_twice(const stream_batch_t *b)
{
    size_t           i;
    im_str_t         one, two, first, second;
    stream_batch_t  *both;

    if (fuzz_has_unknown(&b->base)) {
        return;
    }

    one = fuzz_pack(&b->base);
    two.len = 2 * one.len;
    two.data = fuzz_alloc(two.len);
    memcpy(two.data, one.data, one.len);
    memcpy(two.data + one.len, one.data, one.len);

    both = (stream_batch_t *) protobuf_c_message_unpack(b->base.descriptor,
                                                        NULL, two.len,
                                                        two.data);
    FUZZ_CHECK(both != NULL && both->n_items == 2 * b->n_items);

    for (i = 0; i < both->n_items; i++) {
        first = fuzz_pack(b->items[i % b->n_items]);
        second = fuzz_pack(both->items[i]);
        FUZZ_CHECK(first.len == second.len
                   && memcmp(first.data, second.data, first.len) == 0);
        free(first.data);
        free(second.data);
    }

    protobuf_c_message_free_unpacked(&both->base, NULL);
    free(one.data);
    free(two.data);
}


/* The items that a worker hands to a client as they are. */
static void
stream_down(const Im__DownItem *item)
{
    Im__Frame  frame = IM__FRAME__INIT;

    switch (item->item_case) {

    case IM__DOWN_ITEM__ITEM_ACK:
        frame.frame_case = IM__FRAME__FRAME_ACK;
        frame.ack = item->ack;
        break;

    case IM__DOWN_ITEM__ITEM_ERROR:
        frame.frame_case = IM__FRAME__FRAME_ERROR;
        frame.error = item->error;
        break;

    case IM__DOWN_ITEM__ITEM_ROOM_EVENT:
        frame.frame_case = IM__FRAME__FRAME_ROOM_EV;
        frame.room_ev = item->room_event;
        break;

    case IM__DOWN_ITEM__ITEM_PRESENCE:
        frame.frame_case = IM__FRAME__FRAME_PRESENCE;
        frame.presence = item->presence;
        break;

    default:
        return;
    }

    stream_to_client(&frame);
}


/* As ngx_im_ws_encode_push(). */
static void
stream_push(const Im__PushItem *item)
{
    Im__Push       push = IM__PUSH__INIT;
    Im__Frame      frame = IM__FRAME__INIT;
    Im__Record    *r;
    im_json_err_t  err;

    r = im__record__unpack(NULL, item->record.len, item->record.data);

    if (r == NULL) {
        return;
    }

    push.msg_id = r->msg_id;
    push.seq = r->seq;
    push.from = r->from;
    push.time_ms = r->time_ms;
    push.cmid = r->cmid;
    push.body.data = r->body.data;
    push.body.len = r->body.len;
    frame.frame_case = IM__FRAME__FRAME_PUSH;
    frame.push = &push;

    if (r->body.len > 0
        && im_json_valid((const im_str_t *) &push.body, &err) == IM_OK)
    {
        stream_to_client(&frame);
    }

    im__record__free_unpacked(r, NULL);
}


static void
stream_to_client(Im__Frame *frame)
{
    int             e;
    size_t          n, head;
    im_str_t        out, json;
    im_json_err_t   err;

    if (!stream_is_text(&frame->ack->base)) {
        return;                        /* no worker of ours sends that */
    }

    for (e = IM_ENCODING_JSON; e <= IM_ENCODING_PROTO; e++) {
        out.len = im_client_encode(frame, e, NULL, 0);
        out.data = fuzz_alloc(out.len);

        n = im_client_encode(frame, e, out.data, out.len);
        FUZZ_CHECK(n == out.len);

        if (e == IM_ENCODING_JSON) {
            head = (out.data[1] < 126) ? 2 : (out.data[1] == 126) ? 4 : 10;
            json.data = out.data + head;
            json.len = out.len - head;
            FUZZ_CHECK(im_json_valid(&json, &err) == IM_OK);
        }

        free(out.data);
    }
}


/* 1: all strings of it are UTF-8. */
static int
stream_is_text(const ProtobufCMessage *m)
{
    unsigned                         i;
    const char                      *s;
    const ProtobufCFieldDescriptor  *f;

    for (i = 0; i < m->descriptor->n_fields; i++) {
        f = &m->descriptor->fields[i];

        if (f->type == PROTOBUF_C_TYPE_STRING
            && f->label != PROTOBUF_C_LABEL_REPEATED)
        {
            s = *(const char *const *) ((const char *) m + f->offset);

            if (s != NULL && im_utf8_check((const unsigned char *) s,
                                           strlen(s)) != IM_OK)
            {
                return 0;
            }
        }
    }

    return 1;
}
