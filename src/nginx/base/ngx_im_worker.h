/*
 * ngx_im_worker.h -- the life of a worker in steps, and what the first of them
 * give to all others: the rpc runtime, the view of the other instances.
 *
 * The list of the steps is in main/ngx_im_steps.c.
 */

#ifndef NGX_IM_WORKER_H
#define NGX_IM_WORKER_H

#include "ngx_im.h"
#include "im_disc.h"
#include "im_rpc.h"


/* init: NGX_OK or NGX_ERROR, tried again later. */
typedef struct {
    ngx_int_t         (*init)(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
    void              (*exit)(void);     /* also of what is half done; NULL */
    ngx_uint_t          ws;              /* only if some location has im_ws */
} ngx_im_step_t;


/* ngx_im_worker.c */
/* Takes the first step, and the others; steps live as long as the worker. */
void ngx_im_worker_start(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle,
    const ngx_im_step_t *steps, ngx_uint_t n);
void ngx_im_worker_stop(void);
/* For a step of the start that fails, its reason: ngx_sprintf()'s formats. */
void ngx_im_worker_fail(const char *fmt, ...);
/* Whether a step is being taken, whose failure is to be explained. */
ngx_uint_t ngx_im_worker_is_trying(void);
/* Whether all has been started; else the locations of the messenger answer
 * 503, to be asked again after so long. */
ngx_int_t ngx_im_worker_serves(void);
ngx_msec_t ngx_im_worker_retry_ms(void);
/* NULL, or what it does not serve for. */
const char *ngx_im_worker_lacks(time_t *since);
/* The table that its connections stand in.  Not ngx_cycle's: that of a cycle
 * which a single process has reloaded is empty. */
ngx_connection_t *ngx_im_worker_connections(ngx_uint_t *n);


/* ngx_im_runtime.c */
/* NULL until they have been started, and when im_etcd is not given. */
im_rpc_t *ngx_im_rpc(void);
im_disc_t *ngx_im_disc(void);
/* Key of this worker in etcd; empty without im_etcd. */
const ngx_str_t *ngx_im_instance(void);
/* Before the first step. */
void ngx_im_runtime_name(ngx_cycle_t *cycle);
/* Steps: gRPC, its results on the loop, the other instances. */
ngx_int_t ngx_im_runtime_rpc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_runtime_rpc_exit(void);
ngx_int_t ngx_im_runtime_notify(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_runtime_notify_exit(void);
ngx_int_t ngx_im_runtime_disc(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_runtime_disc_exit(void);

#endif
