/*
 * ngx_im_removals.c -- nobody is shown a message that was accepted after he was
 * removed, however late this worker learns of the removal.
 *
 *     record --> does it know of more removals than we do?
 *                  no: fan-out                        (nearly always)
 *                  yes: held, and Logic is asked who was removed
 *                         |
 *                         +--> they leave; what was held goes out, in order
 *
 * Logic numbers the removals of a room, and a message carries the number that
 * was the last when it was accepted.  room->removals is the number up to which
 * all who are in the room here are known to be in it still.  Each removal that
 * Logic reports is the next number.  One that was lost with a link, or that
 * comes later than a message by another stream (a worker that stood still reads
 * its sockets in any order), leaves a gap, which the next message shows.  So it
 * matters neither how long the worker was cut off nor whether it noticed.
 *
 * A room begins at 0: the first message of one that anybody ever left is held
 * for the millisecond that a question takes.
 *
 * An answer that would add somebody may be older than what was learned here;
 * ngx_im_members.c refuses such an answer, by room->checked.
 *
 * What is held is bounded (ngx_im_backlog.c); what does not fit is left out,
 * and the members get sync_needed, once it is known who they are.
 *
 * They get it, too, if Logic cannot answer, or if MySQL does not know so many
 * removals for some seconds (it has lost some): then its answer counts.
 */

#include "ngx_im_removals.h"
#include "ngx_im_backlog.h"
#include "ngx_im_fanout.h"
#include "ngx_im_members.h"
#include "ngx_im_worker.h"
#include "ngx_im_method.h"
#include "im_slot.h"
#include "im_timeouts.h"


#define NGX_IM_REMOVALS_ASKED     64       /* questions under way */
#define NGX_IM_REMOVALS_LATER     200      /* ms; Logic could not say */
#define NGX_IM_REMOVALS_REFUSED   1000     /* ms; and it never will */
#define NGX_IM_REMOVALS_LESS      5000     /* ms; MySQL knows of fewer */


struct ngx_im_held_s {
    ngx_im_room_t     *room;
    ngx_im_backlog_t   backlog;
    uint64_t           asked;          /* the last question is for this */
    uint64_t           ahead_from;     /* carried out, but not all before */
    uint64_t           ahead_to;       /* 0: none */
    ngx_msec_t         less_at;        /* first answer of no use */
    ngx_queue_t        queue;          /* of rooms to be asked for */
    ngx_event_t        again;          /* to be asked for later */
    unsigned           queued:1;
    unsigned           less:1;
    unsigned           refused:1;      /* all is left out for a while */
};


static ngx_im_held_t *ngx_im_removals_held(ngx_im_room_t *room);
static void ngx_im_removals_wait(ngx_im_held_t *held);
static void ngx_im_removals_wait_ms(ngx_im_held_t *held, ngx_msec_t ms);
static void ngx_im_removals_on_again(ngx_event_t *ev);
static void ngx_im_removals_pump(void);
static int ngx_im_removals_ask(ngx_im_room_t *room);
static void ngx_im_removals_on_reply(void *data,
    const im_rpc_status_t *status, const ProtobufCMessage *reply);
static void ngx_im_removals_answered(ngx_im_room_t *room,
    const Im__RoomRemovedReply *reply);
static void ngx_im_removals_less(ngx_im_held_t *held, uint64_t number);
static void ngx_im_removals_failed(ngx_im_room_t *room,
    const im_rpc_status_t *status);
static void ngx_im_removals_later(void);
static void ngx_im_removals_on_later(ngx_event_t *ev);
static void ngx_im_removals_known(ngx_im_room_t *room, uint64_t number);
static void ngx_im_removals_release(ngx_im_room_t *room);


static ngx_im_method_t   ngx_im_removals_method;
static ngx_uint_t        ngx_im_removals_asked;    /* under way */
static ngx_queue_t       ngx_im_removals_queue;
static ngx_event_t       ngx_im_removals_event;
static ngx_connection_t  ngx_im_removals_nobody;   /* for debug lines */


ngx_int_t
ngx_im_removals_init(void)
{
    if (ngx_im_method_find(&ngx_im_removals_method, "RoomRemoved") != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_queue_init(&ngx_im_removals_queue);

    ngx_im_removals_nobody.fd = (ngx_socket_t) -1;
    ngx_im_removals_event.data = &ngx_im_removals_nobody;
    ngx_im_removals_event.handler = ngx_im_removals_on_later;
    ngx_im_removals_event.log = ngx_cycle->log;
    ngx_im_removals_event.cancelable = 1;

    return NGX_OK;
}


void
ngx_im_removals_record(im_topic_t *topic, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto)
{
    ngx_im_held_t  *held;
    ngx_im_room_t  *room;

    room = ngx_im_room(topic);

    if (room != NULL && room->held == NULL
        && record->removals <= room->removals)
    {
        ngx_im_fanout_record(topic, record, repeat, upto);
        return;
    }

    held = (room != NULL) ? ngx_im_removals_held(room) : NULL;

    if (held == NULL) {
        im__record__free_unpacked(record, NULL);

        if (room != NULL) {
            ngx_im_fanout_gap(room);
        }

        return;
    }

    if (held->refused) {
        ngx_im_backlog_skip(&held->backlog, record);

    } else {
        ngx_im_backlog_add(&held->backlog, record, repeat, upto);
    }

    ngx_im_removals_pump();
}


/* NULL: out of memory. */
static ngx_im_held_t *
ngx_im_removals_held(ngx_im_room_t *room)
{
    ngx_im_held_t  *held;

    if (room->held != NULL) {
        return room->held;
    }

    held = ngx_calloc(sizeof(ngx_im_held_t), ngx_cycle->log);
    if (held == NULL) {
        return NULL;
    }

    held->room = room;
    room->held = held;

    held->again.data = &ngx_im_removals_nobody;
    held->again.handler = ngx_im_removals_on_again;
    held->again.log = ngx_cycle->log;
    held->again.cancelable = 1;

    ngx_im_removals_wait(held);

    return held;
}


static void
ngx_im_removals_wait(ngx_im_held_t *held)
{
    if (!held->queued && !held->again.timer_set && !held->room->asking) {
        held->queued = 1;
        ngx_queue_insert_tail(&ngx_im_removals_queue, &held->queue);
    }
}


/* One room that Logic cannot answer for does not hold up the others. */
static void
ngx_im_removals_wait_ms(ngx_im_held_t *held, ngx_msec_t ms)
{
    if (!held->queued && !held->again.timer_set) {
        ngx_add_timer(&held->again, ms);
    }
}


static void
ngx_im_removals_on_again(ngx_event_t *ev)
{
    ngx_im_held_t  *held;
    ngx_im_room_t  *room;

    held = ngx_queue_data(ev, ngx_im_held_t, again);
    room = held->room;

    if (held->backlog.first == NULL && !held->backlog.gap) {
        ngx_im_removals_drop(room);    /* no message meanwhile */
        ngx_im_room_release(room);
        return;
    }

    ngx_im_removals_wait(held);
    ngx_im_removals_pump();
}


static void
ngx_im_removals_pump(void)
{
    ngx_queue_t    *q;
    ngx_im_held_t  *held;

    while (!ngx_queue_empty(&ngx_im_removals_queue)
           && ngx_im_removals_asked < NGX_IM_REMOVALS_ASKED
           && !ngx_im_removals_event.timer_set)
    {
        q = ngx_queue_head(&ngx_im_removals_queue);
        held = ngx_queue_data(q, ngx_im_held_t, queue);

        if (ngx_im_removals_ask(held->room) != IM_OK) {
            ngx_im_removals_later();
            return;
        }

        ngx_queue_remove(q);
        held->queued = 0;
        held->asked = ngx_im_backlog_removals(&held->backlog);
    }
}


/* Continues in ngx_im_removals_on_reply(); until then the room stays. */
static int
ngx_im_removals_ask(ngx_im_room_t *room)
{
    int                      rc;
    im_disc_call_t          *call;
    im_disc_call_conf_t      conf;
    Im__RoomRemovedRequest   request = IM__ROOM_REMOVED_REQUEST__INIT;

    if (ngx_im_disc() == NULL) {
        return IM_DECLINED;
    }

    request.room = room->topic->id;
    request.since = room->removals;

    ngx_im_method_stamp(&ngx_im_removals_method, &request.base,
                        (char *) ngx_im_instance()->data, 0);

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = ngx_im_removals_method.policy;
    conf.slot = ngx_im_method_slot(&ngx_im_removals_method, &request.base, 0);
    conf.class = ngx_im_removals_method.class;
    conf.timeout_ms = ngx_im_removals_method.timeout_ms;
    conf.idempotent = 1;
    conf.trace = "removals";

    rc = im_disc_call(ngx_im_disc(), "logic", &ngx_im_removals_method.rpc,
                      &request.base, &conf, ngx_im_removals_on_reply, room,
                      &call);

    if (rc == IM_OK) {
        room->asking = 1;
        ngx_im_removals_asked++;

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "im: room %uL: ask for removals after number %uL",
                       request.room, request.since);
    }

    return rc;
}


static void
ngx_im_removals_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    ngx_im_room_t  *room = data;

    if (ngx_im_topics == NULL) {
        return;                        /* the room is gone, too */
    }

    room->asking = 0;
    ngx_im_removals_asked--;

    if (reply != NULL) {
        ngx_im_removals_answered(room, (const Im__RoomRemovedReply *) reply);

    } else {
        ngx_im_removals_failed(room, status);
    }

    if (room->held != NULL) {
        ngx_im_removals_release(room);
    }

    if (room->held != NULL) {
        ngx_im_removals_wait(room->held);
    }

    ngx_im_room_release(room);
    ngx_im_removals_pump();
}


static void
ngx_im_removals_answered(ngx_im_room_t *room,
    const Im__RoomRemovedReply *reply)
{
    size_t          i;
    uint64_t        needed;
    ngx_im_held_t  *held;

    for (i = 0; i < reply->n_uids; i++) {
        ngx_im_members_removed(room->topic->id, reply->uids[i],
                               reply->removals);
    }

    room->checked = 1;
    room->checked_at = ngx_current_msec;

    held = room->held;

    if (held != NULL) {
        held->refused = 0;
    }

    if (reply->removals > room->removals) {
        ngx_im_removals_known(room, reply->removals);
        return;
    }

    needed = (held != NULL) ? ngx_im_backlog_removals(&held->backlog) : 0;

    if (needed > room->removals && needed == held->asked) {
        ngx_im_removals_less(held, reply->removals);
    }
}


/* MySQL knew less than who accepted the message: asked again, and believed
 * after a while. */
static void
ngx_im_removals_less(ngx_im_held_t *held, uint64_t number)
{
    ngx_im_room_t  *room;

    if (!held->less) {
        held->less = 1;
        held->less_at = ngx_current_msec;
    }

    if (ngx_current_msec - held->less_at < NGX_IM_REMOVALS_LESS) {
        ngx_im_removals_wait_ms(held, NGX_IM_REMOVALS_LATER);
        return;
    }

    room = held->room;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "im: room %uL: a message was accepted after removal %uL, "
                  "MySQL has only %uL: it has lost some", room->topic->id,
                  ngx_im_backlog_removals(&held->backlog), number);

    while (held->backlog.first != NULL && room->topic->members > 0) {
        ngx_im_backlog_send(&held->backlog, room->topic);
    }

    ngx_im_removals_drop(room);
    room->removals = number;

    if (room->topic->members > 0) {
        ngx_im_fanout_gap(room);
    }
}


/* What never will be answered is not waited for; that is not shown either. */
static void
ngx_im_removals_failed(ngx_im_room_t *room, const im_rpc_status_t *status)
{
    im_str_t           text;
    ngx_im_held_t     *held;
    const im_error_t  *error;

    error = ngx_im_method_error(status, &text);

    ngx_im_log_error(NGX_LOG_WARN, ngx_cycle->log,
                     "im: room %uL: its removals are not known: %s",
                     room->topic->id, status->message);

    held = room->held;

    if (held == NULL) {
        return;
    }

    if (error->retryable) {
        ngx_im_removals_wait_ms(held, NGX_IM_REMOVALS_LATER);
        return;
    }

    ngx_im_backlog_clear(&held->backlog);
    held->refused = 1;

    ngx_im_removals_wait_ms(held, NGX_IM_REMOVALS_REFUSED);
    ngx_im_fanout_gap(room);
}


static void
ngx_im_removals_later(void)
{
    if (!ngx_im_removals_event.timer_set) {
        ngx_add_timer(&ngx_im_removals_event, NGX_IM_REMOVALS_LATER);
    }
}


static void
ngx_im_removals_on_later(ngx_event_t *ev)
{
    if (ngx_im_topics != NULL) {
        ngx_im_removals_pump();
    }
}


/* Who was removed is out of the room already. */
void
ngx_im_removals_told(ngx_im_room_t *room, uint64_t number)
{
    ngx_im_held_t  *held;

    if (number <= room->removals) {
        return;
    }

    held = room->held;

    if (number == room->removals + 1) {
        ngx_im_removals_known(room, number);

        if (held != NULL) {
            ngx_im_removals_release(room);
        }

        return;
    }

    if (held == NULL) {
        return;                        /* the next message will show the gap */
    }

    if (held->ahead_to != 0 && number == held->ahead_to + 1) {
        held->ahead_to = number;

    } else if (held->ahead_to != 0 && number == held->ahead_from - 1) {
        held->ahead_from = number;

    } else if (number > held->ahead_to) {
        held->ahead_from = number;
        held->ahead_to = number;
    }
}


/* All up to this number, and with that maybe some that were reported. */
static void
ngx_im_removals_known(ngx_im_room_t *room, uint64_t number)
{
    ngx_im_held_t  *held;

    held = room->held;
    room->removals = number;

    if (held == NULL) {
        return;
    }

    held->less = 0;

    if (held->ahead_to > number && held->ahead_from <= number + 1) {
        room->removals = held->ahead_to;
    }
}


/* What waits for no more; a later one may need numbers that grow as fast. */
static void
ngx_im_removals_release(ngx_im_room_t *room)
{
    ngx_uint_t      gap;
    ngx_im_held_t  *held;

    held = room->held;

    while (held->backlog.first != NULL && room->topic->members > 0) {

        if (ngx_im_backlog_removals(&held->backlog) > room->removals) {
            return;
        }

        ngx_im_backlog_send(&held->backlog, room->topic);
    }

    if (room->topic->members > 0
        && (held->refused
            || (held->backlog.gap
                && ngx_im_backlog_removals(&held->backlog) > room->removals)))
    {
        return;
    }

    gap = held->backlog.gap;

    ngx_im_removals_drop(room);

    if (gap && room->topic->members > 0) {
        ngx_im_fanout_gap(room);
    }
}


void
ngx_im_removals_drop(ngx_im_room_t *room)
{
    ngx_im_held_t  *held;

    held = room->held;

    if (held == NULL) {
        return;
    }

    room->held = NULL;

    if (held->queued) {
        ngx_queue_remove(&held->queue);
    }

    if (held->again.timer_set) {
        ngx_del_timer(&held->again);
    }

    ngx_im_backlog_clear(&held->backlog);
    ngx_free(held);
}
