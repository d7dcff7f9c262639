/*
 * ngx_im_ws_reannounce.c -- announces all connections of this worker to Logic
 * once more.
 *
 *     announce_all ----------------+--> walk, 200 each 20 ms --> Open
 *     sync_all --------------------+
 *     sync_later --5 s after one---+
 *
 * Logic and Redis may have lost what they knew of them; an Open of each brings
 * it back.  If pushes may be missing, too, each connection gets sync_needed
 * after the answer to its Open: messages after that sync find its route.
 */

#include "ngx_im_ws_reannounce.h"
#include "ngx_im_link.h"
#include "ngx_im_users.h"
#include "im_slot.h"


#define NGX_IM_WS_REANNOUNCE_MAX  200   /* opened again in one portion */
#define NGX_IM_WS_REANNOUNCE_MS   20    /* between two portions */
#define NGX_IM_WS_SYNC_PAUSE      5000  /* from one sync of all to the next */


static void ngx_im_ws_sync_once_more(void);
static void ngx_im_ws_on_sync(ngx_event_t *ev);
static void ngx_im_ws_timer_init(ngx_event_t *ev, ngx_event_handler_pt fn);
static void ngx_im_ws_reannounce_in(ngx_msec_t ms);
static void ngx_im_ws_on_reannounce(ngx_event_t *ev);
static int ngx_im_ws_reannounce(ngx_im_ws_t *ws);


static ngx_event_t          ngx_im_ws_reannounce_event;
static ngx_event_t          ngx_im_ws_sync_event;    /* the next sync of all */
static ngx_connection_t     ngx_im_ws_reannounce_nobody;  /* for debug lines */
static ngx_im_users_walk_t  ngx_im_ws_reannounce_walk;
static ngx_uint_t           ngx_im_ws_reannounce_sync;    /* sync_needed */
static ngx_uint_t           ngx_im_ws_sync_more;     /* and once more */
static ngx_msec_t           ngx_im_ws_sync_from;     /* the next one */


void
ngx_im_ws_announce_all(ngx_msec_t in_ms)
{
    ngx_im_ws_reannounce_in(in_ms);
}


void
ngx_im_ws_sync_all(void)
{
    ngx_im_ws_reannounce_sync = 1;
    ngx_im_ws_sync_more = 0;           /* this one is for all that was missed */
    ngx_im_ws_sync_from = ngx_current_msec + NGX_IM_WS_SYNC_PAUSE;

    ngx_im_ws_reannounce_in(1);
}


/* A worker that is too slow for its messages is notified several times a second
 * that it missed some.  If each time began the walk anew, the first connections
 * would get sync_needed again and again, and the last ones never. */
void
ngx_im_ws_sync_later(void)
{
    ngx_im_ws_sync_more = 1;

    if (!ngx_im_ws_reannounce_sync) {
        ngx_im_ws_sync_once_more();    /* else when all have been met */
    }
}


/* No sync is under way.  Now, or when the pause is over. */
static void
ngx_im_ws_sync_once_more(void)
{
    ngx_msec_int_t  left;

    left = (ngx_im_ws_sync_from == 0) ? 0
           : (ngx_msec_int_t) (ngx_im_ws_sync_from - ngx_current_msec);

    if (left <= 0) {
        ngx_im_ws_sync_all();
        return;
    }

    if (!ngx_im_ws_sync_event.timer_set) {
        ngx_im_ws_timer_init(&ngx_im_ws_sync_event, ngx_im_ws_on_sync);
        ngx_add_timer(&ngx_im_ws_sync_event, (ngx_msec_t) left);
    }
}


static void
ngx_im_ws_on_sync(ngx_event_t *ev)
{
    if (ngx_im_ws_sync_more && !ngx_im_ws_reannounce_sync) {
        ngx_im_ws_sync_once_more();
    }
}


static void
ngx_im_ws_timer_init(ngx_event_t *ev, ngx_event_handler_pt fn)
{
    ngx_im_ws_reannounce_nobody.fd = (ngx_socket_t) -1;
    ev->data = &ngx_im_ws_reannounce_nobody;
    ev->handler = fn;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;
}


/* Begins the walk, also if one is under way; the sooner of two times holds. */
static void
ngx_im_ws_reannounce_in(ngx_msec_t ms)
{
    ngx_memzero(&ngx_im_ws_reannounce_walk, sizeof(ngx_im_users_walk_t));

    if (ngx_im_ws_reannounce_event.timer_set
        && (ngx_msec_int_t) (ngx_im_ws_reannounce_event.timer.key
                             - ngx_current_msec)
           <= (ngx_msec_int_t) ms)
    {
        return;
    }

    ngx_im_ws_timer_init(&ngx_im_ws_reannounce_event, ngx_im_ws_on_reannounce);
    ngx_add_timer(&ngx_im_ws_reannounce_event, ms);
}


static void
ngx_im_ws_on_reannounce(ngx_event_t *ev)
{
    if (ngx_im_users_walk(&ngx_im_ws_reannounce_walk, NGX_IM_WS_REANNOUNCE_MAX,
                          ngx_im_ws_reannounce)
        == NGX_AGAIN)
    {
        ngx_add_timer(ev, NGX_IM_WS_REANNOUNCE_MS);
        return;
    }

    ngx_im_ws_reannounce_sync = 0;          /* all have been met */

    if (ngx_im_ws_sync_more) {
        ngx_im_ws_sync_once_more();
    }
}


static int
ngx_im_ws_reannounce(ngx_im_ws_t *ws)
{
    ws->sync |= ngx_im_ws_reannounce_sync;

    return ngx_im_ws_open_again(ws);
}


/* No Logic, or a full way to it: this one is met again. */
int
ngx_im_ws_open_again(ngx_im_ws_t *ws)
{
    if (ws->state != NGX_IM_WS_OPEN) {
        return IM_OK;
    }

    return (ngx_im_ws_ask_open(ws, NULL) == IM_OK) ? IM_OK : IM_BUSY;
}


int
ngx_im_ws_ask_open(ngx_im_ws_t *ws, uint64_t *ref)
{
    Im__Open    open = IM__OPEN__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    open.uid = ws->sub.uid;
    open.sid = ws->sid;
    open.device = ws->device;

    if (ws->state == NGX_IM_WS_OPEN) {
        open.age_ms = ngx_max(ngx_current_msec - ws->opened_ms, 1);
    }

    item.conn = ws->id;
    item.item_case = IM__UP_ITEM__ITEM_OPEN;
    item.open = &open;

    return ngx_im_link_send(im_slot_of_user(ws->sub.uid), &item, ref);
}
