/*
 * ngx_im_ws_again.h -- Logic is asked to open a connection, or all of them once
 * more.
 */

#ifndef NGX_IM_WS_AGAIN_H
#define NGX_IM_WS_AGAIN_H

#include "ngx_im_ws.h"


/* Asks Logic to open it; ref: NULL, or to see whether the question waits. */
int ngx_im_ws_ask_open(ngx_im_ws_t *ws, uint64_t *ref);
/* Opens all connections again, with Logic only: presence may have lost them.
 * In portions, so that neither this worker nor Logic is held up. */
void ngx_im_ws_announce_all(ngx_msec_t in_ms);
/* The same now; pushes to them may be missing, so each is then told to sync:
 * what is said later finds it. */
void ngx_im_ws_sync_all(void);
/* The same, where nothing but pushes is missing: not while it is being done or
 * was begun just before, but once more after that. */
void ngx_im_ws_sync_later(void);
/* One of them.  IM_BUSY: no Logic takes it now. */
int ngx_im_ws_open_again(ngx_im_ws_t *ws);

#endif
