/*
 * bench_floor_worker.c -- the process that relays.
 *
 * One epoll; each turn of a connection is one recv(), one send() of the acks to
 * it and one send() of the copies to its peer, however many messages came.
 *
 * What a client does not read waits, up to FLOOR_OUT_MAX; then its connection
 * is closed.
 */

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_floor.h"
#include "bench_floor_relay.h"


#define FLOOR_EVENTS       512
#define FLOOR_BUF          (64 * 1024)
#define FLOOR_OUT_MAX      (1024 * 1024)
/* A frame of the smallest message, so a bound of the copies of a buffer. */
#define FLOOR_SMALLEST     FLOOR_ACK


typedef struct {
    int             fd;
    uint32_t        index;
    uint32_t        in_len;         /* the start of a frame */
    uint32_t        out_pos;        /* what the socket did not take */
    uint32_t        out_len;
    unsigned char  *in;
    unsigned char  *out;            /* FLOOR_OUT_MAX, if there is any */
} floor_conn_t;


static int floor_adopt(int channel);
static void floor_on_readable(floor_conn_t *c);
static size_t floor_relay(floor_conn_t *c, const unsigned char *p, size_t len);
static void floor_on_writable(floor_conn_t *c);
static void floor_write(floor_conn_t *c, const unsigned char *data,
    size_t len);
static void floor_watch(const floor_conn_t *c, int op, uint32_t events);
static void floor_close(floor_conn_t *c);


static int            floor_epoll;
static floor_conn_t  *floor_conns[FLOOR_CONNS_MAX];
static unsigned char  floor_buf[FLOOR_BUF];
static unsigned char  floor_acks[FLOOR_BUF];
static unsigned char  floor_copies[FLOOR_BUF
                                   + FLOOR_BUF / FLOOR_SMALLEST
                                     * FLOOR_COPY_MORE];


int
bench_floor_worker(int channel)
{
    int                        i, n;
    floor_conn_t              *c;
    struct epoll_event         ev;
    static struct epoll_event  events[FLOOR_EVENTS];

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    floor_epoll = epoll_create1(EPOLL_CLOEXEC);
    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (floor_epoll < 0
        || epoll_ctl(floor_epoll, EPOLL_CTL_ADD, channel, &ev) != 0)
    {
        return bench_floor_failed("epoll");
    }

    for ( ;; ) {
        n = epoll_wait(floor_epoll, events, FLOOR_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                if (floor_adopt(channel) != 0) {
                    return 0;
                }

                continue;
            }

            /* A writer may have closed it meanwhile: it stays allocated. */

            if (c->fd >= 0 && (events[i].events & EPOLLOUT)) {
                floor_on_writable(c);
            }

            if (c->fd >= 0 && (events[i].events & ~(uint32_t) EPOLLOUT)) {
                floor_on_readable(c);
            }
        }
    }
}


/* A connection comes, and its hello is answered. */
static int
floor_adopt(int channel)
{
    int              fd;
    ssize_t          n;
    uint32_t         index;
    floor_conn_t    *c;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;
    unsigned char    hello[FLOOR_HELLO];

    union {
        struct cmsghdr  align;
        char            space[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));
    iov.iov_base = hello;
    iov.iov_len = sizeof(hello);
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof(control.space);

    n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
    if (n != FLOOR_HELLO) {
        return -1;
    }

    cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg == NULL || cmsg->cmsg_type != SCM_RIGHTS) {
        return -1;
    }

    memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
    index = bench_floor_number(hello + FLOOR_HEAD + 1);

    /* The next run of the generator begins at 0 again. */

    c = floor_conns[index];

    if (c == NULL) {
        c = calloc(1, sizeof(floor_conn_t));
        if (c == NULL) {
            return bench_floor_failed("calloc");
        }

        floor_conns[index] = c;

    } else if (c->fd >= 0) {
        floor_close(c);
    }

    c->fd = fd;
    c->index = index;
    floor_watch(c, EPOLL_CTL_ADD, EPOLLIN);
    floor_write(c, hello, FLOOR_HELLO);

    return 0;
}


static void
floor_on_readable(floor_conn_t *c)
{
    size_t   len, used;
    ssize_t  n;

    len = c->in_len;

    if (len > 0) {
        memcpy(floor_buf, c->in, len);
        free(c->in);
        c->in = NULL;
        c->in_len = 0;
    }

    n = recv(c->fd, floor_buf + len, FLOOR_BUF - len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        n = 0;

    } else if (n <= 0) {
        floor_close(c);
        return;
    }

    len += (size_t) n;
    used = floor_relay(c, floor_buf, len);

    if (c->fd < 0 || used == len) {
        return;
    }

    c->in = malloc(len - used);
    if (c->in == NULL) {
        floor_close(c);
        return;
    }

    c->in_len = (uint32_t) (len - used);
    memcpy(c->in, floor_buf + used, c->in_len);
}


/* All complete messages in p; returns their length. */
static size_t
floor_relay(floor_conn_t *c, const unsigned char *p, size_t len)
{
    size_t          used, size, acks, copies;
    uint32_t        head;
    floor_conn_t   *peer;
    unsigned char  *copy;

    acks = 0;
    copies = 0;

    for (used = 0; len - used >= FLOOR_HEAD; used += size) {
        size = FLOOR_HEAD + (size_t) bench_floor_number(p + used);

        if (size < FLOOR_SMALLEST
            || size > FLOOR_FRAME_MAX - FLOOR_COPY_MORE)
        {
            floor_close(c);
            return len;
        }

        if (size > len - used) {
            break;
        }

        memcpy(floor_acks + acks, p + used, FLOOR_ACK);
        head = htonl(FLOOR_ACK - FLOOR_HEAD);
        memcpy(floor_acks + acks, &head, FLOOR_HEAD);
        floor_acks[acks + FLOOR_HEAD] = 'a';
        acks += FLOOR_ACK;

        copy = floor_copies + copies;
        memcpy(copy, p + used, size);
        memset(copy + size, '.', FLOOR_COPY_MORE);
        head = htonl((uint32_t) (size + FLOOR_COPY_MORE - FLOOR_HEAD));
        memcpy(copy, &head, FLOOR_HEAD);
        copy[FLOOR_HEAD] = 'p';
        copies += size + FLOOR_COPY_MORE;
    }

    if (acks == 0) {
        return used;
    }

    floor_write(c, floor_acks, acks);

    peer = floor_conns[c->index ^ 1];

    if (peer != NULL && peer->fd >= 0) {
        floor_write(peer, floor_copies, copies);
    }

    return used;
}


static void
floor_on_writable(floor_conn_t *c)
{
    ssize_t  n;

    n = send(c->fd, c->out + c->out_pos, c->out_len,
             MSG_NOSIGNAL|MSG_DONTWAIT);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            floor_close(c);
        }

        return;
    }

    c->out_pos += (uint32_t) n;
    c->out_len -= (uint32_t) n;

    if (c->out_len == 0) {
        free(c->out);
        c->out = NULL;
        c->out_pos = 0;
        floor_watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}


static void
floor_write(floor_conn_t *c, const unsigned char *data, size_t len)
{
    ssize_t  n;

    if (c->fd < 0) {
        return;
    }

    if (c->out_len == 0) {
        n = send(c->fd, data, len, MSG_NOSIGNAL|MSG_DONTWAIT);

        if (n == (ssize_t) len) {
            return;
        }

        if (n > 0) {
            data += n;
            len -= (size_t) n;
        }

        c->out = malloc(FLOOR_OUT_MAX);
        if (c->out == NULL) {
            floor_close(c);
            return;
        }

        floor_watch(c, EPOLL_CTL_MOD, EPOLLIN|EPOLLOUT);
    }

    if (c->out_pos + c->out_len + len > FLOOR_OUT_MAX) {
        memmove(c->out, c->out + c->out_pos, c->out_len);
        c->out_pos = 0;
    }

    if (c->out_len + len > FLOOR_OUT_MAX) {
        floor_close(c);
        return;
    }

    memcpy(c->out + c->out_pos + c->out_len, data, len);
    c->out_len += (uint32_t) len;
}


static void
floor_watch(const floor_conn_t *c, int op, uint32_t events)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.ptr = (void *) c;

    if (epoll_ctl(floor_epoll, op, c->fd, &ev) != 0) {
        (void) bench_floor_failed("epoll_ctl");
        exit(1);
    }
}


static void
floor_close(floor_conn_t *c)
{
    close(c->fd);
    c->fd = -1;
    free(c->in);
    free(c->out);
    c->in = NULL;
    c->out = NULL;
    c->in_len = 0;
    c->out_pos = 0;
    c->out_len = 0;
}
