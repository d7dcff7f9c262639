/*
 * ngx_im_reports.c -- reports to Logic the users of each room in this worker.
 *
 *                    came, went              0.8 s after a report
 *     refresh -----------------> soon ---> rest ----------------> refresh
 *     (15 min)                  (30 ms)      |  ^
 *         |                        |         |  | who came or went meanwhile
 *         +------- all again ------+---------+--+
 *
 * A report has the number of users, and the users who came or went since the
 * last one.  These are looked up when the report is made, so that a user who
 * came and went is reported as gone, whatever Logic knew.  A report can be
 * repeated without harm, but there are never two under way for one room: after
 * a lost one a complete one follows, which replaces the list.  A list that is
 * too long for one report goes in several.
 *
 * A report may ask for the room's count, which is then sent to this worker
 * though it has not changed.  It does so when a member may not know the count:
 * an answer to a join had another number than the last event, an event could
 * not be sent, or the room's owner is another Logic, or the same one by a new
 * link.  What the owner sent by the old link may be lost, and a new owner knows
 * no room that nobody has reported.
 *
 * A room waits in one of three queues; in each all wait equally long, so the
 * first is the next one, and one timer serves all rooms.
 */

#include "ngx_im_reports.h"
#include "ngx_im_link.h"
#include "im_slot.h"


#define NGX_IM_REPORT_NONE     0
#define NGX_IM_REPORT_SOON     1
#define NGX_IM_REPORT_REST     2
#define NGX_IM_REPORT_REFRESH  3
#define NGX_IM_REPORT_QUEUES   4

#define NGX_IM_REPORT_UIDS     4096    /* in one report */
#define NGX_IM_REPORT_TOUCHED  1024    /* more than users: a complete report */
#define NGX_IM_REPORT_TURN     500     /* reports in one turn of the loop */
#define NGX_IM_REPORT_WORK     64      /* users count as one more */
#define NGX_IM_REPORT_PAUSE    5       /* ms, then more */
#define NGX_IM_REPORT_LOOK     2000    /* topics looked at in one turn */
#define NGX_IM_REPORT_MOVED    250     /* ms: links come and go together */


static void ngx_im_reports_touch(ngx_im_room_t *room, uint64_t uid);
static void ngx_im_reports_dirty(ngx_im_room_t *room);
static void ngx_im_reports_wait(ngx_im_room_t *room, ngx_uint_t queue);
static void ngx_im_reports_unwait(ngx_im_room_t *room);
static void ngx_im_reports_timer(void);
static void ngx_im_reports_handler(ngx_event_t *ev);
static void ngx_im_reports_due(ngx_im_room_t *room, ngx_uint_t queue);
static void ngx_im_reports_send(ngx_im_room_t *room);
static void ngx_im_reports_fill(ngx_im_room_t *room, Im__RoomReport *report,
    uint32_t n);
static void ngx_im_reports_untouch(ngx_im_room_t *room);
static int ngx_im_reports_touch_all(ngx_im_room_t *room);
static uint32_t ngx_im_reports_unique(uint64_t *uids, uint32_t n);
static void ngx_im_reports_on_moved(ngx_event_t *ev);
static void ngx_im_reports_look(im_topic_t *topic);


static const ngx_msec_t  ngx_im_report_ms[NGX_IM_REPORT_QUEUES] = {
    0, 30, 800, 15 * 60 * 1000
};

static ngx_queue_t       ngx_im_report_queues[NGX_IM_REPORT_QUEUES];
static ngx_event_t       ngx_im_report_event;
static ngx_event_t       ngx_im_report_moved_event;
static uint32_t          ngx_im_report_at;      /* topic of that walk */
static ngx_uint_t        ngx_im_report_again;   /* another one after it */
static ngx_connection_t  ngx_im_report_nobody;  /* debug lines name a socket */


void
ngx_im_reports_changed(ngx_im_room_t *room, uint64_t uid)
{
    ngx_im_reports_touch(room, uid);
    ngx_im_reports_dirty(room);
}


static void
ngx_im_reports_touch(ngx_im_room_t *room, uint64_t uid)
{
    uint32_t   cap;
    uint64_t  *touched;

    if (room->whole) {
        return;                        /* all will be looked up */
    }

    if (room->touched_n > room->topic->users + NGX_IM_REPORT_TOUCHED) {
        room->whole = 1;
        return;
    }

    if (room->touched_n == room->touched_cap) {
        cap = room->touched_cap ? room->touched_cap * 2 : 4;
        touched = ngx_alloc(cap * sizeof(uint64_t), ngx_cycle->log);

        if (touched == NULL) {
            room->whole = 1;
            return;
        }

        if (room->touched_n > 0) {
            ngx_memcpy(touched, room->touched,
                       room->touched_n * sizeof(uint64_t));
        }

        ngx_free(room->touched);
        room->touched = touched;
        room->touched_cap = cap;
    }

    room->touched[room->touched_n++] = uid;
}


static void
ngx_im_reports_dirty(ngx_im_room_t *room)
{
    room->dirty = 1;

    if (room->under_way || room->queued == NGX_IM_REPORT_SOON
        || room->queued == NGX_IM_REPORT_REST)
    {
        return;                        /* its time comes */
    }

    ngx_im_reports_wait(room, NGX_IM_REPORT_SOON);
}


static void
ngx_im_reports_wait(ngx_im_room_t *room, ngx_uint_t queue)
{
    ngx_uint_t  i;

    if (ngx_im_report_queues[0].next == NULL) {
        for (i = 0; i < NGX_IM_REPORT_QUEUES; i++) {
            ngx_queue_init(&ngx_im_report_queues[i]);
        }
    }

    ngx_im_reports_unwait(room);

    room->queued = queue;
    room->due = ngx_current_msec + ngx_im_report_ms[queue];
    ngx_queue_insert_tail(&ngx_im_report_queues[queue], &room->queue);

    ngx_im_reports_timer();
}


static void
ngx_im_reports_unwait(ngx_im_room_t *room)
{
    if (room->queued != NGX_IM_REPORT_NONE) {
        ngx_queue_remove(&room->queue);
        room->queued = NGX_IM_REPORT_NONE;
    }
}


/* For the first room that is due. */
static void
ngx_im_reports_timer(void)
{
    ngx_uint_t       i;
    ngx_queue_t     *q;
    ngx_msec_int_t   wait, min;
    ngx_im_room_t   *room;

    min = NGX_MAX_INT32_VALUE;

    for (i = 1; i < NGX_IM_REPORT_QUEUES; i++) {
        q = &ngx_im_report_queues[i];

        if (!ngx_queue_empty(q)) {
            room = ngx_queue_data(ngx_queue_head(q), ngx_im_room_t, queue);
            wait = (ngx_msec_int_t) (room->due - ngx_current_msec);
            min = ngx_min(min, ngx_max(wait, NGX_IM_REPORT_PAUSE));
        }
    }

    if (min == NGX_MAX_INT32_VALUE
        || (ngx_im_report_event.timer_set
            && (ngx_msec_int_t) (ngx_im_report_event.timer.key
                                 - ngx_current_msec)
               <= min))
    {
        return;
    }

    ngx_im_report_nobody.fd = (ngx_socket_t) -1;
    ngx_im_report_event.data = &ngx_im_report_nobody;
    ngx_im_report_event.handler = ngx_im_reports_handler;
    ngx_im_report_event.log = ngx_cycle->log;
    ngx_im_report_event.cancelable = 1;

    ngx_add_timer(&ngx_im_report_event, min);
}


static void
ngx_im_reports_handler(ngx_event_t *ev)
{
    ngx_uint_t      i, n;
    ngx_queue_t    *q;
    ngx_im_room_t  *room;

    n = 0;

    for (i = 1; i < NGX_IM_REPORT_QUEUES; i++) {
        q = &ngx_im_report_queues[i];

        while (!ngx_queue_empty(q) && n++ < NGX_IM_REPORT_TURN) {
            room = ngx_queue_data(ngx_queue_head(q), ngx_im_room_t, queue);

            if ((ngx_msec_int_t) (room->due - ngx_current_msec) > 0) {
                break;
            }

            /* one that names all of a large room is as much work as many */
            n += room->topic->members / NGX_IM_REPORT_WORK;

            ngx_im_reports_unwait(room);
            ngx_im_reports_due(room, i);
        }
    }

    ngx_im_reports_timer();
}


static void
ngx_im_reports_due(ngx_im_room_t *room, ngx_uint_t queue)
{
    if (room->under_way) {
        return;                        /* its answer goes on */
    }

    if (queue == NGX_IM_REPORT_REFRESH) {
        room->whole = 1;
        room->dirty = 1;
    }

    if (room->dirty) {
        ngx_im_reports_send(room);

    } else if (room->topic->members > 0) {
        ngx_im_reports_wait(room, NGX_IM_REPORT_REFRESH);

    } else {
        ngx_im_room_release(room);
    }
}


/* Continues in ngx_im_reports_on_answer(). */
static void
ngx_im_reports_send(ngx_im_room_t *room)
{
    uint32_t         n;
    im_conv_t        conv;
    Im__UpItem       item = IM__UP_ITEM__INIT;
    Im__RoomReport   report = IM__ROOM_REPORT__INIT;

    if (room->whole && ngx_im_reports_touch_all(room) != IM_OK) {
        ngx_im_reports_wait(room, NGX_IM_REPORT_REST);   /* no memory now */
        return;
    }

    room->touched_n = ngx_im_reports_unique(room->touched, room->touched_n);
    n = ngx_min(room->touched_n, NGX_IM_REPORT_UIDS);

    ngx_im_reports_fill(room, &report, n);

    item.conn = room->topic->id;       /* refusals name the room by it */
    item.item_case = IM__UP_ITEM__ITEM_REPORT;
    item.report = &report;

    conv.a = 0;
    conv.b = room->topic->id;

    if (ngx_im_link_send(im_slot_of_conv(&conv), &item, &room->ref) == IM_OK) {
        room->home = ngx_im_link_no(im_slot_of_conv(&conv));
        room->under_way = 1;
        room->whole = 0;
        room->ask = 0;
        room->touched_n -= n;
        room->dirty = room->touched_n > 0;

        if (!room->dirty) {
            ngx_im_reports_untouch(room);
        }
    }

    ngx_im_reports_wait(room, NGX_IM_REPORT_REST);
}


/* With the last n who were touched: to the front who is here, behind who is
 * not. */
static void
ngx_im_reports_fill(ngx_im_room_t *room, Im__RoomReport *report, uint32_t n)
{
    uint32_t         i, left, joined;
    uint64_t        *uids;
    static uint64_t  sorted[NGX_IM_REPORT_UIDS];

    uids = room->touched + (room->touched_n - n);
    joined = 0;
    left = n;

    for (i = 0; i < n; i++) {
        if (im_topics_has_user(ngx_im_topics, room->topic, uids[i])) {
            sorted[joined++] = uids[i];

        } else {
            sorted[--left] = uids[i];
        }
    }

    report->room = room->topic->id;
    report->online = room->topic->users;
    report->n_joined = joined;
    report->joined = sorted;
    report->n_left = n - joined;
    report->left = sorted + joined;
    report->whole = room->whole;
    report->ask = room->ask;
}


/* All who are here are touched. */
static int
ngx_im_reports_touch_all(ngx_im_room_t *room)
{
    uint32_t          i;
    uint64_t         *touched;
    im_topic_t       *topic;
    im_subscriber_t  *sub;

    topic = room->topic;

    ngx_im_reports_untouch(room);

    if (topic->members == 0) {
        return IM_OK;
    }

    touched = ngx_alloc(topic->members * sizeof(uint64_t), ngx_cycle->log);
    if (touched == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < topic->len; i++) {
        sub = im_topics_at(ngx_im_topics, topic, i);

        if (sub != NULL) {
            touched[room->touched_n++] = sub->uid;
        }
    }

    room->touched = touched;
    room->touched_cap = topic->members;

    return IM_OK;
}


static uint32_t
ngx_im_reports_unique(uint64_t *uids, uint32_t n)
{
    uint32_t  i, k;

    if (n < 2) {
        return n;
    }

    qsort(uids, n, sizeof(uint64_t), ngx_im_rooms_compare);

    k = 1;

    for (i = 1; i < n; i++) {
        if (uids[i] != uids[k - 1]) {
            uids[k++] = uids[i];
        }
    }

    return k;
}


void
ngx_im_reports_on_answer(uint64_t id, uint64_t ref, ngx_uint_t ok)
{
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    topic = (ngx_im_topics == NULL) ? NULL
            : im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, id);

    room = (topic == NULL) ? NULL : topic->data;

    if (room == NULL || !room->under_way || (ref != 0 && room->ref != ref)) {
        return;
    }

    room->under_way = 0;

    if (!ok) {
        room->whole = 1;
        room->ask = 1;
        room->dirty = 1;

        if (room->queued == NGX_IM_REPORT_NONE) {
            ngx_im_reports_wait(room, NGX_IM_REPORT_REST);
        }

        return;
    }

    if (room->touched_n > 0 && room->touched_n >= NGX_IM_REPORT_UIDS) {
        ngx_im_reports_wait(room, NGX_IM_REPORT_SOON);   /* the next part */

    } else if (room->queued == NGX_IM_REPORT_NONE) {
        ngx_im_reports_wait(room, room->dirty ? NGX_IM_REPORT_SOON
                                              : NGX_IM_REPORT_REST);
    }

    ngx_im_room_release(room);
}


void
ngx_im_reports_all(void)
{
    uint32_t        no;
    im_topic_t     *topic;
    ngx_im_room_t  *room;

    if (ngx_im_topics == NULL) {
        return;
    }

    for (no = 0; (topic = im_topics_each(ngx_im_topics, &no)) != NULL; ) {
        room = topic->data;

        if (topic->kind == IM_TOPIC_ROOM && room != NULL) {
            room->whole = 1;
            ngx_im_reports_ask(room);
        }
    }
}


void
ngx_im_reports_ask(ngx_im_room_t *room)
{
    room->ask = 1;
    ngx_im_reports_dirty(room);
}


void
ngx_im_reports_moved(void)
{
    if (ngx_im_topics == NULL) {
        return;
    }

    if (ngx_im_report_moved_event.timer_set) {
        ngx_im_report_again = (ngx_im_report_at != 0);
        return;
    }

    ngx_im_report_nobody.fd = (ngx_socket_t) -1;
    ngx_im_report_moved_event.data = &ngx_im_report_nobody;
    ngx_im_report_moved_event.handler = ngx_im_reports_on_moved;
    ngx_im_report_moved_event.log = ngx_cycle->log;
    ngx_im_report_moved_event.cancelable = 1;

    ngx_add_timer(&ngx_im_report_moved_event, NGX_IM_REPORT_MOVED);
}


static void
ngx_im_reports_on_moved(ngx_event_t *ev)
{
    im_topic_t  *topic;
    ngx_uint_t   n;

    for (n = 0; ngx_im_topics != NULL && n < NGX_IM_REPORT_LOOK; n++) {
        topic = im_topics_each(ngx_im_topics, &ngx_im_report_at);

        if (topic == NULL) {
            ngx_im_report_at = 0;

            if (ngx_im_report_again) {
                ngx_im_report_again = 0;
                ngx_add_timer(ev, NGX_IM_REPORT_MOVED);
            }

            return;
        }

        ngx_im_reports_look(topic);
    }

    ngx_add_timer(ev, NGX_IM_REPORT_PAUSE);
}


static void
ngx_im_reports_look(im_topic_t *topic)
{
    uint32_t        no;
    im_conv_t       conv;
    ngx_im_room_t  *room;

    room = topic->data;

    if (topic->kind != IM_TOPIC_ROOM || room == NULL || topic->members == 0) {
        return;
    }

    conv.a = 0;
    conv.b = topic->id;
    no = ngx_im_link_no(im_slot_of_conv(&conv));

    if (no != 0 && no != room->home) {
        ngx_im_reports_ask(room);
    }
}


void
ngx_im_reports_forget(ngx_im_room_t *room)
{
    ngx_im_reports_unwait(room);
    ngx_im_reports_untouch(room);
}


static void
ngx_im_reports_untouch(ngx_im_room_t *room)
{
    ngx_free(room->touched);
    room->touched = NULL;
    room->touched_n = 0;
    room->touched_cap = 0;
}
