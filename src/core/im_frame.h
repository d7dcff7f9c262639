/*
 * im_frame.h -- WebSocket frames (RFC 6455 section 5), both directions.
 *
 * The parser works on a whole buffer and never copies: it either finds a
 * complete frame, or returns how many bytes it needs.  It unmasks in place.
 * The caller owns buffers and message assembly limits; im_frame_msg_* keeps
 * the small state that fragments need.
 */

#ifndef IM_FRAME_H
#define IM_FRAME_H

#include "im_core.h"

#define IM_FRAME_CONT    0x0
#define IM_FRAME_TEXT    0x1
#define IM_FRAME_BINARY  0x2
#define IM_FRAME_CLOSE   0x8
#define IM_FRAME_PING    0x9
#define IM_FRAME_PONG    0xa

#define IM_FRAME_HEADER_MAX  10     /* of an unmasked (server) frame */
#define IM_FRAME_ACCEPT_LEN  28     /* of Sec-WebSocket-Accept */

/* Close codes, RFC 6455 section 7.4.1.  4000-4099: the client reconnects;
 * 4100-4199: it does not. */
#define IM_CLOSE_NORMAL       1000
#define IM_CLOSE_GOING_AWAY   1001
#define IM_CLOSE_PROTOCOL     1002
#define IM_CLOSE_UNSUPPORTED  1003
#define IM_CLOSE_INVALID      1007
#define IM_CLOSE_POLICY       1008
#define IM_CLOSE_TOO_BIG      1009
#define IM_CLOSE_RESTART      1012
#define IM_CLOSE_DRAIN        4001
#define IM_CLOSE_SLOW         4002
#define IM_CLOSE_IDLE         4003
#define IM_CLOSE_UNAVAILABLE  4004
#define IM_CLOSE_AUTH         4100
#define IM_CLOSE_KICKED       4101
#define IM_CLOSE_REPLACED     4102

typedef struct {
    unsigned       opcode:4;
    unsigned       fin:1;
    size_t         size;      /* bytes of the frame, header included */
    im_str_t       payload;   /* unmasked, inside the caller's buffer */
} im_frame_t;

/*
 * Parses one client frame at data[0..len).  max: largest payload in bytes.
 * IM_OK: *f is filled, continue at data + f->size.  IM_AGAIN: more bytes are
 * needed, f->size is how many in all (0: not known yet).  IM_ERROR: the frame
 * breaks the protocol; *close_code is 1002 or 1009, *reason is a static
 * sentence.
 */
int im_frame_parse(im_frame_t *f, unsigned char *data, size_t len, size_t max,
    unsigned *close_code, const char **reason);

/*
 * Writes the header of a server frame (FIN set, unmasked) in front of a
 * payload of len bytes; returns its size, 2, 4 or 10.
 */
size_t im_frame_header(unsigned char *p, unsigned opcode, uint64_t len);

/* Size of that header without writing it. */
size_t im_frame_header_size(uint64_t len);

/* Close payload: code and reason (cut to 123 bytes); returns its length. */
size_t im_frame_close_payload(unsigned char *p, unsigned code,
    const char *reason);

/*
 * Checks a received close payload.  IM_OK: *code is the peer's code, 1005 if
 * none was given.  IM_ERROR: answer with *code (1002 or 1007).
 */
int im_frame_close_parse(const im_str_t *payload, unsigned *code);

/*
 * Sec-WebSocket-Accept for a key, to out.  IM_ERROR if the key is
 * not base64 of 16 bytes.
 */
int im_frame_accept_key(const im_str_t *key,
    unsigned char out[IM_FRAME_ACCEPT_LEN]);

#endif
