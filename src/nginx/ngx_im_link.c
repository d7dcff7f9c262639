/*
 * ngx_im_link.c -- one stream from this worker to every Logic.
 *
 *     worker --- UpBatch: hello, open, close, send ---> Logic
 *            <-- DownBatch: opened, ack, error, end ---
 *
 * What a connection asks goes to the Logic that is home to its slot.  Items
 * are packed at once into the link's waiting batch; one posted event at the
 * end of the loop turn flushes the links that were used, so that a turn costs
 * one gRPC message for each Logic however many connections spoke.
 *
 * A link that breaks is opened again after 100 ms to 1 s while etcd names the
 * instance.  What was in flight on it is not repeated: a client sends again
 * with the same cmid when its ack does not come.
 */

#include "ngx_im_ws.h"
#include "im_slot.h"
#include "logic.pb-c.h"


#define NGX_IM_LINK_CONNECT_MS    2000
#define NGX_IM_LINK_RETRY_MIN_MS  100
#define NGX_IM_LINK_RETRY_MAX_MS  1000


typedef struct ngx_im_link_s  ngx_im_link_t;

struct ngx_im_link_s {
    im_disc_instance_t  *instance;   /* NULL once it is gone */
    im_rpc_stream_t     *stream;     /* NULL while broken */
    im_rpc_timer_t      *retry;
    ngx_im_link_t       *dirty_next;
    unsigned             retry_ms;
    unsigned             dirty:1;
};


static void ngx_im_link_up(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_down(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_open(ngx_im_link_t *link);
static void ngx_im_link_on_retry(void *ctx);
static void ngx_im_link_on_batch(void *ctx, im_rpc_stream_t *s,
    const uint8_t *data, size_t len);
static void ngx_im_link_on_item(const Im__DownItem *item);
static void ngx_im_link_on_end(const Im__End *end);
static void ngx_im_link_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void ngx_im_link_flush(ngx_event_t *ev);


static const im_disc_handler_t  ngx_im_link_disc_handler = {
    .up = ngx_im_link_up,
    .down = ngx_im_link_down
};


static const im_rpc_stream_handler_t  ngx_im_link_stream_handler = {
    .on_batch = ngx_im_link_on_batch,
    .on_close = ngx_im_link_on_close
};


static im_rpc_method_t   ngx_im_link_method;
static ngx_im_link_t    *ngx_im_link_dirty;
static ngx_event_t       ngx_im_link_flush_event;


ngx_int_t
ngx_im_link_init(im_disc_t *disc)
{
    if (im_rpc_method_find(&ngx_im_link_method, &im__logic__descriptor,
                           "Exchange") != IM_OK)
    {
        return NGX_ERROR;
    }

    ngx_im_link_flush_event.handler = ngx_im_link_flush;
    ngx_im_link_flush_event.log = ngx_cycle->log;

    return im_disc_subscribe(disc, "logic", &ngx_im_link_disc_handler, NULL);
}


static void
ngx_im_link_up(void *ctx, im_disc_instance_t *inst)
{
    ngx_im_link_t  *link;

    link = ngx_calloc(sizeof(ngx_im_link_t), ngx_cycle->log);
    if (link == NULL) {
        return;                        /* it stays without a link: declined */
    }

    link->instance = inst;
    link->retry_ms = NGX_IM_LINK_RETRY_MIN_MS;
    inst->data = link;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "im: logic %s at %s is up", inst->id, inst->address);

    ngx_im_link_open(link);
}


static void
ngx_im_link_open(ngx_im_link_t *link)
{
    Im__Hello   hello = IM__HELLO__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    link->stream = im_rpc_stream_open(link->instance->channel,
                                      &ngx_im_link_method,
                                      NGX_IM_LINK_CONNECT_MS,
                                      &ngx_im_link_stream_handler, link);
    if (link->stream == NULL) {
        link->retry = im_rpc_timer(ngx_im_rpc(), link->retry_ms,
                                   ngx_im_link_on_retry, link);
        return;
    }

    hello.instance = (char *) ngx_im_instance()->data;
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


int
ngx_im_link_send(unsigned slot, const Im__UpItem *item)
{
    int                  rc;
    ngx_im_link_t       *link;
    im_disc_instance_t  *inst;

    inst = im_disc_pick(ngx_im_disc(), "logic", slot);

    if (inst == NULL || inst->data == NULL) {
        return IM_DECLINED;
    }

    link = inst->data;

    if (link->stream == NULL) {
        return IM_DECLINED;
    }

    rc = im_rpc_stream_add(link->stream, &item->base);

    if (rc == IM_OK && !link->dirty) {
        link->dirty = 1;
        link->dirty_next = ngx_im_link_dirty;
        ngx_im_link_dirty = link;

        if (!ngx_im_link_flush_event.posted) {
            ngx_post_event(&ngx_im_link_flush_event, &ngx_posted_events);
        }
    }

    return (rc == IM_ERROR) ? IM_DECLINED : rc;
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
ngx_im_link_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len)
{
    size_t            i;
    ngx_im_link_t    *link = ctx;
    Im__DownBatch    *batch;

    link->retry_ms = NGX_IM_LINK_RETRY_MIN_MS;

    batch = im__down_batch__unpack(NULL, len, data);
    if (batch == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "im: a batch of %uz bytes from logic is malformed", len);
        im_rpc_stream_cancel(s);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        ngx_im_link_on_item(batch->items[i]);
    }

    im__down_batch__free_unpacked(batch, NULL);
}


static void
ngx_im_link_on_item(const Im__DownItem *item)
{
    Im__Frame     frame = IM__FRAME__INIT;
    ngx_im_ws_t  *ws;

    if (item->item_case == IM__DOWN_ITEM__ITEM_END) {
        ngx_im_link_on_end(item->end);
        return;
    }

    ws = ngx_im_ws_by_id(item->conn);
    if (ws == NULL) {
        return;                        /* it has closed meanwhile */
    }

    switch (item->item_case) {

    case IM__DOWN_ITEM__ITEM_OPENED:
        ngx_im_ws_on_opened(ws);
        break;

    case IM__DOWN_ITEM__ITEM_ACK:
        frame.frame_case = IM__FRAME__FRAME_ACK;
        frame.ack = item->ack;
        ngx_im_ws_send_frame(ws, &frame);
        break;

    case IM__DOWN_ITEM__ITEM_ERROR:
        ngx_im_ws_on_error(ws, item->error);
        break;

    default:
        break;                         /* a newer Logic says more */
    }
}


/* A session was ended: its live connections hear why, and close. */
static void
ngx_im_link_on_end(const Im__End *end)
{
    Im__Kick      kick = IM__KICK__INIT;
    Im__Frame     frame = IM__FRAME__INIT;
    ngx_im_ws_t  *ws, *next;

    kick.code = end->code;
    kick.message = end->message;
    frame.frame_case = IM__FRAME__FRAME_KICK;
    frame.kick = &kick;

    for (ws = ngx_im_users_find(end->uid); ws != NULL; ws = next) {
        next = ws->user_next;

        if (end->sid[0] != '\0' && ngx_strcmp(end->sid, ws->sid) != 0) {
            continue;
        }

        ngx_im_ws_send_frame(ws, &frame);
        ngx_im_ws_close(ws, IM_CLOSE_KICKED, end->code);
    }
}


static void
ngx_im_link_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status)
{
    ngx_im_link_t  *link = ctx;

    link->stream = NULL;

    if (link->instance == NULL) {
        ngx_free(link);                /* down came first */
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "im: link to logic %s broke (%d %s), again in %ui ms",
                  link->instance->id, status->code, status->message,
                  (ngx_uint_t) link->retry_ms);

    link->retry = im_rpc_timer(ngx_im_rpc(), link->retry_ms,
                               ngx_im_link_on_retry, link);

    link->retry_ms = ngx_min(link->retry_ms * 2, NGX_IM_LINK_RETRY_MAX_MS);
}


static void
ngx_im_link_down(void *ctx, im_disc_instance_t *inst)
{
    ngx_im_link_t  *link = inst->data, **p;

    if (link == NULL) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "im: logic %s is gone", inst->id);

    inst->data = NULL;
    link->instance = NULL;

    for (p = &ngx_im_link_dirty; *p != NULL; p = &(*p)->dirty_next) {
        if (*p == link) {
            *p = link->dirty_next;
            break;
        }
    }

    if (link->retry != NULL) {
        im_rpc_timer_cancel(link->retry);
    }

    if (link->stream != NULL) {
        im_rpc_stream_close(link->stream);   /* on_close frees the link */
        return;
    }

    ngx_free(link);
}
