/*
 * ngx_im_worker.c -- the life of a worker, from its start to its end.
 *
 *   start --> step 1 --> step 2 ... --> the last one: it serves
 *              |           |
 *              +-----------+--> one fails: undone, logged, tried again later
 *
 *   stop --> the steps that were done, backwards
 *
 * A step that fails must not end the worker: nginx would not start another one,
 * and the whole site would be away for what the messenger lacks.  So the worker
 * goes on, locations of the messenger answer 503, and the step is tried again
 * after 1 s, then less often, until it works.  What a step has half done, its
 * own exit undoes; steps before it stay done.
 *
 * Which steps there are is not known here: they are given by
 * main/ngx_im_steps.c, and belong to folders that stand on this one.
 */

#include "ngx_im_worker.h"
#include "im_timeouts.h"


#define NGX_IM_WORKER_REASON  256


typedef struct {
    ngx_im_main_conf_t   *mcf;           /* NULL: nothing to be started */
    ngx_connection_t     *connections;   /* of the cycle that we began with */
    ngx_uint_t            connection_n;

    const ngx_im_step_t  *step;          /* all of them */
    ngx_uint_t            step_n;
    ngx_uint_t            steps;         /* done */
    ngx_uint_t            tries;         /* of the next one, in vain */
    ngx_msec_t            retry_ms;
    ngx_event_t           retry;
    ngx_connection_t      nobody;        /* debug lines name a socket */
    time_t                since;         /* it does not serve */
    u_char                reason[NGX_IM_WORKER_REASON];    /* of this try */
    u_char                logged[NGX_IM_WORKER_REASON];
    unsigned              trying:1;
} ngx_im_worker_t;


static void ngx_im_worker_try(void);
static void ngx_im_worker_later(void);
static void ngx_im_worker_on_retry(ngx_event_t *ev);


static ngx_im_worker_t  ngx_im_worker;


void
ngx_im_worker_start(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle,
    const ngx_im_step_t *steps, ngx_uint_t n)
{
    ngx_im_worker.mcf = mcf;
    ngx_im_worker.connections = cycle->connections;
    ngx_im_worker.connection_n = cycle->connection_n;
    ngx_im_worker.step = steps;
    ngx_im_worker.step_n = n;
    ngx_im_worker.retry_ms = IM_WORKER_RETRY_MIN_MS;
    ngx_im_worker.since = ngx_time();

    ngx_im_worker.nobody.fd = (ngx_socket_t) -1;
    ngx_im_worker.retry.data = &ngx_im_worker.nobody;
    ngx_im_worker.retry.handler = ngx_im_worker_on_retry;
    ngx_im_worker.retry.log = cycle->log;
    ngx_im_worker.retry.cancelable = 1;

    ngx_im_worker_try();
}


/* Goes on at the step that is next. */
static void
ngx_im_worker_try(void)
{
    const ngx_im_step_t  *step;

    while (ngx_im_worker.steps < ngx_im_worker.step_n) {
        step = &ngx_im_worker.step[ngx_im_worker.steps];

        ngx_im_worker.reason[0] = '\0';
        ngx_im_worker.trying = 1;

        if ((!step->ws || ngx_im_worker.mcf->ws)
            && step->init(ngx_im_worker.mcf, (ngx_cycle_t *) ngx_cycle)
               != NGX_OK)
        {
            if (step->exit != NULL) {
                step->exit();
            }

            ngx_im_worker.trying = 0;
            ngx_im_worker_later();
            return;
        }

        ngx_im_worker.trying = 0;
        ngx_im_worker.steps++;
    }

    if (ngx_im_worker.tries > 0) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "im: this worker serves the messenger, after %ui "
                      "failed tries", ngx_im_worker.tries);
    }
}


/* Continues in ngx_im_worker_on_retry(). */
static void
ngx_im_worker_later(void)
{
    ngx_msec_t  wait;

    if (ngx_im_worker.reason[0] == '\0') {
        ngx_im_worker_fail("out of memory");
    }

    if (ngx_strcmp(ngx_im_worker.reason, ngx_im_worker.logged) != 0) {
        ngx_memcpy(ngx_im_worker.logged, ngx_im_worker.reason,
                   NGX_IM_WORKER_REASON);
        ngx_im_log_error(NGX_LOG_CRIT, ngx_cycle->log,
                         "im: this worker cannot serve the messenger: %s; its "
                         "locations answer 503, it is tried again",
                         ngx_im_worker.reason);
    }

    /* not all workers at once */

    wait = ngx_im_worker.retry_ms;
    wait -= (ngx_msec_t) ngx_random() % (wait / 4);
    ngx_add_timer(&ngx_im_worker.retry, wait);

    ngx_im_worker.tries++;
    ngx_im_worker.retry_ms = ngx_min(ngx_im_worker.retry_ms * 2,
                                     IM_WORKER_RETRY_MAX_MS);
}


static void
ngx_im_worker_on_retry(ngx_event_t *ev)
{
    if (!ngx_exiting && !ngx_terminate && !ngx_quit) {
        ngx_im_worker_try();
    }
}


/* Why a step fails; the first word counts. */
void
ngx_im_worker_fail(const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    if (ngx_im_worker.reason[0] != '\0') {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(ngx_im_worker.reason,
                      ngx_im_worker.reason + NGX_IM_WORKER_REASON - 1, fmt,
                      args);
    va_end(args);

    *p = '\0';
}


ngx_uint_t
ngx_im_worker_is_trying(void)
{
    return ngx_im_worker.trying;
}


ngx_int_t
ngx_im_worker_serves(void)
{
    return ngx_im_worker.mcf != NULL
           && ngx_im_worker.steps == ngx_im_worker.step_n;
}


const char *
ngx_im_worker_lacks(time_t *since)
{
    if (ngx_im_worker.mcf == NULL) {
        *since = ngx_time();
        return "im_etcd is not given";
    }

    *since = ngx_im_worker.since;

    return ngx_im_worker_serves() ? NULL : (char *) ngx_im_worker.logged;
}


ngx_msec_t
ngx_im_worker_retry_ms(void)
{
    ngx_msec_int_t  ms;

    if (!ngx_im_worker.retry.timer_set) {
        return 1000;
    }

    ms = (ngx_msec_int_t) (ngx_im_worker.retry.timer.key - ngx_current_msec);

    return (ngx_msec_t) ngx_max(ms, 1000);
}


ngx_connection_t *
ngx_im_worker_connections(ngx_uint_t *n)
{
    *n = ngx_im_worker.connection_n;

    return ngx_im_worker.connections;
}


void
ngx_im_worker_stop(void)
{
    const ngx_im_step_t  *step;

    if (ngx_im_worker.retry.timer_set) {
        ngx_del_timer(&ngx_im_worker.retry);
    }

    while (ngx_im_worker.steps > 0) {
        step = &ngx_im_worker.step[--ngx_im_worker.steps];

        if (step->exit != NULL && (!step->ws || ngx_im_worker.mcf->ws)) {
            step->exit();
        }
    }
}
