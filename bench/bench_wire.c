/*
 * bench_wire.c -- frames as a client writes them, and what its bodies say.
 *
 * A body is one JSON string of a fixed size:
 *
 *     "m<16 hex: when it was due, ns><8 hex: n>....."
 *
 * with w instead of m outside of the measured window.
 */

#include <string.h>

#include "bench.h"


#define WIRE_HEAD  (2 + 16 + 8)    /* quote, phase, time, number */


static size_t wire_frame(bench_t *b, unsigned char *out, unsigned opcode,
    size_t len);
static unsigned char *wire_body(unsigned char *p, uint32_t size,
    const bench_body_t *body);
static unsigned char *wire_hex(unsigned char *p, uint64_t v, int digits);
static int wire_unhex(const unsigned char *p, int digits, uint64_t *v);
static unsigned char *wire_decimal(unsigned char *p, uint64_t v);
static unsigned char *wire_varint(unsigned char *p, uint64_t v);


/* xorshift64: masks and session ids must differ, more is not asked of them. */
uint64_t
bench_random(bench_t *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;

    return b->random;
}


size_t
bench_wire_send(bench_t *b, unsigned char *out, uint64_t to, uint32_t n,
    const bench_body_t *body)
{
    size_t          inner;
    unsigned char  *p, *payload, to_bytes[10];

    /* 2 + 2 bytes of length and 4 of mask: a body has BENCH_BODY_MIN bytes or
     * more, so the payload is 126 to 65535 */

    payload = out + 8;
    p = payload;

    if (b->encoding == IM_ENCODING_JSON) {
        memcpy(p, "{\"type\":\"send\",\"to\":\"", 21);
        p = wire_decimal(p + 21, to);
        memcpy(p, "\",\"cmid\":\"", 10);
        p = wire_hex(p + 10, b->mark, 8);
        p = wire_hex(p, n, 8);
        memcpy(p, "\",\"body\":", 9);
        p = wire_body(p + 9, b->body, body);
        *p++ = '}';

    } else {
        inner = 1 + (size_t) (wire_varint(to_bytes, to) - to_bytes)
                + 2 + BENCH_CMID_LEN
                + 1 + (size_t) (wire_varint(to_bytes, b->body) - to_bytes)
                + b->body;

        *p++ = 5 << 3 | 2;                     /* Frame.send */
        p = wire_varint(p, inner);
        *p++ = 1 << 3;                         /* Send.to */
        p = wire_varint(p, to);
        *p++ = 3 << 3 | 2;                     /* Send.cmid */
        *p++ = BENCH_CMID_LEN;
        p = wire_hex(p, b->mark, 8);
        p = wire_hex(p, n, 8);
        *p++ = 4 << 3 | 2;                     /* Send.body */
        p = wire_varint(p, b->body);
        p = wire_body(p, b->body, body);
    }

    return wire_frame(b, out, b->encoding == IM_ENCODING_JSON
                              ? IM_FRAME_TEXT : IM_FRAME_BINARY,
                      (size_t) (p - payload));
}


size_t
bench_wire_send_room(bench_t *b, unsigned char *out, uint64_t room, uint32_t n,
    const bench_body_t *body)
{
    unsigned char  *p, *payload;

    payload = out + 8;

    memcpy(payload, "{\"type\":\"send\",\"room\":\"", 23);
    p = wire_decimal(payload + 23, room);
    memcpy(p, "\",\"cmid\":\"", 10);
    p = wire_hex(p + 10, b->mark, 8);
    p = wire_hex(p, n, 8);
    memcpy(p, "\",\"body\":", 9);
    p = wire_body(p + 9, b->body, body);
    *p++ = '}';

    return wire_frame(b, out, IM_FRAME_TEXT, (size_t) (p - payload));
}


void
bench_wire_cmid(const bench_t *b, unsigned char *out, uint32_t n)
{
    (void) wire_hex(wire_hex(out, b->mark, 8), n, 8);
}


void
bench_wire_body(bench_t *b, unsigned char *out, const bench_body_t *body)
{
    (void) wire_body(out, b->body, body);
}


size_t
bench_wire_control(bench_t *b, unsigned char *out, unsigned opcode,
    const unsigned char *data, size_t len)
{
    size_t          i;
    uint32_t        mask;
    unsigned char  *key;

    mask = (uint32_t) bench_random(b);

    out[0] = (unsigned char) (0x80 | opcode);
    out[1] = (unsigned char) (0x80 | len);
    key = out + 2;
    memcpy(key, &mask, 4);

    for (i = 0; i < len; i++) {
        out[6 + i] = data[i] ^ key[i & 3];
    }

    return 6 + len;
}


/* Header and mask around the len bytes that stand at out + 8. */
static size_t
wire_frame(bench_t *b, unsigned char *out, unsigned opcode, size_t len)
{
    size_t          i;
    uint64_t        word, mask;
    unsigned char  *p;

    mask = bench_random(b) & 0xffffffff;

    out[0] = (unsigned char) (0x80 | opcode);
    out[1] = 0x80 | 126;
    out[2] = (unsigned char) (len >> 8);
    out[3] = (unsigned char) len;
    memcpy(out + 4, &mask, 4);

    mask |= mask << 32;
    p = out + 8;

    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, p + i, 8);
        word ^= mask;
        memcpy(p + i, &word, 8);
    }

    for ( /* void */ ; i < len; i++) {
        p[i] ^= out[4 + (i & 3)];
    }

    return 8 + len;
}


static unsigned char *
wire_body(unsigned char *p, uint32_t size, const bench_body_t *body)
{
    p[0] = '"';
    p[1] = body->measured ? 'm' : 'w';
    wire_hex(p + 2, body->due_ns, 16);
    wire_hex(p + 18, body->n, 8);
    memset(p + WIRE_HEAD, '.', size - WIRE_HEAD - 1);
    p[size - 1] = '"';

    return p + size;
}


int
bench_wire_read_body(uint32_t size, const im_str_t *text, bench_body_t *body)
{
    size_t                i;
    uint64_t              n;
    const unsigned char  *p;

    p = text->data;

    if (text->len != size || p[0] != '"' || (p[1] != 'm' && p[1] != 'w')
        || p[size - 1] != '"'
        || wire_unhex(p + 2, 16, &body->due_ns) != IM_OK
        || wire_unhex(p + 18, 8, &n) != IM_OK)
    {
        return IM_ERROR;
    }

    for (i = WIRE_HEAD; i < size - 1; i++) {
        if (p[i] != '.') {
            return IM_ERROR;
        }
    }

    body->measured = (p[1] == 'm');
    body->n = (uint32_t) n;

    return IM_OK;
}


int
bench_wire_read_cmid(uint32_t mark, const im_str_t *cmid, uint32_t *n)
{
    uint64_t  m, v;

    if (cmid->len != BENCH_CMID_LEN
        || wire_unhex(cmid->data, 8, &m) != IM_OK
        || wire_unhex(cmid->data + 8, 8, &v) != IM_OK
        || m != mark)
    {
        return IM_ERROR;
    }

    *n = (uint32_t) v;

    return IM_OK;
}


static unsigned char *
wire_hex(unsigned char *p, uint64_t v, int digits)
{
    int  i;

    for (i = digits - 1; i >= 0; i--) {
        p[i] = (unsigned char) "0123456789abcdef"[v & 15];
        v >>= 4;
    }

    return p + digits;
}


static int
wire_unhex(const unsigned char *p, int digits, uint64_t *v)
{
    int  i;

    *v = 0;

    for (i = 0; i < digits; i++) {
        if (p[i] >= '0' && p[i] <= '9') {
            *v = *v << 4 | (uint64_t) (p[i] - '0');

        } else if (p[i] >= 'a' && p[i] <= 'f') {
            *v = *v << 4 | (uint64_t) (p[i] - 'a' + 10);

        } else {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static unsigned char *
wire_decimal(unsigned char *p, uint64_t v)
{
    size_t         n;
    unsigned char  digits[20];

    n = 0;

    do {
        digits[n++] = (unsigned char) ('0' + v % 10);
        v /= 10;
    } while (v > 0);

    while (n > 0) {
        *p++ = digits[--n];
    }

    return p;
}


static unsigned char *
wire_varint(unsigned char *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (unsigned char) (v | 0x80);
        v >>= 7;
    }

    *p++ = (unsigned char) v;

    return p;
}
