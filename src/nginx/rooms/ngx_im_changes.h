/*
 * ngx_im_changes.h -- memberships that have just changed.
 */

#ifndef NGX_IM_CHANGES_H
#define NGX_IM_CHANGES_H

#include "ngx_im_ws.h"


typedef struct {
    uint64_t              uid;
    uint64_t              room;
    uint64_t              removals;    /* of the room, so far */
    ngx_msec_t            at;
    unsigned              member:1;
} ngx_im_change_t;

ngx_int_t ngx_im_changes_init(void);
void ngx_im_changes_exit(void);
void ngx_im_changes_add(uint64_t uid, uint64_t room, uint64_t removals,
    ngx_uint_t member);
/* Whether a later change of this user in this room has come before. */
ngx_uint_t ngx_im_changes_overtaken(const Im__Membership *m);
/* Number of the first to be applied to an answer that was asked for then, and
 * the next one, in their order; NULL: no more. */
ngx_uint_t ngx_im_changes_since(ngx_msec_t since);
ngx_im_change_t *ngx_im_changes_next(ngx_uint_t *at);
/* Whether some of those since then are not remembered any more. */
ngx_uint_t ngx_im_changes_forgotten(ngx_msec_t since);
/* Whether this user was removed since then. */
ngx_uint_t ngx_im_changes_removed(uint64_t uid, uint64_t room,
    ngx_msec_t since);
/* An answer and a change do not agree: asked again, a little later. */
void ngx_im_changes_doubt(ngx_im_ws_t *ws);

#endif
