/*
 * ngx_im_api_call.c -- one RPC to Logic, and its answer as HTTP.
 *
 * Two objects with lives of their own: the request, which its client may drop
 * at any time, and the call, whose callback comes exactly once whatever
 * happens.  The call owns the job (malloc'd); the request only points at it
 * through a cleanup.  Whoever ends first lets go of the other:
 *
 *   reply in time   timer and cleanup disarmed, response sent, job freed
 *   deadline        call cancelled, 504 sent; its late callback frees
 *   client gone     cleanup cancels the call; its late callback frees
 *
 * The timer is not cancelable: during a graceful shutdown it is what keeps
 * the worker until the answer is out.
 *
 * A worker accepts connections before etcd has listed the instances.  A request
 * of these first milliseconds (after each reload) waits for the first listing,
 * at most NGX_IM_API_WAIT_MAX, instead of being refused.
 */

#include "ngx_im_api.h"
#include "ngx_im_problem.h"
#include "ngx_im_worker.h"


#define NGX_IM_API_WAIT      10    /* ms from one look to the next */
#define NGX_IM_API_WAIT_MAX  2000  /* ms in all */


typedef struct {
    ngx_http_request_t   *request;     /* NULL: nobody waits any more */
    ngx_http_cleanup_t   *cleanup;
    ngx_im_api_method_t  *method;
    im_disc_call_t       *rpc;         /* NULL before start and after end */
    ngx_event_t           deadline;
} ngx_im_api_job_t;


static ngx_int_t ngx_im_api_start(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static ngx_int_t ngx_im_api_wait(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static void ngx_im_api_on_wait(ngx_event_t *ev);
static void ngx_im_api_unwait(void *data);
static ngx_int_t ngx_im_api_send(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static void ngx_im_api_trace(ngx_http_request_t *r, u_char *trace);
static unsigned ngx_im_api_is_idempotent(ngx_im_api_ctx_t *ctx);
static ngx_int_t ngx_im_api_degrade(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static void ngx_im_api_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static void ngx_im_api_on_deadline(ngx_event_t *ev);
static void ngx_im_api_detach(void *data);
static ngx_http_request_t *ngx_im_api_release(ngx_im_api_job_t *job);
static ngx_int_t ngx_im_api_reply(ngx_http_request_t *r,
    ngx_im_api_method_t *method, const ProtobufCMessage *reply);
static ngx_int_t ngx_im_api_refuse(ngx_http_request_t *r,
    ngx_im_api_method_t *method, const im_rpc_status_t *status);


void
ngx_im_api_call(ngx_http_request_t *r)
{
    ngx_int_t          rc;
    ngx_im_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_im_api_module);

    rc = ngx_im_api_start(r, ctx);

    /* NGX_AGAIN: nginx sends the rest of a refusal when the socket takes it */

    if (rc != NGX_DONE) {              /* else ngx_im_api_on_reply() ends it */
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_im_api_start(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_im_api_fill(r, ctx);

    if (rc == NGX_DECLINED) {
        return ngx_im_problem_send(r, ctx->code, "%s", ctx->err.text);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_im_api_limit(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    return ngx_im_api_go_on(r, ctx);
}


ngx_int_t
ngx_im_api_go_on(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    if (!ngx_im_worker_serves()) {
        return ngx_im_problem_unserved(r);
    }

    if (!im_disc_ready(ngx_im_disc())) {
        return ngx_im_api_wait(r, ctx);
    }

    return ngx_im_api_send(r, ctx);
}


/* Continues in ngx_im_api_on_wait(). */

static ngx_int_t
ngx_im_api_wait(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    ctx->wait_until = ngx_current_msec + NGX_IM_API_WAIT_MAX;

    return ngx_im_api_later(r, ctx, NGX_IM_API_WAIT, ngx_im_api_on_wait);
}


ngx_int_t
ngx_im_api_later(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx, ngx_msec_t ms,
    ngx_event_handler_pt handler)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_im_api_unwait;
    cln->data = ctx;

    ctx->wait.data = r;
    ctx->wait.handler = handler;
    ctx->wait.log = r->connection->log;

    ngx_add_timer(&ctx->wait, ms);

    if (r == r->main) {
        r->read_event_handler = ngx_http_test_reading;
    }

    return NGX_DONE;
}


static void
ngx_im_api_on_wait(ngx_event_t *ev)
{
    ngx_int_t            rc;
    im_disc_t           *disc;
    ngx_connection_t    *c;
    ngx_im_api_ctx_t    *ctx;
    ngx_http_request_t  *r;

    r = ev->data;
    c = r->connection;
    ctx = ngx_http_get_module_ctx(r, ngx_im_api_module);
    disc = ngx_im_disc();

    if (disc != NULL && !im_disc_ready(disc)
        && (ngx_msec_int_t) (ctx->wait_until - ngx_current_msec) > 0)
    {
        ngx_add_timer(ev, NGX_IM_API_WAIT);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    rc = ngx_im_api_send(r, ctx);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_im_api_unwait(void *data)
{
    ngx_im_api_ctx_t *ctx = data;

    if (ctx->wait.timer_set) {
        ngx_del_timer(&ctx->wait);
    }
}


/* Continues in ngx_im_api_on_reply(), _on_deadline() or _detach(). */
static ngx_int_t
ngx_im_api_send(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    int                     rc;
    ngx_im_api_job_t       *job;
    ngx_http_cleanup_t     *cln;
    im_disc_call_conf_t     conf;
    ngx_im_api_loc_conf_t  *alcf;

    if (ngx_im_disc() == NULL) {
        return ngx_im_problem_unserved(r);
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_im_api_module);

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job = ngx_calloc(sizeof(ngx_im_api_job_t), r->connection->log);
    if (job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job->method = ctx->method;
    ngx_im_api_trace(r, ctx->trace);

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = ctx->method->call.policy;
    conf.slot = ctx->slot;
    conf.class = ctx->method->call.class;
    conf.timeout_ms = (alcf->timeout != NGX_CONF_UNSET_MSEC)
                      ? (unsigned) alcf->timeout
                      : ctx->method->call.timeout_ms;
    conf.trace = (char *) ctx->trace;
    conf.idempotent = ngx_im_api_is_idempotent(ctx);

    rc = im_disc_call(ngx_im_disc(), "logic", &ctx->method->call.rpc,
                      ctx->message, &conf, ngx_im_api_on_reply, job,
                      &job->rpc);
    if (rc != IM_OK) {
        ngx_free(job);
        return ngx_im_api_degrade(r, ctx);
    }

    job->request = r;
    job->cleanup = cln;
    cln->handler = ngx_im_api_detach;
    cln->data = job;

    job->deadline.data = job;
    job->deadline.handler = ngx_im_api_on_deadline;
    job->deadline.log = r->connection->log;
    ngx_add_timer(&job->deadline, conf.timeout_ms);

    if (r == r->main) {
        r->read_event_handler = ngx_http_test_reading;
    }

    r->connection->log->action = "waiting for im-logic";

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "im_api: %s, trace %s", job->method->call.rpc.path,
                   ctx->trace);

    return NGX_DONE;
}


/* $request_id, which the access log can show: one id through all tiers. */
static void
ngx_im_api_trace(ngx_http_request_t *r, u_char *trace)
{
    size_t                      len;
    ngx_uint_t                  key;
    ngx_http_variable_value_t  *v;
    static ngx_str_t            name = ngx_string("request_id");

    key = ngx_hash_key(name.data, name.len);
    v = ngx_http_get_variable(r, &name, key);
    len = 0;

    if (v != NULL && v->valid && !v->not_found) {
        len = ngx_min(v->len, IM_RPC_TRACE_MAX);
        ngx_memcpy(trace, v->data, len);
    }

    trace[len] = '\0';
}


static unsigned
ngx_im_api_is_idempotent(ngx_im_api_ctx_t *ctx)
{
    const char                      *cmid;
    const ProtobufCFieldDescriptor  *f;

    f = ctx->method->call.cmid;

    if (f == NULL) {
        return ctx->method->call.idempotent;
    }

    cmid = *(char **) ((u_char *) ctx->message + f->offset);

    return cmid != NULL && cmid[0] != '\0';
}


/* No instance can take it now: refused at once, with the time to come back. */
static ngx_int_t
ngx_im_api_degrade(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    ngx_msec_t  wait;

    static const ngx_str_t  detail =
        ngx_string("no instance of the service can take this now");

    wait = im_disc_wait_ms(ngx_im_disc(), "logic", ctx->method->call.class);

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "im_api: %s: no instance of logic can take it, again in "
                  "%M ms", ctx->method->call.rpc.path, wait);

    return ngx_im_problem_send_error(r, im_error_find("unavailable", 11),
                                     &detail, wait);
}


static void
ngx_im_api_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    ngx_im_api_job_t *job = data;

    ngx_int_t             rc;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_im_api_method_t  *method;

    job->rpc = NULL;
    method = job->method;
    r = ngx_im_api_release(job);

    ngx_free(job);

    if (r == NULL) {
        return;
    }

    c = r->connection;
    ngx_http_set_log_request(c->log, r);

    if (reply != NULL) {
        rc = ngx_im_api_reply(r, method, reply);

    } else {
        rc = ngx_im_api_refuse(r, method, status);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_im_api_on_deadline(ngx_event_t *ev)
{
    im_disc_call_t      *rpc;
    im_rpc_status_t      status;
    ngx_connection_t    *c;
    ngx_im_api_job_t    *job;
    ngx_http_request_t  *r;

    job = ev->data;
    rpc = job->rpc;
    r = ngx_im_api_release(job);

    c = r->connection;
    ngx_http_set_log_request(c->log, r);

    ngx_memzero(&status, sizeof(im_rpc_status_t));
    status.code = IM_RPC_DEADLINE_EXCEEDED;
    status.message = "no answer in time";

    ngx_http_finalize_request(r, ngx_im_api_refuse(r, job->method, &status));

    im_disc_call_cancel(rpc);          /* job is freed by its last event */

    ngx_http_run_posted_requests(c);
}


/* The request dies before the reply. */

static void
ngx_im_api_detach(void *data)
{
    ngx_im_api_job_t *job = data;

    ngx_im_api_release(job);

    im_disc_call_cancel(job->rpc);     /* job is freed by its last event */
}


static ngx_http_request_t *
ngx_im_api_release(ngx_im_api_job_t *job)
{
    ngx_http_request_t  *r;

    r = job->request;

    if (r != NULL) {
        job->cleanup->handler = NULL;
        job->cleanup = NULL;
        job->request = NULL;
    }

    if (job->deadline.timer_set) {
        ngx_del_timer(&job->deadline);
    }

    return r;
}


static ngx_int_t
ngx_im_api_reply(ngx_http_request_t *r, ngx_im_api_method_t *method,
    const ProtobufCMessage *reply)
{
    size_t     cap;
    ngx_str_t  body;

    static const ngx_str_t  type = ngx_string("application/json");

    if (method->call.rpc.output->n_fields == 0) {
        ngx_str_null(&body);
        return ngx_im_reply_send(r, NGX_HTTP_NO_CONTENT, &type, &body);
    }

    cap = im_json_encode_max(reply, NULL);

    body.data = ngx_pnalloc(r->pool, cap);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.len = im_json_encode(reply, NULL, body.data, cap);

    if (body.len > cap) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "im_api: %s: reply of %uz bytes > %uz",
                      method->call.rpc.path, body.len, cap);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_im_reply_send(r, method->status, &type, &body);
}


static ngx_int_t
ngx_im_api_refuse(ngx_http_request_t *r, ngx_im_api_method_t *method,
    const im_rpc_status_t *status)
{
    im_str_t           text;
    ngx_str_t          detail;
    ngx_uint_t         level;
    const im_error_t  *error;
    ngx_im_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_im_api_module);

    error = ngx_im_method_error(status, &text);

    level = (error->http >= NGX_HTTP_INTERNAL_SERVER_ERROR) ? NGX_LOG_ERR
                                                            : NGX_LOG_INFO;

    ngx_im_log_error(level, r->connection->log,
                     "im_api: %s: %ui, %s, trace %s", method->call.rpc.path,
                     (ngx_uint_t) error->http, status->message, ctx->trace);

    detail.data = text.data;
    detail.len = text.len;

    return ngx_im_problem_send_error(r, error, &detail, status->retry_ms);
}
