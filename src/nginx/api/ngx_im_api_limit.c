/*
 * ngx_im_api_limit.c -- what `im_limit` makes of a request.
 *
 * It is asked when the request is filled: then its user and its room are known,
 * and what is malformed, which costs Logic nothing, has been refused.  The
 * subrequest of an auth_request is left alone: nginx makes a 500 of each answer
 * that is not 2xx, 401 or 403, and its main request can have a limit.
 */

#include "ngx_im_api.h"
#include "ngx_im_limit.h"
#include "ngx_im_problem.h"

#include "logic.pb-c.h"


static void ngx_im_api_limit_event(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx, ngx_im_limit_event_t *e);
static void ngx_im_api_on_delay(ngx_event_t *ev);


ngx_int_t
ngx_im_api_limit(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx, ngx_int_t *rc)
{
    u_char                  *p;
    u_char                   text[128];
    ngx_str_t                detail;
    ngx_im_limit_conf_t     *conf;
    ngx_im_limit_event_t     e;
    ngx_im_limit_verdict_t   v;

    conf = ngx_http_get_module_loc_conf(r, ngx_im_limit_module);

    if (conf->rules == NULL || r != r->main) {
        return NGX_OK;
    }

    ngx_im_api_limit_event(r, ctx, &e);
    ngx_im_limit(conf, &e, &v);
    ngx_im_limit_set_status(r, v.status);

    switch (v.status) {

    case NGX_IM_LIMIT_DELAYED:
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "im_limit: zone \"%V\", delayed %M ms", v.zone,
                       v.wait_ms);

        *rc = ngx_im_api_later(r, ctx, v.wait_ms, ngx_im_api_on_delay);

        return NGX_DECLINED;

    case NGX_IM_LIMIT_REJECTED:
        p = ngx_snprintf(text, sizeof(text), "the limit \"%V\" is reached",
                         v.zone);
        detail.data = text;
        detail.len = p - text;

        *rc = ngx_im_problem_send_error(r, im_error_find("rate_limited", 12),
                                        &detail, v.wait_ms);

        return NGX_DECLINED;

    default:
        return NGX_OK;
    }
}


static void
ngx_im_api_limit_event(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ngx_im_limit_event_t *e)
{
    const Im__Caller       *caller;
    const ngx_im_method_t  *method;

    method = &ctx->method->call;

    ngx_memzero(e, sizeof(ngx_im_limit_event_t));

    e->rpc = method->row;
    e->connection = r->connection->number;
    e->room = ngx_im_method_room(method, ctx->message);

    ngx_im_limit_address(r->connection->sockaddr, &e->address);

    if (method->caller != NULL) {
        caller = *(Im__Caller **) ((u_char *) ctx->message
                                   + method->caller->offset);
        e->uid = caller->uid;
        e->sid = caller->sid;
    }
}


static void
ngx_im_api_on_delay(ngx_event_t *ev)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ev->data;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    rc = ngx_im_api_go_on(r, ngx_http_get_module_ctx(r, ngx_im_api_module));

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}
