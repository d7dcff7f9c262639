/*
 * ngx_im_answers.c -- the recipients of what a Logic sends by its link.
 *
 * An answer goes to the connection that asked, if it is still there, or to the
 * room that reported.  What a Logic reported while a link was broken is lost:
 * so a second later all connections are announced again; and whenever a link
 * opens or ends, presence and the counts of rooms are asked for.
 */

#include "ngx_im_connect.h"
#include "ngx_im_presence.h"
#include "ngx_im_reports.h"
#include "ngx_im_ws_out.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_session.h"


#define NGX_IM_ANSWERS_AGAIN     1000  /* then what was missed is asked for */
#define NGX_IM_ANSWERS_PRESENCE  250   /* the same, of presence */


static void ngx_im_answers_on_answer(const im_outbox_info_t *info,
    const Im__DownItem *item);
static void ngx_im_answers_on_refused(const im_outbox_info_t *info,
    const char *cmid, const char *code);
static void ngx_im_answers_on_missed(void);
static void ngx_im_answers_on_moved(void);


const ngx_im_link_handler_t  ngx_im_answers = {
    .answered = ngx_im_answers_on_answer,
    .refused = ngx_im_answers_on_refused,
    .notified = ngx_im_notified,
    .missed = ngx_im_answers_on_missed,
    .moved = ngx_im_answers_on_moved
};


static void
ngx_im_answers_on_answer(const im_outbox_info_t *info,
    const Im__DownItem *item)
{
    Im__Frame     frame = IM__FRAME__INIT;
    ngx_im_ws_t  *ws;

    if (info->kind == IM__UP_ITEM__ITEM_REPORT) {
        ngx_im_reports_on_answer(info->conn, item->ref,
                                 item->item_case
                                 == IM__DOWN_ITEM__ITEM_CLOSED);
        return;
    }

    ws = ngx_im_ws_by_id(info->conn);

    if (ws == NULL) {
        return;                        /* it has closed meanwhile */
    }

    if (info->kind == IM__UP_ITEM__ITEM_SEND) {
        ngx_im_ws_answered(ws, info->body);
    }

    switch (item->item_case) {

    case IM__DOWN_ITEM__ITEM_OPENED:
        ngx_im_ws_on_opened(ws, item->opened, (ngx_msec_t) info->added_ms);
        break;

    case IM__DOWN_ITEM__ITEM_ACK:
        frame.frame_case = IM__FRAME__FRAME_ACK;
        frame.ack = item->ack;
        ngx_im_ws_send_frame(ws, &frame);
        break;

    case IM__DOWN_ITEM__ITEM_ERROR:
        if (info->kind == IM__UP_ITEM__ITEM_OPEN) {
            ngx_im_ws_on_not_opened(ws, item->error);

        } else {
            ngx_im_ws_on_error(ws, item->error);
        }

        break;

    default:
        break;                         /* closed; or of a newer Logic */
    }
}


/* An Open and a report are sent again; a Close has no recipient any more. */
static void
ngx_im_answers_on_refused(const im_outbox_info_t *info, const char *cmid,
    const char *code)
{
    Im__Error     error = IM__ERROR__INIT;
    ngx_im_ws_t  *ws;

    if (info->kind == IM__UP_ITEM__ITEM_REPORT) {
        ngx_im_reports_on_answer(info->conn, 0, 0);
        return;
    }

    ws = ngx_im_ws_by_id(info->conn);

    if (ws == NULL) {
        return;
    }

    if (info->kind == IM__UP_ITEM__ITEM_SEND) {
        ngx_im_ws_answered(ws, info->body);
        ngx_im_ws_send_error(ws, code, "Logic has not answered", cmid);

    } else if (info->kind == IM__UP_ITEM__ITEM_OPEN) {
        error.retryable = 1;
        ngx_im_ws_on_not_opened(ws, &error);
    }
}


static void
ngx_im_answers_on_missed(void)
{
    ngx_im_ws_announce_all(NGX_IM_ANSWERS_AGAIN);
}


static void
ngx_im_answers_on_moved(void)
{
    ngx_im_presence_refresh(NGX_IM_ANSWERS_PRESENCE);
    ngx_im_reports_moved();
}
