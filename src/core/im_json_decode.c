/*
 * im_json_decode.c -- JSON object -> protobuf-c message.
 *
 * Values that nobody asked for are validated and skipped without a copy, a
 * `bytes` field keeps the slice of its value.  An array is walked twice: once
 * to see that it is one and how long, once to fill memory of that size; so
 * nothing grows, and what a hostile array costs is known before it is paid.
 * Objects inside an array are filled by the same code; a message field that is
 * not in an array belongs to the edge (`caller`) and cannot be set.  What is
 * written into a field, and whether, is im_json_field.c.
 *
 * Room: core.
 */

#include <string.h>

#include "im_json.h"
#include "im_json_scan.h"


static int json_object(im_json_scan_t *s, ProtobufCMessage *msg,
    im_json_mem_t *mem, uint64_t *seen, unsigned depth);
static int json_member(im_json_scan_t *s, ProtobufCMessage *msg,
    im_json_mem_t *mem, uint64_t *seen, unsigned depth);
static int json_key(im_json_scan_t *s, const ProtobufCMessage *msg,
    unsigned *index, unsigned depth);
static int json_value(im_json_scan_t *s, const ProtobufCFieldDescriptor *f,
    void *at, im_json_mem_t *mem, unsigned depth);
static int json_array(im_json_scan_t *s, ProtobufCMessage *msg,
    const ProtobufCFieldDescriptor *f, im_json_mem_t *mem, unsigned depth);
static int json_count(const im_json_scan_t *array,
    const ProtobufCFieldDescriptor *f, size_t *n, unsigned depth);
static int json_item(im_json_scan_t *s, const ProtobufCFieldDescriptor *f,
    void *at, im_json_mem_t *mem, unsigned depth);


int
im_json_decode(ProtobufCMessage *msg, im_str_t *json, im_json_mem_t *mem,
    uint64_t *seen, im_json_err_t *err)
{
    im_json_scan_t  s;

    im_json_scan_init(&s, json, err);

    im_json_space(&s);

    if (s.p == s.end || *s.p != '{') {
        return im_json_syntax(&s, "an object");
    }

    if (json_object(&s, msg, mem, seen, 1) != IM_OK) {
        return IM_ERROR;
    }

    im_json_space(&s);

    if (s.p != s.end) {
        return im_json_syntax(&s, "nothing more");
    }

    return IM_OK;
}


/* The scan stands at the brace; depth: objects and arrays, this included. */
static int
json_object(im_json_scan_t *s, ProtobufCMessage *msg, im_json_mem_t *mem,
    uint64_t *seen, unsigned depth)
{
    s->p++;
    im_json_space(s);

    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return IM_OK;
    }

    for ( ;; ) {
        if (json_member(s, msg, mem, seen, depth) != IM_OK) {
            return IM_ERROR;
        }

        im_json_space(s);

        if (s->p < s->end && *s->p == ',') {
            s->p++;
            im_json_space(s);
            continue;
        }

        if (s->p < s->end && *s->p == '}') {
            s->p++;
            return IM_OK;
        }

        return im_json_syntax(s, "a comma or the object's end");
    }
}


static int
json_member(im_json_scan_t *s, ProtobufCMessage *msg, im_json_mem_t *mem,
    uint64_t *seen, unsigned depth)
{
    int                              rc;
    unsigned                         index;
    const ProtobufCFieldDescriptor  *f;

    rc = json_key(s, msg, &index, depth);

    if (rc == IM_DECLINED) {
        return im_json_skip_value(s, depth);
    }

    if (rc != IM_OK || im_json_mark(msg, index, seen, s->err) != IM_OK) {
        return IM_ERROR;
    }

    f = &msg->descriptor->fields[index];

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return json_array(s, msg, f, mem, depth + 1);
    }

    if (json_value(s, f, (char *) msg + f->offset, mem, depth) != IM_OK) {
        return IM_ERROR;
    }

    im_json_set_has(msg, f);

    return IM_OK;
}


/* Over key and colon.  IM_DECLINED: it names no field that can be set. */
static int
json_key(im_json_scan_t *s, const ProtobufCMessage *msg, unsigned *index,
    unsigned depth)
{
    int             rc, escaped;
    char           *text;
    size_t          len;
    im_str_t        key;
    im_json_mem_t   scratch;
    unsigned char   name[64];

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

    rc = im_json_find(msg, text, len, index);

    /* the name of a frame is no field of its message */

    if (rc == IM_DECLINED && depth == 1 && len == 4
        && memcmp(text, "type", 4) == 0 && s->types++ > 0)
    {
        return im_json_fail(s->err, "bad_field", "field 'type' is given "
                            "twice");
    }

    im_json_space(s);

    if (s->p == s->end || *s->p != ':') {
        return im_json_syntax(s, "a colon");
    }

    s->p++;
    im_json_space(s);

    return rc;
}


/* A value that is not an object of ours, to the field's place. */
static int
json_value(im_json_scan_t *s, const ProtobufCFieldDescriptor *f, void *at,
    im_json_mem_t *mem, unsigned depth)
{
    int                   escaped;
    im_str_t              raw;
    const unsigned char  *start;

    start = s->p;

    if (s->p < s->end && *s->p == '"') {
        if (im_json_skip_string(s, &raw, &escaped) != IM_OK) {
            return IM_ERROR;
        }

        if (f->type == PROTOBUF_C_TYPE_BYTES) {
            raw.data--;                /* the quotes belong to the value */
            raw.len += 2;
        }

        return im_json_store(f, at, &raw, 1, mem, s->err);
    }

    if (im_json_skip_value(s, depth) != IM_OK) {
        return IM_ERROR;
    }

    raw.data = (unsigned char *) start;
    raw.len = (size_t) (s->p - start);

    return im_json_store(f, at, &raw, 0, mem, s->err);
}


/* depth: with this array. */
static int
json_array(im_json_scan_t *s, ProtobufCMessage *msg,
    const ProtobufCFieldDescriptor *f, im_json_mem_t *mem, unsigned depth)
{
    char    *items;
    size_t   i, n;

    if (s->p == s->end || *s->p != '[') {
        if (im_json_skip_value(s, depth - 1) != IM_OK) {
            return IM_ERROR;
        }

        return im_json_fail(s->err, "bad_field", "field '%s' must be an array",
                            f->name);
    }

    if (json_count(s, f, &n, depth) != IM_OK) {
        return IM_ERROR;
    }

    items = im_json_mem_take(mem, n * im_json_item_size(f));

    if (items == NULL) {
        return im_json_fail(s->err, "too_large", "field '%s' is too long",
                            f->name);
    }

    /* the count has seen every bracket, comma and value */

    s->p++;

    for (i = 0; i < n; i++) {
        im_json_space(s);

        if (json_item(s, f, items + i * im_json_item_size(f), mem, depth)
            != IM_OK)
        {
            return IM_ERROR;
        }

        im_json_space(s);

        if (i + 1 < n) {
            s->p++;
        }
    }

    im_json_space(s);
    s->p++;

    *(char **) ((char *) msg + f->offset) = (n != 0) ? items : NULL;
    *(size_t *) ((char *) msg + f->quantifier_offset) = n;

    return IM_OK;
}


/* How many items the array has that the scan stands at, and is it one. */
static int
json_count(const im_json_scan_t *array, const ProtobufCFieldDescriptor *f,
    size_t *n, unsigned depth)
{
    im_json_scan_t  s;

    *n = 0;
    s = *array;

    s.p++;
    im_json_space(&s);

    if (s.p < s.end && *s.p == ']') {
        return IM_OK;
    }

    for ( ;; ) {
        if (++*n > IM_JSON_ITEMS_MAX) {
            return im_json_fail(s.err, "bad_field",
                                "field '%s' has more than %d items", f->name,
                                IM_JSON_ITEMS_MAX);
        }

        if (im_json_skip_value(&s, depth) != IM_OK) {
            return IM_ERROR;
        }

        im_json_space(&s);

        if (s.p < s.end && *s.p == ',') {
            s.p++;
            im_json_space(&s);
            continue;
        }

        if (s.p < s.end && *s.p == ']') {
            return IM_OK;
        }

        return im_json_syntax(&s, "a comma or the array's end");
    }
}


static int
json_item(im_json_scan_t *s, const ProtobufCFieldDescriptor *f, void *at,
    im_json_mem_t *mem, unsigned depth)
{
    uint64_t                           seen;
    ProtobufCMessage                  *m;
    const ProtobufCMessageDescriptor  *d;

    if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
        return json_value(s, f, at, mem, depth);
    }

    if (*s->p != '{') {
        return im_json_fail(s->err, "bad_field",
                            "field '%s' must be an array of objects", f->name);
    }

    d = f->descriptor;
    m = im_json_mem_take(mem, d->sizeof_message);

    if (m == NULL) {
        return im_json_fail(s->err, "too_large", "field '%s' is too long",
                            f->name);
    }

    protobuf_c_message_init(d, m);
    *(ProtobufCMessage **) at = m;
    seen = 0;

    if (json_object(s, m, mem, &seen, depth + 1) != IM_OK) {
        return IM_ERROR;
    }

    return im_json_check_required(m, seen, s->err);
}
