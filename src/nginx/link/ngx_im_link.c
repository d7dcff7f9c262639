/*
 * ngx_im_link.c -- one stream from this worker to every Logic.
 *
 *     worker --- UpBatch: hello, open, close, send, report ---> Logic
 *            <-- DownBatch: opened, closed, ack, error ---
 *            <-- and unasked: end, membership, room_event ... ---
 *
 * What a connection asks goes to the Logic that is home to its slot, by way of
 * the outbox (core/im_outbox.h), which keeps it until it is answered: when an
 * instance dies, freezes or leaves, its share goes to the others, in order.
 *
 * Items are appended to the link's waiting batch; one posted event at the end
 * of the loop turn flushes the links that were used, so that a turn costs one
 * gRPC message for each Logic however many connections spoke.
 *
 * A link is also how the worker knows that a Logic lives: it beats.  Discovery
 * is told, and no call of the API tier goes where the link is broken.  What a
 * Logic says unasked is lost while it is broken, so a second later all
 * connections are opened again, and once more when it is back; and whenever a
 * link opens or ends, presence and the counts of rooms are asked for.  One
 * that breaks is opened again after 100 ms to 1 s while etcd names the
 * instance; one to an instance that leaves is closed once all is answered.
 */

#include "ngx_im_rooms.h"
#include "im_outbox.h"
#include "im_slot.h"
#include "im_timeouts.h"
#include "logic.pb-c.h"


#define NGX_IM_LINK_ITEMS_MAX  65536
#define NGX_IM_LINK_BYTES_MAX  (64 * 1024 * 1024)
#define NGX_IM_LINK_TICK       250
#define NGX_IM_LINK_AGAIN      1000    /* then what was missed is asked for */
#define NGX_IM_LINK_PRESENCE   250     /* the same, of presence */
#define NGX_IM_LINK_ERROR      128


typedef struct ngx_im_link_s  ngx_im_link_t;

struct ngx_im_link_s {
    im_outbox_way_t      way;        /* first: the outbox knows us by it */
    im_disc_instance_t  *instance;   /* NULL once it is gone */
    im_rpc_stream_t     *stream;     /* NULL while broken */
    im_rpc_timer_t      *retry;
    ngx_im_link_t       *dirty_next;
    ngx_queue_t          queue;      /* of all links */
    ngx_msec_t           key_since;
    uint32_t             no;         /* of this stream, from 1 */
    unsigned             retry_ms;
    unsigned             open:1;     /* the Logic has answered */
    unsigned             takes:1;    /* and does not leave */
    unsigned             leaving:1;  /* the stream is being closed */
    unsigned             dirty:1;
    unsigned             told:1;     /* that it is broken: once */
    unsigned             missed:1;   /* what it said unasked */
    unsigned             key_differs:1;  /* of the tokens */
};


static void ngx_im_link_up(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_changed(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_down(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_open(ngx_im_link_t *link);
static void ngx_im_link_on_retry(void *ctx);
static void ngx_im_link_on_open(void *ctx, im_rpc_stream_t *s);
static void ngx_im_link_moved(void);
static im_outbox_way_t *ngx_im_link_home(void *ctx, unsigned slot);
static int ngx_im_link_write(void *ctx, im_outbox_way_t *way,
    const im_str_t *item);
static void ngx_im_link_refuse(void *ctx, uint64_t conn,
    Im__UpItem__ItemCase kind, const char *cmid, const char *code);
static void ngx_im_link_flush(ngx_event_t *ev);
static void ngx_im_link_on_tick(ngx_event_t *ev);
static void ngx_im_link_on_writable(void *ctx, im_rpc_stream_t *s);
static void ngx_im_link_on_batch(void *ctx, im_rpc_stream_t *s,
    const uint8_t *data, size_t len);
static void ngx_im_link_on_item(ngx_im_link_t *link,
    const Im__DownItem *item);
static void ngx_im_link_on_welcome(ngx_im_link_t *link,
    const Im__Welcome *welcome);
static void ngx_im_link_closed(ngx_im_link_t *link, const char *error);
static void ngx_im_link_leave(ngx_im_link_t *link);
static void ngx_im_link_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void ngx_im_link_lost(ngx_im_link_t *link);


static const im_disc_handler_t  ngx_im_link_disc_handler = {
    .up = ngx_im_link_up,
    .changed = ngx_im_link_changed,
    .down = ngx_im_link_down
};

static const im_rpc_stream_handler_t  ngx_im_link_stream_handler = {
    .on_open = ngx_im_link_on_open,
    .on_batch = ngx_im_link_on_batch,
    .on_writable = ngx_im_link_on_writable,
    .on_close = ngx_im_link_on_close,
    .beat_ms = IM_RPC_BEAT_MS,
    .dead_ms = IM_RPC_DEAD_MS
};

static const im_outbox_handler_t  ngx_im_link_outbox_handler = {
    .home = ngx_im_link_home,
    .write = ngx_im_link_write,
    .refuse = ngx_im_link_refuse
};


static ngx_queue_t       ngx_im_links;
static ngx_msec_t        ngx_im_link_since;     /* none is open */
static uint32_t          ngx_im_link_last;      /* number of a stream */
static u_char            ngx_im_link_error[NGX_IM_LINK_ERROR];
static char              ngx_im_link_key_id[IM_JWT_KEY_ID_LEN + 1];
static im_rpc_method_t   ngx_im_link_method;
static im_outbox_t      *ngx_im_link_outbox;
static ngx_im_link_t    *ngx_im_link_dirty;
static ngx_event_t       ngx_im_link_flush_event;
static ngx_event_t       ngx_im_link_tick_event;
static ngx_connection_t  ngx_im_link_nobody;  /* debug lines name a socket */


ngx_int_t
ngx_im_link_init(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    im_outbox_conf_t  conf;

    ngx_queue_init(&ngx_im_links);
    ngx_im_link_since = ngx_current_msec;
    (void) ngx_sprintf(ngx_im_link_error, "no instance is known%Z");

    if (mcf->jwt_key != NULL
        && im_jwt_key_id(mcf->jwt_key, ngx_im_link_key_id) != IM_OK)
    {
        return NGX_ERROR;
    }

    if (im_rpc_method_find(&ngx_im_link_method, &im__logic__descriptor,
                           "Exchange") != IM_OK)
    {
        return NGX_ERROR;
    }

    conf.items_max = NGX_IM_LINK_ITEMS_MAX;
    conf.bytes_max = NGX_IM_LINK_BYTES_MAX;
    conf.wait_ms = IM_OUTBOX_WAIT_MS;

    ngx_im_link_outbox = im_outbox_create(&conf, &ngx_im_link_outbox_handler,
                                          NULL);
    if (ngx_im_link_outbox == NULL) {
        return NGX_ERROR;
    }

    ngx_im_link_flush_event.handler = ngx_im_link_flush;
    ngx_im_link_flush_event.log = ngx_cycle->log;

    ngx_im_link_nobody.fd = (ngx_socket_t) -1;
    ngx_im_link_tick_event.data = &ngx_im_link_nobody;
    ngx_im_link_tick_event.handler = ngx_im_link_on_tick;
    ngx_im_link_tick_event.log = ngx_cycle->log;
    ngx_im_link_tick_event.cancelable = 1;

    return im_disc_subscribe(ngx_im_disc(), "logic", &ngx_im_link_disc_handler,
                             NULL);
}


/* What waits has been asked; whoever asked is gone now. */
void
ngx_im_link_exit(void)
{
    ngx_im_link_flush(&ngx_im_link_flush_event);

    im_outbox_destroy(ngx_im_link_outbox);
    ngx_im_link_outbox = NULL;
}


static void
ngx_im_link_up(void *ctx, im_disc_instance_t *inst)
{
    ngx_im_link_t  *link;

    im_disc_dead(inst);                /* until it has answered */

    link = ngx_calloc(sizeof(ngx_im_link_t), ngx_cycle->log);
    if (link == NULL) {
        return;                        /* it stays without a link: not picked */
    }

    link->instance = inst;
    link->retry_ms = IM_LINK_RETRY_MIN_MS;
    inst->data = link;
    ngx_queue_insert_tail(&ngx_im_links, &link->queue);

    ngx_im_log_error(NGX_LOG_NOTICE, ngx_cycle->log,
                     "im: logic %s at %s is up", inst->id, inst->address);

    ngx_im_link_open(link);
}


static void
ngx_im_link_open(ngx_im_link_t *link)
{
    Im__Hello   hello = IM__HELLO__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    link->stream = im_rpc_stream_open(link->instance->channel,
                                      &ngx_im_link_method, IM_RPC_STREAM_MS,
                                      &ngx_im_link_stream_handler, link);
    if (link->stream == NULL) {
        link->retry = im_rpc_timer(ngx_im_rpc(), link->retry_ms,
                                   ngx_im_link_on_retry, link);
        return;
    }

    hello.instance = (char *) ngx_im_instance()->data;
    hello.key_id = ngx_im_link_key_id;
    item.item_case = IM__UP_ITEM__ITEM_HELLO;
    item.hello = &hello;

    (void) im_rpc_stream_add(link->stream, &item.base);
    im_rpc_stream_flush(link->stream);
}


static void
ngx_im_link_on_retry(void *ctx)
{
    ngx_im_link_t  *link = ctx;

    link->retry = NULL;
    ngx_im_link_open(link);
}


static void
ngx_im_link_on_open(void *ctx, im_rpc_stream_t *s)
{
    ngx_im_link_t  *link = ctx;

    if (link->instance == NULL || link->stream != s) {
        return;
    }

    link->no = ++ngx_im_link_last;
    link->open = 1;
    link->takes = !link->instance->draining;
    link->told = 0;
    link->retry_ms = IM_LINK_RETRY_MIN_MS;

    ngx_im_log_error(NGX_LOG_NOTICE, ngx_cycle->log,
                     "im: link to logic %s is open", link->instance->id);

    im_disc_alive(link->instance);

    if (link->instance->draining) {
        ngx_im_link_leave(link);

    } else if (ngx_im_link_outbox != NULL) {
        im_outbox_move(ngx_im_link_outbox);
    }

    if (link->missed) {
        link->missed = 0;
        ngx_im_ws_announce_all(NGX_IM_LINK_AGAIN);
    }

    ngx_im_link_moved();
}


/* What this Logic sends unasked comes from now on, or comes no more: the state
 * of presence and rooms is asked for. */
static void
ngx_im_link_moved(void)
{
    if (ngx_im_link_outbox != NULL) {
        ngx_im_presence_refresh(NGX_IM_LINK_PRESENCE);
        ngx_im_reports_moved();
    }
}


uint32_t
ngx_im_link_no(unsigned slot)
{
    im_outbox_way_t  *way;

    way = ngx_im_link_home(NULL, slot);

    return (way != NULL) ? ((ngx_im_link_t *) way)->no : 0;
}


int
ngx_im_link_send(unsigned slot, Im__UpItem *item, uint64_t *ref)
{
    if (ngx_im_link_outbox == NULL) {
        return IM_DECLINED;            /* the worker exits */
    }

    if (!ngx_im_link_tick_event.timer_set) {
        ngx_add_timer(&ngx_im_link_tick_event, NGX_IM_LINK_TICK);
    }

    return im_outbox_add(ngx_im_link_outbox, slot, item, ngx_current_msec,
                         ref);
}


int
ngx_im_link_waits(uint64_t ref)
{
    return ngx_im_link_outbox != NULL
           && im_outbox_waits(ngx_im_link_outbox, ref);
}


static im_outbox_way_t *
ngx_im_link_home(void *ctx, unsigned slot)
{
    ngx_im_link_t       *link;
    im_disc_instance_t  *inst;

    inst = im_disc_pick(ngx_im_disc(), "logic", slot);
    link = (inst != NULL) ? inst->data : NULL;

    return (link != NULL && link->open) ? &link->way : NULL;
}


static int
ngx_im_link_write(void *ctx, im_outbox_way_t *way, const im_str_t *item)
{
    int             rc;
    ngx_im_link_t  *link = (ngx_im_link_t *) way;

    if (link->stream == NULL) {
        return IM_ERROR;
    }

    rc = im_rpc_stream_add_packed(link->stream, item);

    if (rc == IM_OK && !link->dirty) {
        link->dirty = 1;
        link->dirty_next = ngx_im_link_dirty;
        ngx_im_link_dirty = link;

        if (!ngx_im_link_flush_event.posted) {
            ngx_post_event(&ngx_im_link_flush_event, &ngx_posted_events);
        }
    }

    return rc;
}


/* An Open and a report are asked again, a Close has nobody to be told. */
static void
ngx_im_link_refuse(void *ctx, uint64_t conn, Im__UpItem__ItemCase kind,
    const char *cmid, const char *code)
{
    Im__Error     error = IM__ERROR__INIT;
    ngx_im_ws_t  *ws;

    if (kind == IM__UP_ITEM__ITEM_REPORT) {
        ngx_im_reports_on_answer(conn, 0, 0);
        return;
    }

    ws = ngx_im_ws_by_id(conn);

    if (ws == NULL) {
        return;
    }

    if (kind == IM__UP_ITEM__ITEM_SEND) {
        ngx_im_ws_send_error(ws, code, "Logic has not answered", cmid);

    } else if (kind == IM__UP_ITEM__ITEM_OPEN) {
        error.retryable = 1;
        ngx_im_ws_on_not_opened(ws, &error);
    }
}


static void
ngx_im_link_flush(ngx_event_t *ev)
{
    ngx_im_link_t  *link;

    while (ngx_im_link_dirty != NULL) {
        link = ngx_im_link_dirty;
        ngx_im_link_dirty = link->dirty_next;
        link->dirty = 0;

        if (link->stream != NULL) {
            im_rpc_stream_flush(link->stream);
        }
    }
}


static void
ngx_im_link_on_tick(ngx_event_t *ev)
{
    if (ngx_im_link_outbox == NULL) {
        return;
    }

    im_outbox_move(ngx_im_link_outbox);
    im_outbox_expire(ngx_im_link_outbox, ngx_current_msec);

    if (im_outbox_items(ngx_im_link_outbox) > 0) {
        ngx_add_timer(ev, NGX_IM_LINK_TICK);
    }
}


static void
ngx_im_link_on_writable(void *ctx, im_rpc_stream_t *s)
{
    if (ngx_im_link_outbox != NULL) {
        im_outbox_move(ngx_im_link_outbox);
    }
}


static void
ngx_im_link_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len)
{
    size_t            i;
    ngx_im_link_t    *link = ctx;
    Im__DownBatch    *batch;

    batch = im__down_batch__unpack(NULL, len, data);
    if (batch == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "im: a batch of %uz bytes from logic is malformed", len);
        im_rpc_stream_cancel(s);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        ngx_im_link_on_item(link, batch->items[i]);
    }

    im__down_batch__free_unpacked(batch, NULL);

    if (link->instance != NULL && link->instance->draining) {
        ngx_im_link_leave(link);
    }
}


static void
ngx_im_link_on_item(ngx_im_link_t *link, const Im__DownItem *item)
{
    uint64_t               conn, asked;
    Im__Frame              frame = IM__FRAME__INIT;
    ngx_im_ws_t           *ws;
    Im__UpItem__ItemCase   kind;

    if (item->item_case == IM__DOWN_ITEM__ITEM_WELCOME) {
        ngx_im_link_on_welcome(link, item->welcome);
        return;
    }

    if (item->ref == 0) {
        ngx_im_told(item);
        return;
    }

    if (ngx_im_link_outbox == NULL
        || im_outbox_answered(ngx_im_link_outbox, item->ref, &kind, &conn,
                              &asked)
           != IM_OK)
    {
        return;                        /* too late: it was refused */
    }

    if (kind == IM__UP_ITEM__ITEM_REPORT) {
        ngx_im_reports_on_answer(conn, item->ref,
                                 item->item_case
                                 == IM__DOWN_ITEM__ITEM_CLOSED);
        return;
    }

    ws = ngx_im_ws_by_id(item->conn);

    if (ws == NULL) {
        return;                        /* it has closed meanwhile */
    }

    switch (item->item_case) {

    case IM__DOWN_ITEM__ITEM_OPENED:
        ngx_im_ws_on_opened(ws, item->opened, (ngx_msec_t) asked);
        break;

    case IM__DOWN_ITEM__ITEM_ACK:
        frame.frame_case = IM__FRAME__FRAME_ACK;
        frame.ack = item->ack;
        ngx_im_ws_send_frame(ws, &frame);
        break;

    case IM__DOWN_ITEM__ITEM_ERROR:
        if (kind == IM__UP_ITEM__ITEM_OPEN) {
            ngx_im_ws_on_not_opened(ws, item->error);

        } else {
            ngx_im_ws_on_error(ws, item->error);
        }

        break;

    default:
        break;                         /* closed; a newer Logic says more */
    }
}


/* With another key than ours it signs tokens that we refuse. */
static void
ngx_im_link_on_welcome(ngx_im_link_t *link, const Im__Welcome *welcome)
{
    ngx_uint_t  differs;

    differs = ngx_im_link_key_id[0] != '\0' && welcome->key_id[0] != '\0'
              && ngx_strcmp(welcome->key_id, ngx_im_link_key_id) != 0;

    if (differs == link->key_differs || link->instance == NULL) {
        return;
    }

    link->key_differs = differs;

    if (differs) {
        link->key_since = ngx_current_msec;
        ngx_im_log_error(NGX_LOG_ERR, ngx_cycle->log,
                         "im: logic %s signs tokens with another key (key id "
                         "%*s) than im_jwt_key_file (key id %s): each of them "
                         "is refused here", link->instance->id,
                         ngx_min(ngx_strlen(welcome->key_id),
                                 IM_JWT_KEY_ID_LEN),
                         welcome->key_id, ngx_im_link_key_id);
    }
}


void
ngx_im_link_state(ngx_im_link_state_t *state)
{
    ngx_queue_t    *q;
    ngx_im_link_t  *link;

    ngx_memzero(state, sizeof(ngx_im_link_state_t));
    state->since = ngx_im_link_since;
    state->error = (char *) ngx_im_link_error;

    for (q = ngx_queue_head(&ngx_im_links);
         q != ngx_queue_sentinel(&ngx_im_links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_im_link_t, queue);

        state->open |= link->takes;

        if (link->key_differs
            && (!state->key_differs
                || (ngx_msec_int_t) (link->key_since - state->key_since) < 0))
        {
            state->key_differs = 1;
            state->key_since = link->key_since;
        }
    }
}


/* It takes nothing new, for what is in error; maybe it was the last one. */
static void
ngx_im_link_closed(ngx_im_link_t *link, const char *error)
{
    u_char               *p;
    ngx_uint_t            was;
    ngx_im_link_state_t   state;

    was = link->takes;
    link->takes = 0;

    p = ngx_snprintf(ngx_im_link_error, sizeof(ngx_im_link_error) - 1,
                     "logic %s: %s", link->instance->id, error);
    *p = '\0';

    ngx_im_link_state(&state);

    if (was && !state.open) {
        ngx_im_link_since = ngx_current_msec;
    }
}


/* It leaves: nothing new goes there, and what was asked is answered first. */
static void
ngx_im_link_changed(void *ctx, im_disc_instance_t *inst)
{
    ngx_im_link_t  *link = inst->data;

    if (link == NULL || !inst->draining || link->leaving) {
        return;
    }

    ngx_im_log_error(NGX_LOG_NOTICE, ngx_cycle->log,
                     "im: logic %s is leaving, %ui items are under way",
                     inst->id, (ngx_uint_t) link->way.in_flight);

    ngx_im_link_closed(link, "it is leaving");

    if (ngx_im_link_outbox != NULL) {
        im_outbox_move(ngx_im_link_outbox);
    }

    ngx_im_link_leave(link);
    ngx_im_link_moved();
}


static void
ngx_im_link_leave(ngx_im_link_t *link)
{
    if (link->way.in_flight == 0 && link->stream != NULL && !link->leaving) {
        link->leaving = 1;
        im_rpc_stream_close(link->stream);
    }
}


static void
ngx_im_link_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status)
{
    ngx_uint_t      level;
    ngx_im_link_t  *link = ctx;

    link->stream = NULL;
    link->leaving = 0;

    if (link->instance == NULL) {
        ngx_free(link);                /* down came first */
        return;
    }

    link->open = 0;
    ngx_im_link_closed(link, status->message);
    im_disc_dead(link->instance);
    ngx_im_link_lost(link);

    if (link->instance->draining) {
        return;                        /* it has what it wanted */
    }

    link->missed = 1;

    if (!link->told && ngx_im_link_outbox != NULL) {
        ngx_im_ws_announce_all(NGX_IM_LINK_AGAIN);
        ngx_im_link_moved();
    }

    level = link->told ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_im_log_error(level, ngx_cycle->log,
                     "im: link to logic %s at %s broke (%d %s), again in "
                     "%ui ms", link->instance->id, link->instance->address,
                     status->code, status->message,
                     (ngx_uint_t) link->retry_ms);
    link->told = 1;

    link->retry = im_rpc_timer(ngx_im_rpc(), link->retry_ms,
                               ngx_im_link_on_retry, link);
    link->retry_ms = ngx_min(link->retry_ms * 2, IM_LINK_RETRY_MAX_MS);
}


static void
ngx_im_link_lost(ngx_im_link_t *link)
{
    ngx_im_link_t  **p;

    if (ngx_im_link_outbox != NULL) {
        im_outbox_lost(ngx_im_link_outbox, &link->way);
    }

    for (p = &ngx_im_link_dirty; *p != NULL; p = &(*p)->dirty_next) {
        if (*p == link) {
            *p = link->dirty_next;
            link->dirty = 0;
            break;
        }
    }
}


static void
ngx_im_link_down(void *ctx, im_disc_instance_t *inst)
{
    ngx_im_link_t  *link = inst->data;

    if (link == NULL) {
        return;
    }

    ngx_im_log_error(NGX_LOG_NOTICE, ngx_cycle->log,
                     "im: logic %s is gone", inst->id);

    if (link->stream != NULL && ngx_im_link_outbox == NULL) {
        im_rpc_stream_flush(link->stream);   /* the worker exits */
    }

    link->open = 0;
    ngx_im_link_closed(link, "it is gone");
    ngx_queue_remove(&link->queue);
    inst->data = NULL;
    link->instance = NULL;

    ngx_im_link_lost(link);
    ngx_im_link_moved();

    if (link->retry != NULL) {
        im_rpc_timer_cancel(link->retry);
    }

    if (link->stream != NULL) {
        im_rpc_stream_close(link->stream);   /* on_close frees the link */
        return;
    }

    ngx_free(link);
}
