/*
 * ngx_im_fanout.c -- one message to all who are in a topic, in turns.
 *
 *     record, event --> FIFO of the topic --> round: [all that waits]
 *                                              x [all who are there]
 *                                             a portion in each loop turn
 *
 * A room may have more members than can be served without a delay of all
 * others.  So a turn of the loop serves a number of connections and the rest
 * follows in the next, between which sockets are read and written; rooms take
 * turns in small portions.  A round takes what waits to all members, and what
 * comes meanwhile makes the next round: so messages of a room never overtake
 * each other, and a burst costs one walk.
 *
 * A message is encoded once for each encoding that is met, and shared.
 *
 * What waits is bounded by im_ws_fanout_queue.  A message that does not fit is
 * replaced by a gap: members get sync_needed instead (ngx_im_ws_write.c).
 */

#include "ngx_im_fanout.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_out.h"
#include "im_seen.h"


#define NGX_IM_FANOUT_TURN      256    /* connections in one loop turn */
#define NGX_IM_FANOUT_PORTION   64     /* of one room, then the next room */
#define NGX_IM_FANOUT_SENDS     4096   /* messages x connections in a turn */
#define NGX_IM_FANOUT_ROUND     64     /* messages in one round */
#define NGX_IM_FANOUT_OVERHEAD  256    /* counted for each message */
#define NGX_IM_FANOUT_EVENT     4096   /* and for an event */
#define NGX_IM_FANOUT_ENCODINGS 2


struct ngx_im_fanout_msg_s {
    ngx_im_fanout_msg_t  *next;
    Im__Record           *record;      /* NULL: an event, or a gap */
    ngx_im_ws_buf_t      *buf[NGX_IM_FANOUT_ENCODINGS];
    size_t                size;
    uint32_t              upto;        /* of a repeat */
    unsigned              repeat:1;
    unsigned              event:1;     /* who is slow does without */
    unsigned              gap:1;
};


static ngx_im_fanout_msg_t *ngx_im_fanout_add(im_topic_t *topic, size_t size);
static void ngx_im_fanout_append(ngx_im_room_t *room,
    ngx_im_fanout_msg_t *msg);
static void ngx_im_fanout_handler(ngx_event_t *ev);
static void ngx_im_fanout_portion(ngx_im_room_t *room);
static void ngx_im_fanout_begin(ngx_im_room_t *room);
static void ngx_im_fanout_end(ngx_im_room_t *room);
static void ngx_im_fanout_send(ngx_im_ws_t *ws, ngx_im_fanout_msg_t *msg);
static void ngx_im_fanout_free_msg(ngx_im_fanout_msg_t *msg);


static size_t         ngx_im_fanout_max;
static size_t         ngx_im_fanout_bytes;
static ngx_queue_t    ngx_im_fanout_turns;
static ngx_int_t      ngx_im_fanout_conns;   /* left in this turn */
static ngx_int_t      ngx_im_fanout_sends;

static ngx_event_t    ngx_im_fanout_event_posted = {
    .handler = ngx_im_fanout_handler
};


void
ngx_im_fanout_init(size_t queue_max)
{
    ngx_queue_init(&ngx_im_fanout_turns);
    ngx_im_fanout_max = queue_max;
    ngx_im_fanout_event_posted.log = ngx_cycle->log;
}


void
ngx_im_fanout_record(im_topic_t *topic, Im__Record *record, ngx_uint_t repeat,
    uint32_t upto)
{
    ngx_im_fanout_msg_t  *msg;

    /* the record and what it is encoded to */
    msg = ngx_im_fanout_add(topic, 2 * record->body.len);

    if (msg == NULL) {
        im__record__free_unpacked(record, NULL);
        return;
    }

    msg->record = record;
    msg->repeat = repeat;
    msg->upto = upto;
}


int
ngx_im_fanout_event(im_topic_t *topic, const Im__Frame *frame)
{
    ngx_uint_t            e;
    ngx_im_fanout_msg_t  *msg;

    if (topic->members == 0) {
        return IM_OK;
    }

    if (ngx_im_fanout_bytes > ngx_im_fanout_max / 2) {
        return IM_BUSY;
    }

    msg = ngx_im_fanout_add(topic, NGX_IM_FANOUT_EVENT);
    if (msg == NULL) {
        return IM_BUSY;
    }

    msg->event = 1;

    for (e = 0; e < NGX_IM_FANOUT_ENCODINGS; e++) {
        msg->buf[e] = ngx_im_ws_encode(frame, e);
    }

    return IM_OK;
}


/* NULL: members get sync_needed, by a gap in its place if memory allows. */
static ngx_im_fanout_msg_t *
ngx_im_fanout_add(im_topic_t *topic, size_t size)
{
    ngx_im_room_t        *room;
    ngx_im_fanout_msg_t  *msg;

    room = ngx_im_room(topic);
    if (room == NULL) {
        ngx_im_ws_sync_later();
        return NULL;
    }

    size += sizeof(ngx_im_fanout_msg_t) + NGX_IM_FANOUT_OVERHEAD;

    msg = (ngx_im_fanout_bytes + size > ngx_im_fanout_max) ? NULL
          : ngx_calloc(sizeof(ngx_im_fanout_msg_t), ngx_cycle->log);

    if (msg == NULL) {
        ngx_im_fanout_gap(room);
        return NULL;
    }

    msg->size = size;
    ngx_im_fanout_append(room, msg);

    return msg;
}


/* One is enough for all that is left out, unless some have met it already. */
void
ngx_im_fanout_gap(ngx_im_room_t *room)
{
    ngx_im_fanout_msg_t  *msg;

    if (room->last != NULL && room->last->gap && room->last != room->round) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "im: %uz bytes wait to be sent to rooms, over "
                  "im_ws_fanout_queue: messages of room %uL are left out",
                  ngx_im_fanout_bytes, room->topic->id);

    msg = ngx_calloc(sizeof(ngx_im_fanout_msg_t), ngx_cycle->log);

    if (msg == NULL) {
        ngx_im_ws_sync_later();        /* no memory even for that: all sync */
        return;
    }

    msg->gap = 1;
    ngx_im_fanout_append(room, msg);
}


static void
ngx_im_fanout_append(ngx_im_room_t *room, ngx_im_fanout_msg_t *msg)
{
    ngx_im_fanout_bytes += msg->size;

    if (room->first == NULL) {
        room->first = msg;
        ngx_queue_insert_tail(&ngx_im_fanout_turns, &room->turn);

    } else {
        room->last->next = msg;
    }

    room->last = msg;

    if (!ngx_im_fanout_event_posted.posted) {
        ngx_post_event(&ngx_im_fanout_event_posted, &ngx_posted_events);
    }
}


static void
ngx_im_fanout_handler(ngx_event_t *ev)
{
    ngx_queue_t    *q;
    ngx_im_room_t  *room;

    ngx_im_fanout_conns = NGX_IM_FANOUT_TURN;
    ngx_im_fanout_sends = NGX_IM_FANOUT_SENDS;

    while (!ngx_queue_empty(&ngx_im_fanout_turns)) {

        if (ngx_im_fanout_conns <= 0 || ngx_im_fanout_sends <= 0) {
            /* sockets first */
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        q = ngx_queue_head(&ngx_im_fanout_turns);
        ngx_queue_remove(q);

        room = ngx_queue_data(q, ngx_im_room_t, turn);

        ngx_im_fanout_portion(room);

        if (room->first != NULL) {
            ngx_queue_insert_tail(&ngx_im_fanout_turns, &room->turn);

        } else {
            ngx_im_room_release(room);
        }
    }
}


static void
ngx_im_fanout_portion(ngx_im_room_t *room)
{
    ngx_int_t             n;
    ngx_im_ws_t          *ws;
    im_subscriber_t      *sub;
    ngx_im_fanout_msg_t  *msg;

    if (room->round == NULL) {
        ngx_im_fanout_begin(room);
    }

    for (n = 0; n < NGX_IM_FANOUT_PORTION; n++) {

        if (room->at == room->end) {
            ngx_im_fanout_end(room);
            return;
        }

        if (ngx_im_fanout_conns <= 0 || ngx_im_fanout_sends <= 0) {
            return;
        }

        sub = im_topics_at(ngx_im_topics, room->topic, room->at++);

        if (sub == NULL) {
            continue;                  /* it left meanwhile */
        }

        ws = (ngx_im_ws_t *) ((u_char *) sub - offsetof(ngx_im_ws_t, sub));
        ngx_im_fanout_conns--;

        for (msg = room->first; ; msg = msg->next) {
            ngx_im_fanout_send(ws, msg);
            ngx_im_fanout_sends--;

            if (msg == room->round) {
                break;
            }
        }
    }
}


static void
ngx_im_fanout_begin(ngx_im_room_t *room)
{
    ngx_uint_t            n;
    ngx_im_fanout_msg_t  *msg;

    msg = room->first;

    for (n = 1; n < NGX_IM_FANOUT_ROUND && msg->next != NULL; n++) {
        msg = msg->next;
    }

    room->round = msg;
    room->at = 0;
    room->end = im_topics_walk_begin(room->topic);
}


static void
ngx_im_fanout_end(ngx_im_room_t *room)
{
    ngx_im_fanout_msg_t  *msg, *last;

    last = room->round;

    do {
        msg = room->first;
        room->first = msg->next;
        ngx_im_fanout_free_msg(msg);
    } while (msg != last);

    room->round = NULL;

    if (room->first == NULL) {
        room->last = NULL;
    }

    im_topics_walk_end(ngx_im_topics, room->topic);
}


static void
ngx_im_fanout_send(ngx_im_ws_t *ws, ngx_im_fanout_msg_t *msg)
{
    ngx_im_ws_buf_t  **b;

    if (msg->gap) {
        ngx_im_ws_fall_behind(ws);
        return;
    }

    b = &msg->buf[ws->encoding];

    if (msg->event) {
        if (*b != NULL) {
            ngx_im_ws_send_event(ws, *b);

        } else {
            ngx_im_ws_fall_behind(ws); /* out of memory */
        }

        return;
    }

    if (ws->id == msg->record->from_conn
        || (msg->repeat && !im_seen_is_later(ws->opened, msg->upto)))
    {
        return;                        /* it has its ack, or had it before */
    }

    if (*b == NULL) {
        *b = ngx_im_ws_encode_push(msg->record, ws->encoding);
    }

    if (*b == NULL) {
        ngx_im_ws_fall_behind(ws);     /* out of memory */
        return;
    }

    ngx_im_ws_send_push(ws, *b);
}


static void
ngx_im_fanout_free_msg(ngx_im_fanout_msg_t *msg)
{
    ngx_uint_t  e;

    ngx_im_fanout_bytes -= msg->size;

    for (e = 0; e < NGX_IM_FANOUT_ENCODINGS; e++) {
        ngx_im_ws_buf_release(msg->buf[e]);
    }

    im__record__free_unpacked(msg->record, NULL);
    ngx_free(msg);
}


void
ngx_im_fanout_free(ngx_im_room_t *room)
{
    ngx_im_fanout_msg_t  *msg;

    if (room->first == NULL) {
        return;
    }

    ngx_queue_remove(&room->turn);

    while (room->first != NULL) {
        msg = room->first;
        room->first = msg->next;
        ngx_im_fanout_free_msg(msg);
    }
}
