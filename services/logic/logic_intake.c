/*
 * logic_intake.c -- the trip of a message through Logic.
 *
 *   rpc thread --> queue of the shard --> batch of up to 512
 *                                           |  held up to 5 ms under load
 *                     recipients known? ----+   (logic_lookup.c)
 *                     in the room? ---------+   (logic_rooms_access.c)
 *                     one Redis script -----+   (logic_sequence.c)
 *                     Kafka, by partition --+   (logic_produce.c)
 *   report thread <-- delivery report, then ack to the sender
 *
 * A conversation belongs to one shard, so its order in Redis and Kafka is the
 * order of its queue.  Whatever fails is refused as retryable.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_pace.h"
#include "logic_batch.h"
#include "logic_intake.h"
#include "logic_outcome.h"
#include "logic_produce.h"
#include "logic_repeats.h"


#define INTAKE_FLUSH           128     /* messages: no more holding */
#define INTAKE_RATE_MIN        2000    /* messages a second, see im_pace.h */
#define INTAKE_RATE_FULL       25000


typedef struct {
    pthread_t          id;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    logic_message_t   *first;
    logic_message_t  **last;
    size_t             n;
    atomic_int         touched;        /* has not been woken yet */
    int                stop;

    im_pace_t          pace;           /* the rest: shard thread */
    logic_batch_t      batch;
} intake_shard_t;


static void *intake_shard_thread(void *arg);
static size_t intake_take(intake_shard_t *s);
static void intake_hold(intake_shard_t *s);


static intake_shard_t  *intake_shards;



int
logic_intake_start(void)
{
    int              rc;
    unsigned         i;
    intake_shard_t  *s;

    rc = logic_produce_start();
    if (rc != IM_OK) {
        return rc;
    }

    logic_batch_remember();

    intake_shards = calloc(logic_conf.shards, sizeof(intake_shard_t));
    if (intake_shards == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->wake, NULL);
        s->last = &s->first;
        s->batch.redis = logic_redis_create();
        s->batch.lookup = logic_lookup_create();
        im_pace_init(&s->pace, logic_conf.hold_max_us, INTAKE_RATE_MIN,
                     INTAKE_RATE_FULL);

        if (pthread_create(&s->id, NULL, intake_shard_thread, s) != 0) {
            return IM_ERROR;
        }
    }

    return logic_repeats_start(logic_conf.queue);
}


void
logic_intake_add(logic_reply_t *reply, const Im__Deliver *d)
{
    logic_message_t  *m;
    intake_shard_t   *s;
    logic_touched_t   touched = { .n = 0 };

    m = NULL;

    if (d->body.len != 0 && d->body.len <= IM_BODY_MAX
        && (d->to != 0) != (d->room != 0) && d->from != 0
        && strlen(d->cmid) <= IM_CMID_MAX)
    {
        m = logic_message_create(d);
    }

    if (m == NULL) {
        logic_reply_error(reply, &touched, d->cmid, "bad_request",
                          "the message is not well formed");
        logic_reply_flush(&touched);
        return;
    }

    m->reply = *reply;
    m->queued_us = im_mono_us();

    s = &intake_shards[m->seq.slot % logic_conf.shards];

    pthread_mutex_lock(&s->lock);

    if (s->n >= logic_conf.queue || s->stop) {
        pthread_mutex_unlock(&s->lock);
        logic_outcome_refuse(m, &touched, "busy", "too many messages wait");
        logic_reply_flush(&touched);
        return;
    }

    *s->last = m;
    s->last = &m->next;
    s->n++;

    pthread_mutex_unlock(&s->lock);

    atomic_store(&s->touched, 1);
}


void
logic_intake_again(logic_message_t *m)
{
    int               stop;
    intake_shard_t   *s;
    logic_touched_t   touched = { .n = 0 };

    s = &intake_shards[m->seq.slot % logic_conf.shards];

    pthread_mutex_lock(&s->lock);

    stop = s->stop;

    if (!stop) {
        m->next = NULL;
        *s->last = m;
        s->last = &m->next;
        s->n++;
        pthread_cond_signal(&s->wake);
    }

    pthread_mutex_unlock(&s->lock);

    if (stop) {
        logic_outcome_refuse(m, &touched, "unavailable", "Logic stops");
        logic_reply_flush(&touched);
    }
}


void
logic_intake_flush(void)
{
    unsigned         i;
    intake_shard_t  *s;

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        if (atomic_exchange(&s->touched, 0)) {
            pthread_mutex_lock(&s->lock);
            pthread_cond_signal(&s->wake);
            pthread_mutex_unlock(&s->lock);
        }
    }
}


static void *
intake_shard_thread(void *arg)
{
    size_t           n;
    intake_shard_t  *s = arg;

    for ( ;; ) {
        n = intake_take(s);

        if (n == 0) {
            break;
        }

        logic_batch_run(&s->batch, n);
        logic_reply_flush(&s->batch.answers);
    }

    im_redis_destroy(s->batch.redis);
    logic_lookup_destroy(s->batch.lookup);

    return NULL;
}


/* Waits for messages; 0 when stopping and nothing is left. */
static size_t
intake_take(intake_shard_t *s)
{
    size_t  n;

    pthread_mutex_lock(&s->lock);

    while (s->first == NULL && !s->stop) {
        pthread_cond_wait(&s->wake, &s->lock);
    }

    if (s->first != NULL && !s->stop) {
        intake_hold(s);
    }

    for (n = 0; n < LOGIC_SEQUENCE_MAX && s->first != NULL; n++) {
        s->batch.messages[n] = s->first;
        s->first = s->first->next;
        s->batch.messages[n]->next = NULL;
    }

    if (s->first == NULL) {
        s->last = &s->first;
    }

    s->n -= n;

    pthread_mutex_unlock(&s->lock);

    im_pace_count(&s->pace, (unsigned) n, im_mono_us());

    return n;
}


/* Under the lock: waits for company, as long as the recent rate says. */
static void
intake_hold(intake_shard_t *s)
{
    unsigned         hold;
    uint64_t         now, until;
    struct timespec  ts;

    hold = im_pace_hold_us(&s->pace);
    until = s->first->queued_us + hold;

    while (hold > 0 && s->n < INTAKE_FLUSH && !s->stop) {
        now = im_mono_us();

        if (now >= until) {
            break;
        }

        pthread_mutex_unlock(&s->lock);

        ts.tv_sec = 0;
        ts.tv_nsec = (long) ((until - now > 500) ? 500000
                                                 : (until - now) * 1000);
        nanosleep(&ts, NULL);

        pthread_mutex_lock(&s->lock);
    }
}


void
logic_intake_stop(void)
{
    unsigned         i;
    intake_shard_t  *s;

    logic_repeats_stop();

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        pthread_mutex_lock(&s->lock);
        s->stop = 1;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);

        pthread_join(s->id, NULL);
    }

    logic_produce_stop();

    free(intake_shards);
}


void
logic_intake_stats(logic_intake_stats_t *stats)
{
    unsigned  i;

    logic_outcome_stats(stats);
    stats->waiting = 0;

    for (i = 0; i < logic_conf.shards; i++) {
        pthread_mutex_lock(&intake_shards[i].lock);
        stats->waiting += intake_shards[i].n;
        pthread_mutex_unlock(&intake_shards[i].lock);
    }
}


int
logic_intake_healthy(void)
{
    return logic_batch_healthy() && logic_produce_healthy();
}
