/*
 * task_peer.c -- see task_peer.h: which instances exist, by etcd and by Redis.
 *
 * Redis may name an instance that etcd does not: it is dead, or so young that
 * our watch has not reported it yet, or back in a moment.  So it is expected
 * for PEER_YOUNG_MS, in which its items wait for it as for any other instance
 * that cannot be reached; after that it counts as dead.  Its name is
 * remembered, so that no dead one is expected twice.
 */

#include <stdlib.h>
#include <string.h>

#include "im_cond.h"
#include "task_peer_int.h"


#define PEER_YOUNG_MS     1000
#define PEER_ABSENT_MAX   1024     /* names remembered that etcd has not */


static void peer_on_up(void *ctx, im_disc_instance_t *inst);
static void peer_on_down(void *ctx, im_disc_instance_t *inst);
static task_peer_t *peer_create(const char *id, size_t len);
static void peer_forget_absent(void);


static const im_disc_handler_t  peer_disc_handler = {
    .up = peer_on_up,
    .down = peer_on_down
};

pthread_mutex_t          task_peer_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t           task_peer_wake = PTHREAD_COND_INITIALIZER;
task_peer_t             *task_peer_table;
im_rpc_method_t          task_peer_method;
unsigned                 task_peer_troubled;

static unsigned          peer_there;       /* of the table, known to etcd */


int
task_peer_start(im_disc_t *disc)
{
    if (im_rpc_method_find(&task_peer_method, &im__connect__descriptor, "Push")
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

    HASH_ITER(hh, task_peer_table, peer, next) {
        HASH_DEL(task_peer_table, peer);
        task_peer_unref(peer);
    }

    peer_there = 0;
}


static void
peer_on_up(void *ctx, im_disc_instance_t *inst)
{
    task_peer_t  *peer;

    (void) ctx;

    im_log(IM_LOG_NOTICE, "connect %s is there, at %s", inst->id,
           inst->address);

    pthread_mutex_lock(&task_peer_lock);

    HASH_FIND(hh, task_peer_table, inst->id, strlen(inst->id), peer);

    if (peer == NULL) {
        peer = peer_create(inst->id, strlen(inst->id));
    }

    if (peer != NULL) {
        peer->channel = inst->channel;
        peer_there++;
        task_peer_troubled = 1;
        inst->data = peer;
        pthread_cond_broadcast(&task_peer_wake);
    }

    pthread_mutex_unlock(&task_peer_lock);

    if (peer == NULL) {
        im_log(IM_LOG_ERR, "out of memory: connect %s gets no messages",
               inst->id);
    }
}


/* Locked.  Absent until somebody gives it a channel; one reference is the
 * table's. */
static task_peer_t *
peer_create(const char *id, size_t len)
{
    task_peer_t  *peer;

    if (HASH_COUNT(task_peer_table) - peer_there >= PEER_ABSENT_MAX) {
        peer_forget_absent();
    }

    peer = calloc(1, sizeof(task_peer_t));
    if (peer == NULL || (peer->id = strndup(id, len)) == NULL) {
        free(peer);
        return NULL;
    }

    peer->refs = 1;
    HASH_ADD_KEYPTR(hh, task_peer_table, peer->id, strlen(peer->id), peer);

    if (!im_hash_is_added(peer)) {
        task_peer_unref(peer);
        return NULL;
    }

    return peer;
}


/* Locked.  The one that was met first, and is expected again when it is met
 * again. */
static void
peer_forget_absent(void)
{
    task_peer_t  *peer, *next;

    HASH_ITER(hh, task_peer_table, peer, next) {
        if (peer->channel == NULL) {
            HASH_DEL(task_peer_table, peer);
            task_peer_unref(peer);
            return;
        }
    }
}


/* It stays in the table: its name is in Redis, and it may come back. */
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

    pthread_mutex_lock(&task_peer_lock);

    peer->channel = NULL;
    peer->until_us = im_mono_us() + PEER_YOUNG_MS * 1000;
    peer->broken = 0;
    peer_there--;

    if (peer->stream != NULL) {
        im_rpc_stream_cancel(peer->stream);
        task_peer_lost(peer);
    }

    pthread_cond_broadcast(&task_peer_wake);
    pthread_mutex_unlock(&task_peer_lock);
}


task_peer_t *
task_peer_find(const char *id, size_t len)
{
    task_peer_t  *peer;

    pthread_mutex_lock(&task_peer_lock);

    HASH_FIND(hh, task_peer_table, id, len, peer);

    if (peer == NULL) {
        peer = peer_create(id, len);

        if (peer != NULL) {
            peer->until_us = im_mono_us() + PEER_YOUNG_MS * 1000;
        }
    }

    if (peer != NULL && peer->channel == NULL
        && im_mono_us() >= peer->until_us)
    {
        peer = NULL;
    }

    if (peer != NULL) {
        peer->refs++;
    }

    pthread_mutex_unlock(&task_peer_lock);

    return peer;
}


void
task_peer_hold(task_peer_t *peer)
{
    pthread_mutex_lock(&task_peer_lock);
    peer->refs++;
    pthread_mutex_unlock(&task_peer_lock);
}


void
task_peer_release(task_peer_t *peer)
{
    pthread_mutex_lock(&task_peer_lock);
    task_peer_unref(peer);
    pthread_mutex_unlock(&task_peer_lock);
}


void
task_peer_wait(unsigned ms)
{
    pthread_mutex_lock(&task_peer_lock);
    (void) im_cond_wait(&task_peer_wake, &task_peer_lock, ms);
    pthread_mutex_unlock(&task_peer_lock);
}


unsigned
task_peer_count(void)
{
    unsigned  n;

    pthread_mutex_lock(&task_peer_lock);
    n = peer_there;
    pthread_mutex_unlock(&task_peer_lock);

    return n;
}


void
task_peer_unref(task_peer_t *peer)
{
    if (--peer->refs == 0) {
        free(peer->id);
        free(peer);
    }
}
