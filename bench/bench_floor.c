/*
 * bench_floor.c -- clients of the floor, a relay that parses nothing
 * (bench/floor).
 *
 * Schedule, sizes, pairs and checks are those of a load on the real server;
 * only the frames are others, and a hello stands for handshake and log-in.
 */

#include <arpa/inet.h>
#include <string.h>
#include <sys/epoll.h>

#include "bench.h"
#include "bench_floor.h"


_Static_assert(BENCH_CMID_LEN == FLOOR_CMID, "another cmid");
_Static_assert(BENCH_BODY_MIN + FLOOR_SEND_MORE >= FLOOR_ACK,
               "an ack is a part of each message");


static void
floor_put(unsigned char *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof(v));
}


void
bench_floor_begin(bench_t *b, bench_conn_t *c)
{
    unsigned char  hello[FLOOR_HELLO];

    floor_put(hello, FLOOR_HELLO - FLOOR_HEAD);
    hello[FLOOR_HEAD] = 'h';
    floor_put(hello + FLOOR_HEAD + 1, c->index);

    c->state = BENCH_LOGIN;
    bench_conn_watch(b, c, EPOLLIN);

    if (bench_conn_write(b, c, hello, FLOOR_HELLO) != IM_OK) {
        bench_conn_end(b, c, "the hello cannot be written");
    }
}


size_t
bench_floor_message(bench_t *b, unsigned char *out, uint32_t n,
    const bench_body_t *body)
{
    size_t  size;

    size = b->body + FLOOR_SEND_MORE;

    floor_put(out, (uint32_t) size - FLOOR_HEAD);
    out[FLOOR_HEAD] = 's';
    bench_wire_cmid(b, out + FLOOR_HEAD + 1, n);
    bench_wire_body(b, out + FLOOR_BODY, body);
    memset(out + FLOOR_BODY + b->body, '.', size - FLOOR_BODY - b->body);

    return size;
}


size_t
bench_floor_frames(bench_t *b, bench_conn_t *c, unsigned char *p, size_t len)
{
    size_t         used, size;
    uint32_t       v;
    uint64_t       now;
    bench_frame_t  f;

    now = bench_now_ns();

    for (used = 0; len - used >= FLOOR_HEAD; used += size) {
        memcpy(&v, p + used, sizeof(v));
        size = FLOOR_HEAD + (size_t) ntohl(v);

        if (size < FLOOR_HELLO || size > FLOOR_FRAME_MAX) {
            bench_conn_end(b, c, "the relay breaks the protocol");
            return len;
        }

        if (size > len - used) {
            break;
        }

        memset(&f, 0, sizeof(f));
        f.cmid.data = p + used + FLOOR_HEAD + 1;
        f.cmid.len = FLOOR_CMID;

        switch (p[used + FLOOR_HEAD]) {

        case 'h':
            if (c->state == BENCH_LOGIN) {
                bench_conn_opened(b, c);
            }

            continue;

        case 'a':
            f.type = (size == FLOOR_ACK) ? BENCH_FRAME_ACK
                                         : BENCH_FRAME_OTHER;
            break;

        case 'p':
            if (size != b->body + FLOOR_SEND_MORE + FLOOR_COPY_MORE) {
                break;
            }

            /* The relay numbers nothing: the sender's own numbers show the
             * order. */

            f.type = BENCH_FRAME_PUSH;
            f.from = b->conns[c->index ^ 1].uid;
            f.seq = c->recv_seq + 1;
            f.body.data = p + used + FLOOR_BODY;
            f.body.len = b->body;
            break;

        default:
            break;
        }

        bench_load_on_frame(b, c, &f, now);
    }

    return used;
}
