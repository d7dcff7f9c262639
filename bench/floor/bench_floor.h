/*
 * bench_floor.h -- what both ends of the floor agree on.
 *
 *     bench/floor/bench_floor_*.c      the relay
 *     bench/bench_floor.c              im-bench --floor, its clients
 *
 * A frame is its length (4 bytes, network order, of what follows) and a
 * payload whose first byte says what it is:
 *
 *     hello     h, the number of the connection (4 bytes), both ways
 *     message   s, cmid (16 bytes), body, dots
 *     ack       a, cmid (16 bytes), the next bytes of the message
 *     copy      p, cmid (16 bytes), body, more dots
 *
 * The sizes are those of the frames of im.v1.json with uids of 19 digits, so
 * that both servers move the same number of bytes.
 */

#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#define FLOOR_HEAD        4         /* of each frame */
#define FLOOR_CMID        16
#define FLOOR_BODY        (FLOOR_HEAD + 1 + FLOOR_CMID)   /* where it begins */
#define FLOOR_HELLO       9         /* whole frames from here on */
#define FLOOR_ACK         139
#define FLOOR_SEND_MORE   84        /* than the body */
#define FLOOR_COPY_MORE   94        /* than the message */
#define FLOOR_FRAME_MAX   (8192 + FLOOR_SEND_MORE + FLOOR_COPY_MORE)
#define FLOOR_CONNS_MAX   65536

#endif
