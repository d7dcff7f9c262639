/*
 * ngx_im_ws_query.c -- a question of a client becomes a call of Logic.
 *
 *     frame --> im_client: message, method --> im_disc_call --> Logic
 *     frame <-- im_client: reply frame, id <-- on_reply     <--
 *
 * The call may outlive the connection, so it owns what it needs and finds the
 * connection by its id when the reply is there; one for a connection that has
 * closed is dropped.  It needs no timer of ours: a call always ends, by its
 * deadline at the latest.
 *
 * A client may have a few questions under way, whose answers may come in
 * another order; it tells them apart by the id that it gave them.
 */

#include "ngx_im_ws.h"
#include "ngx_im_method.h"
#include "im_timeouts.h"


#define NGX_IM_WS_QUESTIONS  4         /* of a connection, under way */


typedef struct {
    uint64_t                     conn;
    uint64_t                     id;
    const im_client_question_t  *question;
} ngx_im_ws_query_t;


static int ngx_im_ws_query_call(ngx_im_ws_t *ws, const im_client_frame_t *f,
    const ngx_im_method_t *method);
static void ngx_im_ws_query_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static void ngx_im_ws_query_answer(ngx_im_ws_t *ws,
    const ngx_im_ws_query_t *query, ProtobufCMessage *reply);
static void ngx_im_ws_query_failed(ngx_im_ws_t *ws,
    const ngx_im_ws_query_t *query, const im_rpc_status_t *status);
static void ngx_im_ws_query_refuse(ngx_im_ws_t *ws, uint64_t id,
    const char *code, const char *text, ngx_msec_t wait);


/* In the order of im_client_questions. */
static ngx_im_method_t  ngx_im_ws_methods[IM_CLIENT_QUESTIONS];


ngx_int_t
ngx_im_ws_query_init(void)
{
    ngx_uint_t  i;

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        if (ngx_im_method_find(&ngx_im_ws_methods[i],
                               im_client_questions[i].method)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_im_ws_query(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    int               rc;
    ngx_msec_t        wait;
    ngx_im_method_t  *method;

    if (ws->questions == NGX_IM_WS_QUESTIONS) {
        ngx_im_ws_query_refuse(ws, f->id, "busy", "too many questions are "
                               "under way", 0);
        return;
    }

    method = &ngx_im_ws_methods[f->question - im_client_questions];

    rc = ngx_im_ws_query_call(ws, f, method);

    if (rc != IM_OK) {
        wait = (rc == IM_DECLINED && ngx_im_disc() != NULL)
               ? im_disc_wait_ms(ngx_im_disc(), "logic", method->class) : 0;

        ngx_im_ws_query_refuse(ws, f->id, "unavailable", "no Logic can take "
                               "this now", wait);
    }
}


/* Continues in ngx_im_ws_query_on_reply(). */
static int
ngx_im_ws_query_call(ngx_im_ws_t *ws, const im_client_frame_t *f,
    const ngx_im_method_t *method)
{
    int                   rc;
    u_char                trace[IM_RPC_TRACE_MAX + 1];
    Im__Caller            caller = IM__CALLER__INIT;
    im_disc_call_t       *call;
    ngx_im_ws_query_t    *query;
    im_disc_call_conf_t   conf;

    if (ngx_im_disc() == NULL) {
        return IM_DECLINED;
    }

    query = ngx_alloc(sizeof(ngx_im_ws_query_t), ws->connection->log);
    if (query == NULL) {
        return IM_ERROR;
    }

    query->conn = ws->id;
    query->id = f->id;
    query->question = f->question;

    if (method->caller != NULL) {
        caller.uid = ws->uid;
        caller.sid = ws->sid;
        caller.device = ws->device;
        *(Im__Caller **) ((u_char *) f->message + method->caller->offset)
            = &caller;
    }

    *ngx_snprintf(trace, IM_RPC_TRACE_MAX, "ws-%uL", ws->id) = '\0';

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = method->policy;
    conf.class = method->class;
    conf.timeout_ms = IM_WS_QUESTION_MS;
    conf.trace = (char *) trace;
    conf.idempotent = method->idempotent;

    rc = im_disc_call(ngx_im_disc(), "logic", &method->rpc, f->message, &conf,
                      ngx_im_ws_query_on_reply, query, &call);
    if (rc != IM_OK) {
        ngx_free(query);
        return rc;
    }

    ws->questions++;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "ws %uL: asks %s", ws->id, f->question->type);

    return IM_OK;
}


static void
ngx_im_ws_query_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    ngx_im_ws_query_t *query = data;

    ngx_im_ws_t  *ws;

    ws = ngx_im_ws_by_id(query->conn);

    if (ws != NULL) {
        ws->questions--;

        if (reply != NULL) {
            /* unpacked for this call alone: the id may be written */
            ngx_im_ws_query_answer(ws, query, (ProtobufCMessage *) reply);

        } else {
            ngx_im_ws_query_failed(ws, query, status);
        }
    }

    ngx_free(query);
}


static void
ngx_im_ws_query_answer(ngx_im_ws_t *ws, const ngx_im_ws_query_t *query,
    ProtobufCMessage *reply)
{
    Im__Frame  frame;

    im_client_answer(&frame, query->question, query->id, reply);

    switch (ngx_im_ws_send_answer(ws, &frame)) {

    case IM_BUSY:
        ngx_im_ws_query_refuse(ws, query->id, "busy", "the answer does not "
                               "fit behind what you have not read yet", 0);
        break;

    case IM_DECLINED:
        ngx_im_ws_query_refuse(ws, query->id, "too_large", "the answer is "
                               "too long for one frame: ask with a smaller "
                               "limit", 0);
        break;

    default:
        break;
    }
}


static void
ngx_im_ws_query_failed(ngx_im_ws_t *ws, const ngx_im_ws_query_t *query,
    const im_rpc_status_t *status)
{
    im_str_t           text;
    ngx_uint_t         level;
    const im_error_t  *error;

    error = ngx_im_method_error(status, &text);

    level = (error->http >= NGX_HTTP_INTERNAL_SERVER_ERROR) ? NGX_LOG_ERR
                                                            : NGX_LOG_INFO;

    ngx_log_error(level, ws->connection->log, 0, "ws %uL: %s: %s, %s", ws->id,
                  query->question->type, error->code, status->message);

    /* a status ends with a NUL, so does the part that people read */

    ngx_im_ws_query_refuse(ws, query->id, error->code,
                           text.len ? (char *) text.data : error->title, 0);
}


static void
ngx_im_ws_query_refuse(ngx_im_ws_t *ws, uint64_t id, const char *code,
    const char *text, ngx_msec_t wait)
{
    Im__Error  error = IM__ERROR__INIT;

    error.code = (char *) code;
    error.message = (char *) text;
    error.id = id;
    error.retry_after_ms = (uint32_t) wait;

    ngx_im_ws_send_refusal(ws, &error);
}
