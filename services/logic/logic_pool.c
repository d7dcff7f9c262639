/*
 * logic_pool.c -- bounded queue, fixed threads, connections of their own.
 *
 * A queue that is full refuses at once: a log-in that waits longer than its
 * caller does would only hash a password for nobody.
 *
 * The memory of a pool outlives its threads: the rpc thread may bring a late
 * call while the pool stops, and until the runtime is gone.
 */

#include <pthread.h>
#include <stdlib.h>

#include "im_steps.h"
#include "logic_pool.h"


typedef struct pool_job_s  pool_job_t;

struct pool_job_s {
    logic_job_pt             run;
    im_rpc_req_t            *req;
    const ProtobufCMessage  *in;
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
    unsigned           n;
    unsigned           max;
    int                stop;
    unsigned           n_threads;
    pool_thread_t      threads[];
};


static void *pool_thread(void *arg);
static pool_job_t *pool_take(logic_pool_t *p);
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

        pthread_mutex_lock(&p->lock);

        stop = p->stop;
        full = (p->n >= p->max || stop);

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


static void *
pool_thread(void *arg)
{
    pool_job_t     *job;
    pool_thread_t  *t = arg;

    for (job = pool_take(t->pool); job != NULL; job = pool_take(t->pool)) {
        pool_run(&t->db, job);
    }

    return NULL;
}


/* NULL: stopping.  What waits then is refused by logic_pool_stop(). */
static pool_job_t *
pool_take(logic_pool_t *p)
{
    pool_job_t  *job;

    pthread_mutex_lock(&p->lock);

    while (p->first == NULL && !p->stop) {
        pthread_cond_wait(&p->wake, &p->lock);
    }

    job = p->stop ? NULL : p->first;

    if (job != NULL) {
        p->first = job->next;
        p->n--;

        if (p->first == NULL) {
            p->last = &p->first;
        }
    }

    pthread_mutex_unlock(&p->lock);

    return job;
}


static void
pool_run(logic_db_t *db, pool_job_t *job)
{
    if (im_rpc_req_left_ms(job->req) <= 0) {
        logic_fail(job->req, "timeout", "nobody waits any more");

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


/* Nobody adds to the queue of a pool that was stopped. */
static void
pool_refuse(logic_pool_t *p)
{
    pool_job_t  *job;

    while (p->first != NULL) {
        job = p->first;
        p->first = job->next;

        logic_fail(job->req, "unavailable", "this Logic stops");
        free(job);
    }

    p->last = &p->first;
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
