/*
 * task_peer.c -- see task_peer.h.
 *
 * One lock for the table and for what the rpc thread reports.  It is held
 * while an item is packed: the pushing thread is the only one that packs, and
 * what the rpc thread does under it takes no time.
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uthash.h>

#include "im_timeouts.h"
#include "task_peer.h"


#define PEER_REPAIR_MS    100      /* between two streams to one instance */


struct task_peer_s {
    UT_hash_handle     hh;
    char              *id;
    unsigned           refs;
    im_rpc_channel_t  *channel;    /* the discovery's; NULL once gone */
    im_rpc_stream_t   *stream;
    unsigned           streams;    /* number of the current stream */
    unsigned           broken:1;
    unsigned           slow:1;     /* its queue was full: do not wait again */
    uint64_t           sent;       /* on the current stream */
    uint64_t           received;   /* of these, as it says */
    uint64_t           opened_us;
};


static void peer_on_up(void *ctx, im_disc_instance_t *inst);
static void peer_on_down(void *ctx, im_disc_instance_t *inst);
static void peer_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void peer_on_writable(void *ctx, im_rpc_stream_t *s);
static void peer_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void peer_open(task_peer_t *peer);
static void peer_unref(task_peer_t *peer);
static void peer_wait(unsigned ms);


static const im_rpc_stream_handler_t  peer_handler = {
    .on_batch = peer_on_batch,
    .on_writable = peer_on_writable,
    .on_close = peer_on_close,
    .beat_ms = IM_RPC_BEAT_MS,
    .dead_ms = IM_RPC_DEAD_MS
};

static const im_disc_handler_t  peer_disc_handler = {
    .up = peer_on_up,
    .down = peer_on_down
};

static pthread_mutex_t   peer_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    peer_wake = PTHREAD_COND_INITIALIZER;
static task_peer_t      *peer_table;
static im_rpc_method_t   peer_method;


int
task_peer_start(im_disc_t *disc)
{
    if (im_rpc_method_find(&peer_method, &im__connect__descriptor, "Push")
        != IM_OK)
    {
        return IM_ERROR;
    }

    return im_disc_subscribe(disc, "connect", &peer_disc_handler, NULL);
}


void
task_peer_stop(void)
{
    task_peer_t  *peer, *next;

    HASH_ITER(hh, peer_table, peer, next) {
        HASH_DEL(peer_table, peer);
        peer_unref(peer);
    }
}


static void
peer_on_up(void *ctx, im_disc_instance_t *inst)
{
    task_peer_t  *peer;

    (void) ctx;

    peer = calloc(1, sizeof(task_peer_t));
    if (peer == NULL || (peer->id = strdup(inst->id)) == NULL) {
        free(peer);
        im_log(IM_LOG_ERR, "out of memory: connect %s gets no messages",
               inst->id);
        return;
    }

    peer->refs = 1;
    peer->channel = inst->channel;

    im_log(IM_LOG_NOTICE, "connect %s is there, at %s", inst->id,
           inst->address);

    pthread_mutex_lock(&peer_lock);
    HASH_ADD_KEYPTR(hh, peer_table, peer->id, strlen(peer->id), peer);
    inst->data = peer;
    pthread_cond_broadcast(&peer_wake);
    pthread_mutex_unlock(&peer_lock);
}


static void
peer_on_down(void *ctx, im_disc_instance_t *inst)
{
    task_peer_t  *peer;

    (void) ctx;

    peer = inst->data;
    inst->data = NULL;

    if (peer == NULL) {
        return;
    }

    im_log(IM_LOG_NOTICE, "connect %s is gone", peer->id);

    pthread_mutex_lock(&peer_lock);

    HASH_DEL(peer_table, peer);
    peer->channel = NULL;

    if (peer->stream != NULL) {
        im_rpc_stream_cancel(peer->stream);
    }

    peer_unref(peer);
    pthread_cond_broadcast(&peer_wake);
    pthread_mutex_unlock(&peer_lock);
}


static void
peer_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    task_peer_t       *peer = ctx;
    Im__PushedBatch   *batch;

    batch = im__pushed_batch__unpack(NULL, len, data);

    if (batch == NULL) {
        im_log(IM_LOG_ERR, "connect %s: its answer is malformed", peer->id);
        im_rpc_stream_cancel(s);
        return;
    }

    pthread_mutex_lock(&peer_lock);

    /* the count only grows: the last one says it all */

    if (peer->stream == s && batch->n_items > 0) {
        peer->received = batch->items[batch->n_items - 1]->received;
        pthread_cond_broadcast(&peer_wake);
    }

    pthread_mutex_unlock(&peer_lock);

    im__pushed_batch__free_unpacked(batch, NULL);
}


static void
peer_on_writable(void *ctx, im_rpc_stream_t *s)
{
    task_peer_t  *peer = ctx;

    pthread_mutex_lock(&peer_lock);

    if (peer->stream == s) {
        peer->slow = 0;
        pthread_cond_broadcast(&peer_wake);
    }

    pthread_mutex_unlock(&peer_lock);
}


static void
peer_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    task_peer_t  *peer = ctx;

    pthread_mutex_lock(&peer_lock);

    if (peer->stream == s) {
        peer->stream = NULL;
        peer->broken = 1;

        if (peer->channel != NULL) {
            im_log(IM_LOG_WARN, "connect %s: the push stream ended: %s",
                   peer->id, status->message);
        }
    }

    peer_unref(peer);
    pthread_cond_broadcast(&peer_wake);
    pthread_mutex_unlock(&peer_lock);
}


task_peer_t *
task_peer_find(const char *id, size_t len)
{
    task_peer_t  *peer;

    pthread_mutex_lock(&peer_lock);

    HASH_FIND(hh, peer_table, id, len, peer);

    if (peer != NULL) {
        peer->refs++;
    }

    pthread_mutex_unlock(&peer_lock);

    return peer;
}


void
task_peer_hold(task_peer_t *peer)
{
    pthread_mutex_lock(&peer_lock);
    peer->refs++;
    pthread_mutex_unlock(&peer_lock);
}


void
task_peer_release(task_peer_t *peer)
{
    pthread_mutex_lock(&peer_lock);
    peer_unref(peer);
    pthread_mutex_unlock(&peer_lock);
}


int
task_peer_send(task_peer_t *peer, const Im__PushItem *item, unsigned wait_ms,
    task_mark_t *mark)
{
    int       rc;
    uint64_t  until;

    until = im_mono_us() + (uint64_t) wait_ms * 1000;

    pthread_mutex_lock(&peer_lock);

    if (peer->stream == NULL && !peer->broken) {
        peer_open(peer);
    }

    for ( ;; ) {
        mark->peer = peer;
        mark->stream = peer->streams;
        mark->sent = peer->sent + 1;

        if (peer->stream == NULL) {
            rc = IM_DECLINED;
            break;
        }

        rc = im_rpc_stream_add(peer->stream, &item->base);

        if (rc == IM_OK) {
            peer->sent++;
            break;
        }

        if (rc == IM_ERROR) {
            rc = IM_DECLINED;          /* its on_close is on the way */
            break;
        }

        im_rpc_stream_flush(peer->stream);

        if (peer->slow || im_mono_us() >= until) {
            peer->slow = 1;
            mark->sent = peer->sent;
            break;
        }

        peer_wait(10);
    }

    pthread_mutex_unlock(&peer_lock);

    return rc;
}


void
task_peer_flush(task_peer_t *peer)
{
    pthread_mutex_lock(&peer_lock);

    if (peer->stream != NULL) {
        im_rpc_stream_flush(peer->stream);
    }

    pthread_mutex_unlock(&peer_lock);
}


task_peer_state_t
task_peer_state(const task_mark_t *mark)
{
    task_peer_t        *peer;
    task_peer_state_t   state;

    peer = mark->peer;
    state = TASK_PEER_WAITS;

    pthread_mutex_lock(&peer_lock);

    if (peer->channel == NULL) {
        state = TASK_PEER_DONE;

    } else if (peer->broken || mark->stream != peer->streams) {
        state = TASK_PEER_BROKEN;

    } else if (peer->received >= mark->sent) {
        state = TASK_PEER_DONE;
    }

    pthread_mutex_unlock(&peer_lock);

    return state;
}


int
task_peer_repair(task_peer_t *peer)
{
    int  rc;

    rc = IM_OK;

    pthread_mutex_lock(&peer_lock);

    if (peer->broken && peer->channel != NULL) {

        if (im_mono_us() < peer->opened_us + PEER_REPAIR_MS * 1000) {
            rc = IM_AGAIN;

        } else {
            peer_open(peer);
        }
    }

    pthread_mutex_unlock(&peer_lock);

    return rc;
}


void
task_peer_wait(unsigned ms)
{
    pthread_mutex_lock(&peer_lock);
    peer_wait(ms);
    pthread_mutex_unlock(&peer_lock);
}


unsigned
task_peer_count(void)
{
    unsigned  n;

    pthread_mutex_lock(&peer_lock);
    n = HASH_COUNT(peer_table);
    pthread_mutex_unlock(&peer_lock);

    return n;
}


/* Locked. */
static void
peer_open(task_peer_t *peer)
{
    if (peer->channel == NULL) {
        return;
    }

    peer->opened_us = im_mono_us();
    peer->sent = 0;
    peer->received = 0;
    peer->slow = 0;
    peer->streams++;
    peer->stream = im_rpc_stream_open(peer->channel, &peer_method,
                                      IM_RPC_STREAM_MS, &peer_handler, peer);
    peer->broken = (peer->stream == NULL);

    if (peer->stream != NULL) {
        peer->refs++;                  /* until its on_close */
    }
}


/* Locked. */
static void
peer_unref(task_peer_t *peer)
{
    if (--peer->refs == 0) {
        free(peer->id);
        free(peer);
    }
}


/* Locked. */
static void
peer_wait(unsigned ms)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += (long) ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;

    (void) pthread_cond_timedwait(&peer_wake, &peer_lock, &ts);
}
