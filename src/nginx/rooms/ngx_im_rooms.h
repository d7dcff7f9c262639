/*
 * ngx_im_rooms.h -- who in this worker is in which room, and subscribes to
 * whom; and how what is said there reaches them.
 *
 *   ngx_im_rooms.c     memberships of connections (core/im_topics.h)
 *   ngx_im_changes.c   memberships that have just changed
 *   ngx_im_removals.c  nothing for who was removed meanwhile
 *   ngx_im_backlog.c   what waits until that is known
 *   ngx_im_fanout.c    one message to all members, in turns
 *   ngx_im_reports.c   Logic is told who of a room is here
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

    ngx_im_fanout_msg_t  *first;       /* what is said, oldest first */
    ngx_im_fanout_msg_t  *last;
    ngx_im_fanout_msg_t  *round;       /* last one of this round; NULL: none */
    uint32_t              at;          /* of the walk */
    uint32_t              end;
    ngx_queue_t           turn;        /* of topics with something to send */

    uint64_t              removals;    /* all up to this one are known of */
    ngx_im_held_t        *held;        /* until more are; mostly NULL */
    ngx_msec_t            checked_at;  /* Logic said who was removed */

    ngx_queue_t           queue;       /* of reports */
    ngx_msec_t            due;
    uint64_t              ref;         /* of the report under way */
    uint32_t              home;        /* number of the link it took */
    uint64_t             *touched;     /* who came or went since */
    uint32_t              touched_n;
    uint32_t              touched_cap;
    unsigned              queued:2;    /* NGX_IM_REPORT_... */
    unsigned              dirty:1;
    unsigned              whole:1;     /* the next report says all */
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
/* The groups of a connection are these: all of them.  asked: when Logic was
 * asked; the answer may be as old.  again: it was open already. */
void ngx_im_rooms_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked, ngx_uint_t again);
/* Logic let it in.  IM_ERROR: out of memory, it is being closed.  IM_AGAIN:
 * since asked somebody was removed, maybe this one. */
int ngx_im_rooms_on_join(ngx_im_ws_t *ws, const Im__RoomJoinReply *reply,
    ngx_msec_t asked);
/* This connection leaves a live room, all of its user's leave a group. */
void ngx_im_rooms_leave(ngx_im_ws_t *ws, uint64_t room);
void ngx_im_rooms_on_membership(const Im__Membership *m);
void ngx_im_rooms_on_event(Im__RoomEvent *event);
/* He is not in it any more, says an answer that knows of so many removals: all
 * of his connections leave, and are told. */
void ngx_im_rooms_removed(uint64_t room, uint64_t uid, uint64_t removals);

/* ngx_im_changes.c */
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
/* Whether a later change of this user in this room was told before. */
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
/* An answer and what was told do not agree: asked again, a little later. */
void ngx_im_changes_doubt(ngx_im_ws_t *ws);

/* ngx_im_removals.c */
ngx_int_t ngx_im_removals_init(void);
/* As ngx_im_fanout_record(), once it is known who has been removed. */
void ngx_im_removals_record(im_topic_t *topic, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* A removal that has been carried out here has this number. */
void ngx_im_removals_told(ngx_im_room_t *room, uint64_t number);
/* Without sending what is held. */
void ngx_im_removals_drop(ngx_im_room_t *room);

/* ngx_im_backlog.c */
typedef struct ngx_im_backlog_msg_s  ngx_im_backlog_msg_t;

typedef struct {
    ngx_im_backlog_msg_t  *first;      /* NULL: nothing is kept */
    ngx_im_backlog_msg_t  *last;
    uint64_t               gap_removals;   /* of the first one left out */
    unsigned               gap:1;      /* something was left out */
} ngx_im_backlog_t;

void ngx_im_backlog_init(size_t bytes_max);
/* Takes the record; repeat and upto are for ngx_im_fanout_record(). */
void ngx_im_backlog_add(ngx_im_backlog_t *b, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* Takes the record and leaves it out. */
void ngx_im_backlog_skip(ngx_im_backlog_t *b, Im__Record *record);
/* The number of removals that the oldest of them needs to be known. */
uint64_t ngx_im_backlog_removals(const ngx_im_backlog_t *b);
/* The oldest, which there is. */
void ngx_im_backlog_send(ngx_im_backlog_t *b, im_topic_t *topic);
/* Without sending, the gap included. */
void ngx_im_backlog_clear(ngx_im_backlog_t *b);

/* ngx_im_fanout.c */
void ngx_im_fanout_init(size_t queue_max);
/* Takes the record, which has been unpacked.  repeat: only to connections
 * later than upto. */
void ngx_im_fanout_record(im_topic_t *topic, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* Messages were left out: all who are in it are told to sync. */
void ngx_im_fanout_gap(ngx_im_room_t *room);
/* Of the moment: a slow reader is told to sync in its place.  IM_BUSY: too much
 * waits, it is not sent. */
int ngx_im_fanout_event(im_topic_t *topic, const Im__Frame *frame);
/* Without sending. */
void ngx_im_fanout_free(ngx_im_room_t *room);

/* ngx_im_reports.c */
void ngx_im_reports_changed(ngx_im_room_t *room, uint64_t uid);
/* Of Logic; ok is 0 if it was refused or not answered at all. */
void ngx_im_reports_on_answer(uint64_t room, uint64_t ref, ngx_uint_t ok);
/* Redis has lost all: everything is reported again. */
void ngx_im_reports_all(void);
/* Members may not know how many are there: Logic is asked, with a report. */
void ngx_im_reports_ask(ngx_im_room_t *room);
/* A link to a Logic has opened or ended: rooms whose home it is, or was, ask. */
void ngx_im_reports_moved(void);
void ngx_im_reports_forget(ngx_im_room_t *room);

/* ngx_im_presence.c */
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
