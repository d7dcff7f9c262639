/*
 * ngx_im_link.c -- what this worker asks of Logic.
 *
 *     worker --- UpBatch: hello, open, close, send, report ---> Logic
 *            <-- DownBatch: opened, closed, ack, error ---
 *            <-- and unasked: end, membership, room_event ... ---
 *
 * What a connection asks goes to the Logic that owns its slot.  The outbox
 * (core/im_outbox.h) keeps it until it is answered: when an instance dies,
 * freezes or leaves, its share goes to the others, in order.
 *
 * Items are appended to the link's waiting batch; one posted event at the end
 * of the loop turn flushes the links that were used, so that a turn costs one
 * gRPC message for each Logic however many connections spoke.
 */

#include "ngx_im_link_stream.h"
#include "ngx_im_worker.h"
#include "im_timeouts.h"


#define NGX_IM_LINK_ITEMS_MAX  65536
#define NGX_IM_LINK_BYTES_MAX  (64 * 1024 * 1024)
#define NGX_IM_LINK_TICK       250


static im_outbox_peer_t *ngx_im_link_owner(void *ctx, unsigned slot);
static int ngx_im_link_write(void *ctx, im_outbox_peer_t *peer,
    const im_str_t *item);
static void ngx_im_link_refuse(void *ctx, const im_outbox_info_t *info,
    const char *cmid, const char *code);
static void ngx_im_link_flush(ngx_event_t *ev);
static void ngx_im_link_on_tick(ngx_event_t *ev);


static const im_outbox_handler_t  ngx_im_link_outbox_handler = {
    .owner = ngx_im_link_owner,
    .write = ngx_im_link_write,
    .refuse = ngx_im_link_refuse
};


const ngx_im_link_handler_t  *ngx_im_link_handler;
im_outbox_t                  *ngx_im_link_outbox;

static ngx_im_link_t    *ngx_im_link_dirty;
static ngx_event_t       ngx_im_link_flush_event;
static ngx_event_t       ngx_im_link_tick_event;
static ngx_connection_t  ngx_im_link_nobody;  /* debug lines name a socket */


ngx_int_t
ngx_im_link_init(ngx_im_main_conf_t *mcf,
    const ngx_im_link_handler_t *handler)
{
    im_outbox_conf_t  conf;

    ngx_im_link_handler = handler;

    if (ngx_im_link_stream_init(mcf) != NGX_OK) {
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

    return ngx_im_link_stream_start();
}


/* What waits was asked by connections that have ended. */
void
ngx_im_link_exit(void)
{
    ngx_im_link_flush(&ngx_im_link_flush_event);

    im_outbox_destroy(ngx_im_link_outbox);
    ngx_im_link_outbox = NULL;
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


uint32_t
ngx_im_link_no(unsigned slot)
{
    im_outbox_peer_t  *peer;

    peer = ngx_im_link_owner(NULL, slot);

    return (peer != NULL) ? ((ngx_im_link_t *) peer)->no : 0;
}


static im_outbox_peer_t *
ngx_im_link_owner(void *ctx, unsigned slot)
{
    ngx_im_link_t       *link;
    im_disc_instance_t  *inst;

    inst = im_disc_pick(ngx_im_disc(), "logic", slot);
    link = (inst != NULL) ? inst->data : NULL;

    return (link != NULL && link->open) ? &link->peer : NULL;
}


static int
ngx_im_link_write(void *ctx, im_outbox_peer_t *peer, const im_str_t *item)
{
    int             rc;
    ngx_im_link_t  *link = (ngx_im_link_t *) peer;

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


static void
ngx_im_link_refuse(void *ctx, const im_outbox_info_t *info, const char *cmid,
    const char *code)
{
    ngx_im_link_handler->refused(info, cmid, code);
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


void
ngx_im_link_take(const Im__DownItem *item)
{
    im_outbox_info_t  info;

    if (item->ref == 0) {
        ngx_im_link_handler->notified(item);
        return;
    }

    if (ngx_im_link_outbox == NULL
        || im_outbox_answered(ngx_im_link_outbox, item->ref, &info) != IM_OK)
    {
        return;                        /* too late: it was refused */
    }

    ngx_im_link_handler->answered(&info, item);
}


void
ngx_im_link_lost(ngx_im_link_t *link)
{
    ngx_im_link_t  **p;

    if (ngx_im_link_outbox != NULL) {
        im_outbox_lost(ngx_im_link_outbox, &link->peer);
    }

    for (p = &ngx_im_link_dirty; *p != NULL; p = &(*p)->dirty_next) {
        if (*p == link) {
            *p = link->dirty_next;
            link->dirty = 0;
            break;
        }
    }
}
