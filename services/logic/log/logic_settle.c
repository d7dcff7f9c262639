/*
 * logic_settle.c -- waits until the store has caught up with the log.
 *
 * A row that is not in MySQL may still be on its way: appended, but not yet
 * inserted.  The end of the partition is sampled; once the committed offset of
 * the store group has reached it, all that was appended before the sample is
 * in MySQL, since the group commits after the database did.
 *
 *   requests --wait--> list --done()--> the pool's queue
 *                      |  ^
 *            what to ask  | ends and commits, of all partitions
 *                      v  |
 *                   watcher <----> Kafka        timer: whose time has come
 *
 * Nobody's thread waits in here.  While somebody waits, one thread asks Kafka,
 * at most two requests every few ms however many wait.  Another one keeps the
 * time, for a question to Kafka may take as long as Kafka is away.
 *
 * A mark of the store's own in Redis or MySQL was rejected: the committed
 * offset is the truth that a restart of Task begins from, and nobody has to
 * keep a copy of it right.
 */

#include <pthread.h>

#include "im_cond.h"
#include "im_kafka.h"
#include "im_log.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_partitions.h"
#include "logic_settle_list.h"


/* librdkafka looks once a second for what has timed out; and as much again. */
#define SETTLE_SLACK_MS  2000

#define SETTLE_KNOWN_US  1000000   /* a commit is remembered */
#define SETTLE_MAX       16384     /* who wait; 9 MiB */


/* For logic_settle(). */
typedef struct {
    logic_wait_t     wait;         /* first */
    pthread_mutex_t  lock;
    pthread_cond_t   cond;
    int              over;
} settle_block_t;


static void *settle_watch(void *arg);
static int settle_next(uint64_t *ends);
static void settle_ask(uint64_t ends);
static void settle_pause(void);
static int settle_answered(int rc);
static void *settle_keep_time(void *arg);
static void settle_done(logic_wait_t *taken);
static void settle_on_block(logic_wait_t *w);


static im_kafka_offsets_t   *settle_offsets;
static im_thread_t           settle_watcher;
static im_thread_t           settle_timer;
static pthread_mutex_t       settle_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t        settle_wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t        settle_sooner = PTHREAD_COND_INITIALIZER;
static logic_settle_list_t   settle_list;
static int                   settle_running;
static uint64_t              settle_commits_us;   /* the watcher */
static uint64_t              settle_rings_us = UINT64_MAX;  /* the timer */
static im_log_seldom_t       settle_log;


int
logic_settle_start(void)
{
    im_kafka_offsets_conf_t  conf = {
        .brokers = logic_conf.common.kafka_brokers,
        .group = logic_conf.store_group,
        .topic = logic_conf.common.kafka_topic,
        .client_id = "im-logic-settle",
        .log = im_log_lower
    };

    settle_offsets = im_kafka_offsets_create(&conf);
    if (settle_offsets == NULL) {
        return IM_ERROR;
    }

    settle_running = 1;

    if (im_thread_start(&settle_watcher, settle_watch, NULL) != IM_OK) {
        return IM_ERROR;
    }

    return im_thread_start(&settle_timer, settle_keep_time, NULL);
}


int
logic_settle_wait(logic_wait_t *w)
{
    int  rc;

    rc = IM_BUSY;
    pthread_mutex_lock(&settle_lock);

    if (settle_running && settle_list.n < SETTLE_MAX) {
        rc = IM_AGAIN;
        logic_settle_list_add(&settle_list, w);
        pthread_cond_signal(&settle_wake);

        if (w->until_us < settle_rings_us) {
            pthread_cond_signal(&settle_sooner);
        }
    }

    pthread_mutex_unlock(&settle_lock);

    return rc;
}


static void *
settle_watch(void *arg)
{
    uint64_t  ends;

    (void) arg;

    while (settle_next(&ends) == IM_OK) {
        settle_ask(ends);
        settle_pause();
    }

    return NULL;
}


/* Until somebody waits; *ends: the partitions whose end is wanted.  IM_DONE:
 * stopping. */
static int
settle_next(uint64_t *ends)
{
    int  rc;

    pthread_mutex_lock(&settle_lock);

    while (settle_running && settle_list.n == 0) {
        pthread_cond_wait(&settle_wake, &settle_lock);
    }

    /* an operator may have set it back meanwhile */

    if (im_cond_now_us() - settle_commits_us > SETTLE_KNOWN_US) {
        logic_settle_list_forget(&settle_list);
    }

    rc = settle_running ? IM_OK : IM_DONE;
    *ends = logic_settle_list_begin(&settle_list);

    pthread_mutex_unlock(&settle_lock);

    return rc;
}


/* Ends first: a commit that is older than the end proves nothing. */
static void
settle_ask(uint64_t ends)
{
    int64_t        offsets[LOGIC_SETTLE_PARTITIONS];
    uint64_t       marked;
    logic_wait_t  *taken;

    if (ends != 0
        && settle_answered(im_kafka_offsets_ends(settle_offsets, ends,
                                                 IM_SETTLE_ASK_MS, offsets))
           == IM_OK)
    {
        pthread_mutex_lock(&settle_lock);
        logic_settle_list_ends(&settle_list, ends, offsets);
        taken = logic_settle_list_commits(&settle_list, 0, offsets);
        pthread_mutex_unlock(&settle_lock);

        settle_done(taken);            /* those that need no commit */
    }

    pthread_mutex_lock(&settle_lock);
    marked = logic_settle_list_marked(&settle_list);
    pthread_mutex_unlock(&settle_lock);

    if (marked != 0
        && settle_answered(im_kafka_offsets_commits(settle_offsets, marked,
                                                    IM_SETTLE_ASK_MS, offsets))
           != IM_OK)
    {
        return;
    }

    if (marked == 0) {
        return;
    }

    settle_commits_us = im_cond_now_us();

    pthread_mutex_lock(&settle_lock);
    taken = logic_settle_list_commits(&settle_list, marked, offsets);
    pthread_mutex_unlock(&settle_lock);

    settle_done(taken);
}


/* The requests that come meanwhile share the next question. */
static void
settle_pause(void)
{
    uint64_t  until_us;

    until_us = im_cond_now_us() + IM_SETTLE_POLL_MS * 1000;

    pthread_mutex_lock(&settle_lock);

    while (settle_running
           && im_cond_wait_until(&settle_wake, &settle_lock, until_us)
              == IM_OK)
    {
        /* by somebody who came */
    }

    pthread_mutex_unlock(&settle_lock);
}


static int
settle_answered(int rc)
{
    if (rc == IM_OK) {
        return IM_OK;
    }

    im_log_seldom(&settle_log, IM_LOG_WARN, "kafka: no answer about topic "
                  "\"%s\" and group \"%s\" in %d ms: what is not stored yet "
                  "is not known", logic_conf.common.kafka_topic,
                  logic_conf.store_group, IM_SETTLE_ASK_MS);

    return IM_ERROR;
}


static void *
settle_keep_time(void *arg)
{
    logic_wait_t  *taken;

    (void) arg;

    pthread_mutex_lock(&settle_lock);

    while (settle_running) {
        taken = logic_settle_list_due(&settle_list, im_cond_now_us());

        if (taken != NULL) {
            pthread_mutex_unlock(&settle_lock);
            settle_done(taken);
            pthread_mutex_lock(&settle_lock);
            continue;
        }

        settle_rings_us = logic_settle_list_next_us(&settle_list);

        if (settle_rings_us == UINT64_MAX) {
            pthread_cond_wait(&settle_sooner, &settle_lock);

        } else {
            (void) im_cond_wait_until(&settle_sooner, &settle_lock,
                                      settle_rings_us);
        }
    }

    pthread_mutex_unlock(&settle_lock);

    return NULL;
}


/* Not under the lock: what is called may wait again. */
static void
settle_done(logic_wait_t *taken)
{
    logic_wait_t  *w;

    while (taken != NULL) {
        w = taken;
        taken = w->next;           /* w is gone after its call */
        w->done(w);
    }
}


int
logic_settle(const im_conv_t *conv, unsigned timeout_ms)
{
    settle_block_t  b = {
        .wait = {
            .partitions = logic_settle_bit(conv),
            .until_us = im_cond_now_us() + (uint64_t) timeout_ms * 1000,
            .done = settle_on_block
        },
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER
    };

    if (logic_settle_wait(&b.wait) != IM_AGAIN) {
        return IM_AGAIN;
    }

    pthread_mutex_lock(&b.lock);

    while (!b.over) {
        pthread_cond_wait(&b.cond, &b.lock);
    }

    pthread_mutex_unlock(&b.lock);

    return (b.wait.reached != 0) ? IM_OK : IM_AGAIN;
}


/* Signalled under the lock: b is on the stack of the waiting thread. */
static void
settle_on_block(logic_wait_t *w)
{
    settle_block_t  *b = (settle_block_t *) w;

    pthread_mutex_lock(&b->lock);
    b->over = 1;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}


int
logic_settle_empty(void)
{
    int64_t   ends[LOGIC_SETTLE_PARTITIONS];
    unsigned  p, n;

    n = logic_partitions();

    if (n == 0
        || settle_answered(im_kafka_offsets_ends(settle_offsets,
                                                 UINT64_MAX >> (64 - n),
                                                 IM_SETTLE_ASK_MS, ends))
           != IM_OK)
    {
        return -1;
    }

    for (p = 0; p < n; p++) {
        if (ends[p] != 0) {
            return (ends[p] > 0) ? 0 : -1;
        }
    }

    return 1;
}


uint64_t
logic_settle_bit(const im_conv_t *conv)
{
    return 1ULL << im_slot_of_conv(conv) % logic_partitions();
}


uint64_t
logic_void_after_ms(void)
{
    return 2 * (uint64_t) logic_conf.kafka_delivery_ms + SETTLE_SLACK_MS;
}


void
logic_settle_stop(void)
{
    pthread_mutex_lock(&settle_lock);
    settle_running = 0;
    pthread_cond_broadcast(&settle_wake);
    pthread_cond_broadcast(&settle_sooner);
    pthread_mutex_unlock(&settle_lock);

    im_thread_join(&settle_watcher);
    im_thread_join(&settle_timer);
    settle_done(logic_settle_list_due(&settle_list, UINT64_MAX));

    im_kafka_offsets_destroy(settle_offsets);
    settle_offsets = NULL;
}
