/*
 * im_json_encode.c -- protobuf-c message -> JSON, through its descriptor.
 *
 * The writer counts always and stores while there is room, so one function
 * both sizes and writes.  No printf on this path.
 *
 * Room: core.
 */

#include <string.h>

#include "im_json.h"


typedef struct {
    unsigned char  *out;
    size_t          cap;
    size_t          len;
} json_out_t;


static void json_message(json_out_t *o, const ProtobufCMessage *msg,
    const char *type);
static int json_is_set(const ProtobufCFieldDescriptor *f, const char *base);
static void json_value(json_out_t *o, const ProtobufCFieldDescriptor *f,
    const void *p);
static void json_array(json_out_t *o, const ProtobufCFieldDescriptor *f,
    const char *base);
static size_t json_size_of(const ProtobufCFieldDescriptor *f);
static void json_string(json_out_t *o, const char *s);
static void json_number(json_out_t *o, uint64_t v);
static void json_raw(json_out_t *o, const void *p, size_t n);


size_t
im_json_encode(const ProtobufCMessage *msg, const char *type,
    unsigned char *out, size_t cap)
{
    json_out_t  o = { out, cap, 0 };

    json_message(&o, msg, type);

    return o.len;
}


size_t
im_json_encode_max(const ProtobufCMessage *msg, const char *type)
{
    return im_json_encode(msg, type, NULL, 0);
}


static void
json_message(json_out_t *o, const ProtobufCMessage *msg, const char *type)
{
    int                                first;
    unsigned                           i;
    const char                        *base;
    const ProtobufCFieldDescriptor    *f;
    const ProtobufCMessageDescriptor  *d;

    d = msg->descriptor;
    base = (const char *) msg;
    first = 1;

    json_raw(o, "{", 1);

    if (type != NULL) {
        json_raw(o, "\"type\":", 7);
        json_string(o, type);
        first = 0;
    }

    for (i = 0; i < d->n_fields; i++) {
        f = &d->fields[i];

        if (!json_is_set(f, base)) {
            continue;
        }

        if (!first) {
            json_raw(o, ",", 1);
        }

        first = 0;
        json_raw(o, "\"", 1);
        json_raw(o, f->name, strlen(f->name));
        json_raw(o, "\":", 2);

        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            json_array(o, f, base);

        } else {
            json_value(o, f, base + f->offset);
        }
    }

    json_raw(o, "}", 1);
}


/* proto2: was it set; proto3: is it other than the default. */
static int
json_is_set(const ProtobufCFieldDescriptor *f, const char *base)
{
    const void  *p;

    p = base + f->offset;

    if (f->label == PROTOBUF_C_LABEL_REQUIRED
        || f->label == PROTOBUF_C_LABEL_REPEATED)
    {
        return 1;
    }

    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *) (base + f->quantifier_offset) == f->id;
    }

    switch (f->type) {

    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *) p != NULL;

    case PROTOBUF_C_TYPE_STRING:
        if (*(char *const *) p == NULL) {
            return 0;
        }

        return f->label == PROTOBUF_C_LABEL_OPTIONAL
               || **(char *const *) p != '\0';

    default:
        break;
    }

    if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        return *(const protobuf_c_boolean *) (base + f->quantifier_offset);
    }

    switch (f->type) {

    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *) p)->len != 0;

    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *) p;

    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
        return *(const uint32_t *) p != 0;

    default:
        return *(const uint64_t *) p != 0;
    }
}


static void
json_value(json_out_t *o, const ProtobufCFieldDescriptor *f, const void *p)
{
    int64_t                     i;
    const ProtobufCBinaryData  *bytes;

    switch (f->type) {

    case PROTOBUF_C_TYPE_MESSAGE:
        json_message(o, *(const ProtobufCMessage *const *) p, NULL);
        break;

    case PROTOBUF_C_TYPE_STRING:
        json_string(o, *(const char *const *) p);
        break;

    case PROTOBUF_C_TYPE_BYTES:
        bytes = p;

        if (bytes->len == 0) {
            json_raw(o, "null", 4);

        } else {
            json_raw(o, bytes->data, bytes->len);
        }

        break;

    case PROTOBUF_C_TYPE_BOOL:
        if (*(const protobuf_c_boolean *) p) {
            json_raw(o, "true", 4);

        } else {
            json_raw(o, "false", 5);
        }

        break;

    case PROTOBUF_C_TYPE_UINT32:
        json_number(o, *(const uint32_t *) p);
        break;

    case PROTOBUF_C_TYPE_INT32:
        i = *(const int32_t *) p;

        if (i < 0) {
            json_raw(o, "-", 1);
        }

        json_number(o, (i < 0) ? (uint64_t) -i : (uint64_t) i);
        break;

    default:
        /* 64 bits: a string, as JavaScript's numbers lose bits above 2^53 */
        json_raw(o, "\"", 1);
        json_number(o, *(const uint64_t *) p);
        json_raw(o, "\"", 1);
        break;
    }
}


static void
json_array(json_out_t *o, const ProtobufCFieldDescriptor *f, const char *base)
{
    size_t       i, n, size;
    const char  *p;

    n = *(const size_t *) (base + f->quantifier_offset);
    p = *(const char *const *) (base + f->offset);
    size = json_size_of(f);

    json_raw(o, "[", 1);

    for (i = 0; i < n; i++) {
        if (i > 0) {
            json_raw(o, ",", 1);
        }

        json_value(o, f, p + i * size);
    }

    json_raw(o, "]", 1);
}


static size_t
json_size_of(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {

    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(void *);

    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);

    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);

    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
        return sizeof(uint32_t);

    default:
        return sizeof(uint64_t);
    }
}


/* Runs of plain characters are copied at once. */
static void
json_string(json_out_t *o, const char *s)
{
    char               esc[6];
    const char        *start;
    unsigned char      c;
    static const char  hex[] = "0123456789abcdef";

    json_raw(o, "\"", 1);

    for (start = s; ; s++) {
        c = (unsigned char) *s;

        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }

        json_raw(o, start, (size_t) (s - start));

        if (c == '\0') {
            break;
        }

        start = s + 1;
        esc[0] = '\\';

        switch (c) {

        case '"':
        case '\\':
            esc[1] = (char) c;
            json_raw(o, esc, 2);
            break;

        case '\n':
            json_raw(o, "\\n", 2);
            break;

        case '\r':
            json_raw(o, "\\r", 2);
            break;

        case '\t':
            json_raw(o, "\\t", 2);
            break;

        default:
            memcpy(esc, "\\u00", 4);
            esc[4] = hex[c >> 4];
            esc[5] = hex[c & 15];
            json_raw(o, esc, 6);
            break;
        }
    }

    json_raw(o, "\"", 1);
}


static void
json_number(json_out_t *o, uint64_t v)
{
    char   buf[20];
    char  *p;

    p = buf + sizeof(buf);

    do {
        *--p = (char) ('0' + v % 10);
        v /= 10;
    } while (v != 0);

    json_raw(o, p, (size_t) (buf + sizeof(buf) - p));
}


static void
json_raw(json_out_t *o, const void *p, size_t n)
{
    if (o->len + n <= o->cap && n != 0) {
        memcpy(o->out + o->len, p, n);
    }

    o->len += n;
}
