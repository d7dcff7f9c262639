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
 * A worker accepts connections before etcd has told it who is there.  What
 * comes in these first milliseconds (after each reload) is held back until the
 * first listing, at most NGX_IM_API_WAIT_MAX, instead of being refused.
 */

#include "ngx_im_api.h"
#include "ngx_im_problem.h"


#define NGX_IM_API_WAIT      10    /* ms from one look to the next */
#define NGX_IM_API_WAIT_MAX  2000  /* ms in all */


typedef struct {
    ngx_http_request_t   *request;     /* NULL: nobody waits any more */
    ngx_http_cleanup_t   *cleanup;
    ngx_im_api_method_t  *method;
    im_rpc_call_t        *rpc;         /* NULL before start and after end */
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

    if (rc != NGX_AGAIN) {             /* else ngx_im_api_on_reply() ends it */
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_im_api_start(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    ngx_int_t   rc;
    im_disc_t  *disc;

    rc = ngx_im_api_fill(r, ctx);

    if (rc == NGX_DECLINED) {
        return ngx_im_problem_send(r, ctx->code, "%s", ctx->err.text);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    disc = ngx_im_disc();

    if (disc != NULL && !im_disc_ready(disc)) {
        return ngx_im_api_wait(r, ctx);
    }

    return ngx_im_api_send(r, ctx);
}


/* Continues in ngx_im_api_on_wait(). */

static ngx_int_t
ngx_im_api_wait(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_im_api_unwait;
    cln->data = ctx;

    ctx->wait.data = r;
    ctx->wait.handler = ngx_im_api_on_wait;
    ctx->wait.log = r->connection->log;
    ctx->wait_until = ngx_current_msec + NGX_IM_API_WAIT_MAX;

    ngx_add_timer(&ctx->wait, NGX_IM_API_WAIT);

    if (r == r->main) {
        r->read_event_handler = ngx_http_test_reading;
    }

    return NGX_AGAIN;
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

    if (rc != NGX_AGAIN) {
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
    im_disc_t              *disc;
    ngx_im_api_job_t       *job;
    ngx_http_cleanup_t     *cln;
    im_disc_instance_t     *logic;
    ngx_im_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_im_api_module);

    disc = ngx_im_disc();
    logic = (disc != NULL) ? im_disc_pick(disc, "logic", ctx->slot) : NULL;

    if (logic == NULL) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "im_api: %s: no instance of logic is known",
                      ctx->method->rpc.path);

        return ngx_im_problem_send(r, "unavailable",
                                   "no instance of the service is up");
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job = ngx_calloc(sizeof(ngx_im_api_job_t), r->connection->log);
    if (job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job->method = ctx->method;
    job->rpc = im_rpc_call(logic->channel, &ctx->method->rpc, ctx->message,
                           (unsigned) alcf->timeout, ngx_im_api_on_reply, job);

    if (job->rpc == NULL) {
        ngx_free(job);
        return ngx_im_problem_send(r, "unavailable", NULL);
    }

    job->request = r;
    job->cleanup = cln;

    cln->handler = ngx_im_api_detach;
    cln->data = job;

    job->deadline.data = job;
    job->deadline.handler = ngx_im_api_on_deadline;
    job->deadline.log = r->connection->log;
    ngx_add_timer(&job->deadline, alcf->timeout);

    if (r == r->main) {
        r->read_event_handler = ngx_http_test_reading;
    }

    r->connection->log->action = "waiting for im-logic";

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "im_api: %s -> %s", job->method->rpc.path, logic->address);

    return NGX_AGAIN;
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
    im_rpc_call_t       *rpc;
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

    im_rpc_call_cancel(rpc);           /* job is freed by its last event */

    ngx_http_run_posted_requests(c);
}


/* The request dies before the reply. */

static void
ngx_im_api_detach(void *data)
{
    ngx_im_api_job_t *job = data;

    ngx_im_api_release(job);

    im_rpc_call_cancel(job->rpc);      /* job is freed by its last event */
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

    if (method->rpc.output->n_fields == 0) {
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
                      method->rpc.path, body.len, cap);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_im_reply_send(r, method->status, &type, &body);
}


static ngx_int_t
ngx_im_api_refuse(ngx_http_request_t *r, ngx_im_api_method_t *method,
    const im_rpc_status_t *status)
{
    int                code;
    im_str_t           text;
    ngx_str_t          detail;
    ngx_uint_t         level;
    const im_error_t  *error;

    /* the rpc runtime is stopping: as good as a Logic that went away */
    code = (status->code == IM_RPC_CANCELLED) ? IM_RPC_UNAVAILABLE
                                              : status->code;

    error = im_error_from_status(code, status->message, &text);

    level = (error->http >= NGX_HTTP_INTERNAL_SERVER_ERROR) ? NGX_LOG_ERR
                                                            : NGX_LOG_INFO;

    ngx_log_error(level, r->connection->log, 0, "im_api: %s: %ui, %s",
                  method->rpc.path, (ngx_uint_t) error->http, status->message);

    ngx_str_null(&detail);

    /* what the transport says is for the log, not for clients */

    if (status->answered && error->http != NGX_HTTP_INTERNAL_SERVER_ERROR) {
        detail.data = text.data;
        detail.len = text.len;
    }

    return ngx_im_problem_send_error(r, error, &detail);
}
