/*
 * im_client_query.c -- questions of a client: frames that become a call.
 *
 * A question is a row of the table: its frame, its answer's frame and the
 * method of im.Logic that takes the message as it is.  Nothing else here knows
 * what is asked; a new question is a new row.
 *
 * JSON is read by im_json_decode, protobuf by protobuf-c, both into the scratch
 * memory of the caller.  Protobuf says more than JSON can, so afterwards it is
 * cut down to that: no fields that we do not know (they would be packed again
 * for Logic, which may be newer and know them), no `caller`, text that is text.
 *
 * Room: core.
 */

#include <string.h>

#include "im_client_int.h"
#include "im_json_scan.h"
#include "im_utf8.h"
#include "im_wire.h"


#define CLIENT_SLACK  256              /* for frames that are no questions */


static void client_put(im_client_frame_t *f, const im_client_question_t *q,
    ProtobufCMessage *m);
static void *client_alloc(void *data, size_t size);
static void client_free(void *data, void *p);
static int client_clean(im_client_frame_t *f, ProtobufCMessage *m);
static int client_clean_value(im_client_frame_t *f,
    const ProtobufCFieldDescriptor *field, void *at);
static uint64_t client_id(const ProtobufCMessage *m);


const im_client_question_t  im_client_questions[IM_CLIENT_QUESTIONS] = {

    { "sync", IM__FRAME__FRAME_SYNC, IM__FRAME__FRAME_SYNC_RES,
      "Sync", &im__sync_request__descriptor },

    { "history", IM__FRAME__FRAME_HISTORY, IM__FRAME__FRAME_HISTORY_RES,
      "History", &im__history_request__descriptor },

    { "conversations", IM__FRAME__FRAME_CONVERSATIONS,
      IM__FRAME__FRAME_CONVERSATIONS_RES,
      "Conversations", &im__conversations_request__descriptor },

    { "read", IM__FRAME__FRAME_READ, IM__FRAME__FRAME_READ_RES,
      "Read", &im__read_request__descriptor },

    { "join", IM__FRAME__FRAME_JOIN, IM__FRAME__FRAME_JOIN_RES,
      "RoomJoin", &im__room_join_request__descriptor },

    { "leave", IM__FRAME__FRAME_LEAVE, IM__FRAME__FRAME_LEAVE_RES,
      "RoomLeave", &im__room_leave_request__descriptor },

    { "rooms", IM__FRAME__FRAME_ROOMS, IM__FRAME__FRAME_ROOMS_RES,
      "Rooms", &im__rooms_request__descriptor },

    { "presence_sub", IM__FRAME__FRAME_PRESENCE_SUB,
      IM__FRAME__FRAME_PRESENCE_RES,
      "Presence", &im__presence_subscribe__descriptor }
};


const im_client_question_t *
im_client_question_find(unsigned frame)
{
    size_t  i;

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        if (im_client_questions[i].frame == frame) {
            return &im_client_questions[i];
        }
    }

    return NULL;
}


/* Twice what JSON takes: protobuf-c has lists of its own while it reads. */
size_t
im_client_mem_extra(void)
{
    size_t                             i, need, max;
    const ProtobufCMessageDescriptor  *d;

    max = 0;

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        d = im_client_questions[i].request;
        need = d->sizeof_message + 2 * im_json_mem_extra(d, SIZE_MAX);

        if (need > max) {
            max = need;
        }
    }

    return CLIENT_SLACK + max;
}


int
im_client_question_json(im_client_frame_t *f, const im_client_question_t *q,
    im_str_t *json, im_json_mem_t *mem)
{
    uint64_t           seen;
    ProtobufCMessage  *m;

    m = im_json_mem_take(mem, q->request->sizeof_message);

    if (m == NULL) {
        return im_client_fail(f, "too_large", "the frame is too long");
    }

    protobuf_c_message_init(q->request, m);
    seen = 0;

    if (im_json_decode(m, json, mem, &seen, &f->err) != IM_OK
        || im_json_check_required(m, seen, &f->err) != IM_OK)
    {
        return IM_ERROR;
    }

    client_put(f, q, m);

    return IM_OK;
}


int
im_client_question_proto(im_client_frame_t *f, const im_client_question_t *q,
    const im_str_t *bytes, im_json_mem_t *mem)
{
    const char                      *name;
    ProtobufCMessage                *m;
    ProtobufCAllocator               allocator;
    const ProtobufCFieldDescriptor  *id;

    allocator.alloc = client_alloc;
    allocator.free = client_free;
    allocator.allocator_data = mem;

    f->id = 0;                         /* of one that came before it */
    m = protobuf_c_message_unpack(q->request, &allocator, bytes->len,
                                  bytes->data);

    if (m == NULL) {
        id = protobuf_c_message_descriptor_get_field_by_name(q->request, "id");

        if (id != NULL) {
            (void) im_wire_find(bytes, id->id, &f->id);
        }

        name = im_wire_missing(bytes, q->request);

        if (name != NULL) {
            f->code = "missing_field";
            return im_json_fail(&f->err, f->code, "field '%s' is required",
                                name);
        }

        return im_client_fail(f, "bad_request", "the frame is malformed, or "
                              "holds too much");
    }

    f->id = client_id(m);

    if (client_clean(f, m) != IM_OK) {
        return IM_ERROR;
    }

    client_put(f, q, m);

    return IM_OK;
}


static void
client_put(im_client_frame_t *f, const im_client_question_t *q,
    ProtobufCMessage *m)
{
    f->frame.frame_case = (Im__Frame__FrameCase) q->frame;
    f->frame.sync = (Im__SyncRequest *) m;  /* or what else it is: a union */
    f->question = q;
    f->message = m;
    f->id = client_id(m);
}


/* Nothing is given back: the scratch memory begins anew with each frame. */
static void *
client_alloc(void *data, size_t size)
{
    return im_json_mem_take(data, size);
}


static void
client_free(void *data, void *p)
{
    (void) data;
    (void) p;
}


/* What JSON could not have said is refused, or taken away. */
static int
client_clean(im_client_frame_t *f, ProtobufCMessage *m)
{
    char                            *p;
    size_t                           k, n;
    unsigned                         i;
    const ProtobufCFieldDescriptor  *field;

    m->n_unknown_fields = 0;

    for (i = 0; i < m->descriptor->n_fields; i++) {
        field = &m->descriptor->fields[i];
        p = (char *) m + field->offset;

        if (field->label != PROTOBUF_C_LABEL_REPEATED) {

            if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                *(ProtobufCMessage **) p = NULL;    /* the caller is ours */

            } else if (client_clean_value(f, field, p) != IM_OK) {
                return IM_ERROR;
            }

            continue;
        }

        n = *(size_t *) ((char *) m + field->quantifier_offset);

        if (n > IM_JSON_ITEMS_MAX) {
            return im_client_fail(f, "bad_field", "a list is too long");
        }

        if (field->type != PROTOBUF_C_TYPE_MESSAGE
            && field->type != PROTOBUF_C_TYPE_STRING)
        {
            continue;
        }

        for (k = 0; k < n; k++) {
            if (client_clean_value(f, field, (*(void ***) p) + k) != IM_OK) {
                return IM_ERROR;
            }
        }
    }

    return IM_OK;
}


static int
client_clean_value(im_client_frame_t *f, const ProtobufCFieldDescriptor *field,
    void *at)
{
    char                 *text;
    ProtobufCBinaryData  *bytes;

    switch (field->type) {

    case PROTOBUF_C_TYPE_MESSAGE:
        return client_clean(f, *(ProtobufCMessage **) at);

    case PROTOBUF_C_TYPE_STRING:
        text = *(char **) at;

        if (text != NULL
            && im_utf8_check((unsigned char *) text, strlen(text)) != IM_OK)
        {
            return im_client_fail(f, "bad_field",
                                  "a string is not UTF-8 text");
        }

        return IM_OK;

    case PROTOBUF_C_TYPE_BYTES:
        bytes = at;

        if (bytes->len != 0
            && im_json_valid((im_str_t *) bytes, &f->err) != IM_OK)
        {
            f->code = f->err.code;
            return IM_ERROR;
        }

        return IM_OK;

    default:
        return IM_OK;
    }
}


/* The client's number of this question; 0 if it has none. */
static uint64_t
client_id(const ProtobufCMessage *m)
{
    const ProtobufCFieldDescriptor  *f;

    f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "id");

    return (f != NULL && f->type == PROTOBUF_C_TYPE_UINT64)
           ? *(const uint64_t *) ((const char *) m + f->offset) : 0;
}


void
im_client_answer(Im__Frame *frame, const im_client_question_t *q, uint64_t id,
    ProtobufCMessage *reply)
{
    const ProtobufCFieldDescriptor  *f;

    f = protobuf_c_message_descriptor_get_field_by_name(reply->descriptor,
                                                        "id");

    if (f != NULL && f->type == PROTOBUF_C_TYPE_UINT64
        && f->label == PROTOBUF_C_LABEL_OPTIONAL)
    {
        *(uint64_t *) ((char *) reply + f->offset) = id;
        *(protobuf_c_boolean *) ((char *) reply + f->quantifier_offset)
            = id != 0;
    }

    im__frame__init(frame);
    frame->frame_case = (Im__Frame__FrameCase) q->reply;
    frame->sync_res = (Im__SyncReply *) reply;  /* or what else it is */
}
