/*
 * im_rpc.c -- the runtime: one completion queue, one thread, one home.
 *
 *   any thread: start an op ---> gRPC core ---> completion queue
 *                                                    |
 *                                             rpc thread waits here
 *                                              |               |
 *                              HOME_THREAD: fn()     HOME_LOOP: list + eventfd
 *                                                              |
 *                                              loop: im_rpc_dispatch(): fn()
 *
 * More queues or threads cost hand-overs and gain nothing on few cores: all
 * queues of a process share one epoll set in this core.  The list is taken off
 * as a whole, unlocked, then run; the eventfd is written only when the list
 * was empty.
 *
 * Room: rpc.
 */

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "im_cond.h"
#include "im_rpc_int.h"
#include "im_timeouts.h"


#define RPC_MESSAGE_MAX   (8 * 1024 * 1024)
#define RPC_QUEUE_MAX     (4 * 1024 * 1024)


static void rpc_make_boot(im_rpc_t *rpc);
static void *rpc_thread(void *arg);
static void rpc_run_done(im_rpc_t *rpc);
static void rpc_quiet(gpr_log_func_args *args);
static int rpc_wait_idle(im_rpc_t *rpc);
static void rpc_wait_gone(unsigned threads);
static unsigned rpc_threads(void);


im_rpc_t *
im_rpc_create(const im_rpc_conf_t *conf)
{
    im_rpc_t  *rpc;
    sigset_t   all, old;

    rpc = calloc(1, sizeof(im_rpc_t));
    if (rpc == NULL) {
        return NULL;
    }

    rpc->conf = *conf;
    rpc->threads = rpc_threads();
    rpc_make_boot(rpc);

    if (rpc->conf.message_max == 0) {
        rpc->conf.message_max = RPC_MESSAGE_MAX;
    }

    if (rpc->conf.stream_queue_max == 0) {
        rpc->conf.stream_queue_max = RPC_QUEUE_MAX;
    }

    STAILQ_INIT(&rpc->done);
    rpc->live.prev = &rpc->live;
    rpc->live.next = &rpc->live;
    rpc->fd = -1;

    pthread_mutex_init(&rpc->lock, NULL);
    pthread_cond_init(&rpc->idle, NULL);

    if (conf->home == IM_RPC_HOME_LOOP) {
        rpc->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (rpc->fd == -1) {
            goto failed;
        }
    }

    /* gRPC's threads inherit the mask: signals stay with the main thread */

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    gpr_set_log_function(rpc_quiet);
    grpc_init();

    rpc->cq = grpc_completion_queue_create_for_next(NULL);
    im_rpc_timers_init(rpc);

    if (im_rpc_tls_init(rpc) != IM_OK
        || pthread_create(&rpc->thread, NULL, rpc_thread, rpc) != 0)
    {
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        grpc_completion_queue_shutdown(rpc->cq);
        grpc_completion_queue_destroy(rpc->cq);
        im_rpc_timers_free(rpc);
        im_rpc_creds_unref(rpc->creds);
        grpc_shutdown();
        im_rpc_tls_free(rpc);
        goto failed;
    }

    pthread_sigmask(SIG_SETMASK, &old, NULL);

    return rpc;

failed:

    if (rpc->fd != -1) {
        close(rpc->fd);
    }

    pthread_cond_destroy(&rpc->idle);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc);

    return NULL;
}


/* What goes wrong reaches callers as a status; the core's own words on stderr
 * would be noise without a time or a connection. */
static void
rpc_quiet(gpr_log_func_args *args)
{
    (void) args;
}


static void *
rpc_thread(void *arg)
{
    im_rpc_t     *rpc = arg;
    grpc_event    ev;
    im_rpc_op_t  *op;

    for ( ;; ) {
        ev = grpc_completion_queue_next(rpc->cq, im_rpc_timers_fire(rpc), NULL);

        if (ev.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }

        if (ev.type != GRPC_OP_COMPLETE) {
            continue;                  /* a timer is due */
        }

        op = ev.tag;
        im_tsan_take(op);
        op->ok = ev.success;

        if (rpc->conf.home == IM_RPC_HOME_THREAD || op->direct) {
            op->fn(op->owner, op->ok);
            im_rpc_op_end(rpc);
            continue;
        }

        im_rpc_hand_over(rpc, op);
    }
}


/* To the loop: it is woken once for all that it has not taken yet. */
void
im_rpc_hand_over(im_rpc_t *rpc, im_rpc_op_t *op)
{
    int       first;
    uint64_t  one;

    pthread_mutex_lock(&rpc->lock);

    first = STAILQ_EMPTY(&rpc->done);
    STAILQ_INSERT_TAIL(&rpc->done, op, link);

    pthread_mutex_unlock(&rpc->lock);

    if (first) {
        one = 1;

        while (write(rpc->fd, &one, sizeof(one)) == -1 && errno == EINTR) {
            /* again */
        }
    }
}


static void
rpc_make_boot(im_rpc_t *rpc)
{
    uint64_t  id;

    if (getrandom(&id, sizeof(id), 0) != (ssize_t) sizeof(id)) {
        id = im_rpc_now_us() ^ (uint64_t) getpid() << 32;
    }

    snprintf(rpc->boot, sizeof(rpc->boot), "%016llx",
             (unsigned long long) id);
}


const char *
im_rpc_boot(im_rpc_t *rpc)
{
    return rpc->boot;
}


int
im_rpc_fd(im_rpc_t *rpc)
{
    return rpc->fd;
}


void
im_rpc_dispatch(im_rpc_t *rpc)
{
    uint64_t  n;

    /* emptied first: what completes from here on writes again */

    while (read(rpc->fd, &n, sizeof(n)) == -1 && errno == EINTR) {
        /* again */
    }

    rpc_run_done(rpc);
}


static void
rpc_run_done(im_rpc_t *rpc)
{
    im_rpc_op_t                *op;
    STAILQ_HEAD(, im_rpc_op_s)  done;

    STAILQ_INIT(&done);

    pthread_mutex_lock(&rpc->lock);
    STAILQ_CONCAT(&done, &rpc->done);
    pthread_mutex_unlock(&rpc->lock);

    while ((op = STAILQ_FIRST(&done)) != NULL) {
        STAILQ_REMOVE_HEAD(&done, link);
        op->fn(op->owner, op->ok);     /* op may be gone after this */
        im_rpc_op_end(rpc);
    }
}


void
im_rpc_op_init(im_rpc_op_t *op, void (*fn)(void *owner, int ok), void *owner)
{
    op->fn = fn;
    op->owner = owner;
    op->direct = 0;
}


int
im_rpc_op_begin(im_rpc_t *rpc)
{
    int  rc;

    pthread_mutex_lock(&rpc->lock);

    rc = IM_OK;

    if (rpc->stopping) {
        rc = IM_DONE;

    } else {
        rpc->ops_n++;
    }

    pthread_mutex_unlock(&rpc->lock);

    return rc;
}


/* Even while stopping: the last ops of a call end it. */
void
im_rpc_op_count(im_rpc_t *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->ops_n++;
    pthread_mutex_unlock(&rpc->lock);
}


void
im_rpc_op_end(im_rpc_t *rpc)
{
    pthread_mutex_lock(&rpc->lock);

    if (--rpc->ops_n == 0) {
        pthread_cond_broadcast(&rpc->idle);
    }

    pthread_mutex_unlock(&rpc->lock);
}


int
im_rpc_op_batch(im_rpc_t *rpc, grpc_call *call, const grpc_op *ops, size_t n,
    im_rpc_op_t *op)
{
    im_rpc_op_count(rpc);
    im_tsan_give(op);

    if (grpc_call_start_batch(call, ops, n, op, NULL) != GRPC_CALL_OK) {
        im_rpc_op_end(rpc);
        return IM_ERROR;
    }

    return IM_OK;
}


int
im_rpc_destroy(im_rpc_t *rpc)
{
    im_rpc_server_t  *server;

    if (rpc == NULL) {
        return IM_OK;
    }

    pthread_mutex_lock(&rpc->lock);
    rpc->stopping = 1;
    pthread_mutex_unlock(&rpc->lock);

    for (server = rpc->servers; server != NULL; server = server->next) {
        im_rpc_server_stop(server);
    }

    im_rpc_live_end(rpc);

    if (rpc_wait_idle(rpc) != IM_OK) {
        /* the core aborts when its queue goes first: the exit of the process
         * takes all of it */
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: %zu operations did not end in %d "
                   "ms; left as they are", rpc->ops_n, IM_RPC_STOP_MS);
        return IM_BUSY;
    }

    grpc_completion_queue_shutdown(rpc->cq);
    pthread_join(rpc->thread, NULL);
    rpc_run_done(rpc);

    while (rpc->servers != NULL) {
        server = rpc->servers;
        rpc->servers = server->next;
        im_rpc_server_free(server);
    }

    im_rpc_timers_free(rpc);
    im_rpc_creds_unref(rpc->creds);
    grpc_completion_queue_destroy(rpc->cq);
    grpc_shutdown_blocking();

    rpc_wait_gone(rpc->threads);
    im_rpc_tls_free(rpc);

    if (rpc->fd != -1) {
        close(rpc->fd);
    }

    pthread_cond_destroy(&rpc->idle);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc);

    return IM_OK;
}


static int
rpc_wait_idle(im_rpc_t *rpc)
{
    int            ms;
    size_t         left;
    uint64_t       until_us;
    struct pollfd  pfd;

    if (rpc->conf.home == IM_RPC_HOME_LOOP) {

        for (ms = 0; ms < IM_RPC_STOP_MS; ms += 10) {
            im_rpc_dispatch(rpc);

            pthread_mutex_lock(&rpc->lock);
            left = rpc->ops_n;
            pthread_mutex_unlock(&rpc->lock);

            if (left == 0) {
                return IM_OK;
            }

            pfd.fd = rpc->fd;
            pfd.events = POLLIN;
            (void) poll(&pfd, 1, 10);
        }

        return IM_ERROR;
    }

    until_us = im_cond_now_us() + IM_RPC_STOP_MS * 1000;

    pthread_mutex_lock(&rpc->lock);

    while (rpc->ops_n > 0) {
        if (im_cond_wait_until(&rpc->idle, &rpc->lock, until_us) != IM_OK) {
            break;
        }
    }

    left = rpc->ops_n;
    pthread_mutex_unlock(&rpc->lock);

    return (left == 0) ? IM_OK : IM_ERROR;
}


/*
 * A channel that was destroyed holds the core until its transport is gone,
 * which threads of the core finish after the "blocking" shutdown.  Exiting
 * meanwhile would run the core's static destructors under these threads.
 * The limit is for a connection that was just being made: the core can keep
 * that one for good, its threads asleep.
 */
static void
rpc_wait_gone(unsigned threads)
{
    int              ms;
    struct timespec  pause = { 0, 1000000 };

    for (ms = 0; ms < IM_RPC_GONE_MS && grpc_is_initialized(); ms++) {
        nanosleep(&pause, NULL);
    }

    /* the thread that has said so is about to end, and nobody joins it; other
     * threads of a daemon may have come meanwhile: then it is a short wait */

    for (ms = 0; ms < IM_RPC_LAST_MS && rpc_threads() > threads; ms++) {
        nanosleep(&pause, NULL);
    }
}


/* Of this process; 0 if it cannot be told. */
static unsigned
rpc_threads(void)
{
    DIR            *dir;
    unsigned        n;
    struct dirent  *e;

    dir = opendir("/proc/self/task");
    if (dir == NULL) {
        return 0;
    }

    n = 0;

    for (e = readdir(dir); e != NULL; e = readdir(dir)) {
        n += (e->d_name[0] != '.');
    }

    closedir(dir);

    return n;
}


grpc_byte_buffer *
im_rpc_pack(const ProtobufCMessage *message)
{
    grpc_slice         slice;
    grpc_byte_buffer  *bb;

    slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));

    bb = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);

    return bb;
}


int
im_rpc_flatten(grpc_byte_buffer *bb, grpc_slice *slice)
{
    grpc_byte_buffer_reader  reader;

    if (bb->type == GRPC_BB_RAW
        && bb->data.raw.compression == GRPC_COMPRESS_NONE
        && bb->data.raw.slice_buffer.count == 1)
    {
        *slice = grpc_slice_ref(bb->data.raw.slice_buffer.slices[0]);
        return IM_OK;
    }

    if (!grpc_byte_buffer_reader_init(&reader, bb)) {
        return IM_ERROR;
    }

    *slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);

    return IM_OK;
}


void
im_rpc_log(im_rpc_t *rpc, int level, const char *fmt, ...)
{
    char     text[512];
    va_list  args;

    if (rpc->conf.log == NULL) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    rpc->conf.log(rpc->conf.log_ctx, level, text);
}
