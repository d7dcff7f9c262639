/*
 * ngx_im_rooms.c -- who in this worker is in which room.
 *
 * A connection is in the groups of its user, from the moment of its auth_ok,
 * and in the live rooms that it joined itself.  Only who is in a room here is
 * ever sent what is said there: this is what keeps others out.
 *
 * Groups change while a user is connected.  Logic then tells all workers, by
 * way of the link to the room's home.  The list of groups that an `opened`
 * brings comes by another way and may be older than such a change; so may be
 * what this worker learned of removals by asking (ngx_im_removals.c), and an
 * answer that was asked for before that lets nobody in.  Changes that were lost
 * with a link are made good by opening again (ngx_im_link.c): the list is the
 * whole truth.  Who is let in by that has missed what was said until then, and
 * is told to sync.
 */

#include "ngx_im_rooms.h"
#include "ngx_im_backlog.h"
#include "ngx_im_changes.h"
#include "ngx_im_fanout.h"
#include "ngx_im_presence.h"
#include "ngx_im_removals.h"
#include "ngx_im_reports.h"
#include "ngx_im_users.h"
#include "ngx_im_ws_again.h"
#include "ngx_im_ws_out.h"


static void ngx_im_rooms_changed(void *ctx, im_topic_t *topic, uint64_t uid);
static int ngx_im_rooms_join(ngx_im_ws_t *ws, uint64_t room, ngx_uint_t group);
static void ngx_im_rooms_leave_one(ngx_im_ws_t *ws, uint64_t room);
static void ngx_im_rooms_reconcile(ngx_im_ws_t *ws, const Im__Opened *opened);
static ngx_uint_t ngx_im_rooms_apply(ngx_im_ws_t *ws, uint64_t room,
    ngx_msec_t since);
static ngx_uint_t ngx_im_rooms_is_before(uint64_t id, uint64_t removals);
static ngx_uint_t ngx_im_rooms_is_old(uint64_t id, ngx_msec_t asked,
    ngx_uint_t named);
static void ngx_im_rooms_added(const Im__Membership *m, ngx_uint_t old);
static void ngx_im_rooms_out(uint64_t room, uint64_t uid,
    Im__RoomEvent *event);
static void ngx_im_rooms_tell(ngx_im_ws_t *ws, Im__RoomEvent *event);
static void ngx_im_rooms_counted(const Im__Room *room);


im_topics_t  *ngx_im_topics;


ngx_int_t
ngx_im_rooms_init(ngx_im_main_conf_t *mcf)
{
    ngx_im_topics = im_topics_create(ngx_im_rooms_changed, NULL);

    if (ngx_im_topics == NULL || ngx_im_changes_init() != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_im_fanout_init(mcf->fanout_queue);
    ngx_im_backlog_init(mcf->fanout_queue);

    if (ngx_im_removals_init() != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_im_presence_init();
}


/* All connections have gone; what was still to be done for rooms is not. */
void
ngx_im_rooms_exit(void)
{
    uint32_t        no;
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    if (ngx_im_topics == NULL) {
        return;
    }

    for (no = 0; (topic = im_topics_each(ngx_im_topics, &no)) != NULL; ) {
        room = topic->data;

        if (room != NULL) {
            ngx_im_removals_drop(room);
            ngx_im_fanout_free(room);
            ngx_im_reports_forget(room);
            ngx_free(room);
        }
    }

    im_topics_destroy(ngx_im_topics);
    ngx_im_topics = NULL;

    ngx_im_changes_exit();
}


/* A user came to a topic or went, with all that he has here. */
static void
ngx_im_rooms_changed(void *ctx, im_topic_t *topic, uint64_t uid)
{
    ngx_im_room_t  *room;

    if (topic->kind != IM_TOPIC_ROOM) {
        return;
    }

    room = ngx_im_room(topic);

    if (room != NULL) {
        ngx_im_reports_changed(room, uid);
    }
}


ngx_im_room_t *
ngx_im_room(im_topic_t *topic)
{
    ngx_im_room_t  *room;

    if (topic->data != NULL) {
        return topic->data;
    }

    room = ngx_calloc(sizeof(ngx_im_room_t), ngx_cycle->log);
    if (room == NULL) {
        return NULL;
    }

    room->topic = topic;
    topic->data = room;
    im_topics_pin(topic);

    return room;
}


void
ngx_im_room_release(ngx_im_room_t *room)
{
    im_topic_t  *topic;

    topic = room->topic;

    if (room->first != NULL || room->dirty || room->under_way
        || room->held != NULL || room->asking
        || (topic->kind == IM_TOPIC_ROOM && topic->members > 0))
    {
        return;
    }

    ngx_im_reports_forget(room);
    ngx_free(room);

    topic->data = NULL;
    im_topics_unpin(ngx_im_topics, topic);
}


int
ngx_im_rooms_is_in(ngx_im_ws_t *ws, uint64_t room)
{
    im_topic_t  *topic;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, room);

    return topic != NULL && im_topics_is_in(ngx_im_topics, topic, &ws->sub);
}


int
ngx_im_rooms_is_in_live(ngx_im_ws_t *ws, uint64_t room)
{
    im_topic_t  *topic;

    if (!ngx_im_rooms_is_in(ws, room)) {
        return 0;
    }

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, room);

    return !((ngx_im_room_t *) topic->data)->group;
}


static int
ngx_im_rooms_join(ngx_im_ws_t *ws, uint64_t id, ngx_uint_t group)
{
    int             rc;
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    rc = im_topics_join(ngx_im_topics, IM_TOPIC_ROOM, id, &ws->sub, &topic);

    if (rc == IM_DONE) {
        return IM_OK;
    }

    room = (rc == IM_OK) ? ngx_im_room(topic) : NULL;

    if (room == NULL) {
        ngx_log_error(NGX_LOG_ERR, ws->connection->log, 0,
                      "ws %uL: no memory for its membership in room %uL, "
                      "closing", ws->id, id);
        ngx_im_ws_close(ws, IM_CLOSE_UNAVAILABLE, "out of memory");
        return IM_ERROR;
    }

    room->group = group;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "ws %uL is in room %uL, %uD are here", ws->id, id,
                   topic->members);

    return IM_OK;
}


static void
ngx_im_rooms_leave_one(ngx_im_ws_t *ws, uint64_t id)
{
    im_topic_t  *topic;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, id);

    if (topic != NULL
        && im_topics_leave(ngx_im_topics, topic, &ws->sub) == IM_OK)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                       "ws %uL is not in room %uL any more", ws->id, id);
    }
}


void
ngx_im_rooms_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked, ngx_uint_t again)
{
    size_t      i;
    ngx_uint_t  named, old, missed;

    old = 0;
    missed = 0;

    /* a log-in asks several times, and who logs in is not found by his name */

    named = again && (ngx_msec_int_t) (asked - ws->opened_ms) > 0;

    ngx_im_rooms_reconcile(ws, opened);

    for (i = 0; i < opened->n_rooms; i++) {

        if (ngx_im_rooms_is_in(ws, opened->rooms[i])) {
            continue;
        }

        if (ngx_im_rooms_is_old(opened->rooms[i], asked, named)) {
            old = 1;
            continue;
        }

        if (ngx_im_rooms_join(ws, opened->rooms[i], 1) != IM_OK) {
            return;
        }

        missed = again;
    }

    if (ngx_im_rooms_apply(ws, 0, asked)) {
        ngx_im_changes_doubt(ws);
        missed = again;
    }

    if (missed) {
        ngx_im_ws_fall_behind(ws);     /* what was said while he was not in */
    }

    /* not at once over and over: removals may come more often than answers */

    if (old && (again || ngx_im_ws_open_again(ws) != IM_OK)) {
        ngx_im_changes_doubt(ws);
    }
}


/* Whether an answer may be from before what is known of removals here.  named:
 * those of who has it are among the changes. */
static ngx_uint_t
ngx_im_rooms_is_old(uint64_t id, ngx_msec_t asked, ngx_uint_t named)
{
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, id);
    room = (topic == NULL) ? NULL : topic->data;

    if (room == NULL) {
        return 0;                      /* it begins by knowing of none */
    }

    return (!named && room->checked
            && (ngx_msec_int_t) (asked - room->checked_at) <= 0)
           || ngx_im_changes_forgotten(asked);
}


/* Leaves the groups that are not in the list, which gets sorted. */
static void
ngx_im_rooms_reconcile(ngx_im_ws_t *ws, const Im__Opened *opened)
{
    uint32_t        at;
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    at = ws->sub.first;

    if (at == 0) {
        return;
    }

    if (opened->n_rooms > 0) {
        qsort(opened->rooms, opened->n_rooms, sizeof(uint64_t),
              ngx_im_rooms_compare);
    }

    while ((topic = im_topics_next(ngx_im_topics, &at)) != NULL) {
        room = topic->data;

        if (topic->kind != IM_TOPIC_ROOM || !room->group) {
            continue;
        }

        if (opened->n_rooms == 0
            || bsearch(&topic->id, opened->rooms, opened->n_rooms,
                       sizeof(uint64_t), ngx_im_rooms_compare)
               == NULL)
        {
            ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                          "ws %uL: is no member of room %uL any more, says "
                          "Logic", ws->id, topic->id);
            (void) im_topics_leave(ngx_im_topics, topic, &ws->sub);
        }
    }
}


int
ngx_im_rooms_compare(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}


int
ngx_im_rooms_on_join(ngx_im_ws_t *ws, const Im__RoomJoinReply *reply,
    ngx_msec_t asked)
{
    ngx_uint_t    group;
    ngx_im_ws_t  *other, *next;

    group = ngx_strcmp(reply->room->kind, "group") == 0;

    if (ngx_im_rooms_is_old(reply->room->room, asked, 0)
        || (!group && ngx_im_changes_removed(ws->sub.uid, reply->room->room,
                                             asked)))
    {
        return IM_AGAIN;
    }

    if (ngx_im_rooms_join(ws, reply->room->room, group) != IM_OK) {
        return IM_ERROR;
    }

    ngx_im_rooms_counted(reply->room);

    if (!group) {
        return IM_OK;
    }

    for (other = ngx_im_users_find(ws->sub.uid); other != NULL; other = next) {
        next = other->user_next;

        if (other == ws
            || ngx_im_rooms_join(other, reply->room->room, 1) == IM_OK)
        {
            (void) ngx_im_rooms_apply(other, reply->room->room, asked);
        }
    }

    return IM_OK;
}


/* An answer says how many are there.  If that is not what the members here were
 * notified of, one of the two is old: the count is asked for. */
static void
ngx_im_rooms_counted(const Im__Room *room)
{
    im_topic_t  *topic;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, room->room);

    if (topic != NULL
        && im_watch_given(&topic->watch, room->online) == IM_AGAIN)
    {
        ngx_im_reports_ask(topic->data);
    }
}


void
ngx_im_rooms_leave(ngx_im_ws_t *ws, uint64_t room)
{
    ngx_im_ws_t  *other;

    if (ngx_im_rooms_is_in_live(ws, room)) {
        ngx_im_rooms_leave_one(ws, room);
        return;
    }

    for (other = ngx_im_users_find(ws->sub.uid); other != NULL;
         other = other->user_next)
    {
        ngx_im_rooms_leave_one(other, room);
    }
}


/* Who has to go hears of it first, the others with what else is said. */
void
ngx_im_rooms_on_membership(const Im__Membership *m)
{
    im_topic_t     *topic;
    ngx_uint_t      overtaken;
    ngx_im_room_t  *room;

    if (ngx_im_topics == NULL) {
        return;                        /* a worker without im_ws */
    }

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, m->room);
    room = (topic == NULL) ? NULL : topic->data;

    overtaken = ngx_im_changes_overtaken(m);

    if (!overtaken) {
        ngx_im_changes_add(m->uid, m->room, m->removals, m->member);

        if (m->member) {
            ngx_im_rooms_added(m, ngx_im_rooms_is_before(m->room,
                                                         m->removals));
        } else {
            ngx_im_rooms_out(m->room, m->uid, m->event);
        }
    }

    if (!m->member && room != NULL) {
        ngx_im_removals_told(room, m->removals);
    }

    if (m->event != NULL && !m->quiet && !overtaken) {
        ngx_im_rooms_on_event(m->event);
    }
}


/* old: he may be among those who have been removed since. */
static void
ngx_im_rooms_added(const Im__Membership *m, ngx_uint_t old)
{
    ngx_im_ws_t  *ws, *next;

    for (ws = ngx_im_users_find(m->uid); ws != NULL; ws = next) {
        next = ws->user_next;

        if (!old) {
            (void) ngx_im_rooms_join(ws, m->room, 1);

        } else if (!ngx_im_rooms_is_in(ws, m->room)
                   && ngx_im_ws_open_again(ws) != IM_OK)
        {
            ngx_im_changes_doubt(ws);
        }
    }
}


static void
ngx_im_rooms_out(uint64_t room, uint64_t uid, Im__RoomEvent *event)
{
    ngx_im_ws_t  *ws, *next;

    for (ws = ngx_im_users_find(uid); ws != NULL; ws = next) {
        next = ws->user_next;

        if (ngx_im_rooms_is_in(ws, room)) {
            ngx_im_rooms_leave_one(ws, room);

            if (event != NULL) {
                ngx_im_rooms_tell(ws, event);
            }
        }
    }
}


/* To be applied to what comes for his connections; one that logs in is let in
 * by what was asked for later than this. */
void
ngx_im_rooms_removed(uint64_t room, uint64_t uid, uint64_t removals)
{
    Im__RoomEvent  event = IM__ROOM_EVENT__INIT;

    if (ngx_im_users_find(uid) == NULL) {
        return;
    }

    ngx_im_changes_add(uid, room, removals, 0);

    event.room = room;
    event.event = (char *) "removed";
    event.has_uid = 1;
    event.uid = uid;

    ngx_im_rooms_out(room, uid, &event);
}


static void
ngx_im_rooms_tell(ngx_im_ws_t *ws, Im__RoomEvent *event)
{
    Im__Frame  frame = IM__FRAME__INIT;

    frame.frame_case = IM__FRAME__FRAME_ROOM_EV;
    frame.room_ev = event;

    ngx_im_ws_send_frame(ws, &frame);
}


void
ngx_im_rooms_on_event(Im__RoomEvent *event)
{
    Im__Frame    frame = IM__FRAME__INIT;
    im_topic_t  *topic;

    topic = (ngx_im_topics == NULL) ? NULL
            : im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, event->room);

    if (topic == NULL) {
        return;
    }

    if (event->has_online
        && im_watch_event(&topic->watch, event->version, event->online)
           != IM_OK)
    {
        return;                        /* they know it, or a newer one */
    }

    event->has_version = 0;
    frame.frame_case = IM__FRAME__FRAME_ROOM_EV;
    frame.room_ev = event;

    if (ngx_im_fanout_event(topic, &frame) != IM_OK && event->has_online) {
        im_watch_missed(&topic->watch);

        if (topic->data != NULL) {
            ngx_im_reports_ask(topic->data);
        }
    }
}


/* Applies the changes of memberships since that time to the connection, in their
 * order: those of one room, or of all (0).  Returns whether one made a
 * difference.  A connection that is in a live room now was let in after its
 * removal there, so it stays. */
static ngx_uint_t
ngx_im_rooms_apply(ngx_im_ws_t *ws, uint64_t room, ngx_msec_t since)
{
    ngx_uint_t        at, differs;
    ngx_im_change_t  *c;

    at = ngx_im_changes_since(since);
    differs = 0;

    while ((c = ngx_im_changes_next(&at)) != NULL) {

        if (c->uid != ws->sub.uid || (room != 0 && c->room != room)) {
            continue;
        }

        if (c->member == (unsigned) ngx_im_rooms_is_in(ws, c->room)
            || (!c->member && ngx_im_rooms_is_in_live(ws, c->room)))
        {
            continue;
        }

        differs = 1;

        if (!c->member) {
            ngx_im_rooms_leave_one(ws, c->room);

        } else if (!ngx_im_rooms_is_before(c->room, c->removals)
                   && ngx_im_rooms_join(ws, c->room, 1) != IM_OK)
        {
            break;
        }
    }

    return differs;
}


/* Whether an addition, with the room's number of removals by then, is older than
 * a removal that the room knows of: that may have been of the same user. */
static ngx_uint_t
ngx_im_rooms_is_before(uint64_t id, uint64_t removals)
{
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, id);
    room = (topic == NULL) ? NULL : topic->data;

    return room != NULL && removals < room->removals;
}
