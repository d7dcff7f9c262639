/*
 * bench_nchan.c -- the other server: nchan, a module of nginx for fan-out.
 *
 * What it is measured for is the price of a delivery when nothing is kept: its
 * messages are in shared memory, and a 201 or 202 says that they are there.
 *
 *     GET /sub/ROOM    upgraded to a WebSocket; a message is its body
 *     POST /pub/ROOM   by HTTP, as a site's own backend would
 *
 * A room has one publisher, so that its order can be checked; requests are not
 * held back until the one before was answered (HTTP/1.1 pipelining).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"


int
bench_nchan_subscribe(bench_t *b, bench_conn_t *c, char *out, size_t cap)
{
    return snprintf(out, cap,
                    "GET /sub/%llu HTTP/1.1\r\n"
                    "Host: %s:%s\r\n"
                    "Upgrade: websocket\r\n"
                    "Connection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    (unsigned long long) b->rooms[c->index % b->n_rooms].id,
                    b->host, b->port);
}


int
bench_nchan_publish(bench_t *b, bench_room_t *room, const bench_body_t *body)
{
    int            n;
    bench_conn_t  *c;
    unsigned char  out[BENCH_FRAME_MAX];

    c = &b->conns[b->connections
                  + (uint32_t) (room - b->rooms) % b->publishers];

    if (c->state != BENCH_PUBLISH) {
        return IM_BUSY;
    }

    n = snprintf((char *) out, sizeof(out) - b->body,
                 "POST /pub/%llu HTTP/1.1\r\nHost: nchan\r\n"
                 "Content-Type: text/plain\r\nContent-Length: %u\r\n\r\n",
                 (unsigned long long) room->id, b->body);

    bench_wire_body(b, out + n, body);

    return bench_conn_write(b, c, out, (size_t) n + b->body);
}


size_t
bench_nchan_answers(bench_t *b, bench_conn_t *c, unsigned char *p, size_t len)
{
    char    *head, *end, *size;
    size_t   used, want;

    p[len] = '\0';

    for (used = 0; /* void */ ; used += want) {
        head = (char *) p + used;

        end = strstr(head, "\r\n\r\n");
        if (end == NULL) {
            return used;
        }

        want = (size_t) (end + 4 - head);

        size = strstr(head, "\r\nContent-Length: ");
        if (size != NULL && size < end) {
            want += strtoul(size + 18, NULL, 10);
        }

        if (want > len - used) {
            return used;
        }

        if (strncmp(head, "HTTP/1.1 20", 11) != 0) {
            *strchr(head, '\r') = '\0';
            bench_conn_end(b, c, head);
            return used;
        }

        b->count[bench_now_ns() >= b->from_ns].acked++;
        b->wanted += b->connections / b->n_rooms;
    }
}
