/*
 * ngx_im_members.h -- who is let into a room, and who has to go.
 */

#ifndef NGX_IM_MEMBERS_H
#define NGX_IM_MEMBERS_H

#include "ngx_im_rooms.h"


/* The groups of a connection are these: all of them.  asked: when Logic was
 * asked; the answer may be as old.  again: it was open already. */
void ngx_im_members_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked, ngx_uint_t again);
/* Logic let it in.  IM_ERROR: out of memory, it is being closed.  IM_AGAIN:
 * since asked somebody was removed, maybe this one. */
int ngx_im_members_on_join(ngx_im_ws_t *ws, const Im__RoomJoinReply *reply,
    ngx_msec_t asked);
/* This connection leaves a live room, all of its user's leave a group. */
void ngx_im_members_leave(ngx_im_ws_t *ws, uint64_t room);
void ngx_im_members_on_membership(const Im__Membership *m);
/* The user is not in it any more, by an answer that knows of so many removals:
 * all of his connections leave, and are notified. */
void ngx_im_members_removed(uint64_t room, uint64_t uid, uint64_t removals);

#endif
