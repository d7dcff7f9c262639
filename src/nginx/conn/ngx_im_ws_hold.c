/*
 * ngx_im_ws_hold.c -- a connection that is not read for a while.
 *
 *     hold --> nothing is read; TCP stops the client --> release
 *                                                           |
 *       frames that had come with the last read, the socket <-+  posted event
 *
 * What stays possible meanwhile: frames to the client, a Close of the server,
 * the end of the worker.  The client's silence is not counted, so it gets no
 * Ping.  Its own Close or FIN is behind what is not read, so it is noticed
 * after the release; a reset is noticed by the next write.  Every reason to
 * hold ends by itself: a delay by a timer, a full window by answers, which come
 * within IM_OUTBOX_WAIT_MS or are replaced by a refusal then.
 *
 * A window that is full opens again at half of it, so that a client which does
 * not wait for its acks is read in a few large pieces.
 *
 * A release only posts the read event: it may be called while somebody walks
 * through a list that reading would change.
 */

#include "ngx_im_ws.h"


static void ngx_im_ws_hold(ngx_im_ws_t *ws, unsigned why);
static void ngx_im_ws_release(ngx_im_ws_t *ws, unsigned why);


static void
ngx_im_ws_hold(ngx_im_ws_t *ws, unsigned why)
{
    ws->held |= why;
}


static void
ngx_im_ws_release(ngx_im_ws_t *ws, unsigned why)
{
    if (!(ws->held & why)) {
        return;
    }

    ws->held &= ~why;

    if (ws->held || ws->dead || ws->state == NGX_IM_WS_CLOSING) {
        return;
    }

    ws->heard_s = ngx_time();          /* its silence was ours */

    ngx_post_event(ws->connection->read, &ngx_posted_events);
}


void
ngx_im_ws_asked(ngx_im_ws_t *ws, size_t body)
{
    ws->unanswered++;
    ws->unanswered_size += body;

    if (ws->unanswered >= (uint32_t) ws->conf->window
        || ws->unanswered_size >= ws->conf->window_size)
    {
        ngx_im_ws_hold(ws, NGX_IM_WS_HELD_WINDOW);
    }
}


void
ngx_im_ws_answered(ngx_im_ws_t *ws, size_t body)
{
    ws->unanswered--;
    ws->unanswered_size -= body;

    if (ws->unanswered <= (uint32_t) ws->conf->window / 2
        && ws->unanswered_size <= ws->conf->window_size / 2)
    {
        ngx_im_ws_release(ws, NGX_IM_WS_HELD_WINDOW);
    }
}


/* The timer of the write event is not used otherwise. */
void
ngx_im_ws_hold_for(ngx_im_ws_t *ws, ngx_msec_t ms)
{
    ngx_im_ws_hold(ws, NGX_IM_WS_HELD_LIMIT);
    ngx_add_timer(ws->connection->write, ms);
}


void
ngx_im_ws_hold_timeout(ngx_im_ws_t *ws)
{
    ngx_im_ws_release(ws, NGX_IM_WS_HELD_LIMIT);
}
