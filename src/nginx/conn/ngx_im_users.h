/*
 * ngx_im_users.h -- uid -> connections of this worker.
 */

#ifndef NGX_IM_USERS_H
#define NGX_IM_USERS_H

#include "ngx_im_ws.h"


extern uint32_t  ngx_im_users_opened;  /* number of the last one */
int ngx_im_users_add(ngx_im_ws_t *ws);
void ngx_im_users_remove(ngx_im_ws_t *ws);
ngx_im_ws_t *ngx_im_users_find(uint64_t uid);
void ngx_im_users_free(void);

/* A walk over all connections, in portions; zeroed to begin.  What comes or
 * goes between two portions may be met twice or not, all else is met. */
typedef struct {
    size_t            left;          /* entries not yet visited */
    size_t            size;          /* of the table, when it began */
    ngx_uint_t        wraps;
} ngx_im_users_walk_t;

/* NGX_AGAIN after about max connections, or when fn returns IM_BUSY (that one
 * is met again); NGX_OK at the end. */
ngx_int_t ngx_im_users_walk(ngx_im_users_walk_t *w, ngx_uint_t max,
    int (*fn)(ngx_im_ws_t *ws));

#endif
