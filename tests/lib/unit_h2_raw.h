/*
 * unit_h2_raw.h -- a peer of src/h2 that writes HTTP/2 frames byte by byte, so
 * that it can write what no library would, and reads what it is answered.
 *
 * Header fields are literals without compression; those that are read go
 * through nghttp2's decoder into text, "name: value" a line.
 */

#ifndef UNIT_H2_RAW_H
#define UNIT_H2_RAW_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <nghttp2/nghttp2.h>

#include "unit_h2.h"

#define RAW_WAIT_MS  10000
#define RAW_MAGIC    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


typedef struct {
    int                    fd;
    int                    ended;      /* the other side has closed it */
    uint8_t                in[1 << 20];
    size_t                 in_n;
    nghttp2_hd_inflater   *inflater;
    uint32_t               goaway;     /* its error; NONE: none has come */
    uint32_t               reset;      /* the same of the last RST_STREAM */
    unsigned               resets;
    unsigned               trailers;   /* HEADERS that end a stream */
    size_t                 data;       /* bytes of DATA */
    char                   fields[4096];   /* all that have come */
} raw_t;

#define RAW_NONE  0xffffffffu

static raw_t  raw;


static inline void
raw_begin(int fd)
{
    if (raw.inflater != NULL) {
        nghttp2_hd_inflate_del(raw.inflater);
    }

    memset(&raw, 0, sizeof(raw));
    raw.fd = fd;
    raw.goaway = RAW_NONE;
    raw.reset = RAW_NONE;
    assert_int_equal(nghttp2_hd_inflate_new(&raw.inflater), 0);
    assert_int_not_equal(fcntl(fd, F_SETFL, O_NONBLOCK), -1);
}


static inline void
raw_end(void)
{
    close(raw.fd);
    nghttp2_hd_inflate_del(raw.inflater);
    raw.inflater = NULL;
}


static inline void
raw_connect(unsigned port)
{
    int                 fd;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd != -1);
    assert_int_equal(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    raw_begin(fd);
}


/* A frame that has come whole. */
static inline void
raw_frame(const uint8_t *p, size_t len)
{
    int          flags;
    size_t       n;
    ssize_t      used;
    uint32_t     error;
    nghttp2_nv   nv;

    switch (p[3]) {

    case NGHTTP2_DATA:
        raw.data += len - 9;
        break;

    case NGHTTP2_GOAWAY:
        memcpy(&error, p + 13, 4);
        raw.goaway = ntohl(error);
        break;

    case NGHTTP2_RST_STREAM:
        memcpy(&error, p + 9, 4);
        raw.reset = ntohl(error);
        raw.resets++;
        break;

    case NGHTTP2_HEADERS:
        raw.trailers += (p[4] & NGHTTP2_FLAG_END_STREAM) != 0;
        len -= 9;
        p += 9;

        for (flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL); ) {
            used = nghttp2_hd_inflate_hd2(raw.inflater, &nv, &flags, p, len,
                                          1);
            assert_true(used >= 0);
            p += used;
            len -= (size_t) used;

            if (flags & NGHTTP2_HD_INFLATE_EMIT) {
                n = strlen(raw.fields);
                snprintf(raw.fields + n, sizeof(raw.fields) - n,
                         "%.*s: %.*s\n", (int) nv.namelen, nv.name,
                         (int) nv.valuelen, nv.value);
            }
        }

        nghttp2_hd_inflate_end_headers(raw.inflater);
        break;
    }
}


static inline void
raw_read(void)
{
    size_t   len, at;
    ssize_t  n;

    for ( ;; ) {
        n = recv(raw.fd, raw.in + raw.in_n, sizeof(raw.in) - raw.in_n, 0);

        if (n <= 0) {
            raw.ended |= (n == 0 || (errno != EAGAIN && errno != EINTR));
            break;
        }

        raw.in_n += (size_t) n;

        for (at = 0; raw.in_n - at >= 9; at += len) {
            len = 9 + ((size_t) raw.in[at] << 16 | (size_t) raw.in[at + 1] << 8
                       | raw.in[at + 2]);

            if (raw.in_n - at < len) {
                break;
            }

            raw_frame(raw.in + at, len);
        }

        memmove(raw.in, raw.in + at, raw.in_n - at);
        raw.in_n -= at;
    }
}


/* While the loop turns; what the other side does not take any more is gone. */
static inline void
raw_bytes(const void *data, size_t len)
{
    ssize_t         n;
    const uint8_t  *p = data;

    while (len > 0) {
        n = send(raw.fd, p, len, MSG_NOSIGNAL);

        if (n > 0) {
            p += n;
            len -= (size_t) n;
            continue;
        }

        if (errno != EAGAIN && errno != EINTR) {
            return;
        }

        h2_turn(1);
    }
}


static inline void
raw_send(unsigned type, unsigned flags, unsigned id, const void *payload,
    size_t len)
{
    uint8_t  head[9];

    head[0] = (uint8_t) (len >> 16);
    head[1] = (uint8_t) (len >> 8);
    head[2] = (uint8_t) len;
    head[3] = (uint8_t) type;
    head[4] = (uint8_t) flags;
    head[5] = (uint8_t) (id >> 24);
    head[6] = (uint8_t) (id >> 16);
    head[7] = (uint8_t) (id >> 8);
    head[8] = (uint8_t) id;

    raw_bytes(head, sizeof(head));
    raw_bytes(payload, len);
}


static inline size_t
raw_text(uint8_t *out, const char *text, size_t len)
{
    size_t    n;
    unsigned  v;

    n = 0;

    if (len < 127) {
        out[n++] = (uint8_t) len;

    } else {
        out[n++] = 127;

        for (v = (unsigned) len - 127; v >= 128; v >>= 7) {
            out[n++] = (uint8_t) (v | 128);
        }

        out[n++] = (uint8_t) v;
    }

    memcpy(out + n, text, len);

    return n + len;
}


/* name, value, ... NULL; the number of bytes. */
static inline size_t
raw_fields(uint8_t *out, const char *const *fields)
{
    size_t  n;

    for (n = 0; *fields != NULL; fields += 2) {
        out[n++] = 0;                  /* a literal that is not remembered */
        n += raw_text(out + n, fields[0], strlen(fields[0]));
        n += raw_text(out + n, fields[1], strlen(fields[1]));
    }

    return n;
}


static inline void
raw_headers(unsigned flags, unsigned id, const char *const *fields)
{
    size_t          n;
    static uint8_t  block[65536];

    n = raw_fields(block, fields);
    raw_send(NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, id, block, n);
}


/* A caller's first words. */
static inline void
raw_hello(void)
{
    raw_bytes(RAW_MAGIC, sizeof(RAW_MAGIC) - 1);
    raw_send(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}


#define RAW_UNTIL(condition)                                                  \
    do {                                                                      \
        uint64_t  until_ = h2_now_us() + RAW_WAIT_MS * 1000;                  \
        while (!(condition) && h2_now_us() < until_) {                        \
            h2_turn(2);                                                       \
            raw_read();                                                       \
        }                                                                     \
        assert_true(condition);                                               \
    } while (0)

#endif
