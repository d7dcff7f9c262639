/*
 * ngx_im_push.c -- the Connect service: Task hands messages to this worker.
 *
 * A record is unpacked once; the push frame is encoded once for each encoding
 * that a recipient speaks, and shared by reference count between all of them.
 * The body passes as bytes.  A record of a room goes to all of its members here
 * (ngx_im_removals.c, ngx_im_fanout.c).  The worker confirms how many items it
 * took, so that Task may store its Kafka offsets.
 *
 * After a failure Task sends its last records again.  A connection that has had
 * one does not get it again (core/im_seen.h); one that was opened since then
 * does.
 *
 * What Task could not send in time, because this worker stood still or could
 * not be reached, is missing, and maybe no later message shows that to a
 * client.  Then all connections here get sync_needed: Task remembers for which
 * instance it dropped items, and a worker that has lost its key in etcd knows
 * that others took it for dead.  Rejected: sync_needed whenever a stream ends,
 * for that happens at each restart of a Task, and another one does its work
 * again.
 */

#include "ngx_im_connect.h"
#include "ngx_im_presence.h"
#include "ngx_im_removals.h"
#include "ngx_im_reports.h"
#include "ngx_im_users.h"
#include "ngx_im_worker.h"
#include "ngx_im_ws_reannounce.h"
#include "ngx_im_ws_out.h"
#include "im_address.h"
#include "im_seen.h"
#include "im_timeouts.h"


#define NGX_IM_ENCODINGS  2
#define NGX_IM_PUSH_SEEN  (1024 * 1024)    /* bytes: 65,536 deliveries */


typedef struct {
    uint64_t  received;        /* items since the stream was opened */
} ngx_im_push_stream_t;


static void ngx_im_push_on_back(void *ctx);
static void *ngx_im_push_accept(void *ctx, im_rpc_stream_t *s);
static void ngx_im_push_on_batch(void *ctx, im_rpc_stream_t *s,
    const uint8_t *data, size_t len);
static void ngx_im_push_item(const Im__PushItem *item);
static void ngx_im_push_missed(void);
static void ngx_im_push_room(uint64_t room, Im__Record *record);
static void ngx_im_push_user(uint64_t uid, const Im__Record *record,
    ngx_im_ws_buf_t **shared);
static void ngx_im_push_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);


static const im_rpc_handler_t  ngx_im_push_handlers[] = {

    { .name = "Push",
      .roles = IM_RPC_TASK,
      .accept = ngx_im_push_accept,
      .stream = { .on_batch = ngx_im_push_on_batch,
                  .on_close = ngx_im_push_on_close,
                  .beat_ms = IM_RPC_BEAT_MS,
                  .dead_ms = IM_RPC_SERVER_DEAD_MS } },

    { .name = NULL }
};


static im_seen_t   *ngx_im_push_seen;
static ngx_uint_t   ngx_im_push_port;
static ngx_uint_t   ngx_im_push_open;
static ngx_uint_t   ngx_im_push_repeats;   /* that were dropped */


ngx_int_t
ngx_im_push_memory(void)
{
    ngx_im_push_seen = im_seen_create(NGX_IM_PUSH_SEEN);

    return (ngx_im_push_seen != NULL) ? NGX_OK : NGX_ERROR;
}


void
ngx_im_push_forget(void)
{
    im_seen_destroy(ngx_im_push_seen);
    ngx_im_push_seen = NULL;
}


ngx_int_t
ngx_im_push_listen(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    u_char            address[IM_ADDRESS_HOST_MAX + 3];
    im_rpc_server_t  *server;

    /* the runtime does not say why */

    if (ngx_im_conf_try_bind(&mcf->rpc_addr) != NGX_OK) {
        ngx_im_worker_fail("im_rpc_listen \"%V\" cannot be bound (%d: %s)",
                           &mcf->rpc_listen, ngx_socket_errno,
                           strerror(ngx_socket_errno));
        return NGX_ERROR;
    }

    /* port 0: the kernel chooses, so that every worker has its own */
    (void) ngx_sprintf(address, "%V:0%Z", &mcf->rpc_listen);

    server = im_rpc_serve(ngx_im_rpc(), (char *) address,
                          &im__connect__descriptor, ngx_im_push_handlers,
                          NULL);
    if (server == NULL) {
        return NGX_ERROR;              /* it has logged the reason */
    }

    ngx_im_push_port = im_rpc_server_port(server);

    return NGX_OK;
}


ngx_int_t
ngx_im_push_init(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    u_char          address[IM_ADDRESS_HOST_MAX + NGX_INT_T_LEN + 2];
    im_disc_self_t  self;

    (void) ngx_sprintf(address, "%V:%ui%Z", &mcf->rpc_advertise,
                       ngx_im_push_port);

    ngx_memzero(&self, sizeof(im_disc_self_t));
    self.service = "connect";
    self.id = (char *) ngx_im_instance()->data;
    self.address = (char *) address;
    self.back = ngx_im_push_on_back;

    if (im_disc_register(ngx_im_disc(), &self) != IM_OK) {
        return NGX_ERROR;
    }

    ngx_im_push_open = 1;

    ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                  "im: connect instance %V at %s", ngx_im_instance(), address);

    return NGX_OK;
}


/* What still comes until the runtime has ended finds nobody. */
void
ngx_im_push_exit(void)
{
    ngx_im_push_open = 0;
}


/* Task took our users for offline, and their routes out of Redis. */
static void
ngx_im_push_on_back(void *ctx)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "im: this instance was missing in etcd for a while: its "
                  "connections are announced again, and get sync_needed");

    ngx_im_ws_sync_all();
    ngx_im_reports_all();
    ngx_im_presence_refresh(1);
}


static void *
ngx_im_push_accept(void *ctx, im_rpc_stream_t *s)
{
    return ngx_calloc(sizeof(ngx_im_push_stream_t), ngx_cycle->log);
}


static void
ngx_im_push_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len)
{
    size_t                 i;
    Im__Pushed             pushed = IM__PUSHED__INIT;
    Im__PushBatch         *batch;
    ngx_im_push_stream_t  *ps = ctx;

    if (!ngx_im_push_open) {
        return;                        /* not taken, and not confirmed */
    }

    batch = (ps == NULL) ? NULL : im__push_batch__unpack(NULL, len, data);
    if (batch == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "im: a push batch of %uz bytes is malformed", len);
        im_rpc_stream_cancel(s);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        ngx_im_push_item(batch->items[i]);
    }

    ps->received += batch->n_items;
    im__push_batch__free_unpacked(batch, NULL);

    pushed.received = ps->received;

    if (im_rpc_stream_add(s, &pushed.base) == IM_OK) {
        im_rpc_stream_flush(s);
    }
}


static void
ngx_im_push_item(const Im__PushItem *item)
{
    size_t            i, e;
    Im__Record       *record;
    ngx_im_ws_buf_t  *shared[NGX_IM_ENCODINGS] = { NULL, NULL };

    if (item->missed) {
        ngx_im_push_missed();
        return;
    }

    record = im__record__unpack(NULL, item->record.len, item->record.data);
    if (record == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "im: a pushed record of %uz bytes is malformed, or "
                      "memory is short: connections get sync_needed",
                      item->record.len);
        ngx_im_ws_sync_later();
        return;
    }

    if (item->room != 0) {
        ngx_im_push_room(item->room, record);
        return;
    }

    for (i = 0; i < item->n_uids; i++) {
        ngx_im_push_user(item->uids[i], record, shared);
    }

    for (e = 0; e < NGX_IM_ENCODINGS; e++) {
        ngx_im_ws_buf_release(shared[e]);
    }

    im__record__free_unpacked(record, NULL);
}


static void
ngx_im_push_missed(void)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "im: this instance did not take messages in time: its "
                  "connections get sync_needed");

    ngx_im_ws_sync_later();
}


/* The record is given away. */
static void
ngx_im_push_room(uint64_t room, Im__Record *record)
{
    int          rc;
    uint32_t     upto;
    im_topic_t  *topic;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_ROOM, room);

    if (topic == NULL || topic->members == 0
        || record->conv_a != 0 || record->conv_b != room)
    {
        im__record__free_unpacked(record, NULL);
        return;                        /* nobody is in it here, any more */
    }

    rc = im_seen_note(ngx_im_push_seen, record->msg_id, room,
                      ngx_im_users_opened, &upto);

    ngx_im_push_repeats += (rc == IM_DONE);

    ngx_im_removals_record(topic, record, rc == IM_DONE, upto);
}


static void
ngx_im_push_user(uint64_t uid, const Im__Record *record,
    ngx_im_ws_buf_t **shared)
{
    int           rc;
    uint32_t      upto;
    ngx_im_ws_t  *ws, *next;

    ws = ngx_im_users_find(uid);

    if (ws == NULL) {
        return;                        /* gone; it will sync */
    }

    rc = im_seen_note(ngx_im_push_seen, record->msg_id, uid,
                      ngx_im_users_opened, &upto);

    for ( /* void */ ; ws != NULL; ws = next) {
        next = ws->user_next;

        if (rc == IM_DONE && !im_seen_is_later(ws->opened, upto)) {
            ngx_im_push_repeats++;
            ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                           "ws %uL: message %uL again, dropped, %ui so far",
                           ws->id, record->msg_id, ngx_im_push_repeats);
            continue;
        }

        if (ws->state != NGX_IM_WS_OPEN || ws->id == record->from_conn) {
            continue;                  /* the sender has its ack */
        }

        if (shared[ws->encoding] == NULL) {
            shared[ws->encoding] = ngx_im_ws_encode_push(record, ws->encoding);
        }

        if (shared[ws->encoding] == NULL) {
            /* out of memory: a gap that the client sees and fetches */
            ngx_im_ws_close(ws, IM_CLOSE_UNAVAILABLE, "out of memory");
            continue;
        }

        ngx_im_ws_send_push(ws, shared[ws->encoding]);
    }
}

static void
ngx_im_push_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status)
{
    ngx_free(ctx);
}
