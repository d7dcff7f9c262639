/*
 * ngx_im_link_stream.c -- one stream from this worker to every Logic.
 *
 *     etcd names one --> open --> hello --> it answers: open
 *                         ^                   |
 *                         |  100 ms to 1 s    v
 *                         +---------------- broken       leaving --> closed
 *
 * The heartbeat of a link shows the worker that a Logic lives.  Discovery is
 * notified, and no call of the API tier goes to an instance whose link is
 * broken.  While a link is broken, the reports of that Logic are lost: the
 * handler is called when it breaks, and once more when it is back; and whenever
 * a link opens or ends.  One that breaks is opened again after 100 ms to 1 s
 * while etcd names the instance; one to an instance that leaves is closed once
 * all is answered.
 */

#include "ngx_im_link_stream.h"
#include "ngx_im_worker.h"
#include "im_timeouts.h"
#include "logic.pb-c.h"


#define NGX_IM_LINK_ERROR  128


static void ngx_im_link_up(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_changed(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_down(void *ctx, im_disc_instance_t *inst);
static void ngx_im_link_open(ngx_im_link_t *link);
static void ngx_im_link_on_retry(void *ctx);
static void ngx_im_link_on_open(void *ctx, im_rpc_stream_t *s);
static void ngx_im_link_moved(void);
static void ngx_im_link_on_writable(void *ctx, im_rpc_stream_t *s);
static void ngx_im_link_on_batch(void *ctx, im_rpc_stream_t *s,
    const uint8_t *data, size_t len);
static void ngx_im_link_on_welcome(ngx_im_link_t *link,
    const Im__Welcome *welcome);
static void ngx_im_link_closed(ngx_im_link_t *link, const char *error);
static void ngx_im_link_leave(ngx_im_link_t *link);
static void ngx_im_link_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);


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


static ngx_queue_t      ngx_im_links;
static ngx_msec_t       ngx_im_link_since;     /* none is open */
static uint32_t         ngx_im_link_last;      /* number of a stream */
static u_char           ngx_im_link_error[NGX_IM_LINK_ERROR];
static char             ngx_im_link_key_id[IM_JWT_KEY_ID_LEN + 1];
static im_rpc_method_t  ngx_im_link_method;


ngx_int_t
ngx_im_link_stream_init(ngx_im_main_conf_t *mcf)
{
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

    return NGX_OK;
}


int
ngx_im_link_stream_start(void)
{
    return im_disc_subscribe(ngx_im_disc(), "logic", &ngx_im_link_disc_handler,
                             NULL);
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
        ngx_im_link_handler->missed();
    }

    ngx_im_link_moved();
}


static void
ngx_im_link_moved(void)
{
    if (ngx_im_link_outbox != NULL) {
        ngx_im_link_handler->moved();
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
    size_t                i;
    ngx_im_link_t        *link = ctx;
    Im__DownBatch        *batch;
    const Im__DownItem   *item;

    batch = im__down_batch__unpack(NULL, len, data);
    if (batch == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "im: a batch of %uz bytes from logic is malformed", len);
        im_rpc_stream_cancel(s);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        item = batch->items[i];

        if (item->item_case == IM__DOWN_ITEM__ITEM_WELCOME) {
            ngx_im_link_on_welcome(link, item->welcome);

        } else {
            ngx_im_link_take(item);
        }
    }

    im__down_batch__free_unpacked(batch, NULL);

    if (link->instance != NULL && link->instance->draining) {
        ngx_im_link_leave(link);
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
                     inst->id, (ngx_uint_t) link->peer.in_flight);

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
    if (link->peer.in_flight == 0 && link->stream != NULL && !link->leaving) {
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
        ngx_im_link_handler->missed();
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
