/*
 * ngx_im_steps.c -- what a worker starts, in this order, and ends, backwards.
 *
 * The folders of src/nginx meet here: a lower one is given the handlers of the
 * one above, and calls it by these only.
 */

#include "ngx_im_main.h"
#include "ngx_im_connect.h"
#include "ngx_im_link.h"
#include "ngx_im_request.h"
#include "ngx_im_rooms.h"
#include "ngx_im_worker.h"
#include "ngx_im_ws_door.h"
#include "ngx_im_ws_session.h"


static ngx_int_t ngx_im_steps_memory(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static void ngx_im_steps_forget(void);
static ngx_int_t ngx_im_steps_link(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static ngx_int_t ngx_im_steps_conn(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static ngx_int_t ngx_im_steps_rooms(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);
static ngx_int_t ngx_im_steps_session(ngx_im_main_conf_t *mcf,
    ngx_cycle_t *cycle);


static const ngx_im_step_t  ngx_im_steps[] = {
    { ngx_im_steps_memory, ngx_im_steps_forget, 0 },
    { ngx_im_runtime_rpc, ngx_im_runtime_rpc_exit, 0 },
    { ngx_im_runtime_notify, ngx_im_runtime_notify_exit, 0 },
    { ngx_im_push_listen, NULL, 1 },   /* the runtime ends it */
    { ngx_im_runtime_disc, ngx_im_runtime_disc_exit, 0 },
    { ngx_im_steps_link, ngx_im_link_exit, 0 },
    { ngx_im_steps_conn, ngx_im_ws_exit, 1 },
    { ngx_im_steps_rooms, ngx_im_rooms_exit, 1 },
    { ngx_im_steps_session, ngx_im_ws_end_all, 1 },
    { ngx_im_push_init, ngx_im_push_exit, 1 }
};

#define NGX_IM_STEPS  (sizeof(ngx_im_steps) / sizeof(ngx_im_steps[0]))


ngx_int_t
ngx_im_steps_start(ngx_cycle_t *cycle)
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

    ngx_im_runtime_name(cycle);
    ngx_im_worker_start(mcf, cycle, ngx_im_steps, NGX_IM_STEPS);

    return NGX_OK;
}


void
ngx_im_steps_stop(ngx_cycle_t *cycle)
{
#if (__SANITIZE_ADDRESS__)
    /* nginx forgets its tables when it exits: only our leaks shall show */
    static void  *tables[3];

    tables[0] = cycle->connections;
    tables[1] = cycle->read_events;
    tables[2] = cycle->write_events;
    __asm__ volatile ("" : : "r" (tables) : "memory");
#endif

    ngx_im_worker_stop();
}


/* What all that comes later may use until the runtime has ended. */
static ngx_int_t
ngx_im_steps_memory(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    return mcf->ws ? ngx_im_push_memory() : NGX_OK;
}


static void
ngx_im_steps_forget(void)
{
    ngx_im_push_forget();
    ngx_im_revoked_free();
}


static ngx_int_t
ngx_im_steps_link(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    return ngx_im_link_init(mcf, &ngx_im_answers);
}


static ngx_int_t
ngx_im_steps_conn(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    return ngx_im_ws_init(&ngx_im_ws_session, cycle);
}


static ngx_int_t
ngx_im_steps_rooms(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    return ngx_im_rooms_init(mcf);
}


/* Ended first: its connections are in rooms, and tell Logic of their end. */
static ngx_int_t
ngx_im_steps_session(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    if (ngx_im_ws_ticket_init() != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_im_ws_query_init();
}
