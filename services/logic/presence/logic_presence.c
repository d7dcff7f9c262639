/*
 * logic_presence.c -- the thread of presence: opens and closes, many at a time.
 *
 *   im:u:{uid}       hash: conn -> "<instance> <sid> <device> <since_ms>"
 *   im:off           users whose last connection has ended -> until when they
 *                    are "going" (logic_presence_state.c)
 *   im:ps:{uid}      instances that subscribe to the user
 *   im:news          users with a notification that may have missed somebody
 *   im:pv            the version of the last notification
 *   im:re:<conn>     this connection was replaced by another device
 *
 * A connection's entry is written once (HSETNX), with the time since when it is
 * there; a worker that announces it again says how old it is.  It is removed by
 * its own id, so a late close never takes a newer connection away.
 *
 *   rpc thread --> queue --> batch of up to 256   logic_presence_batch.c
 *                              |
 *                            changes              logic_presence_events.c
 *
 * One thread, so that for each user what came first is done first; two
 * connections: Redis, and MySQL for groups that Redis does not know.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_log.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_janitor.h"
#include "logic_presence_int.h"
#include "logic_revoked.h"
#include "logic_stores.h"


#define PRESENCE_TICK_MS    100
#define PRESENCE_HELLO_US   500000     /* tried again */


static void *presence_thread(void *arg);
static presence_job_t *presence_job(const logic_reply_t *reply,
    presence_kind_t kind, uint64_t uid);
static void presence_queue(presence_job_t *job);
static presence_job_t *presence_take(int *stop);
static int presence_run(presence_t *p, presence_job_t *jobs);
static void presence_drop(void);
static void presence_hellos(presence_t *p);
static int presence_hello(presence_t *p, presence_job_t *job);
static int presence_tick(presence_t *p);


static im_thread_t              presence_id;
static presence_t              *presence_self;         /* its thread's */
static pthread_mutex_t          presence_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t           presence_wake = PTHREAD_COND_INITIALIZER;
static presence_job_t          *presence_first;
static presence_job_t         **presence_last = &presence_first;
static unsigned                 presence_n;
static unsigned                 presence_max;
static int                      presence_stopping;
static logic_devices_policy_t   presence_policy;
static im_log_seldom_t          presence_log;

static presence_job_t          *presence_hello_list;   /* presence thread */
static uint64_t                 presence_hello_us;


int
logic_presence_start(unsigned queue_max)
{
    presence_max = queue_max;

    if (logic_devices_policy(logic_conf.devices_policy, &presence_policy)
        != IM_OK)
    {
        return IM_ERROR;
    }

    presence_self = calloc(1, sizeof(presence_t));
    if (presence_self == NULL) {
        return IM_ERROR;
    }

    presence_self->db.redis = logic_redis_create();
    presence_self->db.mysql = logic_mysql_create_within(IM_ASK_MS);
    presence_self->policy = presence_policy;

    return (presence_self->db.redis != NULL && presence_self->db.mysql != NULL)
           ? im_thread_start(&presence_id, presence_thread, presence_self)
           : IM_ERROR;
}


void
logic_presence_open(logic_reply_t *reply, const char *instance,
    const Im__Open *open)
{
    presence_job_t   *job;
    logic_touched_t   touched = { .n = 0 };

    job = NULL;

    if (strlen(open->sid) == IM_SID_LEN && open->device[0] != '\0'
        && strlen(open->device) <= IM_DEVICE_MAX && instance[0] != '\0')
    {
        job = presence_job(reply, PRESENCE_OPEN, open->uid);
    }

    if (job == NULL) {
        logic_reply_error(reply, &touched, "", "bad_request",
                          "the connection cannot be opened");
        logic_reply_flush(&touched);
        return;
    }

    snprintf(job->instance, sizeof(job->instance), "%s", instance);
    memcpy(job->sid, open->sid, sizeof(job->sid));
    snprintf(job->device, sizeof(job->device), "%s", open->device);
    job->age_ms = open->age_ms;

    presence_queue(job);
}


void
logic_presence_close(logic_reply_t *reply, uint64_t uid)
{
    presence_job_t  *job;

    job = presence_job(reply, PRESENCE_CLOSE, uid);

    if (job == NULL) {
        im_rpc_stream_unref(reply->stream);
        return;                        /* not answered: it is sent again */
    }

    presence_queue(job);
}


void
logic_presence_hello(logic_reply_t *reply)
{
    presence_job_t  *job;

    job = presence_job(reply, PRESENCE_HELLO, 0);

    if (job == NULL) {
        im_rpc_stream_cancel(reply->stream);   /* it links again */
        im_rpc_stream_unref(reply->stream);
        return;
    }

    presence_queue(job);
}


/* What was written for a connection that may not be open. */
void
logic_presence_undo(const presence_job_t *job)
{
    presence_job_t  *undo;
    logic_reply_t    nobody = { .stream = NULL };

    nobody.conn = job->conn;
    undo = presence_job(&nobody, PRESENCE_CLOSE, job->uid);

    if (undo != NULL) {
        presence_queue(undo);
    }
}


static presence_job_t *
presence_job(const logic_reply_t *reply, presence_kind_t kind, uint64_t uid)
{
    presence_job_t  *job;

    job = calloc(1, sizeof(presence_job_t));

    if (job != NULL) {
        job->reply = *reply;
        job->kind = kind;
        job->uid = uid;
        job->conn = reply->conn;
    }

    return job;
}


static void
presence_queue(presence_job_t *job)
{
    int              full;
    logic_touched_t  touched = { .n = 0 };

    pthread_mutex_lock(&presence_lock);

    full = presence_n >= presence_max || presence_stopping;

    if (!full) {
        *presence_last = job;
        presence_last = &job->next;
        presence_n++;
        pthread_cond_signal(&presence_wake);
    }

    pthread_mutex_unlock(&presence_lock);

    if (!full) {
        return;
    }

    /* a close is not answered, so the worker says it again */

    if (job->kind == PRESENCE_OPEN) {
        logic_reply_error(&job->reply, &touched, "", "busy",
                          "too many log-ins at once");
        logic_reply_flush(&touched);

    } else if (job->kind == PRESENCE_HELLO) {
        im_rpc_stream_cancel(job->reply.stream);
    }

    logic_presence_free(job);
}


static void *
presence_thread(void *arg)
{
    int              stop;
    presence_t      *p = arg;
    presence_job_t  *jobs;

    for ( ;; ) {
        jobs = presence_take(&stop);

        if (jobs == NULL && stop) {
            break;
        }

        if (presence_run(p, jobs) != IM_OK && logic_presence_stops()) {
            break;                     /* each batch would wait for Redis */
        }
    }

    presence_drop();

    return NULL;
}


static int
presence_run(presence_t *p, presence_job_t *jobs)
{
    int              rc;
    uint64_t         now;
    struct timespec  pause = { 0, PRESENCE_TICK_MS * 1000000 };

    if (p->pause) {
        p->pause = 0;
        nanosleep(&pause, NULL);
    }

    rc = (jobs != NULL) ? logic_presence_batch(p, jobs) : IM_OK;
    now = im_mono_us();

    if (rc == IM_OK && now >= p->tick_us) {
        p->tick_us = now + PRESENCE_TICK_MS * 1000;
        rc = presence_tick(p);
    }

    if (rc != IM_OK) {
        im_log_seldom(&presence_log, IM_LOG_WARN, "presence cannot be "
                      "written, it is tried again: redis: %s",
                      im_redis_error(p->db.redis));
    }

    return rc;
}


int
logic_presence_stops(void)
{
    int  stop;

    pthread_mutex_lock(&presence_lock);
    stop = presence_stopping;
    pthread_mutex_unlock(&presence_lock);

    return stop;
}


/* What is left when we stop: the workers ask another Logic. */
static void
presence_drop(void)
{
    presence_job_t   *job;
    logic_touched_t   touched = { .n = 0 };

    pthread_mutex_lock(&presence_lock);

    while (presence_first != NULL) {
        job = presence_first;
        presence_first = job->next;
        job->next = presence_hello_list;
        presence_hello_list = job;
    }

    presence_last = &presence_first;
    presence_n = 0;

    pthread_mutex_unlock(&presence_lock);

    while (presence_hello_list != NULL) {
        job = presence_hello_list;
        presence_hello_list = job->next;

        if (job->kind == PRESENCE_OPEN) {
            logic_reply_error(&job->reply, &touched, "", "unavailable",
                              "this Logic stops");
        }

        logic_presence_free(job);
    }

    logic_reply_flush(&touched);
}


/* Up to a batch; hellos are put aside.  NULL: the tick is due, or the end. */
static presence_job_t *
presence_take(int *stop)
{
    unsigned          n;
    presence_job_t   *jobs, *job, **last;

    pthread_mutex_lock(&presence_lock);

    if (presence_first == NULL && !presence_stopping) {
        (void) im_cond_wait(&presence_wake, &presence_lock, PRESENCE_TICK_MS);
    }

    jobs = NULL;
    last = &jobs;

    for (n = 0; n < PRESENCE_BATCH && presence_first != NULL; n++) {
        job = presence_first;
        presence_first = job->next;

        if (job->kind == PRESENCE_HELLO) {
            job->next = presence_hello_list;
            presence_hello_list = job;
            presence_hello_us = 0;
            continue;
        }

        *last = job;
        last = &job->next;
    }

    *last = NULL;
    presence_n -= n;

    if (presence_first == NULL) {
        presence_last = &presence_first;
    }

    *stop = presence_stopping && presence_first == NULL;

    pthread_mutex_unlock(&presence_lock);

    return jobs;
}


static int
presence_tick(presence_t *p)
{
    if (presence_hello_list != NULL && im_mono_us() >= presence_hello_us) {
        presence_hello_us = im_mono_us() + PRESENCE_HELLO_US;
        presence_hellos(p);
    }

    return logic_presence_expire(p);
}


/* What cannot be sent now stays in the list. */
static void
presence_hellos(presence_t *p)
{
    presence_job_t  *job, **last;

    last = &presence_hello_list;

    while (*last != NULL) {
        job = *last;

        if (presence_hello(p, job) != IM_OK) {
            last = &job->next;
            continue;
        }

        *last = job->next;
        logic_presence_free(job);
    }
}


/* A worker that is never sent the list of ended sessions would let their
 * tokens pass, so this is tried until it is done or the stream has ended. */
static int
presence_hello(presence_t *p, presence_job_t *job)
{
    int           rc;
    Im__Announce  announce = IM__ANNOUNCE__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    announce.epoch = logic_janitor_epoch();

    if (announce.epoch == 0) {
        return IM_AGAIN;               /* Redis has not been asked yet */
    }

    rc = logic_revoked_hello(p->db.redis, job->reply.stream);

    item.item_case = IM__DOWN_ITEM__ITEM_ANNOUNCE;
    item.announce = &announce;

    if (rc == IM_OK) {
        rc = im_rpc_stream_add(job->reply.stream, &item.base);

        if (rc == IM_ERROR) {
            rc = IM_DONE;              /* the stream has ended */
        }

    } else if (rc == IM_ERROR) {
        im_log_seldom(&presence_log, IM_LOG_WARN, "redis: %s",
                      im_redis_error(p->db.redis));
    }

    im_rpc_stream_flush(job->reply.stream);

    return (rc == IM_OK || rc == IM_DONE) ? IM_OK : IM_AGAIN;
}


void
logic_presence_stop(void)
{
    pthread_mutex_lock(&presence_lock);
    presence_stopping = 1;
    pthread_cond_signal(&presence_wake);
    pthread_mutex_unlock(&presence_lock);

    im_thread_join(&presence_id);

    if (presence_self != NULL) {
        im_redis_destroy(presence_self->db.redis);
        im_mysql_destroy(presence_self->db.mysql);
        free(presence_self);
        presence_self = NULL;
    }
}
