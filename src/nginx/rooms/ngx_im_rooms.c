/*
 * ngx_im_rooms.c -- the rooms of each connection in this worker.
 *
 * A connection is in the groups of its user, from the moment of its auth_ok,
 * and in the live rooms that it joined itself.  The messages of a room are sent
 * to the connections that are in it here, and to no other: this is the access
 * check.  Logic decides who is added and removed (ngx_im_members.c).
 */

#include "ngx_im_rooms.h"
#include "ngx_im_backlog.h"
#include "ngx_im_changes.h"
#include "ngx_im_fanout.h"
#include "ngx_im_presence.h"
#include "ngx_im_removals.h"
#include "ngx_im_reports.h"


static void ngx_im_rooms_changed(void *ctx, im_topic_t *topic, uint64_t uid);


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


int
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


void
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


/* An answer has the number of users.  If the members here were notified of
 * another number, one of the two is old: the count is asked for. */
void
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


int
ngx_im_rooms_compare(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}
