/*
 * ngx_im_notified.c -- what a Logic reports to a worker by itself.
 *
 * A report goes to all workers, or to those that it concerns, and may come more
 * than once.  None of them is the only source of what it reports: what is lost
 * with a link is read again when connections are announced again
 * (ngx_im_answers.c).
 */

#include "ngx_im_connect.h"
#include "ngx_im_auth.h"
#include "ngx_im_members.h"
#include "ngx_im_presence.h"
#include "ngx_im_reports.h"
#include "ngx_im_users.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_out.h"


static void ngx_im_notified_announce(const Im__Announce *announce);
static void ngx_im_notified_end(const Im__End *end);
static void ngx_im_notified_kick(ngx_im_ws_t *ws, const Im__End *end,
    unsigned code);


void
ngx_im_notified(const Im__DownItem *item)
{
    switch (item->item_case) {

    case IM__DOWN_ITEM__ITEM_END:
        ngx_im_notified_end(item->end);
        break;

    case IM__DOWN_ITEM__ITEM_MEMBERSHIP:
        ngx_im_members_on_membership(item->membership);
        break;

    case IM__DOWN_ITEM__ITEM_ROOM_EVENT:
        ngx_im_rooms_on_event(item->room_event);
        break;

    case IM__DOWN_ITEM__ITEM_ANNOUNCE:
        ngx_im_notified_announce(item->announce);
        break;

    case IM__DOWN_ITEM__ITEM_PRESENCE:
        ngx_im_presence_on_event(item->presence);
        break;

    case IM__DOWN_ITEM__ITEM_REVOKED:
        ngx_im_revoked_add(item->revoked);
        break;

    default:
        break;                         /* of a newer Logic */
    }
}


/* Each Logic sends it when a link opens, and when there is another epoch.  Only
 * a worker that knew an earlier epoch has lost something. */
static void
ngx_im_notified_announce(const Im__Announce *announce)
{
    int              lost;
    static uint64_t  epoch;

    if (announce->epoch == epoch) {
        return;
    }

    lost = (epoch != 0);
    epoch = announce->epoch;

    if (lost) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "im: presence was lost (epoch %uL): all connections "
                      "are announced again", epoch);

        /* messages since the loss have found no route */
        ngx_im_ws_sync_all();
        ngx_im_presence_lost();

    } else {
        ngx_im_ws_announce_all(1);
        ngx_im_presence_refresh(1);
    }

    ngx_im_reports_all();
}


/* A session was ended: its live connections get the reason, and close. */
static void
ngx_im_notified_end(const Im__End *end)
{
    ngx_im_ws_t  *ws, *next;

    if (end->conn != 0) {
        /* another device took its place, maybe before it was open */
        ws = ngx_im_ws_by_id(end->conn);

        if (ws != NULL && ws->sub.uid == end->uid) {
            ngx_im_notified_kick(ws, end, IM_CLOSE_REPLACED);
        }

        return;
    }

    for (ws = ngx_im_users_find(end->uid); ws != NULL; ws = next) {
        next = ws->user_next;

        if (end->sid[0] == '\0' || ngx_strcmp(end->sid, ws->sid) == 0) {
            ngx_im_notified_kick(ws, end, IM_CLOSE_KICKED);
        }
    }
}


static void
ngx_im_notified_kick(ngx_im_ws_t *ws, const Im__End *end, unsigned code)
{
    Im__Kick   kick = IM__KICK__INIT;
    Im__Frame  frame = IM__FRAME__INIT;

    kick.code = end->code;
    kick.message = end->message;
    frame.frame_case = IM__FRAME__FRAME_KICK;
    frame.kick = &kick;

    ngx_im_ws_send_frame(ws, &frame);
    ngx_im_ws_close(ws, code, end->code);
}
