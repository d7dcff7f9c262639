/*
 * logic_presence.c -- opens and closes, many in one pipeline.
 *
 *   open    EXISTS im:rev:<sid>
 *           HSET im:u:{uid} <conn> "<instance> <sid> <device>"
 *   close   HDEL im:u:{uid} <conn>
 *
 * The check and the write go out together; a revoked session that was written
 * is taken out again before anybody is told that it is open.
 *
 * A thread of its own, with its own connection.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hiredis.h>

#include "logic_presence.h"


#define PRESENCE_BATCH  256


typedef struct presence_job_s  presence_job_t;

struct presence_job_s {
    presence_job_t  *next;
    logic_reply_t    reply;
    uint64_t         uid;
    uint64_t         conn;
    int              open;
    char             sid[IM_SID_LEN + 1];
    char             value[256];
};


static void *presence_thread(void *arg);
static void presence_queue(presence_job_t *job);
static void presence_batch(im_redis_t *redis, presence_job_t *jobs);
static int presence_ask(im_redis_t *redis, presence_job_t *job);
static int presence_answer(im_redis_t *redis, presence_job_t *job,
    logic_touched_t *touched);
static void presence_hash(im_redis_t *redis, const char *verb,
    presence_job_t *job);
static void presence_free(presence_job_t *job);


static pthread_t          presence_id;
static pthread_mutex_t    presence_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t     presence_wake = PTHREAD_COND_INITIALIZER;
static presence_job_t    *presence_first;
static presence_job_t   **presence_last = &presence_first;
static unsigned           presence_n;
static unsigned           presence_max;
static int                presence_stopping;
static im_dependency_t    presence_redis = { "redis", 0 };


int
logic_presence_start(unsigned queue_max)
{
    presence_max = queue_max;

    return pthread_create(&presence_id, NULL, presence_thread, NULL) == 0
           ? IM_OK : IM_ERROR;
}


void
logic_presence_open(logic_reply_t *reply, const char *instance,
    const Im__Open *open)
{
    presence_job_t   *job;
    logic_touched_t   touched = { .n = 0 };

    job = NULL;

    if (strlen(open->sid) == IM_SID_LEN
        && strlen(open->device) <= IM_DEVICE_MAX && instance[0] != '\0')
    {
        job = calloc(1, sizeof(presence_job_t));
    }

    if (job == NULL) {
        logic_reply_error(reply, &touched, "", "bad_request",
                          "the connection cannot be opened");
        logic_reply_flush(&touched);
        return;
    }

    job->reply = *reply;
    job->open = 1;
    job->uid = open->uid;
    job->conn = reply->conn;
    memcpy(job->sid, open->sid, sizeof(job->sid));
    snprintf(job->value, sizeof(job->value), "%s %s %s", instance, open->sid,
             open->device);

    presence_queue(job);
}


void
logic_presence_close(logic_reply_t *reply, uint64_t uid)
{
    presence_job_t  *job;

    job = calloc(1, sizeof(presence_job_t));

    if (job == NULL) {
        im_rpc_stream_unref(reply->stream);
        return;                        /* not answered: it is sent again */
    }

    job->reply = *reply;
    job->uid = uid;
    job->conn = reply->conn;
    presence_queue(job);
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

    if (full) {
        /* a close that is lost leaves a route that leads nowhere */
        if (job->open) {
            logic_reply_error(&job->reply, &touched, "", "busy",
                              "too many log-ins at once");
            logic_reply_flush(&touched);
        }

        presence_free(job);
    }
}


static void *
presence_thread(void *arg)
{
    unsigned         n;
    im_redis_t      *redis;
    presence_job_t  *jobs, **last;

    (void) arg;

    redis = logic_redis_create();

    for ( ;; ) {
        pthread_mutex_lock(&presence_lock);

        while (presence_first == NULL && !presence_stopping) {
            pthread_cond_wait(&presence_wake, &presence_lock);
        }

        jobs = presence_first;
        last = &jobs;

        for (n = 0; n < PRESENCE_BATCH && *last != NULL; n++) {
            last = &(*last)->next;
        }

        presence_first = *last;
        *last = NULL;
        presence_n -= n;

        if (presence_first == NULL) {
            presence_last = &presence_first;
        }

        pthread_mutex_unlock(&presence_lock);

        if (n == 0) {
            break;
        }

        presence_batch(redis, jobs);
    }

    im_redis_destroy(redis);

    return NULL;
}


static void
presence_batch(im_redis_t *redis, presence_job_t *jobs)
{
    int               alive;
    presence_job_t   *job, *next;
    logic_touched_t   touched = { .n = 0 };

    alive = 1;

    for (job = jobs; job != NULL && alive; job = job->next) {
        alive = presence_ask(redis, job) == IM_OK;
    }

    for (job = jobs; job != NULL; job = next) {
        next = job->next;

        if (alive) {
            alive = presence_answer(redis, job, &touched) == IM_OK;
        }

        if (!alive && job->open && job->reply.stream != NULL) {
            logic_reply_error(&job->reply, &touched, "", "unavailable",
                              "presence cannot be written");
        }

        presence_free(job);
    }

    if (alive) {
        im_dependency_up(&presence_redis);

    } else {
        im_dependency_down(&presence_redis, im_redis_error(redis));
    }

    logic_reply_flush(&touched);
}


static int
presence_ask(im_redis_t *redis, presence_job_t *job)
{
    int       n;
    char      key[64];
    im_str_t  argv[2] = { im_str("EXISTS"), { 0, NULL } };

    if (job->open) {
        n = snprintf(key, sizeof(key), "im:rev:%s", job->sid);
        argv[1].data = (unsigned char *) key;
        argv[1].len = (size_t) n;

        if (im_redis_append(redis, 2, argv) != IM_OK) {
            return IM_ERROR;
        }

        presence_hash(redis, "HSET", job);

    } else {
        presence_hash(redis, "HDEL", job);
    }

    return IM_OK;
}


/* An error shows when the reply is read. */
static void
presence_hash(im_redis_t *redis, const char *verb, presence_job_t *job)
{
    int       n;
    char      key[64], field[24];
    im_str_t  argv[4];

    argv[0].data = (unsigned char *) verb;
    argv[0].len = strlen(verb);

    n = snprintf(key, sizeof(key), "im:u:{%llu}",
                 (unsigned long long) job->uid);
    argv[1].data = (unsigned char *) key;
    argv[1].len = (size_t) n;

    n = snprintf(field, sizeof(field), "%016llx",
                 (unsigned long long) job->conn);
    argv[2].data = (unsigned char *) field;
    argv[2].len = (size_t) n;

    argv[3].data = (unsigned char *) job->value;
    argv[3].len = strlen(job->value);

    (void) im_redis_append(redis, (verb[1] == 'S') ? 4 : 3, argv);
}


static int
presence_answer(im_redis_t *redis, presence_job_t *job,
    logic_touched_t *touched)
{
    int            revoked, written;
    redisReply    *reply;
    logic_reply_t  undo = { .stream = NULL };

    revoked = 0;

    if (job->open) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        revoked = (reply->type == REDIS_REPLY_INTEGER && reply->integer != 0);
        im_redis_free(reply);
    }

    reply = im_redis_reply(redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    written = (reply->type == REDIS_REPLY_INTEGER);
    im_redis_free(reply);

    if (!job->open) {
        logic_reply_closed(&job->reply, touched);
        return IM_OK;
    }

    if (revoked) {
        logic_reply_error(&job->reply, touched, "", "session_revoked",
                          "this session was ended");
        undo.conn = job->conn;
        logic_presence_close(&undo, job->uid);

    } else if (!written) {
        logic_reply_error(&job->reply, touched, "", "unavailable",
                          "presence cannot be written");

    } else {
        logic_reply_opened(&job->reply, touched);
    }

    return IM_OK;
}


static void
presence_free(presence_job_t *job)
{
    if (job->reply.stream != NULL) {
        im_rpc_stream_unref(job->reply.stream);
    }

    free(job);
}


int
logic_presence_healthy(void)
{
    return !presence_redis.down;
}


void
logic_presence_stop(void)
{
    pthread_mutex_lock(&presence_lock);
    presence_stopping = 1;
    pthread_cond_signal(&presence_wake);
    pthread_mutex_unlock(&presence_lock);

    pthread_join(presence_id, NULL);
}
