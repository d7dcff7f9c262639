/*
 * ngx_im_ws_door.h -- from an HTTP request to a WebSocket connection.
 */

#ifndef NGX_IM_WS_DOOR_H
#define NGX_IM_WS_DOOR_H

#include "ngx_im_ws.h"


/* ngx_im_ws_module.c */
extern ngx_module_t  ngx_im_ws_module;

/* ngx_im_ws_handshake.c: the content handler of `im_ws;`. */
ngx_int_t ngx_im_ws_handler(ngx_http_request_t *r);

/* What the 101 will say. */
typedef struct {
    const char       *protocol;      /* sub-protocol, or NULL */
    im_encoding_t     encoding;
    u_char            accept[IM_FRAME_ACCEPT_LEN];
} ngx_im_ws_shake_t;

/* All is checked: 101 and take-over, or a refusal.  claims: NULL if no token
 * came yet.  What a content handler returns. */
ngx_int_t ngx_im_ws_accept(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, const ngx_im_ws_shake_t *shake);

/* ngx_im_ws_ticket.c */
ngx_int_t ngx_im_ws_ticket_init(void);
/* Asks Logic whose ticket it is, then ngx_im_ws_accept().  shake lives as long
 * as r.  What a content handler returns. */
ngx_int_t ngx_im_ws_ticket_redeem(ngx_http_request_t *r,
    const ngx_str_t *ticket, const ngx_im_ws_shake_t *shake);

/* ngx_im_ws_takeover.c */
/*
 * After the 101: makes a WebSocket connection of the request's one, soon.
 * What the content handler returns.  claims: NULL if no token came yet.
 */
ngx_int_t ngx_im_ws_take_over(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, im_encoding_t encoding);

#endif
