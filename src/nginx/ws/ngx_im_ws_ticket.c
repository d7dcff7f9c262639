/*
 * ngx_im_ws_ticket.c -- a handshake with ?ticket=... asks Logic whose it is.
 *
 *     handler --> Redeem --> on_reply: 101 and take-over, or 401
 *                        \-> on_timer: 504
 *
 * The only handshake that waits.  As with a call of the API tier
 * (ngx_im_api_call.c) the request and the job have lives of their own: the
 * job is freed by the last event of its call, whoever ends first.  A ticket is
 * gone once Logic has seen it, so nothing is tried twice; but a worker that
 * does not know any instance yet waits for the first listing before it asks.
 */

#include "ngx_im_ws_door.h"
#include "ngx_im_method.h"
#include "ngx_im_problem.h"
#include "ngx_im_worker.h"

#include "im_timeouts.h"
#include "logic.pb-c.h"


#define NGX_IM_WS_TICKET_WAIT      10    /* ms from one look to the next */
#define NGX_IM_WS_TICKET_WAIT_MAX  2000  /* ms in all */


typedef struct {
    ngx_http_request_t       *request;   /* NULL: nobody waits any more */
    ngx_http_cleanup_t       *cleanup;
    const ngx_im_ws_shake_t  *shake;
    const ngx_str_t          *ticket;
    im_disc_call_t           *rpc;       /* NULL before start and after end */
    ngx_msec_t                until;     /* for the first listing */
    ngx_event_t               timer;
} ngx_im_ws_redeem_t;


static ngx_int_t ngx_im_ws_ticket_ask(ngx_im_ws_redeem_t *job);
static int ngx_im_ws_ticket_call(ngx_im_ws_redeem_t *job, char *ticket,
    ngx_msec_t timeout);
static void ngx_im_ws_ticket_on_reply(void *data,
    const im_rpc_status_t *status, const ProtobufCMessage *reply);
static ngx_int_t ngx_im_ws_ticket_take(im_jwt_claims_t *claims,
    const Im__RedeemReply *reply);
static ngx_int_t ngx_im_ws_ticket_refuse(ngx_http_request_t *r,
    const im_rpc_status_t *status);
static void ngx_im_ws_ticket_on_timer(ngx_event_t *ev);
static void ngx_im_ws_ticket_detach(void *data);
static ngx_http_request_t *ngx_im_ws_ticket_release(ngx_im_ws_redeem_t *job);
static void ngx_im_ws_ticket_end(ngx_http_request_t *r, ngx_int_t rc);


static ngx_im_method_t  ngx_im_ws_ticket_method;


ngx_int_t
ngx_im_ws_ticket_init(void)
{
    return ngx_im_method_find(&ngx_im_ws_ticket_method, "Redeem") == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_im_ws_ticket_redeem(ngx_http_request_t *r, const ngx_str_t *ticket,
    const ngx_im_ws_shake_t *shake)
{
    ngx_int_t            rc;
    ngx_http_cleanup_t  *cln;
    ngx_im_ws_redeem_t  *job;

    if (!ngx_im_worker_serves() || ngx_exiting || ngx_terminate) {
        return ngx_im_problem_unserved(r);     /* and the ticket is kept */
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job = ngx_calloc(sizeof(ngx_im_ws_redeem_t), r->connection->log);
    if (job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job->request = r;
    job->cleanup = cln;
    job->shake = shake;
    job->ticket = ticket;
    job->until = ngx_current_msec + NGX_IM_WS_TICKET_WAIT_MAX;
    job->timer.data = job;
    job->timer.handler = ngx_im_ws_ticket_on_timer;
    job->timer.log = r->connection->log;

    cln->handler = ngx_im_ws_ticket_detach;
    cln->data = job;

    rc = ngx_im_ws_ticket_ask(job);

    if (rc != NGX_DONE) {
        return rc;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


/* NGX_DONE: continues in ngx_im_ws_ticket_on_reply(), _on_timer() or
 * _detach().  Else the job is gone. */
static ngx_int_t
ngx_im_ws_ticket_ask(ngx_im_ws_redeem_t *job)
{
    char                  *text;
    im_disc_t             *disc;
    ngx_msec_t             wait;
    ngx_http_request_t    *r;
    ngx_im_ws_loc_conf_t  *wlcf;

    static const ngx_str_t  detail =
        ngx_string("no instance of the service can take this now");

    r = job->request;
    disc = ngx_im_disc();

    if (ngx_exiting || ngx_terminate) {
        (void) ngx_im_ws_ticket_release(job);
        ngx_free(job);

        return ngx_im_problem_unserved(r);     /* and the ticket is kept */
    }

    if (disc != NULL && !im_disc_ready(disc)
        && (ngx_msec_int_t) (job->until - ngx_current_msec) > 0)
    {
        ngx_add_timer(&job->timer, NGX_IM_WS_TICKET_WAIT);
        return NGX_DONE;
    }

    wlcf = ngx_http_get_module_loc_conf(r, ngx_im_ws_module);
    text = ngx_pnalloc(r->pool, job->ticket->len + 1);

    if (text != NULL && disc != NULL) {
        *ngx_cpymem(text, job->ticket->data, job->ticket->len) = '\0';

        if (ngx_im_ws_ticket_call(job, text, wlcf->auth_timeout) == IM_OK) {
            ngx_add_timer(&job->timer, wlcf->auth_timeout);
            r->connection->log->action = "waiting for im-logic";
            return NGX_DONE;
        }
    }

    wait = (disc == NULL) ? IM_RETRY_MS
           : im_disc_wait_ms(disc, "logic", ngx_im_ws_ticket_method.class);

    (void) ngx_im_ws_ticket_release(job);
    ngx_free(job);

    return ngx_im_problem_send_error(r, im_error_find("unavailable", 11),
                                     &detail, wait);
}


static int
ngx_im_ws_ticket_call(ngx_im_ws_redeem_t *job, char *ticket,
    ngx_msec_t timeout)
{
    Im__RedeemRequest     request = IM__REDEEM_REQUEST__INIT;
    im_disc_call_conf_t   conf;

    request.ticket = ticket;

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = ngx_im_ws_ticket_method.policy;
    conf.class = ngx_im_ws_ticket_method.class;
    conf.idempotent = ngx_im_ws_ticket_method.idempotent;
    conf.timeout_ms = (unsigned) timeout;
    conf.trace = "ws-ticket";

    return im_disc_call(ngx_im_disc(), "logic", &ngx_im_ws_ticket_method.rpc,
                        &request.base, &conf, ngx_im_ws_ticket_on_reply, job,
                        &job->rpc);
}


static void
ngx_im_ws_ticket_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    ngx_int_t                 rc;
    im_jwt_claims_t           claims;
    ngx_im_ws_redeem_t       *job = data;
    ngx_http_request_t       *r;
    const ngx_im_ws_shake_t  *shake;

    job->rpc = NULL;
    shake = job->shake;
    r = ngx_im_ws_ticket_release(job);

    ngx_free(job);

    if (r == NULL) {
        return;
    }

    ngx_http_set_log_request(r->connection->log, r);

    if (reply == NULL) {
        rc = ngx_im_ws_ticket_refuse(r, status);

    } else if (ngx_im_ws_ticket_take(&claims, (const Im__RedeemReply *) reply)
               != NGX_OK)
    {
        rc = ngx_im_problem_send(r, "internal", NULL);

    } else {
        rc = ngx_im_ws_accept(r, &claims, shake);
    }

    ngx_im_ws_ticket_end(r, rc);
}


static ngx_int_t
ngx_im_ws_ticket_take(im_jwt_claims_t *claims, const Im__RedeemReply *reply)
{
    if (reply->uid == 0 || ngx_strlen(reply->sid) != IM_SID_LEN
        || ngx_strlen(reply->device) > IM_DEVICE_MAX)
    {
        return NGX_ERROR;
    }

    ngx_memzero(claims, sizeof(im_jwt_claims_t));
    claims->uid = reply->uid;
    ngx_memcpy(claims->sid, reply->sid, IM_SID_LEN);
    ngx_memcpy(claims->device, reply->device, ngx_strlen(reply->device));

    return NGX_OK;
}


static ngx_int_t
ngx_im_ws_ticket_refuse(ngx_http_request_t *r, const im_rpc_status_t *status)
{
    im_str_t           text;
    ngx_str_t          detail;
    ngx_uint_t         level;
    const im_error_t  *error;

    error = ngx_im_method_error(status, &text);

    level = (error->http >= NGX_HTTP_INTERNAL_SERVER_ERROR) ? NGX_LOG_ERR
                                                            : NGX_LOG_INFO;

    ngx_im_log_error(level, r->connection->log, "ws: ticket refused: %ui, %s",
                     (ngx_uint_t) error->http, status->message);

    detail.data = text.data;
    detail.len = text.len;

    return ngx_im_problem_send_error(r, error, &detail, status->retry_ms);
}


static void
ngx_im_ws_ticket_on_timer(ngx_event_t *ev)
{
    ngx_int_t            rc;
    im_disc_call_t      *rpc;
    im_rpc_status_t      status;
    ngx_http_request_t  *r;
    ngx_im_ws_redeem_t  *job = ev->data;

    r = job->request;
    rpc = job->rpc;

    ngx_http_set_log_request(r->connection->log, r);

    if (rpc == NULL) {
        rc = ngx_im_ws_ticket_ask(job);

        if (rc != NGX_DONE) {
            ngx_im_ws_ticket_end(r, rc);
        }

        return;
    }

    ngx_memzero(&status, sizeof(im_rpc_status_t));
    status.code = IM_RPC_DEADLINE_EXCEEDED;
    status.message = "no answer in time";

    (void) ngx_im_ws_ticket_release(job);
    im_disc_call_cancel(rpc);          /* job is freed by its last event */

    ngx_im_ws_ticket_end(r, ngx_im_ws_ticket_refuse(r, &status));
}


/* The request dies before the reply. */
static void
ngx_im_ws_ticket_detach(void *data)
{
    im_disc_call_t      *rpc;
    ngx_im_ws_redeem_t  *job = data;

    rpc = job->rpc;
    (void) ngx_im_ws_ticket_release(job);

    if (rpc == NULL) {
        ngx_free(job);
        return;
    }

    im_disc_call_cancel(rpc);          /* job is freed by its last event */
}


static ngx_http_request_t *
ngx_im_ws_ticket_release(ngx_im_ws_redeem_t *job)
{
    ngx_http_request_t  *r;

    r = job->request;

    if (r != NULL) {
        job->cleanup->handler = NULL;
        job->cleanup = NULL;
        job->request = NULL;
    }

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    return r;
}


static void
ngx_im_ws_ticket_end(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}
