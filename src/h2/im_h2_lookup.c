/*
 * im_h2_lookup.c -- the addresses that a channel connects to.
 *
 * What needs no waiting is known at once: numbers, "localhost" (RFC 6761: it is
 * the loopback interface, whoever is asked), paths of UNIX sockets.  For other
 * names the resolver of the C library is asked, which blocks, on a thread that
 * does nothing else; its answer reaches the loop through a pipe.  Not chosen:
 * getaddrinfo_a(), whose own threads end when they like; nor nginx's resolver,
 * which is there only if an operator has configured one.
 *
 *   loop: starts it ------------> thread: getaddrinfo() ... writes one byte
 *   loop: reads the byte, or has closed the pipe and forgotten it
 *
 * Both hold a reference, so either may be first; a thread that is late frees
 * what it has found.  LOOKUP_THREADS_MAX of them at a time: a resolver that
 * hangs must not collect threads.
 *
 * Room: h2.  Runs on: the loop, and a thread of its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "im_h2_int.h"


#define LOOKUP_THREADS_MAX  8
#define LOOKUP_HOST_MAX     255
#define LOOKUP_UNIX         "unix:"


struct im_h2_lookup_s {
    atomic_uint         refs;          /* the loop, the thread */
    char                host[LOOKUP_HOST_MAX + 1];
    char                port[8];
    int                 fd;            /* the thread's end of the pipe */
    int                 rc;            /* of getaddrinfo() */
    im_h2_addresses_t   addresses;

    im_rpc_t           *rpc;           /* the loop's, as these: */
    void               *watch;
    int                 pipe;
    im_h2_addresses_t  *found;
    void              (*done)(void *ctx, const char *why);
    void               *ctx;
};


static int lookup_split(const char *address, char host[LOOKUP_HOST_MAX + 1],
    char port[8]);
static int lookup_unix(const char *path, im_h2_addresses_t *found,
    char why[IM_H2_WHY]);
static int lookup_ask(const char *host, const char *port, int flags,
    im_h2_addresses_t *found);
static im_h2_lookup_t *lookup_create(im_rpc_t *rpc, const char *host,
    const char *port, char why[IM_H2_WHY]);
static int lookup_thread_start(im_h2_lookup_t *l);
static void *lookup_thread(void *arg);
static void lookup_on_read(void *data);
static void lookup_on_write(void *data);
static void lookup_unref(im_h2_lookup_t *l);


static atomic_uint  lookup_threads;


int
im_h2_lookup(im_rpc_t *rpc, const char *address, im_h2_addresses_t *found,
    im_h2_lookup_t **lookup, void (*done)(void *ctx, const char *why),
    void *ctx, char why[IM_H2_WHY])
{
    char             host[LOOKUP_HOST_MAX + 1], port[8];
    const char      *local;
    im_h2_lookup_t  *l;

    if (strncmp(address, LOOKUP_UNIX, sizeof(LOOKUP_UNIX) - 1) == 0) {
        return lookup_unix(address + sizeof(LOOKUP_UNIX) - 1, found, why);
    }

    if (lookup_split(address, host, port) != IM_OK) {
        snprintf(why, IM_H2_WHY, "it is not an address and a port");
        return IM_ERROR;
    }

    local = (strcasecmp(host, "localhost") == 0) ? NULL : host;

    if (lookup_ask(local, port, AI_NUMERICHOST, found) == 0) {
        return IM_OK;
    }

    l = lookup_create(rpc, host, port, why);
    if (l == NULL) {
        return IM_ERROR;
    }

    l->found = found;
    l->done = done;
    l->ctx = ctx;
    *lookup = l;

    return IM_AGAIN;
}


/* "host:port", also with port 0, which a server may have; an IPv6 address
 * loses its brackets. */
static int
lookup_split(const char *address, char host[LOOKUP_HOST_MAX + 1],
    char port[8])
{
    size_t       len;
    const char  *colon;

    colon = strrchr(address, ':');

    if (colon == NULL || strlen(colon + 1) >= 8) {
        return IM_ERROR;
    }

    len = (size_t) (colon - address);

    if (len > 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }

    if (len == 0 || len > LOOKUP_HOST_MAX) {
        return IM_ERROR;
    }

    memcpy(host, address, len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);

    return IM_OK;
}


static int
lookup_unix(const char *path, im_h2_addresses_t *found, char why[IM_H2_WHY])
{
    size_t               len;
    struct sockaddr_un  *sun;

    len = strlen(path);
    sun = (struct sockaddr_un *) &found->list[0].addr;

    if (len == 0 || len >= sizeof(sun->sun_path)) {
        snprintf(why, IM_H2_WHY, "the path of a socket has 1 to %zu bytes",
                 sizeof(sun->sun_path) - 1);
        return IM_ERROR;
    }

    memset(&found->list[0], 0, sizeof(im_h2_address_t));
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, len);
    found->list[0].len = (socklen_t) (offsetof(struct sockaddr_un, sun_path)
                                      + len + 1);
    found->n = 1;

    return IM_OK;
}


/* host NULL: the loopback interface.  0, or of getaddrinfo(). */
static int
lookup_ask(const char *host, const char *port, int flags,
    im_h2_addresses_t *found)
{
    int               rc;
    struct addrinfo   hints, *all, *a;

    memset(&hints, 0, sizeof(hints));
    hints.ai_flags = flags | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;

    rc = getaddrinfo(host, port, &hints, &all);
    if (rc != 0) {
        return rc;
    }

    found->n = 0;

    for (a = all; a != NULL && found->n < IM_H2_ADDRESSES_MAX; a = a->ai_next)
    {
        if (a->ai_addrlen <= sizeof(struct sockaddr_storage)) {
            memcpy(&found->list[found->n].addr, a->ai_addr, a->ai_addrlen);
            found->list[found->n++].len = a->ai_addrlen;
        }
    }

    freeaddrinfo(all);

    return (found->n > 0) ? 0 : EAI_NONAME;
}


static im_h2_lookup_t *
lookup_create(im_rpc_t *rpc, const char *host, const char *port,
    char why[IM_H2_WHY])
{
    int              fds[2];
    im_h2_lookup_t  *l;

    l = calloc(1, sizeof(im_h2_lookup_t));

    if (l == NULL || pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1) {
        snprintf(why, IM_H2_WHY, "out of memory or descriptors");
        free(l);
        return NULL;
    }

    atomic_init(&l->refs, 2);
    snprintf(l->host, sizeof(l->host), "%s", host);
    snprintf(l->port, sizeof(l->port), "%s", port);
    l->rpc = rpc;
    l->pipe = fds[0];
    l->fd = fds[1];
    l->watch = rpc->loop.watch(rpc->loop.ctx, fds[0], lookup_on_read,
                               lookup_on_write, l);

    if (l->watch == NULL) {
        snprintf(why, IM_H2_WHY, "the loop has no room for a look-up");
        close(fds[0]);
        close(fds[1]);
        free(l);
        return NULL;
    }

    if (lookup_thread_start(l) != IM_OK) {
        snprintf(why, IM_H2_WHY, "%d names are being looked up already, or "
                 "there is no thread", LOOKUP_THREADS_MAX);
        rpc->loop.close(l->watch);
        close(fds[1]);
        free(l);
        return NULL;
    }

    return l;
}


static int
lookup_thread_start(im_h2_lookup_t *l)
{
    int             rc;
    sigset_t        all, old;
    pthread_t       thread;
    pthread_attr_t  attr;

    if (atomic_fetch_add(&lookup_threads, 1) >= LOOKUP_THREADS_MAX) {
        atomic_fetch_sub(&lookup_threads, 1);
        return IM_ERROR;
    }

    /* signals stay with the main thread; nobody waits for this one */

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    rc = pthread_create(&thread, &attr, lookup_thread, l);

    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        atomic_fetch_sub(&lookup_threads, 1);
        return IM_ERROR;
    }

    return IM_OK;
}


/* Its own thread: touches no more than its part of the structure. */
static void *
lookup_thread(void *arg)
{
    int              fd;
    char             byte;
    ssize_t          n;
    im_h2_lookup_t  *l = arg;

    l->rc = lookup_ask(l->host, l->port, 0, &l->addresses);

    fd = l->fd;
    byte = 0;
    lookup_unref(l);

    /* nobody may read it any more: SIGPIPE is blocked here */
    n = write(fd, &byte, 1);
    (void) n;
    close(fd);

    atomic_fetch_sub(&lookup_threads, 1);

    return NULL;
}


static void
lookup_on_read(void *data)
{
    int              rc;
    char             byte, why[IM_H2_WHY];
    void            *ctx;
    ssize_t          n;
    void           (*done)(void *ctx, const char *why);
    im_h2_lookup_t  *l = data;

    n = read(l->pipe, &byte, 1);

    if (n == -1) {
        return;                        /* for nothing */
    }

    /* the thread has let go of it before it wrote */

    (void) atomic_load(&l->refs);
    rc = l->rc;
    done = l->done;
    ctx = l->ctx;

    if (rc == 0) {
        *l->found = l->addresses;

    } else {
        snprintf(why, sizeof(why), "its name has no address: %s",
                 gai_strerror(rc));
    }

    im_h2_lookup_cancel(l);
    done(ctx, rc == 0 ? NULL : why);
}


static void
lookup_on_write(void *data)
{
    (void) data;                       /* it is never asked for */
}


/* Its thread, if it still runs, finds nobody. */
void
im_h2_lookup_cancel(im_h2_lookup_t *l)
{
    if (l != NULL) {
        l->rpc->loop.close(l->watch);
        lookup_unref(l);
    }
}


static void
lookup_unref(im_h2_lookup_t *l)
{
    if (atomic_fetch_sub(&l->refs, 1) == 1) {
        free(l);
    }
}
