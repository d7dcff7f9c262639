/*
 * im_json_field.c -- one field of a message: may it be set, and to what.
 *
 * Shared by the body (im_json_decode.c) and by query arguments, so that a
 * number is the same number in both.
 *
 * Room: core.
 */

#include <string.h>

#include "im_json.h"
#include "im_json_scan.h"
#include "im_utf8.h"


#define JSON_EXTRA_MAX    (256 * 1024)
#define JSON_EXTRA_DEPTH  4            /* messages in messages */
#define JSON_ALIGN        sizeof(uint64_t)


static int json_store_string(const ProtobufCFieldDescriptor *f, void *at,
    const im_str_t *raw, im_json_mem_t *mem, im_json_err_t *err);
static int json_store_number(const ProtobufCFieldDescriptor *f, void *at,
    const im_str_t *text, im_json_err_t *err);
static int json_is_ours(const ProtobufCFieldDescriptor *f);
static size_t json_extra(const ProtobufCMessageDescriptor *d, size_t items,
    unsigned depth);


void *
im_json_mem_take(im_json_mem_t *mem, size_t size)
{
    size_t          pad;
    unsigned char  *p;

    pad = (size_t) (-(uintptr_t) mem->pos & (JSON_ALIGN - 1));

    if ((size_t) (mem->end - mem->pos) < pad
        || (size_t) (mem->end - mem->pos) - pad < size)
    {
        return NULL;
    }

    p = mem->pos + pad;
    mem->pos = p + size;

    return p;
}


int
im_json_set(ProtobufCMessage *msg, const im_str_t *name,
    const im_str_t *value, im_json_mem_t *mem, uint64_t *seen,
    im_json_err_t *err)
{
    char                            *copy;
    unsigned                         index;
    const ProtobufCFieldDescriptor  *f;

    if (im_json_find(msg, (char *) name->data, name->len, &index) != IM_OK) {
        return IM_DECLINED;
    }

    f = &msg->descriptor->fields[index];

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return IM_DECLINED;
    }

    if (im_json_mark(msg, index, seen, err) != IM_OK) {
        return IM_ERROR;
    }

    if (f->type == PROTOBUF_C_TYPE_BYTES) {
        return im_json_fail(err, "bad_field",
                         "field '%s' can only be given in the body", f->name);
    }

    if (f->type != PROTOBUF_C_TYPE_STRING) {
        if (im_json_store(f, (char *) msg + f->offset, value, 0, mem, err)
            != IM_OK)
        {
            return IM_ERROR;
        }

        im_json_set_has(msg, f);

        return IM_OK;
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


int
im_json_store(const ProtobufCFieldDescriptor *f, void *at, const im_str_t *raw,
    int is_string, im_json_mem_t *mem, im_json_err_t *err)
{
    ProtobufCBinaryData  *bytes;

    switch (f->type) {

    case PROTOBUF_C_TYPE_BYTES:
        bytes = at;
        bytes->data = raw->data;
        bytes->len = raw->len;

        return IM_OK;

    case PROTOBUF_C_TYPE_STRING:
        if (!is_string) {
            return im_json_fail(err, "bad_field", "field '%s' must be a string",
                             f->name);
        }

        return json_store_string(f, at, raw, mem, err);

    case PROTOBUF_C_TYPE_BOOL:
        if (is_string
            || !((raw->len == 4 && memcmp(raw->data, "true", 4) == 0)
                 || (raw->len == 5 && memcmp(raw->data, "false", 5) == 0)))
        {
            return im_json_fail(err, "bad_field",
                             "field '%s' must be true or false", f->name);
        }

        *(protobuf_c_boolean *) at = raw->len == 4;

        return IM_OK;

    default:
        return json_store_number(f, at, raw, err);
    }
}


static int
json_store_string(const ProtobufCFieldDescriptor *f, void *at,
    const im_str_t *raw, im_json_mem_t *mem, im_json_err_t *err)
{
    char    *text;
    size_t   len;

    if (im_json_unescape(raw, mem, &text, &len) != IM_OK) {
        return im_json_fail(err, "too_large", "field '%s' is too long",
                            f->name);
    }

    if (memchr(text, 0, len) != NULL) {
        return im_json_fail(err, "bad_field",
                         "field '%s' must not contain U+0000", f->name);
    }

    *(char **) at = text;

    return IM_OK;
}


/* Decimal digits only; a 64-bit field takes them with or without quotes. */
static int
json_store_number(const ProtobufCFieldDescriptor *f, void *at,
    const im_str_t *text, im_json_err_t *err)
{
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

    if (im_json_number(text, max, &v) != IM_OK) {
        return im_json_fail(err, "bad_field",
                         "field '%s' must be a whole number from 0 to %llu",
                         f->name, (unsigned long long) max);
    }

    if (f->type == PROTOBUF_C_TYPE_UINT32) {
        *(uint32_t *) at = (uint32_t) v;

    } else {
        *(uint64_t *) at = v;
    }

    return IM_OK;
}


int
im_json_number(const im_str_t *text, uint64_t max, uint64_t *value)
{
    size_t    i;
    uint64_t  v;

    v = 0;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9'
            || (i == 1 && text->data[0] == '0')
            || v > (max - (unsigned) (text->data[i] - '0')) / 10)
        {
            return IM_ERROR;
        }

        v = v * 10 + (unsigned) (text->data[i] - '0');
    }

    if (i == 0) {
        return IM_ERROR;
    }

    *value = v;

    return IM_OK;
}


/* A string that is set is not NULL, an array that is has items. */
void
im_json_set_has(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL
        && f->type != PROTOBUF_C_TYPE_STRING)
    {
        *(protobuf_c_boolean *) ((char *) msg + f->quantifier_offset) = 1;
    }
}


int
im_json_find(const ProtobufCMessage *msg, const char *name, size_t len,
    unsigned *index)
{
    unsigned                         i;
    const ProtobufCFieldDescriptor  *f;

    for (i = 0; i < msg->descriptor->n_fields && i < IM_JSON_FIELDS_MAX; i++)
    {
        f = &msg->descriptor->fields[i];

        if (strlen(f->name) == len && memcmp(f->name, name, len) == 0
            && json_is_ours(f))
        {
            *index = i;
            return IM_OK;
        }
    }

    return IM_DECLINED;
}


/* Whether a client may set it; what it may not is unknown here. */
static int
json_is_ours(const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return f->type == PROTOBUF_C_TYPE_MESSAGE
               || f->type == PROTOBUF_C_TYPE_UINT64
               || f->type == PROTOBUF_C_TYPE_STRING;
    }

    return f->type != PROTOBUF_C_TYPE_MESSAGE;
}


size_t
im_json_item_size(const ProtobufCFieldDescriptor *f)
{
    return (f->type == PROTOBUF_C_TYPE_UINT64) ? sizeof(uint64_t)
                                               : sizeof(void *);
}


int
im_json_mark(const ProtobufCMessage *msg, unsigned index, uint64_t *seen,
    im_json_err_t *err)
{
    if (*seen & ((uint64_t) 1 << index)) {
        return im_json_fail(err, "bad_field", "field '%s' is given twice",
                         msg->descriptor->fields[index].name);
    }

    *seen |= (uint64_t) 1 << index;

    return IM_OK;
}


/*
 * Two bytes of input, "1," or "[]", make one item; strings need no more than
 * their quotes gave, but for those of a query: one byte each.
 */
size_t
im_json_mem_extra(const ProtobufCMessageDescriptor *d, size_t len)
{
    size_t  items, extra;

    items = len / 2 + 1;

    if (items > IM_JSON_ITEMS_MAX) {
        items = IM_JSON_ITEMS_MAX;
    }

    extra = json_extra(d, items, 0) + d->n_fields + JSON_ALIGN;

    return (extra < JSON_EXTRA_MAX) ? extra : JSON_EXTRA_MAX;
}


/* May be too large by far for lists of lists, which end at the limit. */
static size_t
json_extra(const ProtobufCMessageDescriptor *d, size_t items, unsigned depth)
{
    size_t                             extra, size;
    unsigned                           i;
    const ProtobufCFieldDescriptor    *f;
    const ProtobufCMessageDescriptor  *inner;

    extra = 0;

    for (i = 0; i < d->n_fields; i++) {
        f = &d->fields[i];

        if (f->label != PROTOBUF_C_LABEL_REPEATED || !json_is_ours(f)) {
            continue;
        }

        if (depth == JSON_EXTRA_DEPTH) {
            return JSON_EXTRA_MAX;
        }

        size = im_json_item_size(f);

        if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
            inner = f->descriptor;
            size += inner->sizeof_message + JSON_ALIGN
                    + json_extra(inner, items, depth + 1);
        }

        extra += JSON_ALIGN + items * size;

        if (extra > JSON_EXTRA_MAX) {
            return JSON_EXTRA_MAX;
        }
    }

    return extra;
}
