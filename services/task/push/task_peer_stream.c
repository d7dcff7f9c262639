/*
 * task_peer_stream.c -- what goes to a peer, and when.
 *
 *     ready --stream ends--> broken --100 ms--> opening --answer--> ready
 *       |                      ^                   |
 *   queue or window full       +----- 0.75 s ------+
 *
 * The first stream is used at once; one after a failure only when the instance
 * has answered, else all that waits for a dead one would be packed again and
 * again.
 *
 * A peer may have PEER_WINDOW batches' worth of items unconfirmed.  When it has
 * them, pushing waits for it (task_peer_lags), but for PEER_PRESSED_MS only;
 * after that the others go on without it until it has caught up, else one slow
 * peer would set the speed of all.  If all peers are busy, Task waits while one
 * of them confirms, so that it does not run ahead of all.  It does not wait for
 * a peer that has confirmed nothing for PEER_STUCK_MS, which is a while before
 * its heartbeat shows that it is frozen.
 *
 * peer_on_*: on the rpc thread.  All else: on the pushing thread.
 */

#include "im_timeouts.h"
#include "task_peer_int.h"


#define PEER_REPAIR_MS    100      /* between two streams to one instance */
#define PEER_STUCK_MS     100      /* silence of one that has enough to do */
#define PEER_PRESSED_MS   200      /* others wait for one that is slow */
#define PEER_WINDOW       8        /* batches of unconfirmed items */


static void peer_open(task_peer_t *peer);
static int peer_ready(const task_peer_t *peer);
static int peer_add(task_peer_t *peer, const Im__PushItem *item);
static void peer_press(task_peer_t *peer);
static void peer_on_open(void *ctx, im_rpc_stream_t *s);
static void peer_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void peer_on_received(task_peer_t *peer, uint64_t received);
static uint64_t peer_window(void);
static void peer_on_writable(void *ctx, im_rpc_stream_t *s);
static void peer_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void peer_reopen(task_peer_t *peer, uint64_t now);
static void peer_tell(task_peer_t *peer);
static int peer_caught_up(const task_peer_t *peer);


static const im_rpc_stream_handler_t  peer_handler = {
    .on_open = peer_on_open,
    .on_batch = peer_on_batch,
    .on_writable = peer_on_writable,
    .on_close = peer_on_close,
    .beat_ms = IM_RPC_BEAT_MS,
    .dead_ms = IM_RPC_DEAD_MS
};

static unsigned  peer_pressed;         /* 1: task_peer_lags must look */


int
task_peer_send(task_mark_t *mark, const Im__PushItem *item)
{
    int           rc;
    task_peer_t  *peer;

    peer = mark->peer;
    rc = IM_AGAIN;

    pthread_mutex_lock(&task_peer_lock);

    if (peer->stream == NULL && !peer->broken && !peer->behind) {
        peer_open(peer);
    }

    if (!peer->behind && !peer->full && peer_ready(peer)
        && (mark->handed == 0 || mark->stream == peer->streams))
    {
        rc = peer_add(peer, item);
    }

    if (rc == IM_OK) {
        mark->handed++;
        mark->stream = peer->streams;
        mark->sent = peer->sent;

    } else {
        peer->behind = 1;
        task_peer_troubled = 1;
    }

    pthread_mutex_unlock(&task_peer_lock);

    return rc;
}


/* Locked.  One that was broken stays so until the instance answers. */
static void
peer_open(task_peer_t *peer)
{
    if (peer->channel == NULL) {
        return;
    }

    peer->opened_us = im_mono_us();
    peer->sent = 0;
    peer->received = 0;
    peer->busy = 0;
    peer->full = 0;
    peer->streams++;
    peer->stream = im_rpc_stream_open(peer->channel, &task_peer_method,
                                      IM_RPC_STREAM_MS, &peer_handler, peer);

    if (peer->stream != NULL) {
        peer->refs++;                  /* until its on_close */

    } else {
        peer->broken = 1;
    }
}


/* Locked. */
static int
peer_ready(const task_peer_t *peer)
{
    return peer->stream != NULL && !peer->broken;
}


/* Locked.  IM_OK, IM_AGAIN. */
static int
peer_add(task_peer_t *peer, const Im__PushItem *item)
{
    int  rc;

    rc = im_rpc_stream_add(peer->stream, &item->base);

    if (rc == IM_OK) {
        peer->sent++;
        return IM_OK;
    }

    if (rc == IM_BUSY) {
        im_rpc_stream_flush(peer->stream);
        peer->busy = 1;
        peer_press(peer);
    }

    if (rc == IM_ERROR) {
        peer->broken = 1;              /* its on_close is on the way */
    }

    return IM_AGAIN;
}


/* Locked.  Its queue or its window is full.  Since when counts from the first
 * time: a slow one gets some room again and again. */
static void
peer_press(task_peer_t *peer)
{
    peer->heard_us = im_mono_us();

    if (peer->pressed_us == 0) {
        peer->pressed_us = peer->heard_us;
    }

    peer_pressed = 1;
}


void
task_peer_flush(task_peer_t *peer)
{
    pthread_mutex_lock(&task_peer_lock);

    if (peer->stream != NULL) {
        im_rpc_stream_flush(peer->stream);

        if (!peer->full && peer->sent >= peer->received + peer_window()) {
            peer->full = 1;
            peer_press(peer);
        }
    }

    pthread_mutex_unlock(&task_peer_lock);
}


static void
peer_on_open(void *ctx, im_rpc_stream_t *s)
{
    task_peer_t  *peer = ctx;

    pthread_mutex_lock(&task_peer_lock);

    if (peer->stream == s) {
        peer->broken = 0;
        task_peer_troubled = 1;
        pthread_cond_broadcast(&task_peer_wake);
    }

    pthread_mutex_unlock(&task_peer_lock);
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

    pthread_mutex_lock(&task_peer_lock);

    /* the count only grows: the last one is enough */

    if (peer->stream == s && batch->n_items > 0) {
        peer_on_received(peer, batch->items[batch->n_items - 1]->received);
        pthread_cond_broadcast(&task_peer_wake);
    }

    pthread_mutex_unlock(&task_peer_lock);

    im__pushed_batch__free_unpacked(batch, NULL);
}


/* Locked. */
static void
peer_on_received(task_peer_t *peer, uint64_t received)
{
    peer->received = received;

    if (peer->told != 0 && received >= peer->told) {
        peer->told = 0;
    }

    if (!peer->busy && !peer->full) {
        return;
    }

    peer->heard_us = im_mono_us();

    if (peer->sent < received + peer_window() / 2) {
        peer->full = 0;
        task_peer_troubled |= peer->behind;
    }
}


static uint64_t
peer_window(void)
{
    return (uint64_t) PEER_WINDOW * task_conf.push_batch;
}


static void
peer_on_writable(void *ctx, im_rpc_stream_t *s)
{
    task_peer_t  *peer = ctx;

    pthread_mutex_lock(&task_peer_lock);

    if (peer->stream == s) {
        peer->busy = 0;
        task_peer_troubled |= peer->behind;
        pthread_cond_broadcast(&task_peer_wake);
    }

    pthread_mutex_unlock(&task_peer_lock);
}


static void
peer_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    task_peer_t  *peer = ctx;

    pthread_mutex_lock(&task_peer_lock);

    if (peer->stream == s) {
        task_peer_lost(peer);
        peer->broken = 1;

        im_log(IM_LOG_WARN, "connect %s: the push stream ended: %s",
               peer->id, status->message);
    }

    task_peer_unref(peer);
    pthread_cond_broadcast(&task_peer_wake);
    pthread_mutex_unlock(&task_peer_lock);
}


/* Locked.  All that is not confirmed is due again; what was is known until
 * another stream with items has ended. */
void
task_peer_lost(task_peer_t *peer)
{
    if (peer->sent > 0) {
        peer->ended = peer->streams;
        peer->confirmed = peer->received;
    }

    peer->stream = NULL;
    peer->behind = 1;
    peer->missed |= (peer->told != 0);
    peer->told = 0;
    task_peer_troubled = 1;
}


unsigned
task_peer_rewind(task_mark_t *mark)
{
    unsigned  repeats;

    repeats = 0;

    pthread_mutex_lock(&task_peer_lock);

    if (mark->stream != mark->peer->streams) {
        repeats = mark->handed;
        mark->handed = 0;
    }

    pthread_mutex_unlock(&task_peer_lock);

    return repeats;
}


task_peer_state_t
task_peer_state(task_mark_t *mark)
{
    task_peer_t        *peer;
    task_peer_state_t   state;

    peer = mark->peer;
    state = TASK_PEER_WAITS;

    pthread_mutex_lock(&task_peer_lock);

    if (mark->handed >= mark->due
        && ((mark->stream == peer->streams && peer->received >= mark->sent)
            || (mark->stream == peer->ended && peer->confirmed >= mark->sent)))
    {
        mark->done = 1;
    }

    if (mark->done) {
        state = TASK_PEER_DONE;

    } else if (peer->channel == NULL && im_mono_us() >= peer->until_us) {
        state = TASK_PEER_GONE;
    }

    pthread_mutex_unlock(&task_peer_lock);

    return state;
}


task_peer_t *
task_peer_resume(void)
{
    uint64_t      now;
    task_peer_t  *peer, *next, *found;

    found = NULL;

    pthread_mutex_lock(&task_peer_lock);

    if (task_peer_troubled) {
        task_peer_troubled = 0;
        now = im_mono_us();

        HASH_ITER(hh, task_peer_table, peer, next) {

            if (peer->channel == NULL || (!peer->behind && !peer->missed)) {
                continue;              /* the rpc thread wakes us */
            }

            task_peer_troubled = 1;

            if (peer->stream == NULL) {
                peer_reopen(peer, now);
            }

            if (!peer_ready(peer) || peer->busy || peer->full) {
                continue;
            }

            if (peer->missed && peer->told == 0) {
                peer_tell(peer);
            }

            if (peer->behind && found == NULL) {
                peer->behind = 0;      /* unless it cannot take all of it */
                peer->refs++;
                found = peer;
            }
        }
    }

    pthread_mutex_unlock(&task_peer_lock);

    return found;
}


/* Locked. */
static void
peer_reopen(task_peer_t *peer, uint64_t now)
{
    if (now >= peer->opened_us + PEER_REPAIR_MS * 1000) {
        peer_open(peer);
    }
}


/* Locked.  Told again, unless it has confirmed that it was. */
static void
peer_tell(task_peer_t *peer)
{
    Im__PushItem  item = IM__PUSH_ITEM__INIT;

    item.missed = 1;

    if (peer_add(peer, &item) == IM_OK) {
        im_rpc_stream_flush(peer->stream);
        peer->missed = 0;
        peer->told = peer->sent;
    }
}


int
task_peer_lags(void)
{
    int           one, any, free;
    uint64_t      now;
    task_peer_t  *peer, *next;

    one = 0;
    any = 0;
    free = 0;

    pthread_mutex_lock(&task_peer_lock);

    if (peer_pressed) {
        peer_pressed = 0;
        now = im_mono_us();

        HASH_ITER(hh, task_peer_table, peer, next) {

            if (peer->pressed_us != 0 && peer_caught_up(peer)) {
                peer->pressed_us = 0;
            }

            peer_pressed |= (peer->pressed_us != 0);

            if (!peer->busy && !peer->full) {
                free |= (peer->channel != NULL && !peer->broken
                         && !peer->behind);

            } else if (peer_ready(peer)
                       && now < peer->heard_us + PEER_STUCK_MS * 1000)
            {
                any = 1;
                one |= (now < peer->pressed_us + PEER_PRESSED_MS * 1000);
            }
        }
    }

    pthread_mutex_unlock(&task_peer_lock);

    return one || (any && !free);
}


/* Locked.  Not while it is being resumed, which is on this thread, too: it is
 * not behind then, but not for long. */
static int
peer_caught_up(const task_peer_t *peer)
{
    if (peer->channel == NULL) {
        return 1;                      /* begins anew when it is back */
    }

    return !peer->behind && !peer->busy && !peer->full
           && peer->sent < peer->received + task_conf.push_batch;
}


void
task_peer_missed(task_peer_t *peer)
{
    pthread_mutex_lock(&task_peer_lock);

    if (!peer->missed && peer->channel != NULL) {
        im_log(IM_LOG_WARN, "connect %s: it did not take its items in time, "
               "they are dropped: its clients get sync_needed", peer->id);
    }

    peer->missed = 1;
    task_peer_troubled = 1;

    pthread_mutex_unlock(&task_peer_lock);
}
