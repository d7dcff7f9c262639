/*
 * task_push.c -- Kafka to the Connect instances.
 *
 * A batch of records is taken, the users in it are looked up in one pipeline,
 * and each record goes to the instances where one of its users is connected.
 * A batch is done when every instance that it has something for has taken that
 * or is gone; then its offsets are stored, in the order of the batches.
 *
 *     oldest                                             newest
 *     [ waits for B ] [ done ] [ waits for B ] [ done ] [ sent ]
 *
 * No instance delays the others: if B is dead or frozen, they go on.  The items
 * of B stay in their batches and are sent when it is back, oldest first, before
 * anything new (task_peer.h).  How much stays is bounded by the number and the
 * size of records, not by that of batches, since at low rates batches are
 * small.  When that is full, pushing stops until the oldest batch is dropped,
 * which is push_confirm_ms after it was taken.  B is notified of that: the
 * first item that it gets then says so, and all of its clients sync.
 *
 * When our partitions move, the last batch is done or dropped push_confirm_ms
 * later; when we end, a second later.  We could notify nobody after that, so
 * the offsets of a dropped batch are not stored: the next member pushes it
 * again.
 *
 * One thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_crash.h"
#include "im_steps.h"
#include "task_batch.h"
#include "task_push.h"
#include "task_work.h"


#define PUSH_RECORDS_MAX  65536             /* in batches that are not done */
#define PUSH_BYTES_MAX    (64 * 1024 * 1024)
#define PUSH_IDLE_MS      100
#define PUSH_RETRY_MS     200
#define PUSH_END_MS       1000              /* for the last ones */
#define PUSH_TRIES        5                 /* then /readyz reports it */


static void *push_thread(void *arg);
static int push_full(void);
static int push_take(void);
static task_batch_t *push_batch(size_t n);
static int push_route(task_batch_t *b);
static int push_resolve(task_batch_t *b);
static void push_resume(void);
static void push_settle(void);
static int push_settled(task_batch_t *b);
static void push_finish(task_batch_t *b);
static void push_give_up(task_mark_t *mark);
static void push_on_revoke(void *ctx);


static im_thread_t           push_id;
static atomic_int            push_stopping;
static im_kafka_consumer_t  *push_consumer;
static im_redis_t           *push_redis;
static im_kafka_record_t    *push_taken;
static task_batch_t         *push_first, **push_last = &push_first;
static size_t                push_held, push_bytes;    /* not done */
static int                   push_abandoned;
static uint64_t              push_end_us = UINT64_MAX;  /* of all batches */

static atomic_ullong         push_records, push_unconfirmed;


int
task_push_start(void)
{
    im_redis_conf_t           redis;
    im_kafka_consumer_conf_t  conf;

    redis.address = task_conf.common.redis_address;
    redis.password = task_conf.common.redis_password;
    redis.timeout_ms = task_conf.common.redis_timeout_ms;
    push_redis = im_redis_create(&redis);

    push_taken = calloc(task_conf.push_batch, sizeof(im_kafka_record_t));

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.group = task_conf.push_group;
    conf.topic = task_conf.common.kafka_topic;
    conf.client_id = "im-task-push";
    conf.session_ms = task_conf.session_ms;
    conf.poll_max_ms = task_conf.poll_max_ms;
    conf.log = im_log_lower;
    conf.revoke = push_on_revoke;

    push_consumer = im_kafka_consumer_create(&conf);

    if (push_taken == NULL || push_redis == NULL || push_consumer == NULL) {
        return IM_ERROR;
    }

    return im_thread_start(&push_id, push_thread, NULL);
}


void
task_push_end(void)
{
    atomic_store(&push_stopping, 1);
}


void
task_push_stop(void)
{
    task_push_end();
    im_thread_join(&push_id);

    im_kafka_consumer_destroy(push_consumer);
    im_redis_destroy(push_redis);
    task_batch_stop();
    free(push_taken);
    push_consumer = NULL;
    push_redis = NULL;
    push_taken = NULL;
}


int
task_push_has_joined(void)
{
    return im_kafka_has_joined(push_consumer);
}


void
task_push_stats(task_push_stats_t *stats)
{
    stats->records = atomic_load(&push_records);
    stats->unconfirmed = atomic_load(&push_unconfirmed);
    task_batch_stats(&stats->pushed, &stats->repeated, &stats->dropped);
}


static void *
push_thread(void *arg)
{
    (void) arg;

    while (!atomic_load(&push_stopping)) {
        push_resume();
        push_settle();

        if (push_full()) {
            task_peer_wait(20);

        } else if (push_take() != IM_OK) {
            break;
        }
    }

    /* each batch has a deadline, so this ends */
    push_end_us = im_mono_us() + PUSH_END_MS * 1000;
    push_on_revoke(NULL);

    return NULL;
}


static int
push_full(void)
{
    return push_held + task_conf.push_batch > PUSH_RECORDS_MAX
           || push_bytes > PUSH_BYTES_MAX
           || task_peer_lags();
}


/* Takes a batch and sends it.  IM_DONE: stopped while Redis was away, or no
 * memory was left; the records stay for the next member, as they do when their
 * partitions have moved meanwhile. */
static int
push_take(void)
{
    int            rc;
    size_t         n;
    unsigned       wait;
    task_batch_t  *b;

    wait = (push_first != NULL) ? PUSH_IDLE_MS / 10 : PUSH_IDLE_MS;

    n = im_kafka_consume(push_consumer, push_taken, task_conf.push_batch,
                         wait);
    if (n == 0) {
        return IM_OK;
    }

    b = push_batch(n);
    if (b == NULL) {
        im_kafka_batch_free(push_taken, n);
        return IM_DONE;
    }

    atomic_fetch_add(&push_records, n);

    rc = push_route(b);
    im_kafka_resume(push_consumer);

    if (rc != IM_OK) {
        task_batch_put(b);
        return (rc == IM_DECLINED) ? IM_OK : rc;
    }

    b->until_us = im_mono_us() + (uint64_t) task_conf.push_confirm_ms * 1000;

    *push_last = b;
    push_last = &b->next;
    push_held += n;
    push_bytes += b->bytes;

    task_batch_send(b);

    IM_CRASH_POINT("push.sent");

    return IM_OK;
}


/* NULL: stopped while there was no memory, which batches that are done give
 * back. */
static task_batch_t *
push_batch(size_t n)
{
    task_batch_t  *b;

    for ( ;; ) {
        b = task_batch_get(push_taken, n);

        if (b != NULL || atomic_load(&push_stopping)) {
            return b;
        }

        im_log(IM_LOG_ERR, "out of memory: pushing waits");

        task_peer_wait(PUSH_RETRY_MS);
        push_resume();
        push_settle();
    }
}


static int
push_route(task_batch_t *b)
{
    int             rc;
    size_t          i;
    unsigned        u;
    task_record_t  *r;

    b->routes.redis = push_redis;

    for (i = 0; i < b->n; i++) {
        r = &b->records[i];

        for (u = 0; u < r->n_users; u++) {
            if (task_route_add(&b->routes, r->users[u]) != IM_OK) {
                im_log(IM_LOG_ERR, "out of memory: a message is not pushed");
                r->n_users = u;
            }
        }

        if (r->room != 0
            && task_route_add_room(&b->routes, r->room) != IM_OK)
        {
            im_log(IM_LOG_ERR, "out of memory: a message is not pushed");
        }
    }

    rc = push_resolve(b);
    task_work_push(NULL);

    return rc;
}


/* Redis is asked until it answers. */
static int
push_resolve(task_batch_t *b)
{
    char      error[TASK_WORK_ERROR_MAX];
    unsigned  tries;

    for (tries = 0; task_route_resolve(&b->routes) != IM_OK; tries++) {

        if (tries == PUSH_TRIES) {
            snprintf(error, sizeof(error), "%zu records wait for Redis: %s",
                     b->n, b->routes.error);
            task_work_push(error);
        }

        if (atomic_load(&push_stopping)) {
            return IM_DONE;
        }

        im_kafka_pause(push_consumer);

        if (im_kafka_idle(push_consumer, PUSH_RETRY_MS) != IM_OK) {
            return IM_DECLINED;
        }

        push_resume();
        push_settle();
    }

    return IM_OK;
}


/* Who can take again what it is due gets it from all batches, in order. */
static void
push_resume(void)
{
    int            rc;
    unsigned       m;
    task_peer_t   *peer;
    task_batch_t  *b;

    while ((peer = task_peer_resume()) != NULL) {
        rc = IM_OK;

        for (b = push_first; b != NULL; b = b->next) {
            for (m = 0; m < b->n_marks; m++) {
                if (b->marks[m].peer == peer
                    && task_peer_state(&b->marks[m]) != TASK_PEER_DONE
                    && rc == IM_OK)
                {
                    rc = task_batch_again(b, &b->marks[m]);
                }
            }
        }

        task_peer_release(peer);
    }
}


static void
push_settle(void)
{
    task_batch_t  *b;

    while (push_first != NULL && push_settled(push_first)) {
        b = push_first;

        push_first = b->next;
        if (push_first == NULL) {
            push_last = &push_first;
        }

        push_held -= b->n;
        push_bytes -= b->bytes;

        push_finish(b);
        task_batch_put(b);
    }
}


static int
push_settled(task_batch_t *b)
{
    unsigned  m;

    for (m = 0; m < b->n_marks; m++) {
        if (task_peer_state(&b->marks[m]) == TASK_PEER_WAITS) {
            return im_mono_us() >= b->until_us
                   || im_mono_us() >= push_end_us;
        }
    }

    return 1;
}


static void
push_finish(task_batch_t *b)
{
    size_t    i;
    unsigned  m;

    for (m = 0; m < b->n_marks; m++) {
        if (task_peer_state(&b->marks[m]) != TASK_PEER_DONE) {
            push_give_up(&b->marks[m]);
        }
    }

    IM_CRASH_POINT("push.confirmed");

    /* within a batch a partition's records come in order, so the last one of
     * each is found where the next belongs to another partition or none */

    for (i = 0; i < b->n && !push_abandoned; i++) {
        if (i + 1 == b->n || b->kafka[i + 1].partition != b->kafka[i].partition)
        {
            (void) im_kafka_store(push_consumer, b->kafka[i].partition,
                                  b->kafka[i].offset);
        }
    }
}


/* Also of who is gone: it may be alive, and come back. */
static void
push_give_up(task_mark_t *mark)
{
    if (task_peer_state(mark) != TASK_PEER_GONE) {
        atomic_fetch_add(&push_unconfirmed, 1);
        push_abandoned |= atomic_load(&push_stopping);
    }

    task_batch_give_up(mark);
}


static void
push_on_revoke(void *ctx)
{
    (void) ctx;

    while (push_first != NULL) {
        push_resume();
        push_settle();

        if (push_first != NULL) {
            task_peer_wait(10);
        }
    }
}
