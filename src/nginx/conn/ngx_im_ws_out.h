/*
 * ngx_im_ws_out.h -- the way out: frames are queued on a connection, and
 * written at the end of the loop turn.
 */

#ifndef NGX_IM_WS_OUT_H
#define NGX_IM_WS_OUT_H

#include "ngx_im_ws.h"


/* ngx_im_ws_write.c */
/* Queues a shared buffer, taking a reference of its own, or leaves it out: the
 * client then gets sync_needed once it reads again. */
void ngx_im_ws_send_push(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
/* The same for what is of the moment: left out without a word. */
void ngx_im_ws_send_event(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
/* A push was left out elsewhere: the same as one that did not fit. */
void ngx_im_ws_fall_behind(ngx_im_ws_t *ws);
void ngx_im_ws_send_frame(ngx_im_ws_t *ws, const Im__Frame *frame);
/* Closes nothing: IM_BUSY if it does not fit now, IM_DECLINED if it never
 * will. */
int ngx_im_ws_send_answer(ngx_im_ws_t *ws, const Im__Frame *frame);
void ngx_im_ws_send_control(ngx_im_ws_t *ws, unsigned opcode,
    const u_char *data, size_t len);
void ngx_im_ws_send_error(ngx_im_ws_t *ws, const char *code,
    const char *message, const char *cmid);
/* The same with all that an error can have: code and message are given, and
 * cmid, id, retry_after_ms where known; the rest follows from the code. */
void ngx_im_ws_send_refusal(ngx_im_ws_t *ws, Im__Error *error);
/* Appends without a look at the limit: a Close. */
void ngx_im_ws_append(ngx_im_ws_t *ws, const u_char *data, size_t len);
/* Its socket may take more. */
void ngx_im_ws_catch_up(ngx_im_ws_t *ws);
/* Forget what waits; cut: but for what is half on its way. */
void ngx_im_ws_drop_out(ngx_im_ws_t *ws);
void ngx_im_ws_cut_out(ngx_im_ws_t *ws);

/* ngx_im_ws_flush.c */
/* Writes what the socket takes.  NGX_ERROR: the connection is being freed. */
ngx_int_t ngx_im_ws_flush(ngx_im_ws_t *ws);
/* At the end of this turn of the loop. */
void ngx_im_ws_flush_later(ngx_im_ws_t *ws);
/* Now, all that are to be later. */
void ngx_im_ws_flush_all(void);
void ngx_im_ws_write_handler(ngx_event_t *wev);

#endif
