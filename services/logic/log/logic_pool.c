/*
 * logic_pool.c -- bounded queue, fixed threads, connections of their own.
 *
 * A queue that is full refuses at once: a log-in that waits longer than its
 * caller does would only hash a password for nobody.  It is full by the number
 * of its jobs, or when the first of them has waited for half of the time that a
 * caller gives us: so a crowd may be as large as can be served.
 *
 *   calls --run--> queue --> threads --park--> logic_settle.c
 *                           ^                        |
 *                           +------- ready <--done()-+
 *
 * A job that has to wait for the store gives its thread back: it is parked, and
 * comes back when what it waits for is reached or its time is over.  It goes on
 * before jobs that have not begun.  As many may be parked as may be queued.
 *
 * The memory of a pool outlives its threads: the rpc thread may bring a late
 * call while the pool stops, and until the runtime is gone.
 */

#include <pthread.h>
#include <stdlib.h>

#include "im_clock.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_fail.h"
#include "logic_pool.h"
#include "logic_stores.h"


typedef struct pool_job_s  pool_job_t;

struct pool_job_s {
    logic_job_pt             run;
    im_rpc_req_t            *req;
    const ProtobufCMessage  *in;
    uint64_t                 since_us;
    pool_job_t              *next;
};

typedef struct {
    logic_pool_t      *pool;
    im_thread_t        thread;
    logic_db_t         db;
} pool_thread_t;

struct logic_pool_s {
    const char        *name;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    pool_job_t        *first;
    pool_job_t       **last;
    logic_parked_t    *ready;      /* come back */
    logic_parked_t   **ready_last;
    unsigned           n;          /* queued */
    unsigned           parked;     /* or ready */
    unsigned           max;        /* of each */
    int                stop;
    unsigned           n_threads;
    pool_thread_t      threads[];
};


static void *pool_thread(void *arg);
static int pool_is_full(const logic_pool_t *p, uint64_t now_us);
static void pool_on_done(logic_wait_t *w);
static void pool_drop(logic_parked_t *parked, const char *code,
    const char *text);
static int pool_take(logic_pool_t *p, pool_job_t **job,
    logic_parked_t **parked);
static void pool_resume(logic_db_t *db, logic_parked_t *parked);
static void pool_run(logic_db_t *db, pool_job_t *job);
static void pool_refuse(logic_pool_t *p);


logic_pool_t *
logic_pool_create(const char *name, unsigned threads, unsigned queue_max)
{
    logic_pool_t  *p;

    p = calloc(1, sizeof(logic_pool_t) + threads * sizeof(pool_thread_t));
    if (p == NULL) {
        return NULL;
    }

    p->name = name;
    p->max = queue_max;
    p->last = &p->first;
    p->ready_last = &p->ready;
    p->n_threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);

    return p;
}


int
logic_pool_start(logic_pool_t *p)
{
    unsigned        i;
    pool_thread_t  *t;

    for (i = 0; i < p->n_threads; i++) {
        t = &p->threads[i];

        t->pool = p;
        t->db.pool = p;
        t->db.mysql = logic_mysql_create();
        t->db.redis = logic_redis_create();

        if (t->db.mysql == NULL || t->db.redis == NULL
            || im_thread_start(&t->thread, pool_thread, t) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


void
logic_pool_run(logic_pool_t *p, logic_job_pt run, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int          full, stop;
    pool_job_t  *job;

    stop = 0;
    job = calloc(1, sizeof(pool_job_t));
    full = (job == NULL);

    if (!full) {
        job->run = run;
        job->req = req;
        job->in = in;
        job->since_us = im_mono_us();

        pthread_mutex_lock(&p->lock);

        stop = p->stop;
        full = (pool_is_full(p, job->since_us) || stop);

        if (!full) {
            *p->last = job;
            p->last = &job->next;
            p->n++;
            pthread_cond_signal(&p->wake);
        }

        pthread_mutex_unlock(&p->lock);
    }

    if (full) {
        free(job);

        if (stop) {
            logic_fail(req, "unavailable", "this Logic stops");

        } else {
            logic_fail(req, "busy", "too many requests wait (%s)", p->name);
        }
    }
}


/* By the number of jobs, or because the first one has waited so long that a new
 * one would be answered too late. */
static int
pool_is_full(const logic_pool_t *p, uint64_t now_us)
{
    if (p->first == NULL) {
        return 0;
    }

    return p->n >= p->max
           || now_us > p->first->since_us + IM_LOGIC_QUEUE_MS * 1000;
}


int
logic_pool_park(logic_db_t *db, logic_parked_t *parked)
{
    int            rc;
    logic_pool_t  *p = db->pool;

    parked->pool = p;
    parked->wait.done = pool_on_done;

    pthread_mutex_lock(&p->lock);

    if (p->parked >= p->max || p->stop) {
        pthread_mutex_unlock(&p->lock);
        return IM_BUSY;
    }

    p->parked++;

    pthread_mutex_unlock(&p->lock);

    rc = logic_settle_wait(&parked->wait);

    if (rc != IM_AGAIN) {
        pthread_mutex_lock(&p->lock);
        p->parked--;
        pthread_mutex_unlock(&p->lock);
    }

    return rc;
}


/* A thread of logic_settle.c. */
static void
pool_on_done(logic_wait_t *w)
{
    int              stop;
    logic_parked_t  *parked = (logic_parked_t *) w;
    logic_pool_t    *p = parked->pool;

    parked->next = NULL;

    pthread_mutex_lock(&p->lock);

    stop = p->stop;

    if (stop) {
        p->parked--;

    } else {
        *p->ready_last = parked;
        p->ready_last = &parked->next;
        pthread_cond_signal(&p->wake);
    }

    pthread_mutex_unlock(&p->lock);

    if (stop) {
        pool_drop(parked, "unavailable", "this Logic stops");
    }
}


static void
pool_drop(logic_parked_t *parked, const char *code, const char *text)
{
    logic_fail(parked->req, code, "%s", text);
    parked->drop(parked);
}


static void *
pool_thread(void *arg)
{
    pool_job_t      *job;
    pool_thread_t   *t = arg;
    logic_parked_t  *parked;

    while (pool_take(t->pool, &job, &parked) == IM_OK) {

        if (parked != NULL) {
            pool_resume(&t->db, parked);

        } else {
            pool_run(&t->db, job);
        }
    }

    return NULL;
}


/* One of the two.  IM_DONE: stopping.  What waits then is refused by
 * logic_pool_stop(). */
static int
pool_take(logic_pool_t *p, pool_job_t **job, logic_parked_t **parked)
{
    int  rc;

    pthread_mutex_lock(&p->lock);

    while (p->first == NULL && p->ready == NULL && !p->stop) {
        pthread_cond_wait(&p->wake, &p->lock);
    }

    rc = p->stop ? IM_DONE : IM_OK;
    *parked = p->ready;
    *job = NULL;

    if (rc == IM_OK && *parked != NULL) {
        p->ready = (*parked)->next;
        p->parked--;

        if (p->ready == NULL) {
            p->ready_last = &p->ready;
        }

    } else if (rc == IM_OK) {
        *job = p->first;
        p->first = (*job)->next;
        p->n--;

        if (p->first == NULL) {
            p->last = &p->first;
        }
    }

    pthread_mutex_unlock(&p->lock);

    return rc;
}


static void
pool_resume(logic_db_t *db, logic_parked_t *parked)
{
    if (im_rpc_req_left_ms(parked->req) <= 0) {
        pool_drop(parked, "timeout", "the caller has stopped waiting");

    } else {
        parked->resume(db, parked);
    }
}


static void
pool_run(logic_db_t *db, pool_job_t *job)
{
    if (im_rpc_req_left_ms(job->req) <= 0) {
        logic_fail(job->req, "timeout", "the caller has stopped waiting");

    } else {
        job->run(db, job->req, job->in);
    }

    free(job);
}


void
logic_pool_stop(logic_pool_t *p)
{
    unsigned  i;

    if (p == NULL) {
        return;
    }

    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);

    for (i = 0; i < p->n_threads; i++) {
        im_thread_join(&p->threads[i].thread);

        im_mysql_destroy(p->threads[i].db.mysql);
        im_redis_destroy(p->threads[i].db.redis);
        p->threads[i].db.mysql = NULL;
        p->threads[i].db.redis = NULL;
    }

    pool_refuse(p);
}


/* Nobody adds to the queues of a pool that was stopped. */
static void
pool_refuse(logic_pool_t *p)
{
    pool_job_t      *job;
    logic_parked_t  *parked;

    while (p->first != NULL) {
        job = p->first;
        p->first = job->next;

        logic_fail(job->req, "unavailable", "this Logic stops");
        free(job);
    }

    while (p->ready != NULL) {
        parked = p->ready;
        p->ready = parked->next;

        pool_drop(parked, "unavailable", "this Logic stops");
    }

    p->last = &p->first;
    p->ready_last = &p->ready;
    p->n = 0;
}


void
logic_pool_destroy(logic_pool_t *p)
{
    if (p == NULL) {
        return;
    }

    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
