/*
 * ngx_im_runtime.c -- what a worker has one of: gRPC, its results on the loop,
 * the view of the other instances, a name.
 *
 * The runtime is created after the fork, never before it: a child of a process
 * that has initialised gRPC hangs.  Its results reach the loop by an eventfd
 * that is an ngx_connection_t with read->channel = 1, so that neither the
 * shutdown timer nor the "open socket left" alert touches it.  ngx_notify() is
 * not used: it has a single handler slot, which nginx's thread pools own.
 *
 * With IM_RPC_H2 gRPC runs on the loop itself (src/h2): then there is nothing
 * to be handed over, and the connection is there only for nginx to say by it
 * that the worker shuts down.
 *
 * Each worker is an instance of its own with a port of its own: nothing is
 * shared between workers, and during a reload old and new ones coexist.
 */

#include "ngx_im_worker.h"

#ifdef IM_RPC_H2
#include "ngx_im_loop.h"
#endif

#include <pthread.h>


typedef struct {
    im_rpc_t           *rpc;
    im_disc_t          *disc;
    ngx_connection_t   *notify;
    ngx_str_t           instance;
    u_char              instance_data[128];
    pthread_t           loop;
} ngx_im_runtime_t;


static ngx_fd_t ngx_im_runtime_notify_fd(void);
static void ngx_im_runtime_notify_close(ngx_fd_t fd);
static void ngx_im_runtime_on_notify(ngx_event_t *ev);
static void ngx_im_runtime_tls(im_rpc_tls_t *tls,
    const ngx_im_tls_conf_t *conf);
static void ngx_im_runtime_log(void *ctx, int level, const char *msg);


static ngx_im_runtime_t  ngx_im_runtime;


/* Host, pid and a random number: unique for each start of a worker. */
void
ngx_im_runtime_name(ngx_cycle_t *cycle)
{
    u_char      *p, ch;
    ngx_uint_t   i, n;

    ngx_im_runtime.loop = pthread_self();

    p = ngx_im_runtime.instance_data;
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

    ngx_im_runtime.instance.data = ngx_im_runtime.instance_data;
    ngx_im_runtime.instance.len = p - ngx_im_runtime.instance_data;
    *p = '\0';
}


im_rpc_t *
ngx_im_rpc(void)
{
    return ngx_im_runtime.rpc;
}


im_disc_t *
ngx_im_disc(void)
{
    return ngx_im_runtime.disc;
}


const ngx_str_t *
ngx_im_instance(void)
{
    return &ngx_im_runtime.instance;
}


ngx_int_t
ngx_im_runtime_rpc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    im_rpc_conf_t  conf;
#ifdef IM_RPC_H2
    im_h2_loop_t   loop;
#endif

    ngx_memzero(&conf, sizeof(im_rpc_conf_t));
    conf.home = IM_RPC_HOME_LOOP;
    conf.log = ngx_im_runtime_log;
    ngx_im_runtime_tls(&conf.tls, &mcf->rpc_tls);

#ifdef IM_RPC_H2
    ngx_im_loop_init(&loop);
    ngx_im_runtime.rpc = im_h2_create(&conf, &loop);
#else
    ngx_im_runtime.rpc = im_rpc_create(&conf);
#endif

    if (ngx_im_runtime.rpc == NULL) {
        ngx_im_worker_fail("the rpc runtime cannot be created (%d: %s)",
                           ngx_errno, strerror(ngx_errno));
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Runs what is to be called back for the last time. */
void
ngx_im_runtime_rpc_exit(void)
{
    im_rpc_destroy(ngx_im_runtime.rpc);
    ngx_im_runtime.rpc = NULL;
}


ngx_int_t
ngx_im_runtime_notify(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    ngx_fd_t           fd;
    ngx_connection_t  *c;

    /* one is left for nginx's own channel, which would end the worker */

    if (cycle->free_connection_n < 2) {
        ngx_im_worker_fail("worker_connections are not enough");
        return NGX_ERROR;
    }

    fd = ngx_im_runtime_notify_fd();
    if (fd == NGX_INVALID_FILE) {
        ngx_im_worker_fail("there is no descriptor left");
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        ngx_im_runtime_notify_close(fd);
        ngx_im_worker_fail("worker_connections are not enough");
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->handler = ngx_im_runtime_on_notify;
    c->read->log = cycle->log;
    c->read->channel = 1;
    c->idle = 1;                       /* nginx calls us when it shuts down */
    c->write->log = cycle->log;

#ifndef IM_RPC_H2
    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;     /* the descriptor is the runtime's */
        ngx_im_worker_fail("the eventfd cannot be watched");
        return NGX_ERROR;
    }
#endif

    ngx_im_runtime.notify = c;

    return NGX_OK;
}


/* Of the runtime, or with IM_RPC_H2 one that nothing ever comes from. */
static ngx_fd_t
ngx_im_runtime_notify_fd(void)
{
#ifdef IM_RPC_H2
    return ngx_open_file("/dev/null", NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
#else
    return im_rpc_fd(ngx_im_runtime.rpc);
#endif
}


/* That of the runtime it closes itself. */
static void
ngx_im_runtime_notify_close(ngx_fd_t fd)
{
#ifdef IM_RPC_H2
    (void) ngx_close_file(fd);
#endif
}


static void
ngx_im_runtime_on_notify(ngx_event_t *ev)
{
    ngx_connection_t  *c = ev->data;

    if (c->close) {
        /* not ours to close: the worker drains, and logs it */
        c->close = 0;
        c->idle = 0;

        if (ngx_im_runtime.disc != NULL) {
            im_disc_drain(ngx_im_runtime.disc, "connect");
        }
    }

    ev->ready = 0;

#ifndef IM_RPC_H2
    im_rpc_dispatch(ngx_im_runtime.rpc);
#endif
}


void
ngx_im_runtime_notify_exit(void)
{
    ngx_connection_t  *c;

    c = ngx_im_runtime.notify;
    ngx_im_runtime.notify = NULL;

    if (c == NULL) {
        return;
    }

#ifndef IM_RPC_H2
    if (ngx_del_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "im: cannot remove the eventfd from the loop");
    }
#endif

    ngx_im_runtime_notify_close(c->fd);
    c->fd = (ngx_socket_t) -1;
    ngx_free_connection(c);
}


ngx_int_t
ngx_im_runtime_disc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    im_rpc_tls_t    tls;
    im_disc_conf_t  conf;

    ngx_im_runtime_tls(&tls, &mcf->etcd_tls);

    ngx_memzero(&conf, sizeof(im_disc_conf_t));
    conf.endpoints = (char *) mcf->etcd.data;
    conf.prefix = (char *) mcf->etcd_prefix.data;
    conf.tls = &tls;
    conf.lease_s = mcf->etcd_lease;
    conf.log = ngx_im_runtime_log;

    ngx_im_runtime.disc = im_disc_create(ngx_im_runtime.rpc, &conf);

    return (ngx_im_runtime.disc != NULL) ? NGX_OK : NGX_ERROR;
}


void
ngx_im_runtime_disc_exit(void)
{
    im_disc_destroy(ngx_im_runtime.disc);
    ngx_im_runtime.disc = NULL;
}


static void
ngx_im_runtime_tls(im_rpc_tls_t *tls, const ngx_im_tls_conf_t *conf)
{
    tls->ca = conf->pem.ca;
    tls->cert = conf->pem.cert;
    tls->key = conf->pem.key;
    tls->name = conf->name;
}


/* May run on the rpc thread, as nginx's own pool threads log.  What a step that
 * fails says is its reason, which is logged once. */
static void
ngx_im_runtime_log(void *ctx, int level, const char *msg)
{
    if (pthread_equal(pthread_self(), ngx_im_runtime.loop)
        && ngx_im_worker_is_trying() && level <= IM_LOG_ERR)
    {
        ngx_im_worker_fail("%s", msg);
        return;
    }

    ngx_im_log(ctx, level, msg);
}
