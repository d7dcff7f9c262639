/*
 * ngx_im_worker.c -- what a worker has one of, from its start to its end.
 *
 *   init --> step 1 --> step 2 ... --> the last one: it serves
 *              |           |
 *              +-----------+--> one fails: undone, logged, tried again later
 *
 *   exit --> the steps that were done, backwards
 *
 * A step that fails must not end the worker: nginx would not start another one,
 * and the whole site would be away for what the messenger lacks.  So the worker
 * goes on, locations of the messenger answer 503, and the step is tried again
 * after 1 s, then less often, until it works.  What a step has half done, its
 * own exit undoes; steps before it stay done.
 *
 * The runtime is created after the fork, never before it: a child of a process
 * that has initialised gRPC hangs.  Its results reach the loop by an eventfd
 * that is an ngx_connection_t with read->channel = 1, so that neither the
 * shutdown timer nor the "open socket left" alert touches it.  ngx_notify() is
 * not used: it has a single handler slot, which nginx's thread pools own.
 *
 * Each worker is an instance of its own with a port of its own: nothing is
 * shared between workers, and during a reload old and new ones coexist.
 */

#include "ngx_im_request.h"

#include <pthread.h>

#include "im_timeouts.h"


#define NGX_IM_WORKER_REASON  256


typedef struct {
    ngx_int_t         (*init)(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
    void              (*exit)(void);     /* also of what is half done */
    ngx_uint_t          ws;              /* only if some location has im_ws */
} ngx_im_step_t;


typedef struct {
    ngx_im_main_conf_t *mcf;             /* NULL: nothing to be started */
    ngx_connection_t   *connections;     /* of the cycle that we began with */
    ngx_uint_t          connection_n;

    im_rpc_t           *rpc;
    im_disc_t          *disc;
    ngx_connection_t   *notify;
    ngx_str_t           instance;
    u_char              instance_data[128];

    ngx_uint_t          steps;           /* done */
    ngx_uint_t          tries;           /* of the next one, in vain */
    ngx_msec_t          retry_ms;
    ngx_event_t         retry;
    ngx_connection_t    nobody;          /* debug lines name a socket */
    time_t              since;           /* it does not serve */
    u_char              reason[NGX_IM_WORKER_REASON];    /* of this try */
    u_char              logged[NGX_IM_WORKER_REASON];
    unsigned            trying:1;
    pthread_t           loop;
} ngx_im_worker_t;


static void ngx_im_worker_try(void);
static void ngx_im_worker_later(void);
static void ngx_im_worker_on_retry(ngx_event_t *ev);
static ngx_int_t ngx_im_worker_memory(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static void ngx_im_worker_forget(void);
static ngx_int_t ngx_im_worker_rpc(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static void ngx_im_worker_rpc_exit(void);
static ngx_int_t ngx_im_worker_notify(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static void ngx_im_worker_on_notify(ngx_event_t *ev);
static void ngx_im_worker_notify_exit(void);
static ngx_int_t ngx_im_worker_disc(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static void ngx_im_worker_disc_exit(void);
static void ngx_im_worker_tls(im_rpc_tls_t *tls,
    const ngx_im_tls_conf_t *conf);
static void ngx_im_worker_name(ngx_cycle_t *cycle);
static void ngx_im_worker_log(void *ctx, int level, const char *msg);


static const ngx_im_step_t  ngx_im_steps[] = {
    { ngx_im_worker_memory, ngx_im_worker_forget, 0 },
    { ngx_im_worker_rpc, ngx_im_worker_rpc_exit, 0 },
    { ngx_im_worker_notify, ngx_im_worker_notify_exit, 0 },
    { ngx_im_push_listen, NULL, 1 },   /* the runtime ends it */
    { ngx_im_worker_disc, ngx_im_worker_disc_exit, 0 },
    { ngx_im_link_init, ngx_im_link_exit, 0 },
    { ngx_im_ws_init_worker, ngx_im_ws_exit_worker, 1 },
    { ngx_im_push_init, ngx_im_push_exit, 1 }
};

#define NGX_IM_STEPS  (sizeof(ngx_im_steps) / sizeof(ngx_im_steps[0]))


static ngx_im_worker_t  ngx_im_worker;


ngx_int_t
ngx_im_worker_init(ngx_cycle_t *cycle)
{
    ngx_im_main_conf_t  *mcf;

    /* the cache manager and loader run init_process too */
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NGX_OK;                 /* no http{} block */
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_im_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    ngx_im_refusal_init_process();
    ngx_im_secret_init_process(cycle);

    if (mcf->etcd.len == 0) {
        return NGX_OK;
    }

    ngx_im_worker.mcf = mcf;
    ngx_im_worker.connections = cycle->connections;
    ngx_im_worker.connection_n = cycle->connection_n;
    ngx_im_worker.loop = pthread_self();
    ngx_im_worker.retry_ms = IM_WORKER_RETRY_MIN_MS;
    ngx_im_worker.since = ngx_time();

    ngx_im_worker.nobody.fd = (ngx_socket_t) -1;
    ngx_im_worker.retry.data = &ngx_im_worker.nobody;
    ngx_im_worker.retry.handler = ngx_im_worker_on_retry;
    ngx_im_worker.retry.log = cycle->log;
    ngx_im_worker.retry.cancelable = 1;

    ngx_im_worker_name(cycle);
    ngx_im_worker_try();

    return NGX_OK;
}


/* Goes on at the step that is next. */
static void
ngx_im_worker_try(void)
{
    const ngx_im_step_t  *step;

    while (ngx_im_worker.steps < NGX_IM_STEPS) {
        step = &ngx_im_steps[ngx_im_worker.steps];

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
                      "im: this worker serves the messenger, after %ui tries "
                      "in vain", ngx_im_worker.tries);
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


ngx_int_t
ngx_im_worker_serves(void)
{
    return ngx_im_worker.steps == NGX_IM_STEPS;
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


im_rpc_t *
ngx_im_rpc(void)
{
    return ngx_im_worker.rpc;
}


im_disc_t *
ngx_im_disc(void)
{
    return ngx_im_worker.disc;
}


const ngx_str_t *
ngx_im_instance(void)
{
    return &ngx_im_worker.instance;
}


/* What all that comes later may use until the runtime has ended. */
static ngx_int_t
ngx_im_worker_memory(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    return mcf->ws ? ngx_im_push_memory() : NGX_OK;
}


static void
ngx_im_worker_forget(void)
{
    ngx_im_push_forget();
    ngx_im_revoked_free();
}


static ngx_int_t
ngx_im_worker_rpc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    im_rpc_conf_t  conf;

    ngx_memzero(&conf, sizeof(im_rpc_conf_t));
    conf.home = IM_RPC_HOME_LOOP;
    conf.log = ngx_im_worker_log;
    ngx_im_worker_tls(&conf.tls, &mcf->rpc_tls);

    ngx_im_worker.rpc = im_rpc_create(&conf);

    if (ngx_im_worker.rpc == NULL) {
        ngx_im_worker_fail("the rpc runtime cannot be created (%d: %s)",
                           ngx_errno, strerror(ngx_errno));
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Runs what is to be called back for the last time. */
static void
ngx_im_worker_rpc_exit(void)
{
    im_rpc_destroy(ngx_im_worker.rpc);
    ngx_im_worker.rpc = NULL;
}


static ngx_int_t
ngx_im_worker_notify(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    /* one is left for nginx's own channel, which would end the worker */

    if (cycle->free_connection_n < 2) {
        ngx_im_worker_fail("worker_connections are not enough");
        return NGX_ERROR;
    }

    c = ngx_get_connection(im_rpc_fd(ngx_im_worker.rpc), cycle->log);
    if (c == NULL) {
        ngx_im_worker_fail("worker_connections are not enough");
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->handler = ngx_im_worker_on_notify;
    c->read->log = cycle->log;
    c->read->channel = 1;
    c->idle = 1;                       /* nginx tells us when it shuts down */
    c->write->log = cycle->log;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;     /* the descriptor is the runtime's */
        ngx_im_worker_fail("the eventfd cannot be watched");
        return NGX_ERROR;
    }

    ngx_im_worker.notify = c;

    return NGX_OK;
}


static void
ngx_im_worker_on_notify(ngx_event_t *ev)
{
    ngx_connection_t  *c = ev->data;

    if (c->close) {
        /* not ours to close: the worker drains, and says so */
        c->close = 0;
        c->idle = 0;

        if (ngx_im_worker.disc != NULL) {
            im_disc_drain(ngx_im_worker.disc, "connect");
        }
    }

    ev->ready = 0;
    im_rpc_dispatch(ngx_im_worker.rpc);
}


static void
ngx_im_worker_notify_exit(void)
{
    ngx_connection_t  *c;

    c = ngx_im_worker.notify;
    ngx_im_worker.notify = NULL;

    if (c == NULL) {
        return;
    }

    /* the descriptor is the runtime's: it closes it */

    if (ngx_del_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "im: cannot remove the eventfd from the loop");
    }

    c->fd = (ngx_socket_t) -1;
    ngx_free_connection(c);
}


static ngx_int_t
ngx_im_worker_disc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    im_rpc_tls_t    tls;
    im_disc_conf_t  conf;

    ngx_im_worker_tls(&tls, &mcf->etcd_tls);

    ngx_memzero(&conf, sizeof(im_disc_conf_t));
    conf.endpoints = (char *) mcf->etcd.data;
    conf.prefix = (char *) mcf->etcd_prefix.data;
    conf.tls = &tls;
    conf.lease_s = mcf->etcd_lease;
    conf.log = ngx_im_worker_log;

    ngx_im_worker.disc = im_disc_create(ngx_im_worker.rpc, &conf);

    return (ngx_im_worker.disc != NULL) ? NGX_OK : NGX_ERROR;
}


static void
ngx_im_worker_disc_exit(void)
{
    im_disc_destroy(ngx_im_worker.disc);
    ngx_im_worker.disc = NULL;
}


static void
ngx_im_worker_tls(im_rpc_tls_t *tls, const ngx_im_tls_conf_t *conf)
{
    tls->ca = conf->pem.ca;
    tls->cert = conf->pem.cert;
    tls->key = conf->pem.key;
    tls->name = conf->name;
}


void
ngx_im_worker_exit(ngx_cycle_t *cycle)
{
    const ngx_im_step_t  *step;

#if (__SANITIZE_ADDRESS__)
    /* nginx forgets its tables when it exits: only our leaks shall show */
    static void  *tables[3];

    tables[0] = cycle->connections;
    tables[1] = cycle->read_events;
    tables[2] = cycle->write_events;
    __asm__ volatile ("" : : "r" (tables) : "memory");
#endif

    if (ngx_im_worker.retry.timer_set) {
        ngx_del_timer(&ngx_im_worker.retry);
    }

    while (ngx_im_worker.steps > 0) {
        step = &ngx_im_steps[--ngx_im_worker.steps];

        if (step->exit != NULL && (!step->ws || ngx_im_worker.mcf->ws)) {
            step->exit();
        }
    }
}


/* Host, pid and a random number: unique for each start of a worker. */
static void
ngx_im_worker_name(ngx_cycle_t *cycle)
{
    u_char      *p, ch;
    ngx_uint_t   i, n;

    p = ngx_im_worker.instance_data;
    n = ngx_min(cycle->hostname.len, 64);

    for (i = 0; i < n; i++) {
        ch = cycle->hostname.data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9') || ch == '.' || ch == '-')
        {
            *p++ = ch;
        }
    }

    p = ngx_sprintf(p, "-%P-%08xD", ngx_pid,
                    (uint32_t) ngx_random() ^ (uint32_t) ngx_time() << 8);

    ngx_im_worker.instance.data = ngx_im_worker.instance_data;
    ngx_im_worker.instance.len = p - ngx_im_worker.instance_data;
    *p = '\0';
}


/* May run on the rpc thread, as nginx's own pool threads log.  What a step that
 * fails says is its reason, which is logged once. */
static void
ngx_im_worker_log(void *ctx, int level, const char *msg)
{
    if (pthread_equal(pthread_self(), ngx_im_worker.loop)
        && ngx_im_worker.trying && level <= IM_LOG_ERR)
    {
        ngx_im_worker_fail("%s", msg);
        return;
    }

    ngx_im_log(ctx, level, msg);
}
