/*
 * ngx_im_members.c -- members join and leave the rooms of this worker.
 *
 * Groups change while a user is connected.  Logic then notifies all workers, by
 * the link to the room's owner.  The list of groups in an `opened` comes by
 * another stream and may be older than such a change; it may also be older than
 * removals that this worker has asked for (ngx_im_removals.c), and then it adds
 * nobody.  Changes that were lost with a link are read again when connections
 * are announced again (ngx_im_answers.c): the list is complete.  A member who
 * is added by that has missed messages, and gets sync_needed.
 */

#include "ngx_im_members.h"
#include "ngx_im_changes.h"
#include "ngx_im_removals.h"
#include "ngx_im_users.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_out.h"


static void ngx_im_members_reconcile(ngx_im_ws_t *ws, const Im__Opened *opened);
static ngx_uint_t ngx_im_members_apply(ngx_im_ws_t *ws, uint64_t room,
    ngx_msec_t since);
static ngx_uint_t ngx_im_members_is_before(uint64_t id, uint64_t removals);
static ngx_uint_t ngx_im_members_is_old(uint64_t id, ngx_msec_t asked,
    ngx_uint_t named);
static void ngx_im_members_added(const Im__Membership *m, ngx_uint_t old);
static void ngx_im_members_out(uint64_t room, uint64_t uid,
    Im__RoomEvent *event);
static void ngx_im_members_tell(ngx_im_ws_t *ws, Im__RoomEvent *event);


void
ngx_im_members_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked, ngx_uint_t again)
{
    size_t      i;
    ngx_uint_t  named, old, missed;

    old = 0;
    missed = 0;

    /* a log-in asks several times, and who logs in is not found by his name */

    named = again && (ngx_msec_int_t) (asked - ws->opened_ms) > 0;

    ngx_im_members_reconcile(ws, opened);

    for (i = 0; i < opened->n_rooms; i++) {

        if (ngx_im_rooms_is_in(ws, opened->rooms[i])) {
            continue;
        }

        if (ngx_im_members_is_old(opened->rooms[i], asked, named)) {
            old = 1;
            continue;
        }

        if (ngx_im_rooms_join(ws, opened->rooms[i], 1) != IM_OK) {
            return;
        }

        missed = again;
    }

    if (ngx_im_members_apply(ws, 0, asked)) {
        ngx_im_changes_doubt(ws);
        missed = again;
    }

    if (missed) {
        ngx_im_ws_fall_behind(ws);     /* messages while he was not in */
    }

    /* not at once over and over: removals may come more often than answers */

    if (old && (again || ngx_im_ws_open_again(ws) != IM_OK)) {
        ngx_im_changes_doubt(ws);
    }
}


/* Whether an answer may be from before what is known of removals here.  named:
 * those of who has it are among the changes. */
static ngx_uint_t
ngx_im_members_is_old(uint64_t id, ngx_msec_t asked, ngx_uint_t named)
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
ngx_im_members_reconcile(ngx_im_ws_t *ws, const Im__Opened *opened)
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
                          "ws %uL: is no member of room %uL any more, by the "
                          "list of Logic", ws->id, topic->id);
            (void) im_topics_leave(ngx_im_topics, topic, &ws->sub);
        }
    }
}


int
ngx_im_members_on_join(ngx_im_ws_t *ws, const Im__RoomJoinReply *reply,
    ngx_msec_t asked)
{
    ngx_uint_t    group;
    ngx_im_ws_t  *other, *next;

    group = ngx_strcmp(reply->room->kind, "group") == 0;

    if (ngx_im_members_is_old(reply->room->room, asked, 0)
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
            (void) ngx_im_members_apply(other, reply->room->room, asked);
        }
    }

    return IM_OK;
}


void
ngx_im_members_leave(ngx_im_ws_t *ws, uint64_t room)
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


/* The removed user is notified first, the others in order with messages. */
void
ngx_im_members_on_membership(const Im__Membership *m)
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
            ngx_im_members_added(m, ngx_im_members_is_before(m->room,
                                                         m->removals));
        } else {
            ngx_im_members_out(m->room, m->uid, m->event);
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
ngx_im_members_added(const Im__Membership *m, ngx_uint_t old)
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
ngx_im_members_out(uint64_t room, uint64_t uid, Im__RoomEvent *event)
{
    ngx_im_ws_t  *ws, *next;

    for (ws = ngx_im_users_find(uid); ws != NULL; ws = next) {
        next = ws->user_next;

        if (ngx_im_rooms_is_in(ws, room)) {
            ngx_im_rooms_leave_one(ws, room);

            if (event != NULL) {
                ngx_im_members_tell(ws, event);
            }
        }
    }
}


/* To be applied to what comes for his connections; one that logs in is let in
 * by what was asked for later than this. */
void
ngx_im_members_removed(uint64_t room, uint64_t uid, uint64_t removals)
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

    ngx_im_members_out(room, uid, &event);
}


static void
ngx_im_members_tell(ngx_im_ws_t *ws, Im__RoomEvent *event)
{
    Im__Frame  frame = IM__FRAME__INIT;

    frame.frame_case = IM__FRAME__FRAME_ROOM_EV;
    frame.room_ev = event;

    ngx_im_ws_send_frame(ws, &frame);
}


/* Applies the changes of memberships since that time to the connection, in
 * their order: those of one room, or of all (0).  Returns whether one made a
 * difference.  A connection that is in a live room now was let in after its
 * removal there, so it stays. */
static ngx_uint_t
ngx_im_members_apply(ngx_im_ws_t *ws, uint64_t room, ngx_msec_t since)
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

        } else if (!ngx_im_members_is_before(c->room, c->removals)
                   && ngx_im_rooms_join(ws, c->room, 1) != IM_OK)
        {
            break;
        }
    }

    return differs;
}


/* Whether an addition, with the room's number of removals by then, is older
 * than a removal that the room knows of: that may have been of the same user.
 */
static ngx_uint_t
ngx_im_members_is_before(uint64_t id, uint64_t removals)
{
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, id);
    room = (topic == NULL) ? NULL : topic->data;

    return room != NULL && removals < room->removals;
}
