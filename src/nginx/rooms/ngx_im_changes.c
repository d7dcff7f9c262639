/*
 * ngx_im_changes.c -- recent changes of groups, to be applied on top of answers
 * that may be older.
 *
 * Changes (`membership`) and answers (`opened`) of Logic come by different
 * streams.  So a list is taken as it was when it was asked for, and each change
 * since then is applied to it; those of the last two seconds, too, because two
 * Logics may report changes of one user in another order.  Where that makes a
 * difference, the connection is announced once more when these changes have
 * expired.
 *
 * Of two changes of one user in one room, the numbers of removals show which
 * was first, unless it is too long ago.
 */

#include "ngx_im_changes.h"
#include "ngx_im_ws_reannounce.h"


#define NGX_IM_CHANGES           4096   /* remembered, at most */
#define NGX_IM_CHANGES_MS        2000
#define NGX_IM_CHANGES_ORDER_MS  10000  /* a change may come so much too late */
#define NGX_IM_CHANGES_DOUBTS    1024   /* connections; more: all are opened */
#define NGX_IM_CHANGES_DOUBT_MS  (NGX_IM_CHANGES_MS + 100)
#define NGX_IM_CHANGES_LATER_MS  200    /* the way to Logic is full */


/* A connection that is opened again. */
typedef struct {
    uint64_t    conn;
    ngx_msec_t  due;
} ngx_im_doubt_t;


static ngx_uint_t ngx_im_changes_from(ngx_msec_t since);
static void ngx_im_changes_on_doubts(ngx_event_t *ev);


static ngx_im_change_t  *ngx_im_changes;
static ngx_uint_t        ngx_im_changes_n;         /* since the start */

static ngx_im_doubt_t    ngx_im_doubts[NGX_IM_CHANGES_DOUBTS];
static ngx_uint_t        ngx_im_doubts_first;
static ngx_uint_t        ngx_im_doubts_n;
static ngx_event_t       ngx_im_doubts_event;
static ngx_connection_t  ngx_im_doubts_nobody;     /* for debug lines */


ngx_int_t
ngx_im_changes_init(void)
{
    ngx_im_changes = ngx_calloc(NGX_IM_CHANGES * sizeof(ngx_im_change_t),
                                ngx_cycle->log);

    return (ngx_im_changes != NULL) ? NGX_OK : NGX_ERROR;
}


void
ngx_im_changes_exit(void)
{
    ngx_free(ngx_im_changes);
    ngx_im_changes = NULL;
}


void
ngx_im_changes_add(uint64_t uid, uint64_t room, uint64_t removals,
    ngx_uint_t member)
{
    ngx_im_change_t  *c;

    c = &ngx_im_changes[ngx_im_changes_n++ % NGX_IM_CHANGES];

    c->uid = uid;
    c->room = room;
    c->removals = removals;
    c->member = member;
    c->at = ngx_current_msec;
}


/* An addition after removal 5 carries 5, too. */
ngx_uint_t
ngx_im_changes_overtaken(const Im__Membership *m)
{
    ngx_uint_t        at;
    ngx_im_change_t  *c;

    at = ngx_im_changes_from(ngx_current_msec - NGX_IM_CHANGES_ORDER_MS);

    while ((c = ngx_im_changes_next(&at)) != NULL) {

        if (c->uid != m->uid || c->room != m->room
            || c->member == (unsigned) m->member)
        {
            continue;
        }

        if (c->removals > m->removals
            || (c->member && c->removals == m->removals))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_im_changes_since(ngx_msec_t since)
{
    if ((ngx_msec_int_t) (ngx_current_msec - since) < NGX_IM_CHANGES_MS) {
        since = ngx_current_msec - NGX_IM_CHANGES_MS;
    }

    return ngx_im_changes_from(since);
}


/* As far back as is remembered. */
static ngx_uint_t
ngx_im_changes_from(ngx_msec_t since)
{
    ngx_uint_t        i;
    ngx_im_change_t  *c;

    for (i = ngx_im_changes_n;
         i > 0 && ngx_im_changes_n - i < NGX_IM_CHANGES;
         i--)
    {
        c = &ngx_im_changes[(i - 1) % NGX_IM_CHANGES];

        if ((ngx_msec_int_t) (c->at - since) < 0) {
            break;
        }
    }

    return i;
}


ngx_im_change_t *
ngx_im_changes_next(ngx_uint_t *at)
{
    return (*at == ngx_im_changes_n) ? NULL
           : &ngx_im_changes[(*at)++ % NGX_IM_CHANGES];
}


ngx_uint_t
ngx_im_changes_forgotten(ngx_msec_t since)
{
    ngx_im_change_t  *oldest;

    if (ngx_im_changes_n < NGX_IM_CHANGES) {
        return 0;
    }

    oldest = &ngx_im_changes[ngx_im_changes_n % NGX_IM_CHANGES];

    return (ngx_msec_int_t) (oldest->at - since) >= 0;
}


ngx_uint_t
ngx_im_changes_removed(uint64_t uid, uint64_t room, ngx_msec_t since)
{
    ngx_uint_t        at;
    ngx_im_change_t  *c;

    at = ngx_im_changes_from(since);

    while ((c = ngx_im_changes_next(&at)) != NULL) {
        if (c->uid == uid && c->room == room && !c->member) {
            return 1;
        }
    }

    return 0;
}


void
ngx_im_changes_doubt(ngx_im_ws_t *ws)
{
    ngx_im_doubt_t  *d;

    if (ngx_im_doubts_n == NGX_IM_CHANGES_DOUBTS) {
        ngx_im_ws_announce_all(NGX_IM_CHANGES_DOUBT_MS);
        return;
    }

    d = &ngx_im_doubts[(ngx_im_doubts_first + ngx_im_doubts_n++)
                       % NGX_IM_CHANGES_DOUBTS];
    d->conn = ws->id;
    d->due = ngx_current_msec + NGX_IM_CHANGES_DOUBT_MS;

    if (!ngx_im_doubts_event.timer_set) {
        ngx_im_doubts_nobody.fd = (ngx_socket_t) -1;
        ngx_im_doubts_event.data = &ngx_im_doubts_nobody;
        ngx_im_doubts_event.handler = ngx_im_changes_on_doubts;
        ngx_im_doubts_event.log = ngx_cycle->log;
        ngx_im_doubts_event.cancelable = 1;

        ngx_add_timer(&ngx_im_doubts_event, NGX_IM_CHANGES_DOUBT_MS);
    }
}


static void
ngx_im_changes_on_doubts(ngx_event_t *ev)
{
    ngx_im_ws_t     *ws;
    ngx_im_doubt_t  *d;
    ngx_msec_int_t   wait;

    while (ngx_im_doubts_n > 0) {
        d = &ngx_im_doubts[ngx_im_doubts_first];
        wait = (ngx_msec_int_t) (d->due - ngx_current_msec);

        if (wait > 0) {
            ngx_add_timer(ev, wait);
            return;
        }

        ws = ngx_im_ws_by_id(d->conn);

        if (ws != NULL && ngx_im_ws_open_again(ws) == IM_BUSY) {
            ngx_add_timer(ev, NGX_IM_CHANGES_LATER_MS);
            return;
        }

        ngx_im_doubts_first = (ngx_im_doubts_first + 1)
                              % NGX_IM_CHANGES_DOUBTS;
        ngx_im_doubts_n--;
    }
}
