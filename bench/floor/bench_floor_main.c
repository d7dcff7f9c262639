/*
 * bench_floor_main.c -- the floor: what it costs to relay messages at all.
 *
 *     im-bench-floor [PROCESSES]
 *
 * A message is read, its ack is written to the sender and a copy to the
 * recipient, over plain TCP; nothing is parsed but the length in front of it,
 * nothing is checked, stored or logged.  A server of messages can hardly cost
 * less on the same machine, so bench/run shows what its edge costs as a ratio
 * to this.
 *
 * The first process accepts, reads the hello and hands the connection to the
 * worker of its pair (connections 2k and 2k + 1 talk): no message has to cross
 * processes.  Then it sleeps.  There are as many workers as nginx has.
 *
 *     im-bench --floor  ->  accept, hello  ->  worker: recv, send, send
 *
 * Rejected: SO_REUSEPORT, where half of the pairs would be on two workers and
 * the relay would have to pay for a queue between them; a thread for each
 * connection, which costs a context switch a message.
 *
 * The port is the first line of the output.  SIGTERM ends all of them; a worker
 * whose first process was killed ends, too.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_floor.h"
#include "bench_floor_relay.h"


#define FLOOR_WORKERS_MAX  64
#define FLOOR_HELLO_S      5        /* a connection without one is closed */


static int floor_listen(int *port);
static void floor_on_term(int signo);
static int floor_accept(int fd, const int *channels, int workers);
static int floor_meet(int client, const int *channels, int workers);
static int floor_hand_over(int channel, int fd, const unsigned char *hello);


static volatile sig_atomic_t  floor_ended;


int
main(int argc, char **argv)
{
    int               fd, port, i, k, rc, workers;
    int               channels[FLOOR_WORKERS_MAX], pair[2];
    sigset_t          term;
    struct rlimit     files;
    struct sigaction  action;

    workers = (argc > 1) ? (int) strtol(argv[1], NULL, 10) : 1;

    if (argc > 2 || workers < 1 || workers > FLOOR_WORKERS_MAX) {
        fprintf(stderr, "usage: im-bench-floor [PROCESSES], 1 to %d\n",
                FLOOR_WORKERS_MAX);
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }

    fd = floor_listen(&port);
    if (fd < 0) {
        return 1;
    }

    /* taken in floor_accept() only, so that it cannot come between two calls */

    memset(&action, 0, sizeof(action));
    action.sa_handler = floor_on_term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);

    if (sigaction(SIGTERM, &action, NULL) != 0
        || sigprocmask(SIG_BLOCK, &term, NULL) != 0)
    {
        return bench_floor_failed("signals");
    }

    for (i = 0; i < workers; i++) {

        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) {
            return bench_floor_failed("socketpair");
        }

        switch (fork()) {

        case -1:
            return bench_floor_failed("fork");

        case 0:
            close(fd);
            close(pair[0]);

            for (k = 0; k < i; k++) {
                close(channels[k]);
            }

            return bench_floor_worker(pair[1]);

        default:
            close(pair[1]);
            channels[i] = pair[0];
            break;
        }
    }

    printf("%d\n", port);
    fflush(stdout);

    rc = floor_accept(fd, channels, workers);

    for (i = 0; i < workers; i++) {
        close(channels[i]);
    }

    while (wait(NULL) > 0) { /* void */ }

    return rc;
}


static int
floor_listen(int *port)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  addr;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return bench_floor_failed("socket"), -1;
    }

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(addr);

    if (bind(fd, (struct sockaddr *) &addr, sizeof(addr)) != 0
        || listen(fd, 4096) != 0
        || getsockname(fd, (struct sockaddr *) &addr, &len) != 0)
    {
        return bench_floor_failed("listen"), -1;
    }

    *port = ntohs(addr.sin_port);

    return fd;
}


static void
floor_on_term(int signo)
{
    (void) signo;
    floor_ended = 1;
}


static int
floor_accept(int fd, const int *channels, int workers)
{
    int            client, rc;
    sigset_t       none;
    struct pollfd  p;

    sigemptyset(&none);
    p.fd = fd;
    p.events = POLLIN;

    while (!floor_ended) {

        if (ppoll(&p, 1, NULL, &none) < 0) {
            continue;
        }

        client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN) {
                continue;
            }

            return bench_floor_failed("accept");
        }

        rc = floor_meet(client, channels, workers);
        close(client);

        if (rc != 0) {
            return bench_floor_failed("a worker is gone");
        }
    }

    return 0;
}


static int
floor_meet(int client, const int *channels, int workers)
{
    int             one;
    uint32_t        index;
    unsigned char   hello[FLOOR_HELLO];
    struct timeval  limit = { .tv_sec = FLOOR_HELLO_S };

    one = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));

    if (recv(client, hello, FLOOR_HELLO, MSG_WAITALL) != FLOOR_HELLO
        || bench_floor_number(hello) != FLOOR_HELLO - FLOOR_HEAD
        || hello[FLOOR_HEAD] != 'h')
    {
        return 0;
    }

    index = bench_floor_number(hello + FLOOR_HEAD + 1);

    if (index >= FLOOR_CONNS_MAX) {
        return 0;
    }

    return floor_hand_over(channels[index / 2 % (uint32_t) workers], client,
                           hello);
}


static int
floor_hand_over(int channel, int fd, const unsigned char *hello)
{
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *c;

    union {
        struct cmsghdr  align;
        char            space[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));
    iov.iov_base = (void *) hello;
    iov.iov_len = FLOOR_HELLO;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof(control.space);

    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));

    return sendmsg(channel, &msg, MSG_NOSIGNAL) == FLOOR_HELLO ? 0 : -1;
}


uint32_t
bench_floor_number(const unsigned char *p)
{
    uint32_t  v;

    memcpy(&v, p, sizeof(v));

    return ntohl(v);
}


int
bench_floor_failed(const char *what)
{
    fprintf(stderr, "im-bench-floor: %s: %s\n", what, strerror(errno));

    return 1;
}
