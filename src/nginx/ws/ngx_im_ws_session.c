/*
 * ngx_im_ws_session.c -- the messages of a connection: log-in, sends, pings.
 *
 *     token in the handshake --+
 *                              +--> login: Open to Logic --> opened --> open
 *     auth frame --------------+         (again each 500 ms)
 *
 * The token is verified here; that its session still lives, only Logic knows.
 * auth_ok goes out when Logic has written the presence, so that from then on
 * a message for this user finds this connection.
 */

#include "ngx_im_ws_session.h"
#include "ngx_im_auth.h"
#include "ngx_im_link.h"
#include "ngx_im_members.h"
#include "ngx_im_users.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_out.h"
#include "im_error.h"
#include "im_slot.h"


#define NGX_IM_WS_LOGIN_RETRY_MS  100
#define NGX_IM_WS_AGAIN_LATER     1000  /* Logic could not do it */
#define NGX_IM_WS_MEM_STEP        4096


static void ngx_im_ws_session_frame(ngx_im_ws_t *ws, im_str_t *message);
static void ngx_im_ws_session_timer(ngx_im_ws_t *ws);
static void ngx_im_ws_session_end(ngx_im_ws_t *ws);
static void ngx_im_ws_login(ngx_im_ws_t *ws, const im_jwt_claims_t *claims);
static void ngx_im_ws_announce(ngx_im_ws_t *ws);
static void ngx_im_ws_not_decoded(ngx_im_ws_t *ws, im_client_frame_t *f);
static void ngx_im_ws_on_auth(ngx_im_ws_t *ws, const Im__Auth *auth);
static void ngx_im_ws_on_ping(ngx_im_ws_t *ws, const Im__Ping *ping);
static void ngx_im_ws_on_send(ngx_im_ws_t *ws, const Im__Send *send);
static void ngx_im_ws_check_silence(ngx_im_ws_t *ws);
static im_json_mem_t *ngx_im_ws_mem(size_t len);


const ngx_im_ws_talk_t  ngx_im_ws_session = {
    .message = ngx_im_ws_session_frame,
    .timer = ngx_im_ws_session_timer,
    .end = ngx_im_ws_session_end
};


void
ngx_im_ws_session_start(ngx_im_ws_t *ws, const im_jwt_claims_t *claims)
{
    if (claims != NULL) {
        ngx_im_ws_login(ws, claims);
        return;
    }

    ngx_im_ws_set_state(ws, NGX_IM_WS_AUTH);
    ngx_add_timer(ws->connection->read, ws->conf->auth_timeout);
}


static void
ngx_im_ws_login(ngx_im_ws_t *ws, const im_jwt_claims_t *claims)
{
    ws->login = ngx_alloc(sizeof(ngx_im_ws_login_t), ngx_cycle->log);
    if (ws->login == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    ws->sub.uid = claims->uid;
    ngx_memcpy(ws->sid, claims->sid, sizeof(ws->sid));
    ngx_memcpy(ws->device, claims->device, sizeof(ws->device));
    ws->login->deadline = ngx_current_msec + ws->conf->auth_timeout;
    ws->login->ref = 0;

    ngx_im_ws_set_state(ws, NGX_IM_WS_LOGIN);
    ngx_im_ws_announce(ws);
}


/* Asks Logic to open; the timer asks again, unless the question is still on
 * its way. */
static void
ngx_im_ws_announce(ngx_im_ws_t *ws)
{
    ngx_add_timer(ws->connection->read,
                  ngx_min(NGX_IM_WS_LOGIN_RETRY_MS, ws->conf->auth_timeout));

    if (ws->login->ref != 0 && ngx_im_link_waits(ws->login->ref)) {
        return;
    }

    if (ngx_im_ws_ask_open(ws, &ws->login->ref) == IM_OK) {
        ws->announced = 1;
    }
}

void
ngx_im_ws_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked)
{
    Im__AuthOk  ok = IM__AUTH_OK__INIT;
    Im__Frame   frame = IM__FRAME__INIT;

    if (ws->state == NGX_IM_WS_OPEN) {
        /* it was opened again */
        ngx_im_members_on_opened(ws, opened, asked, 1);

        if (ws->sync) {
            ws->sync = 0;
            ngx_im_ws_fall_behind(ws);
        }

        return;
    }

    if (ws->state != NGX_IM_WS_LOGIN) {
        return;
    }

    if (ngx_im_users_add(ws) != IM_OK) {
        ngx_im_ws_destroy(ws);
        return;
    }

    ngx_im_ws_set_state(ws, NGX_IM_WS_OPEN);
    ws->opened_ms = ngx_current_msec;

    ngx_im_members_on_opened(ws, opened, asked, 0);

    if (ws->state != NGX_IM_WS_OPEN) {
        return;                        /* out of memory */
    }

    ok.uid = ws->sub.uid;
    ok.device = ws->device;
    ok.time_ms = (uint64_t) ngx_cached_time->sec * 1000 + ngx_cached_time->msec;
    ok.ping_s = ws->conf->ping / 1000;
    ok.max_message = ws->conf->max_message;

    frame.frame_case = IM__FRAME__FRAME_AUTH_OK;
    frame.auth_ok = &ok;

    ngx_im_ws_send_frame(ws, &frame);

    ngx_free(ws->login);
    ws->login = NULL;

    ngx_add_timer(ws->connection->read, ws->draining ? 1 : ws->conf->ping);

    ngx_im_ws_resume(ws);
}


/* Of a log-in, or of a connection that was announced again. */
void
ngx_im_ws_on_not_opened(ngx_im_ws_t *ws, const Im__Error *error)
{
    Im__Kick   kick = IM__KICK__INIT;
    Im__Frame  frame = IM__FRAME__INIT;

    if (ws->state == NGX_IM_WS_LOGIN) {

        if (!error->retryable) {
            ngx_im_ws_on_error(ws, error);
            ngx_im_ws_close(ws, IM_CLOSE_AUTH, error->code);
        }

        return;                        /* else the timer asks again */
    }

    if (ws->state != NGX_IM_WS_OPEN) {
        return;
    }

    if (!error->retryable) {
        /* the session was ended while no Logic could reach this worker */
        kick.code = error->code;
        kick.message = error->message;
        frame.frame_case = IM__FRAME__FRAME_KICK;
        frame.kick = &kick;

        ngx_im_ws_send_frame(ws, &frame);
        ngx_im_ws_close(ws, IM_CLOSE_KICKED, error->code);
        return;
    }

    ngx_im_ws_announce_all(NGX_IM_WS_AGAIN_LATER);
}


void
ngx_im_ws_on_error(ngx_im_ws_t *ws, const Im__Error *error)
{
    Im__Frame  frame = IM__FRAME__INIT;

    frame.frame_case = IM__FRAME__FRAME_ERROR;
    frame.error = (Im__Error *) error;

    ngx_im_ws_send_frame(ws, &frame);
}


static void
ngx_im_ws_session_frame(ngx_im_ws_t *ws, im_str_t *message)
{
    im_json_mem_t      *mem;
    im_client_frame_t   f;

    mem = ngx_im_ws_mem(message->len);
    if (mem == NULL) {
        ngx_im_ws_destroy(ws);
        return;
    }

    if (im_client_decode(&f, ws->encoding, message, mem) != IM_OK) {

        if (ngx_im_ws_limit(ws, &f) == NGX_OK) {
            ngx_im_ws_not_decoded(ws, &f);
        }

        return;
    }

    if (ws->state == NGX_IM_WS_AUTH) {

        if (f.frame.frame_case != IM__FRAME__FRAME_AUTH) {
            ngx_im_ws_close(ws, IM_CLOSE_AUTH, "the first frame must be auth");
            return;
        }

        if (ngx_im_ws_limit(ws, &f) == NGX_OK) {
            ngx_im_ws_on_auth(ws, f.frame.auth);
        }

        return;
    }

    if (ngx_im_ws_limit(ws, &f) != NGX_OK) {
        return;
    }

    switch (f.frame.frame_case) {

    case IM__FRAME__FRAME_PING:
        ngx_im_ws_on_ping(ws, f.frame.ping);
        break;

    case IM__FRAME__FRAME_PONG:
        break;

    case IM__FRAME__FRAME_SEND:
        ngx_im_ws_on_send(ws, f.frame.send);
        break;

    case IM__FRAME__FRAME_AUTH:
        ngx_im_ws_send_error(ws, "bad_request",
                             "the connection is authenticated already", NULL);
        break;

    default:
        ngx_im_ws_query(ws, &f);
        break;
    }
}


static void
ngx_im_ws_not_decoded(ngx_im_ws_t *ws, im_client_frame_t *f)
{
    Im__Error  error = IM__ERROR__INIT;

    error.code = (char *) f->code;
    error.message = f->err.text;
    error.cmid = f->cmid;
    error.id = f->id;

    ngx_im_ws_send_refusal(ws, &error);

    if (ws->state == NGX_IM_WS_AUTH) {
        ngx_im_ws_close(ws, IM_CLOSE_AUTH, "the first frame must be auth");
    }
}


static void
ngx_im_ws_on_auth(ngx_im_ws_t *ws, const Im__Auth *auth)
{
    im_str_t             token;
    const char          *reason, *code;
    im_jwt_claims_t      claims;
    ngx_im_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle, NGX_IM_MODULE);

    token.data = (u_char *) auth->token;
    token.len = ngx_strlen(auth->token);

    if (im_jwt_verify(mcf->jwt_key, &token, ngx_time(), &claims, &reason)
        != IM_OK)
    {
        code = ngx_strcmp(reason, "expired") == 0 ? "token_expired"
                                                  : "unauthorized";
        ngx_im_ws_send_error(ws, code, reason, NULL);
        ngx_im_ws_close(ws, IM_CLOSE_AUTH, reason);
        return;
    }

    if (ngx_im_revoked(claims.sid)) {
        ngx_im_ws_send_error(ws, "session_revoked", "the session was ended",
                             NULL);
        ngx_im_ws_close(ws, IM_CLOSE_AUTH, "the session was ended");
        return;
    }

    ngx_im_ws_login(ws, &claims);
}


static void
ngx_im_ws_on_ping(ngx_im_ws_t *ws, const Im__Ping *ping)
{
    Im__Pong   pong = IM__PONG__INIT;
    Im__Frame  frame = IM__FRAME__INIT;

    pong.id = ping->id;
    frame.frame_case = IM__FRAME__FRAME_PONG;
    frame.pong = &pong;

    ngx_im_ws_send_frame(ws, &frame);
}


/* Hands a message to the Logic that owns its conversation. */
static void
ngx_im_ws_on_send(ngx_im_ws_t *ws, const Im__Send *send)
{
    int          rc;
    im_conv_t    conv;
    Im__UpItem   item = IM__UP_ITEM__INIT;
    Im__Deliver  deliver = IM__DELIVER__INIT;

    deliver.from = ws->sub.uid;
    deliver.to = send->to;
    deliver.room = send->room;
    deliver.cmid = send->cmid;
    deliver.body = send->body;

    item.conn = ws->id;
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &deliver;

    if (send->room != 0) {
        deliver.joined = ngx_im_rooms_is_in(ws, send->room);
        conv.a = 0;
        conv.b = send->room;

    } else {
        conv = im_conv_direct(ws->sub.uid, send->to);
    }

    rc = ngx_im_link_send(im_slot_of_conv(&conv), &item, NULL);

    if (rc == IM_OK) {
        ngx_im_ws_asked(ws, send->body.len);

    } else if (rc == IM_BUSY) {
        ngx_im_ws_send_error(ws, "busy", "the way to Logic is full",
                             send->cmid);

    } else {
        ngx_im_ws_send_error(ws, "unavailable", "no Logic can be reached",
                             send->cmid);
    }
}


static void
ngx_im_ws_session_timer(ngx_im_ws_t *ws)
{
    if (ws->state == NGX_IM_WS_CLOSING) {
        ngx_im_ws_destroy(ws);         /* the peer did not answer our Close */
        return;
    }

    if (ws->draining) {
        ngx_im_ws_close(ws, IM_CLOSE_DRAIN, "the server is leaving");
        return;
    }

    switch (ws->state) {

    case NGX_IM_WS_AUTH:
        ngx_im_ws_close(ws, IM_CLOSE_AUTH, "no auth frame in time");
        break;

    case NGX_IM_WS_LOGIN:
        if ((ngx_msec_int_t) (ngx_current_msec - ws->login->deadline) >= 0) {
            ngx_im_ws_close(ws, IM_CLOSE_UNAVAILABLE, "no answer of Logic");
            break;
        }

        ngx_im_ws_announce(ws);
        break;

    default:
        ngx_im_ws_check_silence(ws);
        break;
    }
}


static void
ngx_im_ws_check_silence(ngx_im_ws_t *ws)
{
    ngx_msec_t  silence;

    if (ws->held) {
        /* what it says is not read: that is no silence */
        ngx_add_timer(ws->connection->read, ws->conf->ping);
        return;
    }

    silence = (ngx_msec_t) ((uint32_t) ngx_time() - ws->heard_s) * 1000;

    if (silence >= ws->conf->idle) {
        ngx_im_ws_close(ws, IM_CLOSE_IDLE, "nothing heard");
        return;
    }

    if (silence < ws->conf->ping) {
        ngx_add_timer(ws->connection->read, ws->conf->ping - silence);
        return;
    }

    ngx_im_ws_send_control(ws, IM_FRAME_PING, NULL, 0);

    ngx_add_timer(ws->connection->read,
                  ngx_min(ws->conf->ping, ws->conf->idle - silence));
}


static void
ngx_im_ws_session_end(ngx_im_ws_t *ws)
{
    Im__Close   close = IM__CLOSE__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    im_topics_leave_all(ngx_im_topics, &ws->sub);

    if (ws->state == NGX_IM_WS_OPEN) {
        ngx_im_users_remove(ws);
        ngx_im_ws_set_state(ws, NGX_IM_WS_LOGIN);   /* in no table any more */
    }

    if (!ws->announced) {
        return;
    }

    ws->announced = 0;

    close.uid = ws->sub.uid;
    item.conn = ws->id;
    item.item_case = IM__UP_ITEM__ITEM_CLOSE;
    item.close = &close;

    /* lost with a Logic that is down: Task then finds nobody here, which is
     * what an offline user looks like */
    (void) ngx_im_link_send(im_slot_of_user(ws->sub.uid), &item, NULL);
}


/* Scratch memory for one message; the worker handles one at a time. */
static im_json_mem_t *
ngx_im_ws_mem(size_t len)
{
    u_char                *p;
    static u_char         *data;
    static size_t          cap, extra;
    static im_json_mem_t   mem;

    if (extra == 0) {
        extra = im_client_mem_extra();
    }

    len += extra;

    if (len > cap) {
        len = ngx_align(len, NGX_IM_WS_MEM_STEP);

        p = ngx_alloc(len, ngx_cycle->log);
        if (p == NULL) {
            return NULL;
        }

        ngx_free(data);
        data = p;
        cap = len;
    }

    mem.pos = data;
    mem.end = data + cap;

    return &mem;
}
