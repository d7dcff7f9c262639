/*
 * ngx_im_presence.h -- subscriptions to users.
 */

#ifndef NGX_IM_PRESENCE_H
#define NGX_IM_PRESENCE_H

#include "ngx_im_ws.h"


/* What a question under way has subscribed to. */
typedef struct ngx_im_presence_ask_s  ngx_im_presence_ask_t;

ngx_int_t ngx_im_presence_init(void);
/* Changes the subscriptions.  IM_OK: request (uids are sub's) is to be asked,
 * and *ask ended by ngx_im_presence_answered.  IM_DONE: nobody was added, the
 * answer is empty.  IM_DECLINED: *code, *text say why it is refused. */
int ngx_im_presence_subscribe(ngx_im_ws_t *ws,
    const Im__PresenceSubscribe *sub, Im__PresenceRequest *request,
    ngx_im_presence_ask_t **ask, const char **code, const char **text);
/* ok: the client has the answer; else what was added is taken back.  ws is NULL
 * if it has gone, ask if there is none. */
void ngx_im_presence_answered(ngx_im_ws_t *ws, ngx_im_presence_ask_t *ask,
    ngx_uint_t ok);
void ngx_im_presence_on_event(const Im__PresenceEvent *event);
/* Makes an answer no older than what subscribers were notified of. */
void ngx_im_presence_on_answer(Im__PresenceReply *reply);
/* Subscribes again to all that this worker subscribes to, and notifies of what
 * has changed. */
void ngx_im_presence_refresh(ngx_msec_t in_ms);
/* The same at once, when Redis has lost its memory. */
void ngx_im_presence_lost(void);

#endif
