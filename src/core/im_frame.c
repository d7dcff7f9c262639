/*
 * im_frame.c -- WebSocket frames where they lie in the caller's buffer.
 *
 * Complete-frame style: nothing is kept between calls, so there is no parser
 * state to get wrong.  All checks of the header are made before the payload
 * has arrived: a frame that will be refused is never waited for.
 *
 * Room: core.
 */

#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "im_frame.h"
#include "im_utf8.h"


#define IM_FRAME_GUID  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


static int frame_fail(unsigned *code, const char **reason, unsigned value,
    const char *text);
static void frame_unmask(unsigned char *p, size_t len,
    const unsigned char mask[4]);
static int frame_close_code_valid(unsigned code);


int
im_frame_parse(im_frame_t *f, unsigned char *data, size_t len, size_t max,
    unsigned *close_code, const char **reason)
{
    size_t          head;
    uint64_t        n;
    unsigned        i, b;
    unsigned char  *mask;

    f->size = 0;
    f->payload.len = 0;
    f->payload.data = NULL;

    if (len < 2) {
        return IM_AGAIN;
    }

    f->fin = data[0] >> 7;
    f->opcode = data[0] & 0x0f;

    if (data[0] & 0x70) {
        return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                          "reserved bits are set");
    }

    if (f->opcode > IM_FRAME_PONG
        || (f->opcode > IM_FRAME_BINARY && f->opcode < IM_FRAME_CLOSE))
    {
        return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                          "unknown opcode");
    }

    if (!(data[1] & 0x80)) {
        return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                          "frame is not masked");
    }

    b = data[1] & 0x7f;

    if (f->opcode >= IM_FRAME_CLOSE && (!f->fin || b > 125)) {
        return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                          "control frame is fragmented or too long");
    }

    head = 2;
    n = b;

    if (b == 126) {
        if (len < 4) {
            return IM_AGAIN;
        }

        head = 4;
        n = (uint64_t) data[2] << 8 | data[3];

        if (n < 126) {
            return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                              "length is not minimal");
        }

    } else if (b == 127) {
        if (len < 10) {
            return IM_AGAIN;
        }

        head = 10;
        n = 0;

        for (i = 2; i < 10; i++) {
            n = n << 8 | data[i];
        }

        if (n < 65536 || n >> 63) {
            return frame_fail(close_code, reason, IM_CLOSE_PROTOCOL,
                              "length is not minimal or too large");
        }
    }

    if (n > max) {
        f->payload.len = (n > SIZE_MAX) ? SIZE_MAX : (size_t) n;
        return frame_fail(close_code, reason, IM_CLOSE_TOO_BIG,
                          "frame too large");
    }

    f->size = head + 4 + (size_t) n;

    if (len < f->size) {
        return IM_AGAIN;
    }

    mask = data + head;
    f->payload.data = mask + 4;
    f->payload.len = (size_t) n;
    frame_unmask(f->payload.data, f->payload.len, mask);

    return IM_OK;
}


static int
frame_fail(unsigned *code, const char **reason, unsigned value,
    const char *text)
{
    *code = value;
    *reason = text;

    return IM_ERROR;
}


/* Eight bytes at a time; memcpy is a plain move and never unaligned. */
static void
frame_unmask(unsigned char *p, size_t len, const unsigned char mask[4])
{
    size_t         i;
    uint64_t       m, w;
    unsigned char  key[8];

    memcpy(key, mask, 4);
    memcpy(key + 4, mask, 4);
    memcpy(&m, key, 8);

    if (m == 0) {
        return;
    }

    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&w, p + i, 8);
        w ^= m;
        memcpy(p + i, &w, 8);
    }

    for (; i < len; i++) {
        p[i] ^= key[i & 3];
    }
}


size_t
im_frame_header_size(uint64_t len)
{
    return (len < 126) ? 2 : (len < 65536) ? 4 : 10;
}


size_t
im_frame_header(unsigned char *p, unsigned opcode, uint64_t len)
{
    int  i;

    p[0] = 0x80 | opcode;

    if (len < 126) {
        p[1] = (unsigned char) len;
        return 2;
    }

    if (len < 65536) {
        p[1] = 126;
        p[2] = (unsigned char) (len >> 8);
        p[3] = (unsigned char) len;
        return 4;
    }

    p[1] = 127;

    for (i = 0; i < 8; i++) {
        p[2 + i] = (unsigned char) (len >> (56 - 8 * i));
    }

    return 10;
}


size_t
im_frame_close_payload(unsigned char *p, unsigned code, const char *reason)
{
    size_t  len;

    p[0] = (unsigned char) (code >> 8);
    p[1] = (unsigned char) code;

    len = strlen(reason);
    if (len > 123) {
        len = 123;
    }

    memcpy(p + 2, reason, len);

    return 2 + len;
}


int
im_frame_close_parse(const im_str_t *payload, unsigned *code)
{
    unsigned  got;

    if (payload->len == 0) {
        *code = 1005;
        return IM_OK;
    }

    if (payload->len == 1) {
        *code = IM_CLOSE_PROTOCOL;
        return IM_ERROR;
    }

    got = (unsigned) payload->data[0] << 8 | payload->data[1];

    if (!frame_close_code_valid(got)) {
        *code = IM_CLOSE_PROTOCOL;
        return IM_ERROR;
    }

    if (im_utf8_check(payload->data + 2, payload->len - 2) != IM_OK) {
        *code = IM_CLOSE_INVALID;
        return IM_ERROR;
    }

    *code = got;

    return IM_OK;
}


/* RFC 6455 section 7.4 and IANA's registry: what may be on the wire. */
static int
frame_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


int
im_frame_accept_key(const im_str_t *key, unsigned char out[IM_FRAME_ACCEPT_LEN])
{
    unsigned char  text[24 + sizeof(IM_FRAME_GUID) - 1];
    unsigned char  raw[24], digest[SHA_DIGEST_LENGTH], b64[32];

    /* 16 bytes are 22 letters and two pads */

    if (key->len != 24 || key->data[22] != '=' || key->data[23] != '='
        || key->data[21] == '='
        || EVP_DecodeBlock(raw, key->data, 24) != 18)
    {
        return IM_ERROR;
    }

    memcpy(text, key->data, 24);
    memcpy(text + 24, IM_FRAME_GUID, sizeof(IM_FRAME_GUID) - 1);
    SHA1(text, sizeof(text), digest);

    EVP_EncodeBlock(b64, digest, SHA_DIGEST_LENGTH);
    memcpy(out, b64, IM_FRAME_ACCEPT_LEN);

    return IM_OK;
}
