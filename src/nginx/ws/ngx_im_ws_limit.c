/*
 * ngx_im_ws_limit.c -- what `im_limit` makes of a frame.
 *
 * A frame that is refused gets an error; the connection stays.  One that is
 * delayed is handled at once, and the connection is not read for that time
 * instead: so nothing has to be kept, the order stays, and TCP slows the client
 * down.  What passes in any time is the same.
 */

#include "ngx_im_ws_session.h"
#include "ngx_im_ws_out.h"


static void ngx_im_ws_limit_event(ngx_im_ws_t *ws, const im_client_frame_t *f,
    ngx_im_limit_event_t *e);
static void ngx_im_ws_limit_refuse(ngx_im_ws_t *ws,
    const im_client_frame_t *f, const ngx_im_limit_verdict_t *v);


ngx_int_t
ngx_im_ws_limit(ngx_im_ws_t *ws, const im_client_frame_t *f)
{
    ngx_im_limit_event_t    e;
    ngx_im_limit_verdict_t  v;

    if (ws->limits->rules == NULL
        || f->frame.frame_case == IM__FRAME__FRAME_PONG)
    {
        return NGX_OK;
    }

    if (f->code != NULL && ws->state == NGX_IM_WS_AUTH) {
        return NGX_OK;                 /* it is closed */
    }

    ngx_im_ws_limit_event(ws, f, &e);
    ngx_im_limit(ws->limits, &e, &v);

    switch (v.status) {

    case NGX_IM_LIMIT_DELAYED:
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                       "ws %uL: zone \"%V\", not read for %M ms", ws->id,
                       v.zone, v.wait_ms);

        ngx_im_ws_hold_for(ws, v.wait_ms);
        return NGX_OK;

    case NGX_IM_LIMIT_REJECTED:
        ngx_im_ws_limit_refuse(ws, f, &v);
        return NGX_DECLINED;

    default:
        return NGX_OK;
    }
}


static void
ngx_im_ws_limit_event(ngx_im_ws_t *ws, const im_client_frame_t *f,
    ngx_im_limit_event_t *e)
{
    ngx_memzero(e, sizeof(ngx_im_limit_event_t));

    e->address = ws->address;
    e->connection = ws->connection->number;

    if (ws->state == NGX_IM_WS_OPEN) {
        e->uid = ws->sub.uid;
        e->sid = ws->sid;
    }

    if (f->code != NULL) {
        return;                        /* nobody knows what it was to be */
    }

    e->frame = f->frame.frame_case;

    if (e->frame == IM__FRAME__FRAME_SEND) {
        e->room = f->frame.send->room;

    } else if (f->question != NULL) {
        e->room = ngx_im_ws_query_room(f);
    }
}


static void
ngx_im_ws_limit_refuse(ngx_im_ws_t *ws, const im_client_frame_t *f,
    const ngx_im_limit_verdict_t *v)
{
    u_char     text[128];
    Im__Error  error = IM__ERROR__INIT;

    *ngx_snprintf(text, sizeof(text) - 1, "the limit \"%V\" is reached",
                  v->zone) = '\0';

    error.code = "rate_limited";
    error.message = (char *) text;
    error.id = f->id;
    error.retry_after_ms = (uint32_t) v->wait_ms;

    if (f->frame.frame_case == IM__FRAME__FRAME_SEND) {
        error.cmid = f->frame.send->cmid;

    } else if (f->frame.frame_case == IM__FRAME__FRAME_PING) {
        error.id = f->frame.ping->id;

    } else if (f->code != NULL) {
        error.cmid = (char *) f->cmid;
    }

    ngx_im_ws_send_refusal(ws, &error);
}
