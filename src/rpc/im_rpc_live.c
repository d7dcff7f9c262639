/*
 * im_rpc_live.c -- the calls and streams that are alive, and how destroy ends
 * them.
 *
 * All are cancelled at once, but for last words: who asks etcd to forget us
 * and hangs up in the same moment is often not heard, and peers would wait for
 * the lease.  They get a moment, whether etcd is there or not.
 *
 * Room: rpc.  Any thread, under the runtime's lock; end: the home loop or the
 * main thread.
 */

#include <time.h>

#include "im_rpc_int.h"
#include "im_timeouts.h"


static void live_cancel(im_rpc_t *rpc);
static void live_wait_last(im_rpc_t *rpc);


void
im_rpc_live_add(im_rpc_t *rpc, im_rpc_live_t *live, grpc_call *call)
{
    int  stopping;

    live->call = call;

    pthread_mutex_lock(&rpc->lock);

    live->next = &rpc->live;
    live->prev = rpc->live.prev;
    live->prev->next = live;
    rpc->live.prev = live;
    stopping = rpc->stopping;

    pthread_mutex_unlock(&rpc->lock);

    if (stopping) {
        grpc_call_cancel(call, NULL);
    }
}


void
im_rpc_live_last(im_rpc_t *rpc, im_rpc_live_t *live)
{
    pthread_mutex_lock(&rpc->lock);

    rpc->last_n += (live->last == 0);
    live->last = 1;

    pthread_mutex_unlock(&rpc->lock);
}


void
im_rpc_live_remove(im_rpc_t *rpc, im_rpc_live_t *live)
{
    pthread_mutex_lock(&rpc->lock);

    rpc->last_n -= (live->last != 0);
    live->prev->next = live->next;
    live->next->prev = live->prev;

    pthread_mutex_unlock(&rpc->lock);
}


void
im_rpc_live_end(im_rpc_t *rpc)
{
    live_cancel(rpc);
    live_wait_last(rpc);
}


static void
live_cancel(im_rpc_t *rpc)
{
    im_rpc_live_t   *l;

    pthread_mutex_lock(&rpc->lock);

    /* cancelling queues tags; none of their functions runs under our lock */

    for (l = rpc->live.next; l != &rpc->live; l = l->next) {
        if (!l->last) {
            grpc_call_cancel(l->call, NULL);
        }
    }

    pthread_mutex_unlock(&rpc->lock);
}


static void
live_wait_last(im_rpc_t *rpc)
{
    int              ms;
    size_t           left;
    im_rpc_live_t   *l;
    struct timespec  pause = { 0, 2000000 };

    for (ms = 0; ms < IM_RPC_LEAVE_MS; ms += 2) {

        if (rpc->conf.home == IM_RPC_HOME_LOOP) {
            im_rpc_dispatch(rpc);
        }

        pthread_mutex_lock(&rpc->lock);
        left = rpc->last_n;
        pthread_mutex_unlock(&rpc->lock);

        if (left == 0) {
            return;
        }

        nanosleep(&pause, NULL);
    }

    pthread_mutex_lock(&rpc->lock);

    for (l = rpc->live.next; l != &rpc->live; l = l->next) {
        l->last = 0;
    }

    rpc->last_n = 0;
    pthread_mutex_unlock(&rpc->lock);

    live_cancel(rpc);
}
