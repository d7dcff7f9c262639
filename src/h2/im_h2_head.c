/*
 * im_h2_head.c -- gRPC's metadata as HTTP/2 header fields, read and written.
 *
 * The protocol is gRPC over HTTP/2 (PROTOCOL-HTTP2.md of gRPC): fields of a
 * request, of a response, and of its trailer, which has the status.  Unknown
 * fields are ignored; a text of a status is percent-encoded.
 *
 * Room: h2.  Computes only.
 */

#include <stdio.h>
#include <string.h>

#include "im_h2_int.h"


#define HEAD_TYPE          "application/grpc"
#define HEAD_OVERHEAD      32          /* of a field, as RFC 9113 counts it */
#define HEAD_DIGITS_MAX    8           /* of grpc-timeout */
#define HEAD_NUMBER_MAX    9

#define head_is(text)                                                         \
    (name_len == sizeof(text) - 1 && memcmp(name, text, sizeof(text) - 1) == 0)

#define head_value_is(text)                                                   \
    (len == sizeof(text) - 1 && memcmp(value, text, sizeof(text) - 1) == 0)


static void head_copy(char *out, size_t size, const uint8_t *in, size_t len);
static int head_number(const uint8_t *p, size_t len, unsigned *number);
static int head_is_grpc(const uint8_t *value, size_t len);
static int head_timeout(const uint8_t *p, size_t len, uint64_t *us);
static size_t head_put(nghttp2_nv *nv, size_t n, const char *name,
    const char *value);
static void head_escape(char *out, size_t size, const char *in);
static int head_hex(uint8_t c);
static void head_unescape(char *out, size_t size, const uint8_t *in,
    size_t len);


void
im_h2_head_init(im_h2_head_t *h)
{
    memset(h, 0, sizeof(im_h2_head_t));
    h->status = -1;
}


void
im_h2_head_take(im_h2_head_t *h, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len)
{
    unsigned  number;

    h->bytes += name_len + len + HEAD_OVERHEAD;

    if (head_is(":status")) {
        h->http_status = head_number(value, len, &number) ? (int) number : 0;

    } else if (head_is(":path")) {
        head_copy(h->path, sizeof(h->path), value, len);

    } else if (head_is(":method")) {
        h->post = head_value_is("POST");

    } else if (head_is("te")) {
        h->trailers = head_value_is("trailers");

    } else if (head_is("content-type")) {
        h->grpc = head_is_grpc(value, len);

    } else if (head_is("grpc-status")) {
        h->status = head_number(value, len, &number) ? (int) number
                                                     : IM_RPC_UNKNOWN;

    } else if (head_is("grpc-message")) {
        head_unescape(h->message, sizeof(h->message), value, len);

    } else if (head_is("grpc-encoding")) {
        h->encoded = !head_value_is("identity");

    } else if (head_is("grpc-timeout")) {
        h->bad_timeout = !head_timeout(value, len, &h->timeout_us);

    } else if (head_is(IM_RPC_MD_MARK)) {
        h->mark = head_value_is("1") ? IM_RPC_MARK_HANDLED
                                     : IM_RPC_MARK_REFUSED;

    } else if (head_is(IM_RPC_MD_RETRY)) {
        h->retry_ms = head_number(value, len, &number) ? number : 0;

    } else if (head_is(IM_RPC_MD_PROTOCOL)) {
        head_copy(h->protocol, sizeof(h->protocol), value, len);

    } else if (head_is(IM_RPC_MD_BOOT)) {
        head_copy(h->boot, sizeof(h->boot), value, len);

    } else if (head_is(IM_RPC_MD_TRACE)) {
        head_copy(h->trace, sizeof(h->trace), value, len);
    }
}


/* Cut to fit. */
static void
head_copy(char *out, size_t size, const uint8_t *in, size_t len)
{
    len = (len < size) ? len : size - 1;
    memcpy(out, in, len);
    out[len] = '\0';
}


/* 1: it is one of up to 9 digits. */
static int
head_number(const uint8_t *p, size_t len, unsigned *number)
{
    unsigned  n;

    if (len == 0 || len > HEAD_NUMBER_MAX) {
        return 0;
    }

    for (n = 0; len > 0; len--, p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }

        n = n * 10 + (unsigned) (*p - '0');
    }

    *number = n;

    return 1;
}


/* application/grpc, +proto or any other format after it, or parameters. */
static int
head_is_grpc(const uint8_t *value, size_t len)
{
    size_t  n;

    n = sizeof(HEAD_TYPE) - 1;

    return len >= n && memcmp(value, HEAD_TYPE, n) == 0
           && (len == n || value[n] == '+' || value[n] == ';');
}


/* "250m": digits and a unit.  1: it is one. */
static int
head_timeout(const uint8_t *p, size_t len, uint64_t *us)
{
    unsigned  n;

    if (len < 2 || len > HEAD_DIGITS_MAX + 1 || !head_number(p, len - 1, &n)) {
        return 0;
    }

    switch (p[len - 1]) {

    case 'H':
        *us = (uint64_t) n * 3600 * 1000000;
        break;

    case 'M':
        *us = (uint64_t) n * 60 * 1000000;
        break;

    case 'S':
        *us = (uint64_t) n * 1000000;
        break;

    case 'm':
        *us = (uint64_t) n * 1000;
        break;

    case 'u':
        *us = n;
        break;

    case 'n':
        *us = n / 1000;
        break;

    default:
        return 0;
    }

    if (*us == 0) {
        *us = 1;                       /* it has passed, and is one */
    }

    return 1;
}


static size_t
head_put(nghttp2_nv *nv, size_t n, const char *name, const char *value)
{
    nv[n].name = (uint8_t *) name;
    nv[n].namelen = strlen(name);
    nv[n].value = (uint8_t *) value;
    nv[n].valuelen = strlen(value);
    nv[n].flags = NGHTTP2_NV_FLAG_NONE;

    return n + 1;
}


size_t
im_h2_head_request(im_h2_exchange_t *x, nghttp2_nv nv[IM_H2_FIELDS],
    char text[IM_H2_TEXT])
{
    size_t             n;
    uint64_t           now, ms;
    im_rpc_channel_t  *ch;

    ch = x->channel;
    n = 0;

    n = head_put(nv, n, ":method", "POST");
    n = head_put(nv, n, ":scheme", x->conn->ssl ? "https" : "http");
    n = head_put(nv, n, ":path", x->head.path);
    n = head_put(nv, n, ":authority", ch->name ? ch->name : ch->address);
    n = head_put(nv, n, "te", "trailers");
    n = head_put(nv, n, "content-type", HEAD_TYPE);
    n = head_put(nv, n, "user-agent", "grpc-im");

    if (x->deadline_us != 0) {
        now = im_h2_now_us();
        ms = (x->deadline_us > now) ? (x->deadline_us - now + 999) / 1000 : 1;

        if (ms < 100000000) {
            snprintf(text, IM_H2_TEXT, "%um", (unsigned) ms);

        } else {
            snprintf(text, IM_H2_TEXT, "%uS", (unsigned) (ms / 1000));
        }

        n = head_put(nv, n, "grpc-timeout", text);
    }

    if (!ch->peer) {
        return head_put(nv, n, IM_RPC_MD_LEADER, "true");
    }

    n = head_put(nv, n, IM_RPC_MD_PROTOCOL, IM_RPC_STR(IM_RPC_PROTOCOL));

    if (ch->boot[0] != '\0') {
        n = head_put(nv, n, IM_RPC_MD_BOOT, ch->boot);
    }

    if (x->head.trace[0] != '\0') {
        n = head_put(nv, n, IM_RPC_MD_TRACE, x->head.trace);
    }

    return n;
}


size_t
im_h2_head_response(nghttp2_nv nv[IM_H2_FIELDS])
{
    size_t  n;

    n = head_put(nv, 0, ":status", "200");

    return head_put(nv, n, "content-type", HEAD_TYPE);
}


size_t
im_h2_head_trailer(int code, const char *message, int refused,
    unsigned retry_ms, nghttp2_nv nv[IM_H2_FIELDS], char *text)
{
    char    *status, *retry;
    size_t   n;

    status = text + 3 * IM_H2_TEXT;
    retry = status + 16;

    snprintf(status, 16, "%d", code);
    n = head_put(nv, 0, "grpc-status", status);

    if (message[0] != '\0') {
        head_escape(text, 3 * IM_H2_TEXT, message);
        n = head_put(nv, n, "grpc-message", text);
    }

    n = head_put(nv, n, IM_RPC_MD_MARK, refused ? "0" : "1");

    if (retry_ms != 0) {
        snprintf(retry, 16, "%u", retry_ms);
        n = head_put(nv, n, IM_RPC_MD_RETRY, retry);
    }

    return n;
}


static void
head_escape(char *out, size_t size, const char *in)
{
    char               *end;
    const uint8_t      *p;
    static const char   hex[] = "0123456789ABCDEF";

    end = out + size - 4;              /* room for one more, and the NUL */

    for (p = (const uint8_t *) in; *p != '\0' && out < end; p++) {

        if (*p >= ' ' && *p <= '~' && *p != '%') {
            *out++ = (char) *p;
            continue;
        }

        *out++ = '%';
        *out++ = hex[*p >> 4];
        *out++ = hex[*p & 15];
    }

    *out = '\0';
}


static int
head_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


/* What is no escape stays as it is, as gRPC demands; a NUL becomes "?". */
static void
head_unescape(char *out, size_t size, const uint8_t *in, size_t len)
{
    char    *end;
    size_t   i;
    uint8_t  c;

    end = out + size - 1;

    for (i = 0; i < len && out < end; i++) {
        c = in[i];

        if (c == '%' && i + 2 < len && head_hex(in[i + 1]) >= 0
            && head_hex(in[i + 2]) >= 0)
        {
            c = (uint8_t) (head_hex(in[i + 1]) * 16 + head_hex(in[i + 2]));
            i += 2;
        }

        *out++ = (c != '\0') ? (char) c : '?';
    }

    *out = '\0';
}


int
im_h2_head_code_of_error(uint32_t error)
{
    switch (error) {

    case NGHTTP2_REFUSED_STREAM:
        return IM_RPC_UNAVAILABLE;

    case NGHTTP2_CANCEL:
        return IM_RPC_CANCELLED;

    case NGHTTP2_ENHANCE_YOUR_CALM:
        return IM_RPC_RESOURCE_EXHAUSTED;

    case NGHTTP2_INADEQUATE_SECURITY:
        return IM_RPC_PERMISSION_DENIED;

    default:
        return IM_RPC_INTERNAL;
    }
}


int
im_h2_head_code_of_http(int status)
{
    switch (status) {

    case 400:
        return IM_RPC_INTERNAL;

    case 401:
        return IM_RPC_UNAUTHENTICATED;

    case 403:
        return IM_RPC_PERMISSION_DENIED;

    case 404:
        return IM_RPC_UNIMPLEMENTED;

    case 429:
    case 502:
    case 503:
    case 504:
        return IM_RPC_UNAVAILABLE;

    default:
        return IM_RPC_UNKNOWN;
    }
}
