/*
 * im_rpc_timer.c -- timers of the runtime.
 *
 * The C core has none to offer, so the rpc thread waits for its queue only
 * until the first of ours is due.  A timer that is set from elsewhere and
 * comes first must wake it: a watch with a deadline of now, on a channel that
 * cannot change, is an event that completes at once.
 *
 * Room: rpc.  Set and cancelled on any thread, run on the home.
 */

#include <stdlib.h>
#include <time.h>

#include "im_rpc_int.h"


struct im_rpc_timer_s {
    im_rpc_t         *rpc;
    im_rpc_op_t       op;
    im_rpc_timer_t   *next;    /* in order of due */
    uint64_t          due_us;
    void            (*fn)(void *ctx);
    void             *ctx;     /* fn NULL: cancelled */
    unsigned          fired:1; /* off the list, on its way to the home */
};


static void timer_poke(im_rpc_t *rpc);
static void timer_on_poke(void *owner, int ok);
static void timer_on_due(void *owner, int ok);


void
im_rpc_timers_init(im_rpc_t *rpc)
{
    rpc->poke = grpc_lame_client_channel_create("poke", GRPC_STATUS_OK, "");
    im_rpc_op_init(&rpc->op_poke, timer_on_poke, rpc);
    rpc->op_poke.direct = 1;
}


void
im_rpc_timers_free(im_rpc_t *rpc)
{
    im_rpc_timer_t  *t;

    while (rpc->timers != NULL) {
        t = rpc->timers;
        rpc->timers = t->next;
        free(t);
    }

    grpc_channel_destroy(rpc->poke);
}


im_rpc_timer_t *
im_rpc_timer(im_rpc_t *rpc, unsigned ms, void (*fn)(void *ctx), void *ctx)
{
    int               first;
    im_rpc_timer_t   *t, **p;

    t = calloc(1, sizeof(im_rpc_timer_t));
    if (t == NULL) {
        return NULL;
    }

    t->rpc = rpc;
    t->fn = fn;
    t->ctx = ctx;
    t->due_us = im_rpc_now_us() + (uint64_t) ms * 1000;
    im_rpc_op_init(&t->op, timer_on_due, t);

    pthread_mutex_lock(&rpc->lock);

    if (rpc->stopping) {
        pthread_mutex_unlock(&rpc->lock);
        free(t);
        return NULL;
    }

    for (p = &rpc->timers; *p != NULL && (*p)->due_us <= t->due_us;
         p = &(*p)->next)
    {
        /* few timers: a list will do */
    }

    t->next = *p;
    *p = t;
    first = (rpc->timers == t);

    pthread_mutex_unlock(&rpc->lock);

    if (first && !pthread_equal(pthread_self(), rpc->thread)) {
        timer_poke(rpc);
    }

    return t;
}


void
im_rpc_timer_cancel(im_rpc_timer_t *t)
{
    im_rpc_t         *rpc;
    im_rpc_timer_t  **p;

    if (t == NULL) {
        return;
    }

    rpc = t->rpc;

    pthread_mutex_lock(&rpc->lock);

    if (t->fired) {
        t->fn = NULL;                  /* timer_on_due() frees it */
        pthread_mutex_unlock(&rpc->lock);
        return;
    }

    for (p = &rpc->timers; *p != NULL; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }

    pthread_mutex_unlock(&rpc->lock);

    free(t);
}


int
im_rpc_post(im_rpc_t *rpc, void (*fn)(void *ctx), void *ctx)
{
    return im_rpc_timer(rpc, 0, fn, ctx) != NULL ? IM_OK : IM_ERROR;
}


gpr_timespec
im_rpc_timers_fire(im_rpc_t *rpc)
{
    uint64_t         now, wait;
    im_rpc_timer_t  *t;

    for ( ;; ) {
        pthread_mutex_lock(&rpc->lock);

        t = rpc->timers;
        now = im_rpc_now_us();

        if (t == NULL || t->due_us > now || rpc->stopping) {
            break;
        }

        rpc->timers = t->next;
        t->fired = 1;
        rpc->ops_n++;

        pthread_mutex_unlock(&rpc->lock);

        if (rpc->conf.home == IM_RPC_HOME_THREAD) {
            timer_on_due(t, 1);
            im_rpc_op_end(rpc);

        } else {
            t->op.ok = 1;
            im_rpc_hand_over(rpc, &t->op);
        }
    }

    wait = (t != NULL && !rpc->stopping) ? t->due_us - now : 0;

    pthread_mutex_unlock(&rpc->lock);

    if (wait == 0) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }

    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_micros((int64_t) wait, GPR_TIMESPAN));
}


static void
timer_on_due(void *owner, int ok)
{
    im_rpc_timer_t  *t = owner;

    (void) ok;

    if (t->fn != NULL) {
        t->fn(t->ctx);
    }

    free(t);
}


static void
timer_poke(im_rpc_t *rpc)
{
    int  wanted;

    pthread_mutex_lock(&rpc->lock);

    wanted = !rpc->poked && !rpc->stopping;

    if (wanted) {
        rpc->poked = 1;
        rpc->ops_n++;
    }

    pthread_mutex_unlock(&rpc->lock);

    if (wanted) {
        im_tsan_give(&rpc->op_poke);
        grpc_channel_watch_connectivity_state(rpc->poke,
            GRPC_CHANNEL_TRANSIENT_FAILURE, gpr_now(GPR_CLOCK_MONOTONIC),
            rpc->cq, &rpc->op_poke);
    }
}


static void
timer_on_poke(void *owner, int ok)
{
    im_rpc_t  *rpc = owner;

    (void) ok;

    pthread_mutex_lock(&rpc->lock);
    rpc->poked = 0;
    pthread_mutex_unlock(&rpc->lock);
}


uint64_t
im_rpc_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}
