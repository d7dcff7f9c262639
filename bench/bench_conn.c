/*
 * bench_conn.c -- one WebSocket connection of the generator.
 *
 *     new -> connect -> upgrade -> login -> [join ->] open -> gone
 *
 * Nothing is reconnected: a connection that the server ends is counted, and so
 * is what it then misses.
 *
 * All connections read into one buffer; a connection holds memory of its own
 * only while the start of a frame waits for its rest, or while its socket does
 * not take what was written.  So the generator stays small beside the server.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"


#define CONN_BUF_SIZE     (256 * 1024)
#define CONN_OUT_MAX      (256 * 1024)
#define CONN_FAILS_SHOWN  5
#define CONN_SOURCE_EACH  4096      /* connections from one address */


static int conn_start(bench_t *b, bench_conn_t *c);
static int conn_source(bench_t *b, bench_conn_t *c,
    const struct addrinfo *to);
static void conn_on_readable(bench_t *b, bench_conn_t *c);
static size_t conn_frames(bench_t *b, bench_conn_t *c, unsigned char *p,
    size_t len);
static void conn_on_frame(bench_t *b, bench_conn_t *c, unsigned opcode,
    im_str_t *payload, uint64_t now);
static void conn_on_message(bench_t *b, bench_conn_t *c, im_str_t *payload,
    uint64_t now);
static int conn_keep(bench_conn_t *c, const unsigned char *p, size_t len);
static void conn_on_writable(bench_t *b, bench_conn_t *c);


static unsigned char  conn_buf[CONN_BUF_SIZE + 1];


int
bench_conn_open_some(bench_t *b, uint32_t target)
{
    while (b->started < target && b->opening < (uint32_t) b->o_opening) {

        if (conn_start(b, &b->conns[b->started]) != IM_OK) {
            return IM_ERROR;
        }

        b->started++;
    }

    return IM_OK;
}


static int
conn_start(bench_t *b, bench_conn_t *c)
{
    int                      rc, one;
    struct epoll_event       ev;
    static struct addrinfo  *addr;

    if (addr == NULL) {
        const struct addrinfo  hints = {
            .ai_flags = AI_NUMERICHOST|AI_NUMERICSERV,
            .ai_socktype = SOCK_STREAM
        };

        rc = getaddrinfo(b->host, b->port, &hints, &addr);
        if (rc != 0) {
            bench_say("%s:%s: %s", b->host, b->port, gai_strerror(rc));
            return IM_ERROR;
        }
    }

    c->fd = socket(addr->ai_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        bench_say("connection %u: %s", c->index, strerror(errno));
        return IM_ERROR;
    }

    one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    ev.events = EPOLLOUT;
    ev.data.ptr = c;

    if (conn_source(b, c, addr) != IM_OK
        || (connect(c->fd, addr->ai_addr, addr->ai_addrlen) != 0
            && errno != EINPROGRESS)
        || epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
    {
        bench_say("connection %u: %s", c->index, strerror(errno));
        close(c->fd);
        c->fd = -1;
        return IM_ERROR;
    }

    c->state = BENCH_CONNECT;
    c->instance = -1;
    b->opening++;

    return IM_OK;
}


/*
 * Clients in the world have an address each.  Here all have one, and after
 * 10,000 connections to the same port, many of them in TIME_WAIT, the kernel
 * spends more on finding a free port for the next than the server on serving
 * it.  On loopback any address of 127/8 is ours: those of a run are its own.
 */
static int
conn_source(bench_t *b, bench_conn_t *c, const struct addrinfo *to)
{
    int                  one;
    uint32_t             host;
    struct sockaddr_in   from;

    if (to->ai_family != AF_INET) {
        return IM_OK;
    }

    memcpy(&from, to->ai_addr, sizeof(from));

    if (ntohl(from.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET) {
        return IM_OK;
    }

    host = (b->mark + c->index / CONN_SOURCE_EACH) & 0xfffff;
    from.sin_port = 0;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x100000 + host);

    one = 1;
    (void) setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
                      sizeof(one));

    return bind(c->fd, (struct sockaddr *) &from, sizeof(from)) == 0
           ? IM_OK : IM_ERROR;
}


void
bench_conn_event(bench_t *b, bench_conn_t *c, uint32_t events)
{
    if (c->state == BENCH_CONNECT) {
        bench_shake_begin(b, c);
        return;
    }

    if (c->state != BENCH_GONE && (events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        conn_on_readable(b, c);
    }

    if (c->state != BENCH_GONE && (events & EPOLLOUT)) {
        conn_on_writable(b, c);
    }
}


static void
conn_on_readable(bench_t *b, bench_conn_t *c)
{
    size_t   len, used;
    ssize_t  n;

    len = c->in_len;

    if (len > 0) {
        memcpy(conn_buf, c->in, len);
        free(c->in);
        c->in = NULL;
        c->in_len = 0;
    }

    n = recv(c->fd, conn_buf + len, CONN_BUF_SIZE - len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        n = 0;

    } else if (n <= 0) {
        bench_conn_end(b, c, n == 0 ? "ended by the server" : strerror(errno));
        return;
    }

    len += (size_t) n;
    used = 0;

    if (c->state == BENCH_UPGRADE) {
        used = bench_shake_reply(b, c, conn_buf, len);
    }

    if (b->floor) {
        used = bench_floor_frames(b, c, conn_buf, len);

    } else if (c->state == BENCH_PUBLISH) {
        used = bench_nchan_answers(b, c, conn_buf, len);

    } else if (c->state > BENCH_UPGRADE && c->state < BENCH_GONE) {
        used += conn_frames(b, c, conn_buf + used, len - used);
    }

    if (c->state != BENCH_GONE && used < len
        && conn_keep(c, conn_buf + used, len - used) != IM_OK)
    {
        bench_conn_end(b, c, "a frame is too long, or memory is short");
    }
}


/* All complete frames in p; returns their length. */
static size_t
conn_frames(bench_t *b, bench_conn_t *c, unsigned char *p, size_t len)
{
    size_t    used, head, i;
    uint64_t  now, size;
    im_str_t  payload;

    now = bench_now_ns();

    for (used = 0; c->state != BENCH_GONE; used += head + size) {

        if (len - used < 2) {
            break;
        }

        size = p[used + 1];
        head = 2;

        /* the server neither fragments nor masks */

        if ((p[used] & 0xf0) != 0x80 || size > 127) {
            bench_conn_end(b, c, "the server breaks the protocol");
            break;
        }

        if (size > 125) {
            head = (size == 126) ? 4 : 10;

            if (len - used < head) {
                break;
            }

            for (size = 0, i = 2; i < head; i++) {
                size = size << 8 | p[used + i];
            }
        }

        if (size > len - used - head) {
            break;
        }

        payload.data = p + used + head;
        payload.len = (size_t) size;

        conn_on_frame(b, c, p[used] & 0x0f, &payload, now);
    }

    return used;
}


static void
conn_on_frame(bench_t *b, bench_conn_t *c, unsigned opcode, im_str_t *payload,
    uint64_t now)
{
    char            why[160];
    size_t          len;
    unsigned char   pong[6 + 125];

    switch (opcode) {

    case IM_FRAME_TEXT:
    case IM_FRAME_BINARY:
        conn_on_message(b, c, payload, now);
        return;

    case IM_FRAME_PING:
        if (payload->len <= 125) {
            len = bench_wire_control(b, pong, IM_FRAME_PONG, payload->data,
                                     payload->len);
            (void) bench_conn_write(b, c, pong, len);
        }

        return;

    case IM_FRAME_PONG:
        return;

    case IM_FRAME_CLOSE:
        snprintf(why, sizeof(why), "closed by the server: %u %.*s",
                 payload->len < 2 ? 1005
                                  : payload->data[0] << 8 | payload->data[1],
                 payload->len < 2 ? 0 : (int) payload->len - 2,
                 payload->len < 2 ? "" : (char *) payload->data + 2);
        bench_conn_end(b, c, why);
        return;

    default:
        bench_conn_end(b, c, "the server breaks the protocol");
        return;
    }
}


static void
conn_on_message(bench_t *b, bench_conn_t *c, im_str_t *payload, uint64_t now)
{
    bench_frame_t  f;

    if (b->nchan) {
        memset(&f, 0, sizeof(f));
        f.type = BENCH_FRAME_PUSH;
        f.body = *payload;
        bench_rooms_on_frame(b, c, &f, now);
        return;
    }

    if (bench_wire_read(b->encoding, payload, &f) != IM_OK) {
        f.type = BENCH_FRAME_OTHER;
    }

    if (c->state == BENCH_LOGIN && f.type == BENCH_FRAME_AUTH_OK) {

        if (b->rooms != NULL) {
            bench_rooms_join(b, c);
            return;
        }

        bench_conn_opened(b, c);
        return;
    }

    if (b->rooms != NULL) {
        bench_rooms_on_frame(b, c, &f, now);
        return;
    }

    bench_load_on_frame(b, c, &f, now);
}


void
bench_conn_opened(bench_t *b, bench_conn_t *c)
{
    c->state = BENCH_OPEN;
    b->opening--;
    b->opened++;
}


static int
conn_keep(bench_conn_t *c, const unsigned char *p, size_t len)
{
    if (len >= CONN_BUF_SIZE) {
        return IM_ERROR;
    }

    c->in = malloc(len);
    if (c->in == NULL) {
        return IM_ERROR;
    }

    memcpy(c->in, p, len);
    c->in_len = (uint32_t) len;

    return IM_OK;
}


int
bench_conn_write(bench_t *b, bench_conn_t *c, const unsigned char *data,
    size_t len)
{
    size_t          cap;
    ssize_t         n;
    unsigned char  *p;

    n = 0;

    if (c->out_len == 0) {
        n = send(c->fd, data, len, MSG_NOSIGNAL);

        if (n == (ssize_t) len) {
            return IM_OK;
        }

        if (n < 0) {
            /* a broken connection is found, and ended, by its next event */
            n = 0;
        }
    }

    if (c->out_len + len > CONN_OUT_MAX && n == 0) {
        return IM_BUSY;
    }

    data += n;
    len -= (size_t) n;

    if (c->out_pos + c->out_len + len > c->out_cap) {

        if (c->out_pos > 0) {
            memmove(c->out, c->out + c->out_pos, c->out_len);
            c->out_pos = 0;
        }

        if (c->out_len + len > c->out_cap) {
            cap = 2 * (c->out_len + len);

            p = realloc(c->out, cap);
            if (p == NULL) {
                bench_conn_end(b, c, "memory is short");
                return IM_BUSY;
            }

            c->out = p;
            c->out_cap = (uint32_t) cap;
        }
    }

    memcpy(c->out + c->out_pos + c->out_len, data, len);

    if (c->out_len == 0) {
        bench_conn_watch(b, c, EPOLLIN|EPOLLOUT);
    }

    c->out_len += (uint32_t) len;

    return IM_OK;
}


static void
conn_on_writable(bench_t *b, bench_conn_t *c)
{
    ssize_t  n;

    if (c->out_len > 0) {
        n = send(c->fd, c->out + c->out_pos, c->out_len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            bench_conn_end(b, c, strerror(errno));
            return;
        }

        if (n > 0) {
            c->out_pos += (uint32_t) n;
            c->out_len -= (uint32_t) n;
        }
    }

    if (c->out_len == 0) {
        free(c->out);
        c->out = NULL;
        c->out_pos = 0;
        c->out_cap = 0;
        bench_conn_watch(b, c, EPOLLIN);
    }
}


void
bench_conn_watch(bench_t *b, bench_conn_t *c, uint32_t events)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = c;

    if (epoll_ctl(b->epoll, EPOLL_CTL_MOD, c->fd, &ev) != 0) {
        bench_say("connection %u: epoll: %s", c->index, strerror(errno));
    }
}


/* Says goodbye; the server's answer is not waited for. */
void
bench_conn_close(bench_t *b, bench_conn_t *c)
{
    size_t               len;
    unsigned char        out[8];
    const unsigned char  code[2] = { 1000 >> 8, 1000 & 0xff };

    if (c->state == BENCH_OPEN && !b->floor) {
        len = bench_wire_control(b, out, IM_FRAME_CLOSE, code, 2);
        (void) send(c->fd, out, len, MSG_NOSIGNAL|MSG_DONTWAIT);
    }

    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }

    free(c->token);
    free(c->in);
    free(c->out);
    free(c->slots);
    c->token = NULL;
    c->in = NULL;
    c->out = NULL;
    c->slots = NULL;
    c->state = BENCH_GONE;
}


void
bench_conn_end(bench_t *b, bench_conn_t *c, const char *why)
{
    if (b->faults.disconnects++ < CONN_FAILS_SHOWN) {
        bench_say("connection %u of user %llu: %s", c->index,
                  (unsigned long long) c->uid, why);
    }

    if (c->state == BENCH_OPEN || c->state == BENCH_PUBLISH) {
        b->opened--;

    } else {
        b->opening--;
    }

    /* its slots stay: what it has sent may still arrive */

    close(c->fd);
    c->fd = -1;
    free(c->in);
    free(c->out);
    c->in = NULL;
    c->out = NULL;
    c->in_len = 0;
    c->out_len = 0;
    c->state = BENCH_GONE;
}
