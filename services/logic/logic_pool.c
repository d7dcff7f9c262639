/*
 * logic_pool.c -- bounded queue, fixed threads, connections of their own.
 *
 * A queue that is full refuses at once: a log-in that waits longer than its
 * caller does would only hash a password for nobody.
 */

#include <pthread.h>
#include <stdlib.h>

#include "logic_pool.h"


typedef struct pool_job_s  pool_job_t;

struct pool_job_s {
    logic_job_pt             run;
    im_rpc_req_t            *req;
    const ProtobufCMessage  *in;
    pool_job_t              *next;
};

struct logic_pool_s {
    const char        *name;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    pool_job_t        *first;
    pool_job_t       **last;
    unsigned           n;
    unsigned           max;
    int                stop;
    unsigned           threads;
    pthread_t          ids[];
};


static void *pool_thread(void *arg);
static void pool_run(logic_db_t *db, pool_job_t *job);


logic_pool_t *
logic_pool_create(const char *name, unsigned threads, unsigned queue_max)
{
    unsigned       i;
    logic_pool_t  *p;

    p = calloc(1, sizeof(logic_pool_t) + threads * sizeof(pthread_t));
    if (p == NULL) {
        return NULL;
    }

    p->name = name;
    p->max = queue_max;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);

    for (i = 0; i < threads; i++) {
        if (pthread_create(&p->ids[i], NULL, pool_thread, p) != 0) {
            break;
        }

        p->threads++;
    }

    return p;
}


void
logic_pool_run(logic_pool_t *p, logic_job_pt run, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int          full;
    pool_job_t  *job;

    job = calloc(1, sizeof(pool_job_t));
    full = (job == NULL);

    if (!full) {
        job->run = run;
        job->req = req;
        job->in = in;

        pthread_mutex_lock(&p->lock);

        full = (p->n >= p->max || p->stop);

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
        logic_fail(req, "busy", "too many requests wait (%s)", p->name);
    }
}


static void *
pool_thread(void *arg)
{
    logic_db_t     db;
    pool_job_t    *job;
    logic_pool_t  *p = arg;

    db.mysql = logic_mysql_create();
    db.redis = logic_redis_create();

    for ( ;; ) {
        pthread_mutex_lock(&p->lock);

        while (p->first == NULL && !p->stop) {
            pthread_cond_wait(&p->wake, &p->lock);
        }

        job = p->first;

        if (job != NULL) {
            p->first = job->next;
            p->n--;

            if (p->first == NULL) {
                p->last = &p->first;
            }
        }

        pthread_mutex_unlock(&p->lock);

        if (job == NULL) {
            break;                     /* stopping, and nothing is left */
        }

        pool_run(&db, job);
    }

    im_mysql_destroy(db.mysql);
    im_redis_destroy(db.redis);

    return NULL;
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
logic_pool_destroy(logic_pool_t *p)
{
    unsigned  i;

    if (p == NULL) {
        return;
    }

    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);

    for (i = 0; i < p->threads; i++) {
        pthread_join(p->ids[i], NULL);
    }

    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
