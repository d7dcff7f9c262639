/*
 * im_client.c -- a client's frames in JSON or protobuf, without allocation.
 *
 * Decoding writes into the caller's im_client_frame_t.  The protobuf side is a
 * small reader of its own (im_wire.c): protobuf-c's unpack would allocate and
 * copy what is read once and thrown away.  Whatever the encoding, the same
 * checks hold afterwards, so Logic sees only well-formed sends.  Questions are
 * rarer and of many kinds: im_client_query.c reads them by their descriptors.
 *
 * Room: core.
 */

#include <stdio.h>
#include <string.h>

#include "im_check.h"
#include "im_client_int.h"
#include "im_wire.h"


static int client_decode_json(im_client_frame_t *f, im_str_t *msg,
    im_json_mem_t *mem);
static int client_decode_type(im_client_frame_t *f, const im_str_t *type,
    im_str_t *msg, im_json_mem_t *mem);
static int client_no_type(im_client_frame_t *f, im_str_t *msg);
static int client_unknown(im_client_frame_t *f, const char *what);
static int client_decode_proto(im_client_frame_t *f, im_str_t *msg,
    im_json_mem_t *mem);
static int client_read_field(im_client_frame_t *f, const im_wire_field_t *w,
    im_json_mem_t *mem);
static ProtobufCMessage *client_select(im_client_frame_t *f, unsigned field);
static int client_check(im_client_frame_t *f);
static void client_keep_cmid(im_client_frame_t *f, const unsigned char *p,
    size_t len);


/* Frames of a client but for questions, by the name of the oneof member. */
static const struct {
    im_str_t  type;
    unsigned  field;
} client_types[] = {
    { im_str("send"), IM__FRAME__FRAME_SEND },
    { im_str("ping"), IM__FRAME__FRAME_PING },
    { im_str("pong"), IM__FRAME__FRAME_PONG },
    { im_str("auth"), IM__FRAME__FRAME_AUTH }
};

#define CLIENT_TYPES  (sizeof(client_types) / sizeof(client_types[0]))


int
im_client_decode(im_client_frame_t *f, im_encoding_t encoding, im_str_t *msg,
    im_json_mem_t *mem)
{
    int  rc;

    im__frame__init(&f->frame);
    f->question = NULL;
    f->message = NULL;
    f->id = 0;
    f->cmid[0] = '\0';
    f->code = NULL;
    f->err.text[0] = '\0';

    rc = (encoding == IM_ENCODING_JSON) ? client_decode_json(f, msg, mem)
                                        : client_decode_proto(f, msg, mem);

    return (rc == IM_OK) ? client_check(f) : rc;
}


static int
client_decode_json(im_client_frame_t *f, im_str_t *msg, im_json_mem_t *mem)
{
    int       rc;
    im_str_t  type, cmid;

    switch (im_json_peek(msg, "type", &type)) {

    case IM_OK:
        rc = client_decode_type(f, &type, msg, mem);
        break;

    case IM_ERROR:
        return im_client_fail(f, "bad_field", "field 'type' must be a string");

    default:
        return client_no_type(f, msg);
    }

    if (rc == IM_OK) {
        return IM_OK;
    }

    /* what the error names, as far as it can be read */

    if (f->code == NULL) {
        f->code = f->err.code;
    }

    if (im_json_peek_number(msg, "id", &f->id) != IM_OK) {
        f->id = 0;
    }

    if (im_json_peek(msg, "cmid", &cmid) == IM_OK) {
        client_keep_cmid(f, cmid.data, cmid.len);
    }

    return IM_ERROR;
}


static int
client_decode_type(im_client_frame_t *f, const im_str_t *type, im_str_t *msg,
    im_json_mem_t *mem)
{
    size_t             i;
    uint64_t           seen;
    ProtobufCMessage  *inner;

    for (i = 0; i < CLIENT_TYPES; i++) {
        if (client_types[i].type.len == type->len
            && memcmp(client_types[i].type.data, type->data, type->len) == 0)
        {
            seen = 0;
            inner = client_select(f, client_types[i].field);

            return im_json_decode(inner, msg, mem, &seen, &f->err);
        }
    }

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        if (strlen(im_client_questions[i].type) == type->len
            && memcmp(im_client_questions[i].type, type->data, type->len) == 0)
        {
            return im_client_question_json(f, &im_client_questions[i], msg,
                                           mem);
        }
    }

    return client_unknown(f, "'type'");
}


static int
client_no_type(im_client_frame_t *f, im_str_t *msg)
{
    if (im_json_valid(msg, &f->err) != IM_OK) {
        f->code = f->err.code;
        return IM_ERROR;
    }

    /* the scan of blanks ends within msg: there is a brace in it */

    if (memchr(msg->data, '{', msg->len) == NULL
        || msg->data[strspn((char *) msg->data, " \t\r\n")] != '{')
    {
        return im_client_fail(f, "bad_json", "a frame is a JSON object");
    }

    return im_client_fail(f, "missing_field", "field 'type' is required");
}


/* Lists what there is; the text is cut if that is ever too much. */
static int
client_unknown(im_client_frame_t *f, const char *what)
{
    char    *p, *end;
    size_t   i;

    (void) im_client_fail(f, "unknown_type", what);

    p = f->err.text + strlen(f->err.text);
    end = f->err.text + sizeof(f->err.text);
    p += snprintf(p, (size_t) (end - p), " must be one of");

    for (i = 0; i < CLIENT_TYPES + IM_CLIENT_QUESTIONS && p < end; i++) {
        p += snprintf(p, (size_t) (end - p), "%s %s", i ? "," : "",
                      i < CLIENT_TYPES
                      ? (const char *) client_types[i].type.data
                      : im_client_questions[i - CLIENT_TYPES].type);
    }

    return IM_ERROR;
}


static int
client_decode_proto(im_client_frame_t *f, im_str_t *msg, im_json_mem_t *mem)
{
    im_wire_t                    outer, inner;
    im_wire_field_t              w, v;
    const im_client_question_t  *q;

    outer.p = msg->data;
    outer.end = msg->data + msg->len;

    while (outer.p < outer.end) {

        if (im_wire_next(&outer, &w) != IM_OK) {
            return im_client_fail(f, "bad_request", "malformed protobuf");
        }

        if (w.type != IM_WIRE_LEN) {
            continue;                  /* of a newer client */
        }

        if (client_select(f, w.field) == NULL) {
            q = im_client_question_find(w.field);

            if (q != NULL
                && im_client_question_proto(f, q, &w.bytes, mem) != IM_OK)
            {
                return IM_ERROR;
            }

            continue;                  /* unknown: of a newer client, too */
        }

        inner.p = w.bytes.data;
        inner.end = w.bytes.data + w.bytes.len;

        while (inner.p < inner.end) {

            if (im_wire_next(&inner, &v) != IM_OK) {
                return im_client_fail(f, "bad_request", "malformed protobuf");
            }

            if (client_read_field(f, &v, mem) != IM_OK) {
                return IM_ERROR;
            }
        }
    }

    if (f->frame.frame_case == IM__FRAME__FRAME__NOT_SET) {
        return client_unknown(f, "the frame");
    }

    return IM_OK;
}


/* A field of the wrong wire type is unknown, as protobuf has it. */
static int
client_read_field(im_client_frame_t *f, const im_wire_field_t *w,
    im_json_mem_t *mem)
{
    char  **text;

    text = NULL;

    switch (f->frame.frame_case) {

    case IM__FRAME__FRAME_AUTH:
        if (w->field == 1) {
            text = &f->u.auth.token;
        }

        break;

    case IM__FRAME__FRAME_PING:
    case IM__FRAME__FRAME_PONG:
        if (w->field == 1 && w->type == IM_WIRE_VARINT) {
            f->u.ping.id = w->varint;
        }

        return IM_OK;

    case IM__FRAME__FRAME_SEND:
        if (w->type == IM_WIRE_VARINT && w->field == 1) {
            f->u.send.to = w->varint;

        } else if (w->type == IM_WIRE_VARINT && w->field == 2) {
            f->u.send.room = w->varint;

        } else if (w->type == IM_WIRE_LEN && w->field == 4) {
            f->u.send.body.data = w->bytes.data;
            f->u.send.body.len = w->bytes.len;

            if (im_json_valid(&w->bytes, &f->err) != IM_OK) {
                f->code = f->err.code;
                return IM_ERROR;
            }

        } else if (w->field == 3) {
            text = &f->u.send.cmid;
        }

        break;

    default:
        break;
    }

    if (text == NULL || w->type != IM_WIRE_LEN) {
        return IM_OK;
    }

    if (im_wire_text(&w->bytes, mem, text) != IM_OK) {
        return im_client_fail(f, "bad_field", "a string is not UTF-8 text");
    }

    return IM_OK;
}


static ProtobufCMessage *
client_select(im_client_frame_t *f, unsigned field)
{
    if (f->frame.frame_case == (Im__Frame__FrameCase) field) {
        return &f->u.auth.base;        /* given twice: merged */
    }

    switch (field) {

    case IM__FRAME__FRAME_AUTH:
        im__auth__init(&f->u.auth);
        f->frame.auth = &f->u.auth;
        break;

    case IM__FRAME__FRAME_PING:
        im__ping__init(&f->u.ping);
        f->frame.ping = &f->u.ping;
        break;

    case IM__FRAME__FRAME_PONG:
        im__pong__init(&f->u.pong);
        f->frame.pong = &f->u.pong;
        break;

    case IM__FRAME__FRAME_SEND:
        im__send__init(&f->u.send);
        f->frame.send = &f->u.send;
        break;

    default:
        return NULL;
    }

    f->frame.frame_case = (Im__Frame__FrameCase) field;
    f->question = NULL;
    f->message = NULL;
    f->id = 0;

    return &f->u.auth.base;
}


/* What holds whatever the encoding. */
static int
client_check(im_client_frame_t *f)
{
    ProtobufCMessage  *message;

    switch (f->frame.frame_case) {

    case IM__FRAME__FRAME_AUTH:
        if (f->u.auth.token[0] == '\0') {
            return im_client_fail(f, "missing_field",
                               "field 'token' is required");
        }

        return IM_OK;

    case IM__FRAME__FRAME_SEND:
        message = &f->u.send.base;
        client_keep_cmid(f, (unsigned char *) f->u.send.cmid,
                         strlen(f->u.send.cmid));
        break;

    default:
        if (f->question == NULL) {
            return IM_OK;
        }

        message = f->message;
        break;
    }

    if (im_check(message, &f->err) != IM_OK) {
        f->code = f->err.code;
        return IM_ERROR;
    }

    return IM_OK;
}


int
im_client_fail(im_client_frame_t *f, const char *code, const char *text)
{
    f->code = code;
    f->err.code = code;
    snprintf(f->err.text, sizeof(f->err.text), "%s", text);

    return IM_ERROR;
}


/* For the error frame; one that is too long is not worth repeating. */
static void
client_keep_cmid(im_client_frame_t *f, const unsigned char *p, size_t len)
{
    if (len <= IM_CMID_MAX && memchr(p, '\\', len) == NULL) {
        memcpy(f->cmid, p, len);
        f->cmid[len] = '\0';
    }
}
