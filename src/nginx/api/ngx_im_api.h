/*
 * ngx_im_api.h -- one HTTP request that becomes one RPC, in four steps.
 *
 *   ngx_im_api_body.c   is it ours, and its whole body    (may wait: client)
 *   ngx_im_api_fill.c   captures, query, JSON -> message  (never waits)
 *   ngx_im_api_limit.c  may it be asked now?              (may wait: im_limit)
 *   ngx_im_api_call.c   message -> Logic -> response      (may wait: Logic)
 *
 * Everything runs on the event loop of a worker.
 */

#ifndef NGX_IM_API_H
#define NGX_IM_API_H

#include "ngx_im_method.h"
#include "im_json.h"


/* One `im_api` directive. */
typedef struct {
    ngx_uint_t           http;                  /* NGX_HTTP_GET ... */
    ngx_str_t            http_name;
    ngx_uint_t           status;                /* of a reply with fields */
    ngx_im_method_t      call;
} ngx_im_api_method_t;

/* A named capture of the location's regex. */
typedef struct {
    ngx_str_t            name;
    ngx_int_t            index;                 /* of the variable */
} ngx_im_api_capture_t;

typedef struct {
    ngx_array_t         *methods;               /* ngx_im_api_method_t */
    ngx_array_t         *captures;              /* ngx_im_api_capture_t */
    ngx_str_t            allow;                 /* value of the header */
    ngx_msec_t           timeout;
    size_t               max_body;
    unsigned             not_found:1;           /* im_api_not_found */
} ngx_im_api_loc_conf_t;

/* Request context, in r->pool. */
typedef struct {
    ngx_im_api_method_t *method;
    im_str_t             body;
    size_t               cap;                   /* bytes behind body.data */
    size_t               max_body;
    ProtobufCMessage    *message;               /* the request */
    unsigned             slot;                  /* decides the owner */
    const char          *code;                  /* why fill refused */
    im_json_err_t        err;
    ngx_event_t          wait;                  /* ngx_im_api_later() */
    ngx_msec_t           wait_until;
    u_char               trace[IM_RPC_TRACE_MAX + 1];
} ngx_im_api_ctx_t;


extern ngx_module_t  ngx_im_api_module;


/* Content handler.  Continues in ngx_im_api_call(). */
ngx_int_t ngx_im_api_handler(ngx_http_request_t *r);

/* Content handler of what is no endpoint: 404. */
ngx_int_t ngx_im_api_not_found_handler(ngx_http_request_t *r);

/*
 * Makes the request message.  NGX_OK: ctx->message lives as long as r,
 * ctx->slot is that of the conversation or user.  NGX_DECLINED: ctx->code
 * and ctx->err say why it is refused.  NGX_ERROR: out of memory.
 */
ngx_int_t ngx_im_api_fill(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx);

/* The body is complete: fills, calls and finalizes r, now or later. */
void ngx_im_api_call(ngx_http_request_t *r);

/* NGX_OK: no limit holds it up.  NGX_DECLINED: it was refused, or its time
 * comes, and then ngx_im_api_go_on() is called; *rc as of that. */
ngx_int_t ngx_im_api_limit(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ngx_int_t *rc);

/* ngx_im_api_call.c: the message is filled and may be sent.  NGX_DONE: the
 * rest comes later. */
ngx_int_t ngx_im_api_go_on(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx);
/* Calls handler, whose ev->data is r, after ms, if r still lives.  NGX_DONE,
 * or a status: out of memory. */
ngx_int_t ngx_im_api_later(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ngx_msec_t ms, ngx_event_handler_pt handler);

#endif
