/*
 * im_json_decode.c -- JSON object -> protobuf-c message, in one pass.
 *
 * Values that nobody asked for are validated and skipped without a copy, a
 * `bytes` field keeps the slice of its value.
 *
 * Room: core.
 */

#include <string.h>

#include "im_frame.h"
#include "im_json.h"
#include "im_json_scan.h"


static int json_member(im_json_scan_t *s, ProtobufCMessage *msg,
    im_json_mem_t *mem, uint64_t *seen);
static int json_store(ProtobufCMessage *msg, unsigned index,
    const im_str_t *raw, int is_string, int escaped, im_json_mem_t *mem,
    im_json_err_t *err);
static int json_store_string(ProtobufCMessage *msg,
    const ProtobufCFieldDescriptor *f, const im_str_t *raw, int escaped,
    im_json_mem_t *mem, im_json_err_t *err);
static int json_store_number(ProtobufCMessage *msg,
    const ProtobufCFieldDescriptor *f, const im_str_t *text,
    im_json_err_t *err);
static int json_find(const ProtobufCMessage *msg, const char *name,
    size_t len, unsigned *index);
static int json_mark(const ProtobufCMessage *msg, unsigned index,
    uint64_t *seen, im_json_err_t *err);


int
im_json_decode(ProtobufCMessage *msg, im_str_t *json, im_json_mem_t *mem,
    uint64_t *seen, im_json_err_t *err)
{
    im_json_scan_t  s;

    s.start = json->data;
    s.p = json->data;
    s.end = json->data + json->len;
    s.err = err;

    im_json_space(&s);

    if (s.p == s.end || *s.p != '{') {
        return im_json_syntax(&s, "an object");
    }

    s.p++;
    im_json_space(&s);

    if (s.p < s.end && *s.p == '}') {
        s.p++;

    } else {
        for ( ;; ) {
            if (json_member(&s, msg, mem, seen) != IM_OK) {
                return IM_ERROR;
            }

            im_json_space(&s);

            if (s.p < s.end && *s.p == ',') {
                s.p++;
                im_json_space(&s);
                continue;
            }

            if (s.p < s.end && *s.p == '}') {
                s.p++;
                break;
            }

            return im_json_syntax(&s, "a comma or the object's end");
        }
    }

    im_json_space(&s);

    if (s.p != s.end) {
        return im_json_syntax(&s, "nothing more");
    }

    return IM_OK;
}


static int
json_member(im_json_scan_t *s, ProtobufCMessage *msg, im_json_mem_t *mem,
    uint64_t *seen)
{
    int                   escaped, known;
    char                 *text;
    size_t                len;
    unsigned              index;
    im_str_t              key, raw;
    im_json_mem_t         scratch;
    unsigned char         name[64];
    const unsigned char  *start;

    if (im_json_skip_string(s, &key, &escaped) != IM_OK) {
        return IM_ERROR;
    }

    text = (char *) key.data;
    len = key.len;

    if (escaped) {
        /* a key longer than this is none of ours */
        scratch.pos = name;
        scratch.end = name + sizeof(name);

        if (im_json_unescape(&key, &scratch, &text, &len) != IM_OK) {
            len = 0;
        }
    }

    known = json_find(msg, text, len, &index) == IM_OK;

    im_json_space(s);

    if (s->p == s->end || *s->p != ':') {
        return im_json_syntax(s, "a colon");
    }

    s->p++;
    im_json_space(s);
    start = s->p;

    if (known && json_mark(msg, index, seen, s->err) != IM_OK) {
        return IM_ERROR;
    }

    if (s->p < s->end && *s->p == '"') {
        if (im_json_skip_string(s, &raw, &escaped) != IM_OK) {
            return IM_ERROR;
        }

        if (!known) {
            return IM_OK;
        }

        if (msg->descriptor->fields[index].type == PROTOBUF_C_TYPE_BYTES) {
            raw.data--;                /* the quotes belong to the value */
            raw.len += 2;
        }

        return json_store(msg, index, &raw, 1, escaped, mem, s->err);
    }

    if (im_json_skip_value(s, 1) != IM_OK) {
        return IM_ERROR;
    }

    if (!known) {
        return IM_OK;
    }

    raw.data = (unsigned char *) start;
    raw.len = (size_t) (s->p - start);

    return json_store(msg, index, &raw, 0, 0, mem, s->err);
}


int
im_json_set(ProtobufCMessage *msg, const im_str_t *name,
    const im_str_t *value, im_json_mem_t *mem, uint64_t *seen,
    im_json_err_t *err)
{
    char                            *copy;
    unsigned                         index;
    const ProtobufCFieldDescriptor  *f;

    if (json_find(msg, (char *) name->data, name->len, &index) != IM_OK) {
        return IM_DECLINED;
    }

    f = &msg->descriptor->fields[index];

    if (json_mark(msg, index, seen, err) != IM_OK) {
        return IM_ERROR;
    }

    if (f->type == PROTOBUF_C_TYPE_BYTES) {
        return im_json_fail(err, "bad_field",
                         "field '%s' can only be given in the body", f->name);
    }

    if (f->type != PROTOBUF_C_TYPE_STRING) {
        return json_store(msg, index, value, 0, 0, mem, err);
    }

    if (im_utf8_check(value->data, value->len) != IM_OK
        || memchr(value->data, 0, value->len) != NULL)
    {
        return im_json_fail(err, "bad_field", "field '%s' is not UTF-8 text",
                         f->name);
    }

    if ((size_t) (mem->end - mem->pos) < value->len + 1) {
        return im_json_fail(err, "too_large", "field '%s' is too long",
                            f->name);
    }

    copy = (char *) mem->pos;
    memcpy(copy, value->data, value->len);
    copy[value->len] = '\0';
    mem->pos += value->len + 1;

    *(char **) ((char *) msg + f->offset) = copy;

    return IM_OK;
}


int
im_json_check_required(const ProtobufCMessage *msg, uint64_t seen,
    im_json_err_t *err)
{
    unsigned                         i;
    const ProtobufCFieldDescriptor  *f;

    for (i = 0; i < msg->descriptor->n_fields; i++) {
        f = &msg->descriptor->fields[i];

        if (f->label == PROTOBUF_C_LABEL_REQUIRED
            && f->type != PROTOBUF_C_TYPE_MESSAGE
            && !(seen & ((uint64_t) 1 << i)))
        {
            return im_json_fail(err, "missing_field", "field '%s' is required",
                             f->name);
        }
    }

    return IM_OK;
}


static int
json_store(ProtobufCMessage *msg, unsigned index, const im_str_t *raw,
    int is_string, int escaped, im_json_mem_t *mem, im_json_err_t *err)
{
    ProtobufCBinaryData             *bytes;
    const ProtobufCFieldDescriptor  *f;

    f = &msg->descriptor->fields[index];

    switch (f->type) {

    case PROTOBUF_C_TYPE_BYTES:
        bytes = (ProtobufCBinaryData *) ((char *) msg + f->offset);
        bytes->data = raw->data;
        bytes->len = raw->len;

        if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
            *(protobuf_c_boolean *) ((char *) msg + f->quantifier_offset) = 1;
        }

        return IM_OK;

    case PROTOBUF_C_TYPE_STRING:
        if (!is_string) {
            return im_json_fail(err, "bad_field", "field '%s' must be a string",
                             f->name);
        }

        return json_store_string(msg, f, raw, escaped, mem, err);

    case PROTOBUF_C_TYPE_BOOL:
        if (is_string
            || !((raw->len == 4 && memcmp(raw->data, "true", 4) == 0)
                 || (raw->len == 5 && memcmp(raw->data, "false", 5) == 0)))
        {
            return im_json_fail(err, "bad_field",
                             "field '%s' must be true or false", f->name);
        }

        *(protobuf_c_boolean *) ((char *) msg + f->offset) = raw->len == 4;

        if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
            *(protobuf_c_boolean *) ((char *) msg + f->quantifier_offset) = 1;
        }

        return IM_OK;

    default:
        return json_store_number(msg, f, raw, err);
    }
}


static int
json_store_string(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
    const im_str_t *raw, int escaped, im_json_mem_t *mem, im_json_err_t *err)
{
    char    *text;
    size_t   len;

    (void) escaped;

    if (im_json_unescape(raw, mem, &text, &len) != IM_OK) {
        return im_json_fail(err, "too_large", "field '%s' is too long",
                            f->name);
    }

    if (memchr(text, 0, len) != NULL) {
        return im_json_fail(err, "bad_field",
                         "field '%s' must not contain U+0000", f->name);
    }

    *(char **) ((char *) msg + f->offset) = text;

    return IM_OK;
}


/* Decimal digits only; a 64-bit field takes them with or without quotes. */
static int
json_store_number(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
    const im_str_t *text, im_json_err_t *err)
{
    size_t    i;
    uint64_t  v, max;

    switch (f->type) {

    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        max = UINT64_MAX;
        break;

    case PROTOBUF_C_TYPE_INT64:
        max = INT64_MAX;
        break;

    case PROTOBUF_C_TYPE_UINT32:
        max = UINT32_MAX;
        break;

    default:
        return im_json_fail(err, "bad_field", "field '%s' cannot be set",
                         f->name);
    }

    v = 0;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9'
            || (i == 1 && text->data[0] == '0')
            || v > (max - (unsigned) (text->data[i] - '0')) / 10)
        {
            break;
        }

        v = v * 10 + (unsigned) (text->data[i] - '0');
    }

    if (i == 0 || i < text->len) {
        return im_json_fail(err, "bad_field",
                         "field '%s' must be a whole number from 0 to %llu",
                         f->name, (unsigned long long) max);
    }

    if (f->type == PROTOBUF_C_TYPE_UINT32) {
        *(uint32_t *) ((char *) msg + f->offset) = (uint32_t) v;

    } else {
        *(uint64_t *) ((char *) msg + f->offset) = v;
    }

    if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        *(protobuf_c_boolean *) ((char *) msg + f->quantifier_offset) = 1;
    }

    return IM_OK;
}


/* Messages and repeated fields belong to the edge and are unknown here. */
static int
json_find(const ProtobufCMessage *msg, const char *name, size_t len,
    unsigned *index)
{
    unsigned                         i;
    const ProtobufCFieldDescriptor  *f;

    for (i = 0; i < msg->descriptor->n_fields && i < IM_JSON_FIELDS_MAX; i++)
    {
        f = &msg->descriptor->fields[i];

        if (strlen(f->name) == len && memcmp(f->name, name, len) == 0
            && f->type != PROTOBUF_C_TYPE_MESSAGE
            && f->label != PROTOBUF_C_LABEL_REPEATED)
        {
            *index = i;
            return IM_OK;
        }
    }

    return IM_DECLINED;
}


static int
json_mark(const ProtobufCMessage *msg, unsigned index, uint64_t *seen,
    im_json_err_t *err)
{
    if (*seen & ((uint64_t) 1 << index)) {
        return im_json_fail(err, "bad_field", "field '%s' is given twice",
                         msg->descriptor->fields[index].name);
    }

    *seen |= (uint64_t) 1 << index;

    return IM_OK;
}
