/*
 * ngx_im_ws_reannounce.h -- asks Logic to open a connection, or to open all of
 * them once more.
 */

#ifndef NGX_IM_WS_REANNOUNCE_H
#define NGX_IM_WS_REANNOUNCE_H

#include "ngx_im_ws.h"


/* Asks Logic to open it; ref: NULL, or to see whether the question waits. */
int ngx_im_ws_ask_open(ngx_im_ws_t *ws, uint64_t *ref);
/* Announces all connections to Logic once more: presence may have lost them.
 * In portions, so that neither this worker nor Logic is delayed. */
void ngx_im_ws_announce_all(ngx_msec_t in_ms);
/* The same now; pushes to them may be missing, so each gets sync_needed then:
 * later messages find its route. */
void ngx_im_ws_sync_all(void);
/* The same if only pushes are missing: not while it is being done or has just
 * begun, but once more after that. */
void ngx_im_ws_sync_later(void);
/* One of them.  IM_BUSY: no Logic takes it now. */
int ngx_im_ws_open_again(ngx_im_ws_t *ws);

#endif
