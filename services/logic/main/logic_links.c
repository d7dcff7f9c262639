/*
 * logic_links.c -- one stream from each nginx worker.
 *
 * The rpc thread only unpacks and hands over: messages to the shard of their
 * conversation, opens and closes to presence.  What cannot be queued is refused
 * at once.
 *
 * Runs on: rpc thread.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_jwt.h"
#include "im_log.h"
#include "im_text.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_intake.h"
#include "logic_links.h"
#include "logic_presence.h"
#include "logic_rooms_access.h"
#include "logic_rooms_online.h"
#include "logic_workers.h"


static void links_on_batch(void *ctx, im_rpc_stream_t *s,
    const uint8_t *data, size_t len);
static void links_on_item(logic_worker_t *link, im_rpc_stream_t *s,
    const Im__UpItem *item);
static int links_is_name(const char *s);
static void links_compare_keys(logic_worker_t *link, const Im__Hello *hello);
static void links_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);


const im_rpc_stream_handler_t  logic_links_handler = {
    .on_batch = links_on_batch,
    .on_close = links_on_close,
    .beat_ms = IM_RPC_BEAT_MS,
    .dead_ms = IM_RPC_SERVER_DEAD_MS
};


void *
logic_links_accept(void *ctx, im_rpc_stream_t *s)
{
    logic_worker_t  *link;

    (void) ctx;

    link = calloc(1, sizeof(logic_worker_t));
    if (link == NULL) {
        im_rpc_stream_cancel(s);
        return NULL;
    }

    link->stream = s;
    im_arena_init(&link->arena);

    logic_rooms_access_invalidate();

    logic_workers_add(link);

    return link;
}


static void
links_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t           i;
    Im__UpBatch     *batch;
    logic_worker_t  *link = ctx;

    if (link == NULL) {
        return;
    }

    batch = im__up_batch__unpack(&link->arena.allocator, len, data);
    if (batch == NULL) {
        im_log(IM_LOG_ERR, "connect %s: a batch of %zu bytes is malformed",
               link->instance, len);
        im_rpc_stream_cancel(s);
        im_arena_reset(&link->arena);
        return;
    }

    for (i = 0; i < batch->n_items; i++) {
        links_on_item(link, s, batch->items[i]);
    }

    logic_intake_flush();

    im_arena_reset(&link->arena);
}


static void
links_on_item(logic_worker_t *link, im_rpc_stream_t *s, const Im__UpItem *item)
{
    logic_reply_t  reply = { .stream = s, .conn = item->conn,
                             .ref = item->ref };

    switch (item->item_case) {

    case IM__UP_ITEM__ITEM_HELLO:
        if (!links_is_name(item->hello->instance)) {
            im_log(IM_LOG_WARN, "a link is refused: its instance \"%s\" is "
                   "not 1 to %d of A-Z a-z 0-9 . _ -", item->hello->instance,
                   IM_NAME_MAX);
            im_rpc_stream_cancel(s);
            return;
        }

        logic_workers_name(link, item->hello->instance);
        im_log(IM_LOG_NOTICE, "connect %s: linked", link->instance);
        links_compare_keys(link, item->hello);
        im_rpc_stream_ref(s);
        logic_presence_hello(&reply);
        break;

    case IM__UP_ITEM__ITEM_OPEN:
        im_rpc_stream_ref(s);
        logic_presence_open(&reply, link->instance, item->open);
        break;

    case IM__UP_ITEM__ITEM_CLOSE:
        im_rpc_stream_ref(s);
        logic_presence_close(&reply, item->close->uid);
        break;

    case IM__UP_ITEM__ITEM_SEND:
        im_rpc_stream_ref(s);
        logic_intake_add(&reply, item->send);
        break;

    case IM__UP_ITEM__ITEM_REPORT:
        im_rpc_stream_ref(s);
        logic_rooms_online_report(&reply, link->instance, item->report);
        break;

    default:
        break;                         /* of a newer worker */
    }
}


static int
links_is_name(const char *s)
{
    return im_text_is_name(s, strlen(s));
}


/*
 * A worker that checks tokens with another key than we sign with takes none of
 * them.  Both sides log it: error.log of nginx, and this.  Logged when it is
 * another key than the last time; a link that breaks is opened again often.
 */
static void
links_compare_keys(logic_worker_t *link, const Im__Hello *hello)
{
    char          ours[IM_JWT_KEY_ID_LEN + 1];
    Im__Welcome   welcome = IM__WELCOME__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    static char   told[IM_JWT_KEY_ID_LEN + 1];     /* rpc thread only */

    if (im_jwt_key_id(&logic_jwt_key, ours) != IM_OK) {
        return;
    }

    welcome.key_id = ours;
    item.item_case = IM__DOWN_ITEM__ITEM_WELCOME;
    item.welcome = &welcome;

    (void) im_rpc_stream_add(link->stream, &item.base);
    im_rpc_stream_flush(link->stream);

    if (strcmp(hello->key_id, ours) == 0) {
        return;
    }

    if (hello->key_id[0] == '\0') {
        return;                        /* it checks no tokens, or is older */
    }

    logic_workers_key_differs(link);

    if (strncmp(hello->key_id, told, IM_JWT_KEY_ID_LEN) != 0) {
        snprintf(told, sizeof(told), "%s", hello->key_id);
        im_log(IM_LOG_ERR, "connect %s: its im_jwt_key_file (key id %.*s) is "
               "not our [auth] jwt_key_file (key id %s): it refuses our "
               "tokens", link->instance, IM_JWT_KEY_ID_LEN, hello->key_id,
               ours);
    }
}


static void
links_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    logic_worker_t  *link = ctx;

    (void) s;

    if (link == NULL) {
        return;
    }

    im_log(IM_LOG_NOTICE, "connect %s: link ended (%d)", link->instance,
           status->code);

    logic_workers_remove(link);
    im_arena_destroy(&link->arena);
    free(link);
}
