/*
 * task_store.c -- Kafka to MySQL.
 *
 *   records -> rows -> MySQL, task_insert.c -> dead letters -> the offset
 *
 * Each step leaves alone what is there already, and the offset comes last: a
 * crash between two steps, or a rebalance, means that a batch is done again,
 * by this member or another, with the same end.
 *
 * While the database is away, the partitions are paused and the group is
 * served (im_kafka_idle).  A batch whose partitions are revoked is given up.
 *
 * One thread.  Its steps return IM_OK; IM_DONE: stopped; IM_DECLINED: given
 * up.  In both of these, nothing is stored of the offset.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_crash.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "task_conversations.h"
#include "task_dead.h"
#include "task_insert.h"
#include "task_store.h"
#include "task_store_int.h"
#include "task_work.h"


#define STORE_IDLE_MS    200
#define STORE_LAG_MS     1000        /* between two looks at the lag */
#define STORE_DEAD_MS    100
#define STORE_TRIES      4           /* 750 ms, then /readyz reports it */


static void *store_thread(void *arg);
static int store_batch(size_t n);
static int store_dead_letters(void);
static void store_offsets(size_t n);
static unsigned store_commit(void);
static void store_says(const char *what, const char *why);
static void store_lag(void);


static im_thread_t           store_id;
static atomic_int            store_stopping;
static im_kafka_consumer_t  *store_consumer;
static im_kafka_record_t    *store_kafka;
static task_row_t           *store_rows;
static uint64_t              store_lag_us;
static uint64_t              store_commit_us;
static int                   store_stale;         /* rows, and no commit yet */

static atomic_ullong         store_records, store_known;
static atomic_llong          store_behind = -1;


int
task_store_start(void)
{
    im_kafka_consumer_conf_t  conf;

    store_kafka = calloc(task_conf.store_batch, sizeof(im_kafka_record_t));
    store_rows = calloc(task_conf.store_batch, sizeof(task_row_t));

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.group = task_conf.store_group;
    conf.topic = task_conf.common.kafka_topic;
    conf.client_id = "im-task-store";
    conf.fill_ms = task_conf.store_fill_ms;
    conf.session_ms = task_conf.session_ms;
    conf.poll_max_ms = task_conf.poll_max_ms;
    conf.log = im_log_lower;

    store_consumer = im_kafka_consumer_create(&conf);

    if (store_kafka == NULL || store_rows == NULL || store_consumer == NULL
        || task_insert_start(task_conf.store_batch) != IM_OK
        || task_tails_start(task_conf.store_batch) != IM_OK
        || task_conversations_start(task_conf.store_batch) != IM_OK)
    {
        return IM_ERROR;
    }

    return im_thread_start(&store_id, store_thread, NULL);
}


void
task_store_end(void)
{
    atomic_store(&store_stopping, 1);
}


void
task_store_stop(void)
{
    task_store_end();
    im_thread_join(&store_id);

    im_kafka_consumer_destroy(store_consumer);
    task_dead_forget();
    task_conversations_stop();
    task_tails_stop();
    task_insert_stop();

    free(store_kafka);
    free(store_rows);
    store_consumer = NULL;
    store_kafka = NULL;
    store_rows = NULL;
}


int
task_store_has_joined(void)
{
    return im_kafka_has_joined(store_consumer);
}


void
task_store_stats(task_store_stats_t *stats)
{
    task_insert_stats(&stats->stored, &stats->known);
    stats->records = atomic_load(&store_records);
    stats->known += atomic_load(&store_known);
    stats->lag = atomic_load(&store_behind);
    task_dead_stats(&stats->dead, &stats->reused);
}


static void *
store_thread(void *arg)
{
    size_t  n;

    (void) arg;

    while (!atomic_load(&store_stopping)) {
        n = im_kafka_consume(store_consumer, store_kafka,
                             task_conf.store_batch, store_commit());

        if (n > 0) {
            atomic_fetch_add(&store_records, n);
            task_tails_follow(store_kafka, n);

            if (store_batch(n) == IM_OK) {
                store_offsets(n);
                store_stale = 1;
                IM_CRASH_POINT("store.before_commit");

            } else {
                /* the next member takes these records again */
                task_dead_forget();
                task_tails_forget();
            }

            task_work_store(NULL);
            im_kafka_resume(store_consumer);
            im_kafka_batch_free(store_kafka, n);
        }

        store_lag();
    }

    return NULL;
}


static int
store_batch(size_t n)
{
    int          rc;
    task_rows_t  r;

    task_rows_init(&r, store_rows, store_kafka, n);
    atomic_fetch_add(&store_known, r.known);

    IM_CRASH_POINT("store.before_insert");

    rc = task_insert(store_rows, r.n);

    if (rc == IM_OK) {
        IM_CRASH_POINT("store.conversations");
        rc = store_dead_letters();
    }

    return rc;
}


static int
store_dead_letters(void)
{
    while (task_dead_flush(STORE_DEAD_MS) != IM_OK) {

        if (task_dead_is_failing()) {
            store_says("a dead letter is not taken by its topic", "");

            if (atomic_load(&store_stopping)) {
                return IM_DONE;
            }
        }

        im_kafka_pause(store_consumer);

        if (im_kafka_idle(store_consumer, 1) != IM_OK) {
            return IM_DECLINED;
        }

        store_lag();
    }

    return IM_OK;
}


static void
store_offsets(size_t n)
{
    size_t  i;

    /* a partition's records are neighbours, in order */

    for (i = 0; i < n; i++) {
        if (i + 1 == n || store_kafka[i + 1].partition
                          != store_kafka[i].partition)
        {
            (void) im_kafka_store(store_consumer, store_kafka[i].partition,
                                  store_kafka[i].offset);
        }
    }
}


/* Who waits until all is stored waits for this commit, and not for the
 * library's.  Returns how long to wait for records, in ms. */
static unsigned
store_commit(void)
{
    uint64_t  now, next;

    if (!store_stale) {
        return STORE_IDLE_MS;
    }

    now = im_mono_us();
    next = store_commit_us + IM_KAFKA_COMMIT_MIN_MS * 1000;

    if (now < next) {
        return 1 + (unsigned) ((next - now) / 1000);
    }

    im_kafka_commit_soon(store_consumer);
    store_commit_us = now;
    store_stale = 0;

    return STORE_IDLE_MS;
}


int
task_store_is_stopping(void)
{
    return atomic_load(&store_stopping);
}


/* 50 ms, doubled up to 1 s. */
int
task_store_again(unsigned *tries, const char *error)
{
    unsigned  ms;

    if (*tries == STORE_TRIES) {
        store_says("a batch is not taken by MySQL: ", error);
    }

    if (atomic_load(&store_stopping)) {
        return IM_DONE;
    }

    ms = (*tries < 4) ? 50u << *tries : 1000;
    (*tries)++;

    im_kafka_pause(store_consumer);

    if (im_kafka_idle(store_consumer, ms) != IM_OK) {
        im_log(IM_LOG_NOTICE, "a batch that could not be stored yet is "
               "dropped: its partitions have moved");
        return IM_DECLINED;
    }

    store_lag();

    return IM_OK;
}


static void
store_says(const char *what, const char *why)
{
    char  text[TASK_WORK_ERROR_MAX];

    snprintf(text, sizeof(text), "%s%s", what, why);
    task_work_store(text);
}


static void
store_lag(void)
{
    int       rc;
    uint64_t  now, lag;

    now = im_mono_us();

    if (now - store_lag_us < STORE_LAG_MS * 1000) {
        return;
    }

    rc = im_kafka_lag(store_consumer, IM_KAFKA_OFFSETS_MS, &lag);
    atomic_store(&store_behind, (rc == IM_OK) ? (long long) lag : -1);

    store_lag_us = im_mono_us();       /* it may have waited */
}
