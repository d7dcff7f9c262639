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
 * A crowd asks the same at once, and one statement or round trip for many costs
 * little more than for one.  So a thread takes several calls of one kind, an
 * equal share for each thread: the first that waits, and those behind it.  Up
 * to POOL_AHEAD places are looked through for them, so the order of calls of
 * different kinds changes by no more than that.  Before each call for which it
 * blocks, the job asks whether to go on with it: when a store stands still, the
 * last one's turn comes long after its caller has left.
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


#define POOL_AHEAD  64


typedef struct pool_job_s  pool_job_t;

struct pool_job_s {
    logic_job_pt             run;
    logic_call_t             call;
    uint64_t                 since_us;
    TAILQ_ENTRY(pool_job_s)  link;
};

typedef TAILQ_HEAD(, pool_job_s)      pool_jobs_t;
typedef TAILQ_HEAD(, logic_parked_s)  pool_parked_t;

/* What a thread takes at once; one of the two. */
typedef struct {
    pool_job_t        *job;
    size_t             n_parked;
    logic_parked_t    *parked[LOGIC_CALLS_MAX];
} pool_taken_t;

typedef struct {
    logic_pool_t      *pool;
    im_thread_t        thread;
    logic_db_t         db;
} pool_thread_t;

struct logic_pool_s {
    const char        *name;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    pool_jobs_t        jobs;
    pool_parked_t      ready;      /* come back */
    unsigned           n;          /* queued */
    unsigned           n_ready;
    unsigned           parked;     /* or ready */
    unsigned           max;        /* queued, parked */
    int                stop;
    unsigned           n_threads;
    pool_thread_t      threads[];
};


static void *pool_thread(void *arg);
static int pool_is_full(const logic_pool_t *p, uint64_t now_us);
static void pool_on_done(logic_wait_t *w);
static void pool_drop(logic_parked_t *parked, const char *code,
    const char *text);
static int pool_take(logic_pool_t *p, pool_taken_t *t);
static void pool_take_parked(logic_pool_t *p, pool_taken_t *t);
static void pool_take_jobs(logic_pool_t *p, logic_job_pt run, size_t max,
    pool_jobs_t *taken);
static size_t pool_part(const logic_pool_t *p, unsigned n);
static void pool_resume(logic_db_t *db, pool_taken_t *t);
static void pool_run(logic_db_t *db, pool_job_t *job);
static int pool_is_late(im_rpc_req_t *req);
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
    TAILQ_INIT(&p->jobs);
    TAILQ_INIT(&p->ready);
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
        job->call.req = req;
        job->call.in = in;
        job->since_us = im_mono_us();

        pthread_mutex_lock(&p->lock);

        stop = p->stop;
        full = (pool_is_full(p, job->since_us) || stop);

        if (!full) {
            TAILQ_INSERT_TAIL(&p->jobs, job, link);
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
    const pool_job_t  *first = TAILQ_FIRST(&p->jobs);

    if (first == NULL) {
        return 0;
    }

    return p->n >= p->max
           || now_us > first->since_us + IM_LOGIC_QUEUE_MS * 1000;
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

    pthread_mutex_lock(&p->lock);

    stop = p->stop;

    if (stop) {
        p->parked--;

    } else {
        TAILQ_INSERT_TAIL(&p->ready, parked, link);
        p->n_ready++;
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
    pool_taken_t    taken;
    pool_thread_t  *t = arg;

    while (pool_take(t->pool, &taken) == IM_OK) {

        if (taken.job != NULL) {
            pool_run(&t->db, taken.job);

        } else {
            pool_resume(&t->db, &taken);
        }
    }

    return NULL;
}


/* IM_DONE: stopping.  What waits then is refused by logic_pool_stop(). */
static int
pool_take(logic_pool_t *p, pool_taken_t *t)
{
    int  rc;

    t->n_parked = 0;
    t->job = NULL;

    pthread_mutex_lock(&p->lock);

    while (TAILQ_EMPTY(&p->jobs) && TAILQ_EMPTY(&p->ready) && !p->stop) {
        pthread_cond_wait(&p->wake, &p->lock);
    }

    rc = p->stop ? IM_DONE : IM_OK;

    if (rc == IM_OK && !TAILQ_EMPTY(&p->ready)) {
        pool_take_parked(p, t);

    } else if (rc == IM_OK) {
        t->job = TAILQ_FIRST(&p->jobs);
        TAILQ_REMOVE(&p->jobs, t->job, link);
        p->n--;
    }

    pthread_mutex_unlock(&p->lock);

    return rc;
}


static void
pool_take_parked(logic_pool_t *p, pool_taken_t *t)
{
    size_t           i, share;
    logic_parked_t  *parked, *next;

    share = pool_part(p, p->n_ready);
    parked = TAILQ_FIRST(&p->ready);

    for (i = 0; parked != NULL && i < POOL_AHEAD && t->n_parked < share; i++) {
        next = TAILQ_NEXT(parked, link);

        if (i == 0 || parked->resume == t->parked[0]->resume) {
            TAILQ_REMOVE(&p->ready, parked, link);
            t->parked[t->n_parked++] = parked;
        }

        parked = next;
    }

    p->n_ready -= (unsigned) t->n_parked;
    p->parked -= (unsigned) t->n_parked;
}


/* Up to max that call `run`. */
static void
pool_take_jobs(logic_pool_t *p, logic_job_pt run, size_t max,
    pool_jobs_t *taken)
{
    size_t       i;
    pool_job_t  *job, *next;

    job = TAILQ_FIRST(&p->jobs);

    for (i = 0; job != NULL && i < POOL_AHEAD && max > 0; i++) {
        next = TAILQ_NEXT(job, link);

        if (job->run == run) {
            TAILQ_REMOVE(&p->jobs, job, link);
            TAILQ_INSERT_TAIL(taken, job, link);
            p->n--;
            max--;
        }

        job = next;
    }
}


/* A thread's, of n that wait. */
static size_t
pool_part(const logic_pool_t *p, unsigned n)
{
    size_t  part;

    part = (n + p->n_threads - 1) / p->n_threads;

    return (part < LOGIC_CALLS_MAX) ? part : LOGIC_CALLS_MAX;
}


size_t
logic_pool_share(logic_db_t *db, logic_job_pt job, logic_call_t *calls)
{
    size_t         n;
    pool_job_t    *one;
    logic_pool_t  *p = db->pool;
    pool_jobs_t    taken;

    TAILQ_INIT(&taken);

    pthread_mutex_lock(&p->lock);
    pool_take_jobs(p, job, pool_part(p, p->n + 1) - 1, &taken);
    pthread_mutex_unlock(&p->lock);

    n = 1;

    while ((one = TAILQ_FIRST(&taken)) != NULL) {
        TAILQ_REMOVE(&taken, one, link);

        if (!pool_is_late(one->call.req)) {
            calls[n++] = one->call;
        }

        free(one);
    }

    return n;
}


int
logic_pool_goes_on(logic_db_t *db, im_rpc_req_t *req)
{
    int            stop;
    logic_pool_t  *p = db->pool;

    pthread_mutex_lock(&p->lock);
    stop = p->stop;
    pthread_mutex_unlock(&p->lock);

    if (stop) {
        logic_fail(req, "unavailable", "this Logic stops");
        return 0;
    }

    return !pool_is_late(req);
}


static void
pool_resume(logic_db_t *db, pool_taken_t *t)
{
    size_t           i, n;
    logic_parked_t  *parked;

    for (i = 0, n = 0; i < t->n_parked; i++) {
        parked = t->parked[i];

        if (im_rpc_req_left_ms(parked->req) <= 0) {
            pool_drop(parked, "timeout", "the caller has stopped waiting");

        } else {
            t->parked[n++] = parked;
        }
    }

    if (n > 0) {
        t->parked[0]->resume(db, t->parked, n);
    }
}


static void
pool_run(logic_db_t *db, pool_job_t *job)
{
    if (!pool_is_late(job->call.req)) {
        job->run(db, job->call.req, job->call.in);
    }

    free(job);
}


/* 1: it has been refused. */
static int
pool_is_late(im_rpc_req_t *req)
{
    if (im_rpc_req_left_ms(req) > 0) {
        return 0;
    }

    logic_fail(req, "timeout", "the caller has stopped waiting");

    return 1;
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

    while ((job = TAILQ_FIRST(&p->jobs)) != NULL) {
        TAILQ_REMOVE(&p->jobs, job, link);
        logic_fail(job->call.req, "unavailable", "this Logic stops");
        free(job);
    }

    while ((parked = TAILQ_FIRST(&p->ready)) != NULL) {
        TAILQ_REMOVE(&p->ready, parked, link);
        pool_drop(parked, "unavailable", "this Logic stops");
    }

    p->n = 0;
    p->n_ready = 0;
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
