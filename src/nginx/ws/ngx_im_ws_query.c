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
 * Some questions change what the worker itself knows: a join is in force before
 * its answer is sent, a live room is left without asking, and a subscription to
 * presence begins before Logic is asked.
 *
 * A client may have a few questions under way, whose answers may come in
 * another order; the id that it gave them tells them apart.
 */

#include "ngx_im_ws_session.h"
#include "ngx_im_members.h"
#include "ngx_im_method.h"
#include "ngx_im_presence.h"
#include "ngx_im_worker.h"
#include "ngx_im_ws_out.h"
#include "im_timeouts.h"


#define NGX_IM_WS_QUESTIONS  4         /* of a connection, under way */


typedef struct {
    uint64_t                     conn;
    uint64_t                     id;
    ngx_msec_t                   asked;
    const im_client_question_t  *question;
    ngx_im_presence_ask_t       *presence;     /* NULL: it is no presence_sub */
} ngx_im_ws_query_t;


static void ngx_im_ws_query_ask(ngx_im_ws_t *ws, const im_client_frame_t *f,
    ProtobufCMessage *message, ngx_im_presence_ask_t *presence);
static void ngx_im_ws_query_join(ngx_im_ws_t *ws, const im_client_frame_t *f);
static void ngx_im_ws_query_leave(ngx_im_ws_t *ws,
    const im_client_frame_t *f);
static void ngx_im_ws_query_presence(ngx_im_ws_t *ws,
    const im_client_frame_t *f);
static int ngx_im_ws_query_call(ngx_im_ws_t *ws, const im_client_frame_t *f,
    const ngx_im_method_t *method, ProtobufCMessage *message,
    ngx_im_presence_ask_t *presence);
static void ngx_im_ws_query_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static int ngx_im_ws_query_replied(ngx_im_ws_t *ws,
    const ngx_im_ws_query_t *query, ProtobufCMessage *reply);
static int ngx_im_ws_query_answer(ngx_im_ws_t *ws, uint64_t id,
    const im_client_question_t *question, ProtobufCMessage *reply);
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
            != NGX_OK
            || !(ngx_im_ws_methods[i].callers & IM_LOGIC_FRAME))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_im_ws_query(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    if (ws->questions == NGX_IM_WS_QUESTIONS) {
        ngx_im_ws_query_refuse(ws, f->id, "busy", "too many questions are "
                               "under way", 0);
        return;
    }

    switch (f->question->frame) {

    case IM__FRAME__FRAME_JOIN:
        ngx_im_ws_query_join(ws, f);
        break;

    case IM__FRAME__FRAME_LEAVE:
        ngx_im_ws_query_leave(ws, f);
        break;

    case IM__FRAME__FRAME_PRESENCE_SUB:
        ngx_im_ws_query_presence(ws, f);
        break;

    default:
        ngx_im_ws_query_ask(ws, f, f->message, NULL);
        break;
    }
}


uint64_t
ngx_im_ws_query_room(const im_client_frame_t *f)
{
    return ngx_im_method_room(&ngx_im_ws_methods[f->question
                                                 - im_client_questions],
                              f->message);
}


static void
ngx_im_ws_query_join(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    Im__RoomJoinRequest  *join;

    join = (Im__RoomJoinRequest *) f->message;

    if (ws->sub.n[IM_TOPIC_ROOM] >= ws->conf->rooms
        && !ngx_im_rooms_is_in(ws, join->room))
    {
        ngx_im_ws_query_refuse(ws, f->id, "limit_reached", "this connection "
                               "is in too many rooms", 0);
        return;
    }

    ngx_im_ws_query_ask(ws, f, f->message, NULL);
}


static void
ngx_im_ws_query_leave(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    Im__RoomLeaveReply     reply = IM__ROOM_LEAVE_REPLY__INIT;
    Im__RoomLeaveRequest  *leave;

    leave = (Im__RoomLeaveRequest *) f->message;

    if (!ngx_im_rooms_is_in_live(ws, leave->room)) {
        ngx_im_ws_query_ask(ws, f, f->message, NULL);
        return;
    }

    ngx_im_members_leave(ws, leave->room);

    reply.room = leave->room;
    (void) ngx_im_ws_query_answer(ws, f->id, f->question, &reply.base);
}


static void
ngx_im_ws_query_presence(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    const char             *code, *text;
    Im__PresenceReply       reply = IM__PRESENCE_REPLY__INIT;
    Im__PresenceRequest     request;
    ngx_im_presence_ask_t  *ask;

    switch (ngx_im_presence_subscribe(ws, (Im__PresenceSubscribe *) f->message,
                                      &request, &ask, &code, &text))
    {
    case IM_OK:
        ngx_im_ws_query_ask(ws, f, &request.base, ask);
        break;

    case IM_DONE:
        (void) ngx_im_ws_query_answer(ws, f->id, f->question, &reply.base);
        break;

    default:
        ngx_im_ws_query_refuse(ws, f->id, code, text, 0);
        break;
    }
}


static void
ngx_im_ws_query_ask(ngx_im_ws_t *ws, const im_client_frame_t *f,
    ProtobufCMessage *message, ngx_im_presence_ask_t *presence)
{
    int               rc;
    ngx_msec_t        wait;
    ngx_im_method_t  *method;

    method = &ngx_im_ws_methods[f->question - im_client_questions];

    rc = ngx_im_ws_query_call(ws, f, method, message, presence);

    if (rc != IM_OK) {
        ngx_im_presence_answered(ws, presence, 0);

        wait = (rc == IM_DECLINED && ngx_im_disc() != NULL)
               ? im_disc_wait_ms(ngx_im_disc(), "logic", method->class) : 0;

        ngx_im_ws_query_refuse(ws, f->id, "unavailable", "no Logic can take "
                               "this now", wait);
    }
}


/* Continues in ngx_im_ws_query_on_reply(). */
static int
ngx_im_ws_query_call(ngx_im_ws_t *ws, const im_client_frame_t *f,
    const ngx_im_method_t *method, ProtobufCMessage *message,
    ngx_im_presence_ask_t *presence)
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
    query->asked = ngx_current_msec;
    query->question = f->question;
    query->presence = presence;

    if (method->caller != NULL) {
        caller.uid = ws->sub.uid;
        caller.sid = ws->sid;
        caller.device = ws->device;
        *(Im__Caller **) ((u_char *) message + method->caller->offset)
            = &caller;
    }

    ngx_im_method_stamp(method, message, (char *) ngx_im_instance()->data,
                        ws->id);

    *ngx_snprintf(trace, IM_RPC_TRACE_MAX, "ws-%uL", ws->id) = '\0';

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = method->policy;
    conf.slot = ngx_im_method_slot(method, message, ws->sub.uid);
    conf.class = method->class;
    conf.timeout_ms = method->timeout_ms;
    conf.trace = (char *) trace;
    conf.idempotent = method->idempotent;

    rc = im_disc_call(ngx_im_disc(), "logic", &method->rpc, message, &conf,
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
    int                 rc;
    ngx_im_ws_t        *ws;
    ngx_im_ws_query_t  *query = data;

    rc = IM_ERROR;
    ws = ngx_im_ws_by_id(query->conn);

    if (ws != NULL) {
        ws->questions--;

        if (reply != NULL) {
            /* unpacked for this call alone: the id may be written */
            rc = ngx_im_ws_query_replied(ws, query,
                                         (ProtobufCMessage *) reply);

        } else {
            ngx_im_ws_query_failed(ws, query, status);
        }
    }

    /* it may have ended now */
    ngx_im_presence_answered(ngx_im_ws_by_id(query->conn), query->presence,
                             rc == IM_OK);
    ngx_free(query);
}


/* What Logic has permitted takes effect here before the client gets the answer.
 * IM_OK: it has the answer. */
static int
ngx_im_ws_query_replied(ngx_im_ws_t *ws, const ngx_im_ws_query_t *query,
    ProtobufCMessage *reply)
{
    int                  rc;
    Im__RoomJoinReply   *join;
    Im__RoomLeaveReply  *leave;

    if (ws->state != NGX_IM_WS_OPEN) {
        return IM_OK;                  /* it is closing */
    }

    switch (query->question->frame) {

    case IM__FRAME__FRAME_JOIN:
        join = (Im__RoomJoinReply *) reply;

        rc = ngx_im_members_on_join(ws, join, query->asked);

        if (rc == IM_AGAIN) {
            ngx_im_ws_query_refuse(ws, query->id, "unavailable", "the room "
                                   "has changed meanwhile", 0);
        }

        if (rc != IM_OK) {
            return IM_ERROR;
        }

        break;

    case IM__FRAME__FRAME_LEAVE:
        leave = (Im__RoomLeaveReply *) reply;
        ngx_im_members_leave(ws, leave->room);
        break;

    case IM__FRAME__FRAME_PRESENCE_SUB:
        ngx_im_presence_on_answer((Im__PresenceReply *) reply);
        break;

    default:
        break;
    }

    return ngx_im_ws_query_answer(ws, query->id, query->question, reply);
}


static int
ngx_im_ws_query_answer(ngx_im_ws_t *ws, uint64_t id,
    const im_client_question_t *question, ProtobufCMessage *reply)
{
    int        rc;
    Im__Frame  frame;

    im_client_answer(&frame, question, id, reply);

    rc = ngx_im_ws_send_answer(ws, &frame);

    switch (rc) {

    case IM_BUSY:
        ngx_im_ws_query_refuse(ws, id, "busy", "the answer does not "
                               "fit behind what you have not read yet", 0);
        break;

    case IM_DECLINED:
        ngx_im_ws_query_refuse(ws, id, "too_large", "the answer is "
                               "too long for one frame: ask with a smaller "
                               "limit", 0);
        break;

    default:
        break;
    }

    return rc;
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

    ngx_im_log_error(level, ws->connection->log, "ws %uL: %s: %s, %s", ws->id,
                     query->question->type, error->code, status->message);

    /* a status ends with a NUL, so does the part that people read */

    ngx_im_ws_query_refuse(ws, query->id, error->code,
                           text.len ? (char *) text.data : error->title,
                           status->retry_ms);
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
