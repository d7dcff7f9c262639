/*
 * ngx_im_rooms.h -- the rooms of each connection in this worker, its
 * subscriptions to users, and how messages and events reach it.
 *
 *   ngx_im_rooms.c     memberships of connections (core/im_topics.h)
 *   ngx_im_members.c   members join and leave
 *   ngx_im_changes.c   memberships that have just changed
 *   ngx_im_removals.c  nothing for who was removed meanwhile
 *   ngx_im_backlog.c   what waits until that is known
 *   ngx_im_fanout.c    one message to all members, in turns
 *   ngx_im_reports.c   reports to Logic: the users of a room here
 *   ngx_im_presence.c  subscriptions to users
 */

#ifndef NGX_IM_ROOMS_H
#define NGX_IM_ROOMS_H

#include "ngx_im_ws.h"
#include "im_topics.h"


typedef struct ngx_im_fanout_msg_s  ngx_im_fanout_msg_t;
typedef struct ngx_im_held_s        ngx_im_held_t;

/* What a topic has besides its members: of a room always, of a user's presence
 * while something is being sent. */
typedef struct {
    im_topic_t           *topic;

    ngx_im_fanout_msg_t  *first;       /* messages, oldest first */
    ngx_im_fanout_msg_t  *last;
    ngx_im_fanout_msg_t  *round;       /* last one of this round; NULL: none */
    uint32_t              at;          /* of the walk */
    uint32_t              end;
    ngx_queue_t           turn;        /* of topics with something to send */

    uint64_t              removals;    /* all up to this one are known of */
    ngx_im_held_t        *held;        /* until more are; mostly NULL */
    ngx_msec_t            checked_at;  /* Logic has named the removed */

    ngx_queue_t           queue;       /* of reports */
    ngx_msec_t            due;
    uint64_t              ref;         /* of the report under way */
    uint32_t              home;        /* number of the link it took */
    uint64_t             *touched;     /* who came or went since */
    uint32_t              touched_n;
    uint32_t              touched_cap;
    unsigned              queued:2;    /* NGX_IM_REPORT_... */
    unsigned              dirty:1;
    unsigned              whole:1;     /* the next report is complete */
    unsigned              ask:1;       /* and asks for the count */
    unsigned              under_way:1;
    unsigned              asking:1;    /* who was removed */
    unsigned              checked:1;
    unsigned              group:1;     /* else live */
} ngx_im_room_t;


/* ngx_im_rooms.c */
extern im_topics_t  *ngx_im_topics;    /* of the worker */

ngx_int_t ngx_im_rooms_init(ngx_im_main_conf_t *mcf);
void ngx_im_rooms_exit(void);
/* Of two uint64_t, for qsort() and bsearch(). */
int ngx_im_rooms_compare(const void *one, const void *two);

/* A topic's room, made if there is none.  NULL: out of memory. */
ngx_im_room_t *ngx_im_room(im_topic_t *topic);
/* Frees it, and the topic with it, when there is nobody and nothing to do. */
void ngx_im_room_release(ngx_im_room_t *room);

/* 1 if this connection is in. */
int ngx_im_rooms_is_in(ngx_im_ws_t *ws, uint64_t room);
/* The same, and it is a live room. */
int ngx_im_rooms_is_in_live(ngx_im_ws_t *ws, uint64_t room);
/* Puts the connection into it.  IM_ERROR: out of memory, it is being closed. */
int ngx_im_rooms_join(ngx_im_ws_t *ws, uint64_t room, ngx_uint_t group);
/* This connection alone. */
void ngx_im_rooms_leave_one(ngx_im_ws_t *ws, uint64_t room);
/* An event of a room, for all members here. */
void ngx_im_rooms_on_event(Im__RoomEvent *event);
/* A member got this by an answer. */
void ngx_im_rooms_counted(const Im__Room *room);

#endif
