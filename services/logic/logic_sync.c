/*
 * logic_sync.c -- what is above a client's cursors, and nothing missed.
 *
 * A client that connects and asks must learn of every message that was acked
 * before its question; later ones are pushed to it.  MySQL may be behind:
 *
 *   counters   of Redis, for all cursors in one round trip.  Where the counter
 *              is the cursor, the client has all: MySQL is not asked
 *   pages      of MySQL
 *   wait       while a counter is ahead of its page: the store is usually a
 *              few ms behind; or, the same where Redis has no counter, until
 *              the log is settled (logic_settle.c): what was acked is in MySQL
 *   answer     with gaps judged (logic_sync_answer.c)
 *
 * What is not settled in time is answered as pending: the client asks again.
 * So Kafka's absence delays a sync, and never makes one wrong.
 *
 * All bodies of a reply share one limit; when it is reached, the rest of the
 * conversations say only that there is more.
 *
 * A thread of the pool "sync" runs it; all memory ends with the request.
 */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_timeouts.h"
#include "logic_rooms_access.h"
#include "logic_sequence.h"
#include "logic_sessions.h"
#include "logic_sync.h"
#include "logic_sync_int.h"


#define SYNC_CURSORS_MAX  100
#define SYNC_ROWS_MIN     16       /* a page with less room is not read */


static int sync_check(im_rpc_req_t *req, const Im__SyncRequest *r);
static int sync_open(logic_sync_t *sync, const Im__SyncRequest *r);
static void sync_close(logic_sync_t *sync);
static int sync_rooms(logic_sync_t *sync);
static int sync_counters(logic_sync_t *sync);
static int sync_pages(logic_sync_t *sync);
static int sync_read(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_read_again(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_user(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_wait(logic_sync_t *sync, im_rpc_req_t *req);
static int sync_look(logic_sync_t *sync);
static int sync_settled(logic_sync_t *sync, const im_conv_t *conv);
static int sync_unsettled(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_reply(logic_sync_t *sync, im_rpc_req_t *req,
    const Im__SyncRequest *r);


void
logic_sync_get(logic_db_t *db, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    int                      rc;
    logic_sync_t             sync = { .db = db };
    const Im__SyncRequest   *r;

    r = (const Im__SyncRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK
        || sync_check(req, r) != IM_OK)
    {
        return;
    }

    if (sync_open(&sync, r) != IM_OK) {
        logic_page_failed(db, req, 1);
        return;
    }

    if (sync_rooms(&sync) != IM_OK) {
        logic_page_failed(db, req, 0);
        sync_close(&sync);
        return;
    }

    if (sync_counters(&sync) != IM_OK) {
        im_warn_seldom("syncs are refused: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "the counters do not answer");
        sync_close(&sync);
        return;
    }

    rc = sync_pages(&sync);

    if (rc == IM_OK) {
        rc = sync_wait(&sync, req);
    }

    if (rc == IM_OK) {
        rc = sync_reply(&sync, req, r);
    }

    if (rc != IM_OK) {
        logic_page_failed(db, req, sync.memory);
    }

    sync_close(&sync);
}


/* IM_OK, or the request has been refused as a whole. */
static int
sync_check(im_rpc_req_t *req, const Im__SyncRequest *r)
{
    if (r->n_cursors < 1 || r->n_cursors > SYNC_CURSORS_MAX) {
        logic_fail(req, "bad_field", "field 'cursors' has not 1-%d entries",
                   SYNC_CURSORS_MAX);
        return IM_DECLINED;
    }

    if (r->has_limit && (r->limit < 1 || r->limit > LOGIC_PAGE_LIMIT_MAX)) {
        logic_fail(req, "bad_field", "field 'limit' is not in 1-%d",
                   LOGIC_PAGE_LIMIT_MAX);
        return IM_DECLINED;
    }

    return IM_OK;
}


static int
sync_open(logic_sync_t *sync, const Im__SyncRequest *r)
{
    size_t              i;
    const char         *text;
    const Im__Cursor   *c;
    logic_sync_item_t  *item;

    sync->items = calloc(r->n_cursors, sizeof(logic_sync_item_t));
    if (sync->items == NULL) {
        return IM_ERROR;
    }

    sync->n = r->n_cursors;
    sync->uid = r->caller->uid;
    sync->start_ms = im_now_ms();
    sync->start_us = im_mono_us();
    sync->limit = r->has_limit ? r->limit : LOGIC_PAGE_LIMIT;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];
        c = r->cursors[i];

        item->cursor = c;
        item->error = logic_page_named(c->has_with, c->with, c->has_room,
                                       &text);

        if (item->error == NULL && c->seq > INT64_MAX) {
            item->error = "bad_field";
        }

        /* of users, only one's own conversations can be named */

        if (c->has_room) {
            item->conv.b = c->room;

        } else {
            item->conv = im_conv_direct(sync->uid, c->with);
        }
    }

    return IM_OK;
}


static void
sync_close(logic_sync_t *sync)
{
    size_t  i;

    for (i = 0; i < sync->n; i++) {
        logic_page_free(&sync->items[i].page);
        free(sync->items[i].out.voids);
        free(sync->items[i].voids);
    }

    free(sync->items);
}


/* Rooms that the user may not read. */
static int
sync_rooms(logic_sync_t *sync)
{
    size_t       i, n;
    uint64_t     rooms[SYNC_CURSORS_MAX];
    const char  *codes[SYNC_CURSORS_MAX];

    n = 0;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL && sync->items[i].conv.a == 0) {
            rooms[n++] = sync->items[i].conv.b;
        }
    }

    if (n == 0) {
        return IM_OK;
    }

    if (logic_rooms_may_read(sync->db, sync->uid, rooms, n, codes) != IM_OK) {
        return IM_ERROR;
    }

    n = 0;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL && sync->items[i].conv.a == 0) {
            sync->items[i].error = codes[n++];
        }
    }

    return IM_OK;
}


static int
sync_counters(logic_sync_t *sync)
{
    size_t     i, n;
    uint64_t   heads[SYNC_CURSORS_MAX];
    im_conv_t  convs[SYNC_CURSORS_MAX];

    n = 0;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL) {
            convs[n++] = sync->items[i].conv;
        }
    }

    if (n > 0
        && logic_sequence_heads(sync->db->redis, convs, n, heads) != IM_OK)
    {
        return IM_ERROR;
    }

    n = 0;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL) {
            sync->items[i].counter = heads[n++];
        }
    }

    return IM_OK;
}


static int
sync_pages(logic_sync_t *sync)
{
    size_t              i;
    logic_sync_item_t  *item;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->error != NULL) {
            continue;
        }

        if (item->counter != 0 && item->counter == item->cursor->seq) {
            item->head = item->counter;
            continue;
        }

        if (sync_read(sync, item) != IM_OK
            || sync_user(sync, item) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
sync_read(logic_sync_t *sync, logic_sync_item_t *item)
{
    size_t             room;
    logic_page_t      *page;
    im_mysql_value_t   v[4];

    static const char  sql[] =
        "SELECT " LOGIC_PAGE_COLUMNS " FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? "
        "ORDER BY seq ASC LIMIT ?";

    page = &item->page;
    item->read = 1;
    room = sync->full ? 0 : LOGIC_PAGE_BYTES_MAX - sync->bytes;

    if (room >= SYNC_ROWS_MIN * LOGIC_PAGE_MESSAGE) {

        if (logic_page_create(page, &item->conv,
                              (sync->limit < room / LOGIC_PAGE_MESSAGE)
                              ? sync->limit : room / LOGIC_PAGE_MESSAGE, room)
            != IM_OK)
        {
            sync->memory = 1;
            return IM_ERROR;
        }

        memset(v, 0, sizeof(v));
        v[0].u64 = item->conv.a;
        v[1].u64 = item->conv.b;
        v[2].u64 = item->cursor->seq;
        v[3].u64 = page->limit + 1;

        if (logic_page_read(sync->db, sql, v, 4, page) != IM_OK) {
            sync->memory = page->failed;
            return IM_ERROR;
        }

        sync->bytes += page->bytes;
        sync->full = sync->full || page->full;

        if (page->n > 0 && !page->more) {
            item->head = page->messages[page->n - 1]->seq;
            return IM_OK;
        }
    }

    if (logic_page_head(sync->db, item->conv.a, item->conv.b, &item->head)
        != IM_OK)
    {
        return IM_ERROR;
    }

    if (page->messages == NULL) {
        page->more = (item->head > item->cursor->seq);
    }

    return IM_OK;
}


static int
sync_read_again(logic_sync_t *sync, logic_sync_item_t *item)
{
    sync->bytes -= item->page.bytes;

    if (item->page.full) {
        sync->full = 0;
    }

    logic_page_free(&item->page);
    memset(&item->page, 0, sizeof(item->page));

    return sync_read(sync, item);
}


/* Somebody to whom no message was ever sent may not exist. */
static int
sync_user(logic_sync_t *sync, logic_sync_item_t *item)
{
    uint64_t  known;

    if (item->counter != 0 || item->head != 0 || item->page.n != 0
        || item->conv.a == 0 || item->cursor->with == sync->uid)
    {
        return IM_OK;
    }

    if (logic_page_user(sync->db, item->cursor->with, &known) != IM_OK) {
        return IM_ERROR;
    }

    if (known == 0) {
        item->error = "no_such_user";
    }

    return IM_OK;
}


/*
 * Rows may come before the log is known as settled, and usually do: the store
 * commits its offset some 100 ms after its rows.  Numbers that nobody got
 * never come, and the settled log tells.  So both are looked at.
 */
static int
sync_wait(logic_sync_t *sync, im_rpc_req_t *req)
{
    int              rc;
    int64_t          wait_us;
    uint64_t         until_us;
    struct timespec  pause = { 0, IM_SETTLE_POLL_MS * 1000000 };

    wait_us = (int64_t) im_rpc_req_left_ms(req) * 1000 / 2;

    if (wait_us > IM_SYNC_WAIT_MS * 1000) {
        wait_us = IM_SYNC_WAIT_MS * 1000;
    }

    until_us = im_mono_us() + (uint64_t) (wait_us > 0 ? wait_us : 0);

    for ( ;; ) {
        rc = sync_look(sync);

        if (rc != IM_AGAIN || im_mono_us() >= until_us) {
            return (rc == IM_ERROR) ? IM_ERROR : IM_OK;
        }

        nanosleep(&pause, NULL);
    }
}


/* IM_OK: nothing more to wait for; IM_AGAIN; IM_DONE: Kafka does not answer,
 * what is left is pending; IM_ERROR. */
static int
sync_look(logic_sync_t *sync)
{
    int                 rc, lags;
    size_t              i, waiting;
    logic_sync_item_t  *item;

    waiting = 0;
    sync->asked = 0;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (!sync_unsettled(sync, item)) {
            continue;
        }

        rc = sync_settled(sync, &item->conv);
        if (rc == IM_ERROR) {
            return IM_DONE;
        }

        item->settled = (rc == IM_OK);

        /* without a counter nobody knows what to look for */

        lags = item->counter != 0 && logic_sync_lags(item);

        if ((item->settled || lags)
            && sync_read_again(sync, item) != IM_OK)
        {
            return IM_ERROR;
        }

        waiting += (size_t) sync_unsettled(sync, item);
    }

    return (waiting > 0) ? IM_AGAIN : IM_OK;
}


/* The end of a partition is sampled once for a request: all that was acked
 * before the request is below it. */
static int
sync_settled(logic_sync_t *sync, const im_conv_t *conv)
{
    int       rc;
    unsigned  p;
    uint64_t  bit;

    p = logic_settle_partition(conv);
    bit = 1ULL << p;

    if (!(sync->marked & bit)) {

        if (logic_settle_mark(p, &sync->marks[p]) != IM_OK) {
            return IM_ERROR;
        }

        sync->marked |= bit;
    }

    if (sync->reached & bit) {
        return IM_OK;
    }

    if (sync->asked & bit) {
        return IM_AGAIN;
    }

    sync->asked |= bit;
    rc = logic_settle_reached(&sync->marks[p]);

    if (rc == IM_OK) {
        sync->reached |= bit;
    }

    return rc;
}


static int
sync_unsettled(logic_sync_t *sync, logic_sync_item_t *item)
{
    return item->read && item->error == NULL && !item->settled
           && (logic_sync_lags(item) || logic_sync_gap_old(sync, item));
}


static int
sync_reply(logic_sync_t *sync, im_rpc_req_t *req, const Im__SyncRequest *r)
{
    size_t          i;
    Im__Synced     *list[SYNC_CURSORS_MAX];
    Im__SyncReply   reply = IM__SYNC_REPLY__INIT;

    for (i = 0; i < sync->n; i++) {
        if (logic_sync_answer(sync, &sync->items[i]) != IM_OK) {
            sync->memory = 1;
            return IM_ERROR;
        }

        list[i] = &sync->items[i].out;
    }

    reply.has_id = r->has_id;
    reply.id = r->id;
    reply.conversations = list;
    reply.n_conversations = sync->n;

    im_rpc_reply(req, &reply.base);

    return IM_OK;
}
