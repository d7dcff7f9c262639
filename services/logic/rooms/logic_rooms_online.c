/*
 * logic_rooms_online.c -- reports of workers go to Redis.
 *
 *   report --> queue --> pipeline to Redis --> answered
 *                          |
 *                          v
 *                 the room is counted, its workers notified
 *                 (logic_rooms_count.c)
 *
 * A thread of its own.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_cond.h"
#include "im_log.h"
#include "im_steps.h"
#include "logic_alive.h"
#include "logic_args.h"
#include "logic_rooms_admit.h"
#include "logic_rooms_count.h"
#include "logic_rooms_online.h"
#include "logic_rooms_routes.h"
#include "logic_stores.h"


#define ONLINE_BATCH       256     /* reports in one pipeline */
#define ONLINE_UIDS        1000    /* in one command */
#define ONLINE_TICK_MS     20


typedef struct online_job_s  online_job_t;

struct online_job_s {
    online_job_t    *next;
    logic_reply_t    reply;
    uint64_t         room;
    uint32_t         online;
    int              whole;
    unsigned         ask;
    size_t           joined;
    size_t           left;
    unsigned         asked;        /* replies to wait for */
    char             instance[LOGIC_ROOMS_ID];
    uint64_t         uids[];       /* joined, then left */
};


static void *online_thread(void *arg);
static online_job_t *online_take(void);
static void online_wait(void);
static int online_batch(online_job_t *jobs);
static int online_refuse(online_job_t *jobs);
static void online_broken(void);
static int online_ask(online_job_t *job);
static int online_uids(online_job_t *job, const char *verb, const char *key,
    const uint64_t *uids, size_t n);
static void online_on_gone(const char *id);


static im_thread_t           online_id;
static pthread_mutex_t       online_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t        online_wake = PTHREAD_COND_INITIALIZER;
static online_job_t         *online_first;
static online_job_t        **online_last = &online_first;
static unsigned              online_n;
static unsigned              online_max;
static int                   online_stopping;
static int                   online_gone;      /* an instance has */

static im_redis_t           *online_redis;     /* the rest: the thread's own */
static im_log_seldom_t       online_log;


int
logic_rooms_online_start(unsigned queue_max)
{
    online_max = queue_max;
    online_redis = logic_redis_create();

    if (online_redis == NULL || logic_rooms_count_start() != IM_OK) {
        return IM_ERROR;
    }

    logic_alive_watch(online_on_gone);

    return im_thread_start(&online_id, online_thread, NULL);
}


void
logic_rooms_online_report(logic_reply_t *reply, const char *instance,
    const Im__RoomReport *report)
{
    int               full;
    online_job_t     *job;
    logic_touched_t   touched = { .n = 0 };

    job = calloc(1, sizeof(online_job_t)
                 + (report->n_joined + report->n_left) * sizeof(uint64_t));

    if (job != NULL) {
        job->reply = *reply;
        job->room = report->room;
        job->online = report->online;
        job->whole = report->whole;
        job->ask = (report->ask != 0);
        job->joined = report->n_joined;
        job->left = report->n_left;
        snprintf(job->instance, sizeof(job->instance), "%s", instance);

        if (job->joined > 0) {
            memcpy(job->uids, report->joined,
                   job->joined * sizeof(uint64_t));
        }

        if (job->left > 0) {
            memcpy(job->uids + job->joined, report->left,
                   job->left * sizeof(uint64_t));
        }
    }

    pthread_mutex_lock(&online_lock);

    full = job == NULL || online_n >= online_max || online_stopping
           || instance[0] == '\0';

    if (!full) {
        *online_last = job;
        online_last = &job->next;
        online_n++;
        pthread_cond_signal(&online_wake);
    }

    pthread_mutex_unlock(&online_lock);

    if (full) {
        free(job);
        logic_reply_error(reply, &touched, "", "busy",
                          "too many reports wait");
        logic_reply_flush(&touched);
    }
}


static void *
online_thread(void *arg)
{
    int            broken, gone, stop;
    online_job_t  *jobs;

    (void) arg;

    broken = 0;

    for ( ;; ) {
        pthread_mutex_lock(&online_lock);

        online_wait();
        jobs = online_take();
        gone = online_gone;
        online_gone = 0;
        stop = online_stopping;

        pthread_mutex_unlock(&online_lock);

        if (jobs == NULL && stop) {
            break;
        }

        if (gone) {
            logic_rooms_count_all();
        }

        if (jobs != NULL && (stop && broken ? online_refuse(jobs)
                                            : online_batch(jobs)) != IM_OK)
        {
            broken = 1;                /* each batch would wait for Redis */
            continue;
        }

        broken = 0;

        if (logic_rooms_count(online_redis) != IM_OK) {
            online_broken();
        }
    }

    return NULL;
}


/* Under the lock.  With a dirty room at hand, not for long. */
static void
online_wait(void)
{
    if (online_first != NULL || online_gone || online_stopping) {
        return;
    }

    if (!logic_rooms_count_waiting()) {
        pthread_cond_wait(&online_wake, &online_lock);
        return;
    }

    (void) im_cond_wait(&online_wake, &online_lock, ONLINE_TICK_MS);
}


static online_job_t *
online_take(void)
{
    unsigned        n;
    online_job_t   *jobs, **last;

    jobs = online_first;
    last = &jobs;

    for (n = 0; n < ONLINE_BATCH && *last != NULL; n++) {
        last = &(*last)->next;
    }

    online_first = *last;
    *last = NULL;
    online_n -= n;

    if (online_first == NULL) {
        online_last = &online_first;
    }

    return jobs;
}


static int
online_batch(online_job_t *jobs)
{
    int               alive;
    online_job_t     *job, *next;
    logic_touched_t   touched = { .n = 0 };

    alive = 1;

    for (job = jobs; job != NULL && alive; job = job->next) {
        alive = online_ask(job) == IM_OK;
    }

    for (job = jobs; job != NULL; job = next) {
        next = job->next;

        if (alive
            && logic_args_done(online_redis, job->asked) == IM_OK)
        {
            logic_rooms_admit_reported(job->room, job->uids, job->joined);
            logic_rooms_count_dirty(job->room, job->ask);
            logic_reply_closed(&job->reply, &touched);

        } else {
            alive = 0;
            logic_reply_error(&job->reply, &touched, "", "unavailable",
                              "the report cannot be written");
        }

        free(job);
    }

    if (!alive) {
        online_broken();
    }

    logic_reply_flush(&touched);

    return alive ? IM_OK : IM_ERROR;
}


/* When we stop: the workers report to another Logic. */
static int
online_refuse(online_job_t *jobs)
{
    online_job_t     *job, *next;
    logic_touched_t   touched = { .n = 0 };

    for (job = jobs; job != NULL; job = next) {
        next = job->next;
        logic_reply_error(&job->reply, &touched, "", "unavailable",
                          "this Logic stops");
        free(job);
    }

    logic_reply_flush(&touched);

    return IM_ERROR;
}


/* Replies of other commands may be under way on this connection. */
static void
online_broken(void)
{
    im_log_seldom(&online_log, IM_LOG_WARN, "rooms: their users cannot "
                  "be written, it is tried again: redis: %s",
                  im_redis_error(online_redis));
    im_redis_drop(online_redis);
}


static int
online_ask(online_job_t *job)
{
    int   rc;
    char  key[LOGIC_ROOMS_KEY], set[LOGIC_ROOMS_SET], n[16];

    logic_rooms_key(key, job->room);
    logic_rooms_set_key(set, job->room, job->instance);
    snprintf(n, sizeof(n), "%u", job->online);

    rc = logic_args(online_redis, 4, "HSET", key, job->instance, n);

    if (rc == IM_OK) {
        rc = logic_args(online_redis, 3, "EXPIRE", key, LOGIC_ROOMS_TTL_S);
        job->asked = 2;
    }

    if (rc == IM_OK && job->whole) {
        rc = logic_args(online_redis, 2, "DEL", set);
        job->asked++;
    }

    if (rc == IM_OK) {
        rc = online_uids(job, "ZADD", set, job->uids, job->joined);
    }

    if (rc == IM_OK) {
        rc = online_uids(job, "ZREM", set, job->uids + job->joined,
                         job->left);
    }

    if (rc == IM_OK) {
        rc = logic_args(online_redis, 3, "EXPIRE", set, LOGIC_ROOMS_TTL_S);
        job->asked++;
    }

    return rc;
}


/* The score of a user is the uid. */
static int
online_uids(online_job_t *job, const char *verb, const char *key,
    const uint64_t *uids, size_t n)
{
    char       texts[ONLINE_UIDS][24];
    size_t     i, k, argc, each;
    im_str_t   argv[2 + 2 * ONLINE_UIDS];

    each = (verb[1] == 'A') ? 2 : 1;   /* ZADD */

    for (i = 0; i < n; i += ONLINE_UIDS) {
        argv[0].data = (unsigned char *) verb;
        argv[0].len = strlen(verb);
        argv[1].data = (unsigned char *) key;
        argv[1].len = strlen(key);
        argc = 2;

        for (k = 0; k < ONLINE_UIDS && i + k < n; k++) {
            argv[argc].data = (unsigned char *) texts[k];
            argv[argc].len = (size_t) snprintf(texts[k], 24, "%llu",
                                         (unsigned long long) uids[i + k]);

            if (each == 2) {
                argv[argc + 1] = argv[argc];
            }

            argc += each;
        }

        if (im_redis_append(online_redis, (int) argc, argv) != IM_OK) {
            return IM_ERROR;
        }

        job->asked++;
    }

    return IM_OK;
}


/* rpc thread */
static void
online_on_gone(const char *id)
{
    (void) id;

    pthread_mutex_lock(&online_lock);
    online_gone = 1;
    pthread_cond_signal(&online_wake);
    pthread_mutex_unlock(&online_lock);
}


void
logic_rooms_online_stop(void)
{
    pthread_mutex_lock(&online_lock);
    online_stopping = 1;
    pthread_cond_signal(&online_wake);
    pthread_mutex_unlock(&online_lock);

    im_thread_join(&online_id);

    logic_rooms_count_stop();

    im_redis_destroy(online_redis);
    online_redis = NULL;
}
