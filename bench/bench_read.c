/*
 * bench_read.c -- frames as a server writes them.
 *
 * The generator shares the machine with what it measures, so it reads frames
 * with two small scanners instead of a full JSON or protobuf decoder: they
 * trust the server to be well formed, and what is not is an error or a frame
 * of no known type, both of which bench_load.c counts.
 */

#include <string.h>

#include "bench.h"


typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
} wire_t;


static int wire_read_json(const im_str_t *msg, bench_frame_t *f);
static int wire_json_next(wire_t *w, im_str_t *key, im_str_t *value);
static const unsigned char *wire_json_string(const unsigned char *p,
    const unsigned char *end);
static void wire_json_field(bench_frame_t *f, const im_str_t *key,
    const im_str_t *raw);
static bench_type_t wire_type(const im_str_t *name);
static int wire_is(const im_str_t *s, const char *text);
static uint64_t wire_number(const im_str_t *s);
static int wire_read_proto(const im_str_t *msg, bench_frame_t *f);
static int wire_proto_next(wire_t *w, unsigned *field, uint64_t *number,
    im_str_t *bytes);
static int wire_proto_varint(wire_t *w, uint64_t *v);


int
bench_wire_read(im_encoding_t encoding, const im_str_t *msg, bench_frame_t *f)
{
    memset(f, 0, sizeof(bench_frame_t));

    return (encoding == IM_ENCODING_JSON) ? wire_read_json(msg, f)
                                          : wire_read_proto(msg, f);
}


static int
wire_read_json(const im_str_t *msg, bench_frame_t *f)
{
    int       rc;
    wire_t    w;
    im_str_t  key, value;

    w.p = msg->data;
    w.end = msg->data + msg->len;

    if (w.p == w.end || *w.p++ != '{') {
        return IM_ERROR;
    }

    for ( ;; ) {
        rc = wire_json_next(&w, &key, &value);
        if (rc != IM_OK) {
            return (rc == IM_DONE) ? IM_OK : IM_ERROR;
        }

        wire_json_field(f, &key, &value);
    }
}


/* One "key":value of a flat object; a value of braces is stepped over. */
static int
wire_json_next(wire_t *w, im_str_t *key, im_str_t *value)
{
    unsigned              depth;
    const unsigned char  *p, *end;

    p = w->p;
    end = w->end;

    if (p < end && *p == ',') {
        p++;
    }

    if (p < end && *p == '}') {
        return IM_DONE;
    }

    if (p == end || *p != '"') {
        return IM_ERROR;
    }

    key->data = (unsigned char *) p + 1;
    p = wire_json_string(p, end);

    if (p == NULL || p == end || *p != ':') {
        return IM_ERROR;
    }

    key->len = (size_t) (p - 1 - key->data);
    p++;
    value->data = (unsigned char *) p;

    for (depth = 0; p < end; /* void */ ) {

        if (*p == '"') {
            p = wire_json_string(p, end);
            if (p == NULL) {
                return IM_ERROR;
            }

            continue;
        }

        if (depth == 0 && (*p == ',' || *p == '}')) {
            break;
        }

        if (*p == '{' || *p == '[') {
            depth++;

        } else if (*p == '}' || *p == ']') {
            depth--;
        }

        p++;
    }

    value->len = (size_t) (p - value->data);
    w->p = p;

    return (p < end) ? IM_OK : IM_ERROR;
}


/* Behind the string that begins at p, or NULL. */
static const unsigned char *
wire_json_string(const unsigned char *p, const unsigned char *end)
{
    for (p++; p < end; p++) {

        if (*p == '\\') {
            p++;

        } else if (*p == '"') {
            return p + 1;
        }
    }

    return NULL;
}


static void
wire_json_field(bench_frame_t *f, const im_str_t *key, const im_str_t *raw)
{
    im_str_t  s;

    s = *raw;

    if (s.len >= 2 && s.data[0] == '"') {
        s.data++;
        s.len -= 2;
    }

    if (wire_is(key, "type")) {
        f->type = wire_type(&s);

    } else if (wire_is(key, "msg_id")) {
        f->msg_id = wire_number(&s);

    } else if (wire_is(key, "seq")) {
        f->seq = wire_number(&s);

    } else if (wire_is(key, "from")) {
        f->from = wire_number(&s);

    } else if (wire_is(key, "room")) {
        f->room = wire_number(&s);

    } else if (wire_is(key, "cmid")) {
        f->cmid = s;

    } else if (wire_is(key, "body")) {
        f->body = *raw;

    } else if (wire_is(key, "code")) {
        f->code = s;

    } else if (wire_is(key, "retryable")) {
        f->retryable = wire_is(&s, "true");

    } else if (wire_is(key, "retry_after_ms")) {
        f->retry_after_ms = wire_number(&s);
    }
}


static bench_type_t
wire_type(const im_str_t *name)
{
    if (wire_is(name, "ack")) {
        return BENCH_FRAME_ACK;
    }

    if (wire_is(name, "push")) {
        return BENCH_FRAME_PUSH;
    }

    if (wire_is(name, "error")) {
        return BENCH_FRAME_ERROR;
    }

    if (wire_is(name, "auth_ok")) {
        return BENCH_FRAME_AUTH_OK;
    }

    if (wire_is(name, "kick")) {
        return BENCH_FRAME_KICK;
    }

    if (wire_is(name, "join_res")) {
        return BENCH_FRAME_JOIN_RES;
    }

    if (wire_is(name, "room_ev")) {
        return BENCH_FRAME_ROOM_EV;
    }

    return BENCH_FRAME_OTHER;
}


static int
wire_is(const im_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


static uint64_t
wire_number(const im_str_t *s)
{
    size_t    i;
    uint64_t  v;

    for (v = 0, i = 0; i < s->len; i++) {
        v = v * 10 + (uint64_t) (s->data[i] - '0');
    }

    return v;
}


static int
wire_read_proto(const im_str_t *msg, bench_frame_t *f)
{
    int       rc;
    wire_t    w;
    unsigned  field, type;
    uint64_t  n;
    im_str_t  s, inner;

    w.p = msg->data;
    w.end = msg->data + msg->len;

    if (wire_proto_next(&w, &type, &n, &inner) != IM_OK) {
        return IM_ERROR;
    }

    w.p = inner.data;
    w.end = inner.data + inner.len;

    f->type = type == IM__FRAME__FRAME_ACK ? BENCH_FRAME_ACK
              : type == IM__FRAME__FRAME_PUSH ? BENCH_FRAME_PUSH
              : type == IM__FRAME__FRAME_ERROR ? BENCH_FRAME_ERROR
              : type == IM__FRAME__FRAME_AUTH_OK ? BENCH_FRAME_AUTH_OK
              : type == IM__FRAME__FRAME_KICK ? BENCH_FRAME_KICK
              : BENCH_FRAME_OTHER;

    for ( ;; ) {
        rc = wire_proto_next(&w, &field, &n, &s);
        if (rc != IM_OK) {
            return (rc == IM_DONE) ? IM_OK : IM_ERROR;
        }

        /* type and number of the field, as client.proto has them */

        switch (f->type << 8 | field) {

        case BENCH_FRAME_ACK << 8 | 1:
        case BENCH_FRAME_ERROR << 8 | 3:
            f->cmid = s;
            break;

        case BENCH_FRAME_ACK << 8 | 2:
        case BENCH_FRAME_PUSH << 8 | 1:
            f->msg_id = n;
            break;

        case BENCH_FRAME_ACK << 8 | 3:
        case BENCH_FRAME_PUSH << 8 | 2:
            f->seq = n;
            break;

        case BENCH_FRAME_PUSH << 8 | 3:
            f->from = n;
            break;

        case BENCH_FRAME_PUSH << 8 | 8:
            f->body = s;
            break;

        case BENCH_FRAME_ERROR << 8 | 1:
        case BENCH_FRAME_KICK << 8 | 1:
            f->code = s;
            break;

        case BENCH_FRAME_ERROR << 8 | 4:
            f->retryable = (n != 0);
            break;

        case BENCH_FRAME_ERROR << 8 | 5:
            f->retry_after_ms = n;
            break;

        default:
            break;
        }
    }
}


/* A varint or a run of bytes; client.proto has no other wire types. */
static int
wire_proto_next(wire_t *w, unsigned *field, uint64_t *number, im_str_t *bytes)
{
    uint64_t  tag;

    if (w->p == w->end) {
        return IM_DONE;
    }

    bytes->len = 0;
    bytes->data = NULL;

    if (wire_proto_varint(w, &tag) != IM_OK
        || wire_proto_varint(w, number) != IM_OK)
    {
        return IM_ERROR;
    }

    *field = (unsigned) (tag >> 3);

    if ((tag & 7) == 0) {
        return IM_OK;
    }

    if ((tag & 7) != 2 || *number > (uint64_t) (w->end - w->p)) {
        return IM_ERROR;
    }

    bytes->data = (unsigned char *) w->p;
    bytes->len = (size_t) *number;
    w->p += *number;

    return IM_OK;
}


static int
wire_proto_varint(wire_t *w, uint64_t *v)
{
    unsigned  shift;

    *v = 0;

    for (shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        *v |= (uint64_t) (*w->p & 0x7f) << shift;

        if (*w->p++ < 0x80) {
            return IM_OK;
        }
    }

    return IM_ERROR;
}
