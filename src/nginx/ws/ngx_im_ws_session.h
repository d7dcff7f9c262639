/*
 * ngx_im_ws_session.h -- the messages of a client, and the answers of Logic.
 */

#ifndef NGX_IM_WS_SESSION_H
#define NGX_IM_WS_SESSION_H

#include "ngx_im_ws.h"


/* ngx_im_ws_session.c */
extern const ngx_im_ws_talk_t  ngx_im_ws_session;

/* Begins: with a verified token, or waiting for the auth frame. */
void ngx_im_ws_session_start(ngx_im_ws_t *ws, const im_jwt_claims_t *claims);
/* Answers of Logic; asked: when. */
void ngx_im_ws_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked);
void ngx_im_ws_on_not_opened(ngx_im_ws_t *ws, const Im__Error *error);
void ngx_im_ws_on_error(ngx_im_ws_t *ws, const Im__Error *error);

/* ngx_im_ws_limit.c: NGX_OK, or NGX_DECLINED: the frame was refused, and the
 * client has been told.  f is not decoded: with its code. */
ngx_int_t ngx_im_ws_limit(ngx_im_ws_t *ws, const im_client_frame_t *f);

/* ngx_im_ws_query.c: questions to Logic. */
ngx_int_t ngx_im_ws_query_init(void);
void ngx_im_ws_query(ngx_im_ws_t *ws, const im_client_frame_t *f);
/* The room that it asks about; 0: none. */
uint64_t ngx_im_ws_query_room(const im_client_frame_t *f);

#endif
