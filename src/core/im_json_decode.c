/*
 * im_json_decode.c -- JSON object -> protobuf-c message, in one pass.
 *
 * A scanner over slices: values that nobody asked for are validated and
 * skipped without a copy, a `bytes` field keeps the slice of its value.  The
 * stack is bounded by IM_JSON_DEPTH_MAX.
 *
 * Room: core.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "im_frame.h"
#include "im_json.h"


typedef struct {
    const unsigned char  *start;
    const unsigned char  *p;
    const unsigned char  *end;
    im_json_err_t        *err;
} json_scan_t;


static int json_fail(im_json_err_t *err, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));
static int json_syntax(json_scan_t *s, const char *what);
static void json_space(json_scan_t *s);
static int json_skip_value(json_scan_t *s, unsigned depth);
static int json_skip_object(json_scan_t *s, unsigned depth);
static int json_skip_array(json_scan_t *s, unsigned depth);
static int json_skip_string(json_scan_t *s, im_str_t *raw, int *escaped);
static int json_skip_number(json_scan_t *s);
static int json_skip_word(json_scan_t *s, const char *word);
static int json_hex4(json_scan_t *s, unsigned *value);
static int json_unescape(const im_str_t *raw, im_json_mem_t *mem, char **out,
    size_t *len);
static int json_member(json_scan_t *s, ProtobufCMessage *msg,
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
    json_scan_t  s;

    s.start = json->data;
    s.p = json->data;
    s.end = json->data + json->len;
    s.err = err;

    json_space(&s);

    if (s.p == s.end || *s.p != '{') {
        return json_syntax(&s, "an object");
    }

    s.p++;
    json_space(&s);

    if (s.p < s.end && *s.p == '}') {
        s.p++;

    } else {
        for ( ;; ) {
            if (json_member(&s, msg, mem, seen) != IM_OK) {
                return IM_ERROR;
            }

            json_space(&s);

            if (s.p < s.end && *s.p == ',') {
                s.p++;
                json_space(&s);
                continue;
            }

            if (s.p < s.end && *s.p == '}') {
                s.p++;
                break;
            }

            return json_syntax(&s, "a comma or the object's end");
        }
    }

    json_space(&s);

    if (s.p != s.end) {
        return json_syntax(&s, "nothing more");
    }

    return IM_OK;
}


static int
json_member(json_scan_t *s, ProtobufCMessage *msg, im_json_mem_t *mem,
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

    if (json_skip_string(s, &key, &escaped) != IM_OK) {
        return IM_ERROR;
    }

    text = (char *) key.data;
    len = key.len;

    if (escaped) {
        /* a key longer than this is none of ours */
        scratch.pos = name;
        scratch.end = name + sizeof(name);

        if (json_unescape(&key, &scratch, &text, &len) != IM_OK) {
            len = 0;
        }
    }

    known = json_find(msg, text, len, &index) == IM_OK;

    json_space(s);

    if (s->p == s->end || *s->p != ':') {
        return json_syntax(s, "a colon");
    }

    s->p++;
    json_space(s);
    start = s->p;

    if (known && json_mark(msg, index, seen, s->err) != IM_OK) {
        return IM_ERROR;
    }

    if (s->p < s->end && *s->p == '"') {
        if (json_skip_string(s, &raw, &escaped) != IM_OK) {
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

    if (json_skip_value(s, 1) != IM_OK) {
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
        return json_fail(err, "bad_field",
                         "field '%s' can only be given in the body", f->name);
    }

    if (f->type != PROTOBUF_C_TYPE_STRING) {
        return json_store(msg, index, value, 0, 0, mem, err);
    }

    if (im_utf8_check(value->data, value->len) != IM_OK
        || memchr(value->data, 0, value->len) != NULL)
    {
        return json_fail(err, "bad_field", "field '%s' is not UTF-8 text",
                         f->name);
    }

    if ((size_t) (mem->end - mem->pos) < value->len + 1) {
        return json_fail(err, "too_large", "field '%s' is too long", f->name);
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
            return json_fail(err, "missing_field", "field '%s' is required",
                             f->name);
        }
    }

    return IM_OK;
}


int
im_json_peek(const im_str_t *json, const char *name, im_str_t *value)
{
    int            escaped;
    im_str_t       key, raw;
    json_scan_t    s;
    im_json_err_t  err;

    s.start = json->data;
    s.p = json->data;
    s.end = json->data + json->len;
    s.err = &err;

    json_space(&s);

    if (s.p == s.end || *s.p != '{') {
        return IM_DECLINED;
    }

    do {
        s.p++;
        json_space(&s);

        if (s.p == s.end || *s.p != '"'
            || json_skip_string(&s, &key, &escaped) != IM_OK)
        {
            return IM_DECLINED;
        }

        json_space(&s);

        if (s.p == s.end || *s.p != ':') {
            return IM_DECLINED;
        }

        s.p++;
        json_space(&s);

        if (key.len == strlen(name) && memcmp(key.data, name, key.len) == 0) {

            if (s.p == s.end || *s.p != '"'
                || json_skip_string(&s, &raw, &escaped) != IM_OK || escaped)
            {
                return IM_ERROR;
            }

            *value = raw;

            return IM_OK;
        }

        if (json_skip_value(&s, 1) != IM_OK) {
            return IM_DECLINED;
        }

        json_space(&s);

    } while (s.p < s.end && *s.p == ',');

    return IM_DECLINED;
}


int
im_json_valid(const im_str_t *json, im_json_err_t *err)
{
    json_scan_t  s;

    s.start = json->data;
    s.p = json->data;
    s.end = json->data + json->len;
    s.err = err;

    json_space(&s);

    if (json_skip_value(&s, 1) != IM_OK) {
        return IM_ERROR;
    }

    json_space(&s);

    return (s.p == s.end) ? IM_OK : json_syntax(&s, "nothing more");
}


static void
json_space(json_scan_t *s)
{
    while (s->p < s->end
           && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r'
               || *s->p == '\t'))
    {
        s->p++;
    }
}


static int
json_skip_value(json_scan_t *s, unsigned depth)
{
    int       escaped;
    im_str_t  raw;

    if (s->p == s->end) {
        return json_syntax(s, "a value");
    }

    switch (*s->p) {

    case '{':
        return json_skip_object(s, depth + 1);

    case '[':
        return json_skip_array(s, depth + 1);

    case '"':
        return json_skip_string(s, &raw, &escaped);

    case 't':
        return json_skip_word(s, "true");

    case 'f':
        return json_skip_word(s, "false");

    case 'n':
        return json_skip_word(s, "null");

    default:
        return json_skip_number(s);
    }
}


static int
json_skip_object(json_scan_t *s, unsigned depth)
{
    int       escaped;
    im_str_t  key;

    if (depth > IM_JSON_DEPTH_MAX) {
        return json_fail(s->err, "bad_json", "nested deeper than %d",
                         IM_JSON_DEPTH_MAX);
    }

    s->p++;
    json_space(s);

    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return IM_OK;
    }

    for ( ;; ) {
        if (s->p == s->end || *s->p != '"') {
            return json_syntax(s, "a key in quotes");
        }

        if (json_skip_string(s, &key, &escaped) != IM_OK) {
            return IM_ERROR;
        }

        json_space(s);

        if (s->p == s->end || *s->p != ':') {
            return json_syntax(s, "a colon");
        }

        s->p++;
        json_space(s);

        if (json_skip_value(s, depth) != IM_OK) {
            return IM_ERROR;
        }

        json_space(s);

        if (s->p < s->end && *s->p == ',') {
            s->p++;
            json_space(s);
            continue;
        }

        if (s->p < s->end && *s->p == '}') {
            s->p++;
            return IM_OK;
        }

        return json_syntax(s, "a comma or the object's end");
    }
}


static int
json_skip_array(json_scan_t *s, unsigned depth)
{
    if (depth > IM_JSON_DEPTH_MAX) {
        return json_fail(s->err, "bad_json", "nested deeper than %d",
                         IM_JSON_DEPTH_MAX);
    }

    s->p++;
    json_space(s);

    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return IM_OK;
    }

    for ( ;; ) {
        if (json_skip_value(s, depth) != IM_OK) {
            return IM_ERROR;
        }

        json_space(s);

        if (s->p < s->end && *s->p == ',') {
            s->p++;
            json_space(s);
            continue;
        }

        if (s->p < s->end && *s->p == ']') {
            s->p++;
            return IM_OK;
        }

        return json_syntax(s, "a comma or the array's end");
    }
}


/* raw: what is between the quotes, as written. */
static int
json_skip_string(json_scan_t *s, im_str_t *raw, int *escaped)
{
    unsigned              hi, lo;
    const unsigned char  *start;

    *escaped = 0;

    if (s->p == s->end || *s->p != '"') {
        return json_syntax(s, "a string");
    }

    start = ++s->p;

    for ( ;; ) {
        while (s->p < s->end && *s->p >= 0x20 && *s->p != '"'
               && *s->p != '\\')
        {
            s->p++;
        }

        if (s->p == s->end) {
            return json_syntax(s, "the string's end");
        }

        if (*s->p == '"') {
            break;
        }

        if (*s->p < 0x20) {
            return json_syntax(s, "no control character");
        }

        *escaped = 1;
        s->p++;

        if (s->p == s->end
            || *s->p == '\0' || strchr("\"\\/bfnrtu", *s->p) == NULL)
        {
            return json_syntax(s, "a known escape");
        }

        if (*s->p++ != 'u') {
            continue;
        }

        if (json_hex4(s, &hi) != IM_OK) {
            return IM_ERROR;
        }

        if (hi >= 0xdc00 && hi <= 0xdfff) {
            return json_syntax(s, "no lone surrogate");
        }

        if (hi < 0xd800 || hi > 0xdbff) {
            continue;
        }

        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u') {
            return json_syntax(s, "no lone surrogate");
        }

        s->p += 2;

        if (json_hex4(s, &lo) != IM_OK) {
            return IM_ERROR;
        }

        if (lo < 0xdc00 || lo > 0xdfff) {
            return json_syntax(s, "no lone surrogate");
        }
    }

    raw->data = (unsigned char *) start;
    raw->len = (size_t) (s->p - start);
    s->p++;

    if (im_utf8_check(raw->data, raw->len) != IM_OK) {
        return json_fail(s->err, "bad_json", "a string is not UTF-8");
    }

    return IM_OK;
}


static int
json_hex4(json_scan_t *s, unsigned *value)
{
    int            i;
    unsigned char  c;

    *value = 0;

    for (i = 0; i < 4; i++, s->p++) {
        if (s->p == s->end) {
            return json_syntax(s, "four hex digits");
        }

        c = *s->p;

        if (c >= '0' && c <= '9') {
            c -= '0';

        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            c = (unsigned char) ((c | 0x20) - 'a' + 10);

        } else {
            return json_syntax(s, "four hex digits");
        }

        *value = *value << 4 | c;
    }

    return IM_OK;
}


static int
json_skip_number(json_scan_t *s)
{
    const unsigned char  *digits;

    if (s->p < s->end && *s->p == '-') {
        s->p++;
    }

    digits = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }

    if (s->p == digits || (*digits == '0' && s->p - digits > 1)) {
        s->p = digits;
        return json_syntax(s, "a value");
    }

    if (s->p < s->end && *s->p == '.') {
        digits = ++s->p;

        while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
            s->p++;
        }

        if (s->p == digits) {
            return json_syntax(s, "a digit");
        }
    }

    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;

        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) {
            s->p++;
        }

        digits = s->p;

        while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
            s->p++;
        }

        if (s->p == digits) {
            return json_syntax(s, "a digit");
        }
    }

    return IM_OK;
}


static int
json_skip_word(json_scan_t *s, const char *word)
{
    size_t  n;

    n = strlen(word);

    if ((size_t) (s->end - s->p) < n || memcmp(s->p, word, n) != 0) {
        return json_syntax(s, "a value");
    }

    s->p += n;

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
            return json_fail(err, "bad_field", "field '%s' must be a string",
                             f->name);
        }

        return json_store_string(msg, f, raw, escaped, mem, err);

    case PROTOBUF_C_TYPE_BOOL:
        if (is_string
            || !((raw->len == 4 && memcmp(raw->data, "true", 4) == 0)
                 || (raw->len == 5 && memcmp(raw->data, "false", 5) == 0)))
        {
            return json_fail(err, "bad_field",
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

    if (json_unescape(raw, mem, &text, &len) != IM_OK) {
        return json_fail(err, "too_large", "field '%s' is too long", f->name);
    }

    if (memchr(text, 0, len) != NULL) {
        return json_fail(err, "bad_field",
                         "field '%s' must not contain U+0000", f->name);
    }

    *(char **) ((char *) msg + f->offset) = text;

    return IM_OK;
}


/* raw was checked by json_skip_string(); text gets a NUL. */
static int
json_unescape(const im_str_t *raw, im_json_mem_t *mem, char **out,
    size_t *len)
{
    unsigned        c, lo;
    json_scan_t     s;
    im_json_err_t   err;
    unsigned char  *q;

    if ((size_t) (mem->end - mem->pos) < raw->len + 1) {
        return IM_ERROR;
    }

    q = mem->pos;
    *out = (char *) q;

    s.start = raw->data;
    s.p = raw->data;
    s.end = raw->data + raw->len;
    s.err = &err;

    while (s.p < s.end) {

        if (*s.p != '\\') {
            *q++ = *s.p++;
            continue;
        }

        s.p++;
        c = *s.p++;

        switch (c) {
        case 'b': *q++ = '\b'; continue;
        case 'f': *q++ = '\f'; continue;
        case 'n': *q++ = '\n'; continue;
        case 'r': *q++ = '\r'; continue;
        case 't': *q++ = '\t'; continue;
        case 'u': break;
        default:  *q++ = (unsigned char) c; continue;
        }

        (void) json_hex4(&s, &c);

        if (c >= 0xd800 && c <= 0xdbff) {
            s.p += 2;
            (void) json_hex4(&s, &lo);
            c = 0x10000 + ((c - 0xd800) << 10) + (lo - 0xdc00);
        }

        if (c < 0x80) {
            *q++ = (unsigned char) c;

        } else if (c < 0x800) {
            *q++ = (unsigned char) (0xc0 | c >> 6);
            *q++ = (unsigned char) (0x80 | (c & 0x3f));

        } else if (c < 0x10000) {
            *q++ = (unsigned char) (0xe0 | c >> 12);
            *q++ = (unsigned char) (0x80 | (c >> 6 & 0x3f));
            *q++ = (unsigned char) (0x80 | (c & 0x3f));

        } else {
            *q++ = (unsigned char) (0xf0 | c >> 18);
            *q++ = (unsigned char) (0x80 | (c >> 12 & 0x3f));
            *q++ = (unsigned char) (0x80 | (c >> 6 & 0x3f));
            *q++ = (unsigned char) (0x80 | (c & 0x3f));
        }
    }

    *len = (size_t) (q - mem->pos);
    *q++ = '\0';
    mem->pos = q;

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
        return json_fail(err, "bad_field", "field '%s' cannot be set",
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
        return json_fail(err, "bad_field",
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
        return json_fail(err, "bad_field", "field '%s' is given twice",
                         msg->descriptor->fields[index].name);
    }

    *seen |= (uint64_t) 1 << index;

    return IM_OK;
}


static int
json_syntax(json_scan_t *s, const char *what)
{
    return json_fail(s->err, "bad_json", "%s is expected at byte %zu", what,
                     (size_t) (s->p - s->start));
}


static int
json_fail(im_json_err_t *err, const char *code, const char *fmt, ...)
{
    va_list  args;

    err->code = code;

    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);

    return IM_ERROR;
}
