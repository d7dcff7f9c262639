/*
 * im_json_scan.c -- a JSON scanner over slices (RFC 8259).
 *
 * Validates and skips; only im_json_unescape() copies.  The stack is bounded
 * by IM_JSON_DEPTH_MAX, strings are checked to be UTF-8 and their escapes to
 * be whole surrogate pairs, so that what is passed on is good everywhere.
 * Numbers: im_json_number.c.
 *
 * Room: core.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "im_json.h"
#include "im_json_scan.h"
#include "im_utf8.h"


static int json_peek(const im_str_t *json, const char *name, im_str_t *value,
    int *escaped);
static int json_peek_value(im_json_scan_t *s, im_str_t *value, int *escaped);
static int json_skip_object(im_json_scan_t *s, unsigned depth);
static int json_skip_array(im_json_scan_t *s, unsigned depth);
static int json_skip_word(im_json_scan_t *s, const char *word);
static int json_too_deep(im_json_scan_t *s);
static int json_hex4(im_json_scan_t *s, unsigned *value);


int
im_json_peek(const im_str_t *json, const char *name, im_str_t *value)
{
    int  rc, escaped;

    rc = json_peek(json, name, value, &escaped);

    return (rc == IM_OK && escaped != 0) ? IM_ERROR : rc;
}


int
im_json_peek_number(const im_str_t *json, const char *name, uint64_t *value)
{
    int       escaped;
    im_str_t  raw;

    if (json_peek(json, name, &raw, &escaped) != IM_OK) {
        return IM_DECLINED;
    }

    return im_json_number(&raw, UINT64_MAX, value);
}


/*
 * *escaped: as of a string, -1 if the value is none.  Numbers of any size are
 * passed over: what the frame is called is read before it is refused.
 */
static int
json_peek(const im_str_t *json, const char *name, im_str_t *value,
    int *escaped)
{
    im_str_t        key;
    im_json_scan_t  s;
    im_json_err_t   err;

    im_json_scan_init(&s, json, &err);
    s.any_number = 1;

    im_json_space(&s);

    if (s.p == s.end || *s.p != '{') {
        return IM_DECLINED;
    }

    do {
        s.p++;
        im_json_space(&s);

        if (s.p == s.end || *s.p != '"'
            || im_json_skip_string(&s, &key, escaped) != IM_OK)
        {
            return IM_DECLINED;
        }

        im_json_space(&s);

        if (s.p == s.end || *s.p != ':') {
            return IM_DECLINED;
        }

        s.p++;
        im_json_space(&s);

        if (key.len == strlen(name) && memcmp(key.data, name, key.len) == 0) {
            return json_peek_value(&s, value, escaped);
        }

        if (im_json_skip_value(&s, 1) != IM_OK) {
            return IM_DECLINED;
        }

        im_json_space(&s);

    } while (s.p < s.end && *s.p == ',');

    return IM_DECLINED;
}


static int
json_peek_value(im_json_scan_t *s, im_str_t *value, int *escaped)
{
    const unsigned char  *start;

    if (s->p < s->end && *s->p == '"') {
        return im_json_skip_string(s, value, escaped);
    }

    start = s->p;
    *escaped = -1;

    if (im_json_skip_value(s, 1) != IM_OK) {
        return IM_ERROR;
    }

    value->data = (unsigned char *) start;
    value->len = (size_t) (s->p - start);

    return IM_OK;
}


int
im_json_valid(const im_str_t *json, im_json_err_t *err)
{
    im_json_scan_t  s;

    im_json_scan_init(&s, json, err);

    im_json_space(&s);

    if (im_json_skip_value(&s, 1) != IM_OK) {
        return IM_ERROR;
    }

    im_json_space(&s);

    return (s.p == s.end) ? IM_OK : im_json_syntax(&s, "nothing more");
}


void
im_json_scan_init(im_json_scan_t *s, const im_str_t *json, im_json_err_t *err)
{
    s->start = json->data;
    s->p = json->data;
    s->end = json->data + json->len;
    s->err = err;
    s->any_number = 0;
    s->types = 0;
}


void
im_json_space(im_json_scan_t *s)
{
    while (s->p < s->end
           && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r'
               || *s->p == '\t'))
    {
        s->p++;
    }
}


int
im_json_skip_value(im_json_scan_t *s, unsigned depth)
{
    int       escaped;
    im_str_t  raw;

    if (s->p == s->end) {
        return im_json_syntax(s, "a value");
    }

    switch (*s->p) {

    case '{':
        return json_skip_object(s, depth + 1);

    case '[':
        return json_skip_array(s, depth + 1);

    case '"':
        return im_json_skip_string(s, &raw, &escaped);

    case 't':
        return json_skip_word(s, "true");

    case 'f':
        return json_skip_word(s, "false");

    case 'n':
        return json_skip_word(s, "null");

    default:
        return im_json_skip_number(s);
    }
}


static int
json_skip_object(im_json_scan_t *s, unsigned depth)
{
    int       escaped;
    im_str_t  key;

    if (depth > IM_JSON_DEPTH_MAX + 1) {
        return json_too_deep(s);
    }

    s->p++;
    im_json_space(s);

    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return IM_OK;
    }

    for ( ;; ) {
        if (s->p == s->end || *s->p != '"') {
            return im_json_syntax(s, "a key in quotes");
        }

        if (im_json_skip_string(s, &key, &escaped) != IM_OK) {
            return IM_ERROR;
        }

        im_json_space(s);

        if (s->p == s->end || *s->p != ':') {
            return im_json_syntax(s, "a colon");
        }

        s->p++;
        im_json_space(s);

        if (im_json_skip_value(s, depth) != IM_OK) {
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
json_too_deep(im_json_scan_t *s)
{
    return im_json_fail(s->err, "bad_json", "nested deeper than %d levels at "
                        "byte %zu", IM_JSON_DEPTH_MAX,
                        (size_t) (s->p - s->start));
}


static int
json_skip_array(im_json_scan_t *s, unsigned depth)
{
    if (depth > IM_JSON_DEPTH_MAX + 1) {
        return json_too_deep(s);
    }

    s->p++;
    im_json_space(s);

    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return IM_OK;
    }

    for ( ;; ) {
        if (im_json_skip_value(s, depth) != IM_OK) {
            return IM_ERROR;
        }

        im_json_space(s);

        if (s->p < s->end && *s->p == ',') {
            s->p++;
            im_json_space(s);
            continue;
        }

        if (s->p < s->end && *s->p == ']') {
            s->p++;
            return IM_OK;
        }

        return im_json_syntax(s, "a comma or the array's end");
    }
}


/* raw: what is between the quotes, as written. */
int
im_json_skip_string(im_json_scan_t *s, im_str_t *raw, int *escaped)
{
    unsigned              hi, lo;
    const unsigned char  *start;

    *escaped = 0;

    if (s->p == s->end || *s->p != '"') {
        return im_json_syntax(s, "a string");
    }

    start = ++s->p;

    for ( ;; ) {
        while (s->p < s->end && *s->p >= 0x20 && *s->p != '"'
               && *s->p != '\\')
        {
            s->p++;
        }

        if (s->p == s->end) {
            return im_json_syntax(s, "the string's end");
        }

        if (*s->p == '"') {
            break;
        }

        if (*s->p < 0x20) {
            return im_json_syntax(s, "no control character");
        }

        *escaped = 1;
        s->p++;

        if (s->p == s->end
            || *s->p == '\0' || strchr("\"\\/bfnrtu", *s->p) == NULL)
        {
            return im_json_syntax(s, "a known escape");
        }

        if (*s->p++ != 'u') {
            continue;
        }

        if (json_hex4(s, &hi) != IM_OK) {
            return IM_ERROR;
        }

        if (hi >= 0xdc00 && hi <= 0xdfff) {
            return im_json_syntax(s, "no lone surrogate");
        }

        if (hi < 0xd800 || hi > 0xdbff) {
            continue;
        }

        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u') {
            return im_json_syntax(s, "no lone surrogate");
        }

        s->p += 2;

        if (json_hex4(s, &lo) != IM_OK) {
            return IM_ERROR;
        }

        if (lo < 0xdc00 || lo > 0xdfff) {
            return im_json_syntax(s, "no lone surrogate");
        }
    }

    raw->data = (unsigned char *) start;
    raw->len = (size_t) (s->p - start);
    s->p++;

    if (im_utf8_check(raw->data, raw->len) != IM_OK) {
        return im_json_fail(s->err, "bad_json", "a string is not UTF-8");
    }

    return IM_OK;
}


static int
json_hex4(im_json_scan_t *s, unsigned *value)
{
    int            i;
    unsigned char  c;

    *value = 0;

    for (i = 0; i < 4; i++, s->p++) {
        if (s->p == s->end) {
            return im_json_syntax(s, "four hex digits");
        }

        c = *s->p;

        if (c >= '0' && c <= '9') {
            c -= '0';

        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            c = (unsigned char) ((c | 0x20) - 'a' + 10);

        } else {
            return im_json_syntax(s, "four hex digits");
        }

        *value = *value << 4 | c;
    }

    return IM_OK;
}


static int
json_skip_word(im_json_scan_t *s, const char *word)
{
    size_t  n;

    n = strlen(word);

    if ((size_t) (s->end - s->p) < n || memcmp(s->p, word, n) != 0) {
        return im_json_syntax(s, "a value");
    }

    s->p += n;

    return IM_OK;
}


/* raw was checked by im_json_skip_string(); text gets a NUL. */
int
im_json_unescape(const im_str_t *raw, im_json_mem_t *mem, char **out,
    size_t *len)
{
    unsigned         c, lo;
    im_json_err_t    err;
    im_json_scan_t   s;
    unsigned char   *q;

    if ((size_t) (mem->end - mem->pos) < raw->len + 1) {
        return IM_ERROR;
    }

    q = mem->pos;
    *out = (char *) q;

    im_json_scan_init(&s, raw, &err);

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


int
im_json_syntax(im_json_scan_t *s, const char *what)
{
    return im_json_fail(s->err, "bad_json", "%s is expected at byte %zu", what,
                     (size_t) (s->p - s->start));
}


int
im_json_fail(im_json_err_t *err, const char *code, const char *fmt, ...)
{
    va_list  args;

    err->code = code;

    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);

    return IM_ERROR;
}
