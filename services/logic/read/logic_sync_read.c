/*
 * logic_sync_read.c -- what a sync asks of Redis and MySQL.
 *
 * All bodies of an answer share 128 KiB, and a conversation must not starve
 * because another one is large.  So the room is dealt (max-min fairness, as
 * water fills vessels): conversations are read from the shortest to the
 * longest, by how many numbers are above the cursor, and each may take an equal
 * part of what is left.  What a short one does not need goes to the longer
 * ones.
 *
 * A message that is larger than such a part would never be read.  Therefore the
 * first message of a page may take whatever the answer still has.  Those that
 * get nothing are the longest, and the shorter ones are out of their way by the
 * next question.
 *
 * What is cut from a page, because it is above a gap that is not decided, is
 * dealt again to those who got nothing.  So every answer that has `more` moves
 * at least one cursor.
 */

#include <stdlib.h>
#include <string.h>

#include "im_log.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_lasts.h"
#include "logic_rooms_access.h"
#include "logic_sequence.h"
#include "logic_sessions.h"
#include "logic_sync_int.h"


static size_t sync_named(const logic_sync_t *sync, im_conv_t *convs);
static int sync_counters(logic_sync_t *sync, size_t n);
static int sync_tail(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_user(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_compare(const void *a, const void *b);
static int sync_known(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_voids(logic_sync_t *sync, logic_sync_item_t *item,
    uint64_t above, uint64_t top);


int
logic_sync_ask(logic_sync_t *sync)
{
    im_conv_t  convs[LOGIC_SYNC_CURSORS_MAX];

    return logic_sequence_heads_append(sync->db->redis, convs,
                                       sync_named(sync, convs));
}


int
logic_sync_begin(logic_sync_t *sync)
{
    size_t         n;
    im_conv_t      convs[LOGIC_SYNC_CURSORS_MAX];
    logic_db_t    *db;
    im_rpc_req_t  *req;

    req = sync->parked.req;
    db = sync->db;
    n = sync_named(sync, convs);

    if (logic_sessions_check_reply(db, req) != IM_OK) {
        (void) im_redis_skip(db->redis, n);
        return IM_ERROR;
    }

    if (sync_counters(sync, n) != IM_OK) {
        im_warn_seldom("syncs are refused: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "the counters do not answer");
        return IM_ERROR;
    }

    return IM_OK;
}


static size_t
sync_named(const logic_sync_t *sync, im_conv_t *convs)
{
    size_t  i, n;

    for (i = 0, n = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL) {
            convs[n++] = sync->items[i].conv;
        }
    }

    return n;
}


static int
sync_counters(logic_sync_t *sync, size_t n)
{
    size_t              i;
    uint64_t            heads[LOGIC_SYNC_CURSORS_MAX];
    logic_sync_item_t  *item;

    if (logic_sequence_heads_reply(sync->db->redis, n, heads) != IM_OK) {
        return IM_ERROR;
    }

    n = 0;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->error != NULL) {
            continue;
        }

        item->counter = heads[n++];
        item->head = item->counter;
        item->read = (item->counter == 0
                      || item->counter != item->cursor->seq);
    }

    return IM_OK;
}


int
logic_sync_has_rooms(const logic_sync_t *sync)
{
    size_t  i;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL && sync->items[i].conv.a == 0) {
            return 1;
        }
    }

    return 0;
}


int
logic_sync_rooms(logic_sync_t *sync)
{
    size_t       i, n;
    uint64_t     rooms[LOGIC_SYNC_CURSORS_MAX];
    const char  *codes[LOGIC_SYNC_CURSORS_MAX];

    n = 0;

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].error == NULL && sync->items[i].conv.a == 0) {
            rooms[n++] = sync->items[i].conv.b;
        }
    }

    if (logic_rooms_may_read(sync->db, sync->uid, rooms, n, codes) != IM_OK) {
        logic_page_failed(sync->db, sync->parked.req, 0);
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


int
logic_sync_heads(logic_sync_t *sync)
{
    size_t              i, n;
    logic_ask_t         asks[LOGIC_SYNC_CURSORS_MAX];
    logic_sync_item_t  *item;

    memset(asks, 0, sizeof(asks));

    for (i = 0, n = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->read && item->error == NULL) {
            asks[n].key[0] = item->conv.a;
            asks[n].key[1] = item->conv.b;
            asks[n++].item = item;
        }
    }

    if (n > 0 && logic_lasts(sync->db->mysql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        item = asks[i].item;
        item->head = asks[i].values[0];
        item->void_top = asks[i].values[1];

        if (sync_tail(sync, item) != IM_OK || sync_user(sync, item) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


/* Voids above what is stored: the rest of the conversation may be nobody's. */
static int
sync_tail(logic_sync_t *sync, logic_sync_item_t *item)
{
    if (item->void_top <= item->head || item->counter <= item->head) {
        return IM_OK;
    }

    return sync_voids(sync, item, item->head, INT64_MAX);
}


/* Somebody to whom no message was ever sent may not exist. */
static int
sync_user(logic_sync_t *sync, logic_sync_item_t *item)
{
    uint64_t  known;

    if (item->counter != 0 || item->head != 0 || item->void_top != 0
        || item->conv.a == 0 || item->cursor->with == sync->uid)
    {
        return IM_OK;
    }

    if (logic_db_user(sync->db, item->cursor->with, &known) != IM_OK) {
        return IM_ERROR;
    }

    if (known == 0) {
        item->error = "no_such_user";
    }

    return IM_OK;
}


int
logic_sync_pages(logic_sync_t *sync)
{
    size_t              i, n, left;
    logic_sync_item_t  *item, *items[LOGIC_SYNC_CURSORS_MAX];

    left = LOGIC_PAGE_BYTES_MAX;

    for (i = 0, n = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->judged) {
            left -= item->page.bytes;

        } else if (item->error == NULL && item->read
                   && item->head > item->cursor->seq)
        {
            items[n++] = item;
        }
    }

    qsort(items, n, sizeof(items[0]), sync_compare);

    for (i = 0; i < n; i++) {
        if (logic_sync_page(sync, items[i], left / (n - i), left) != IM_OK) {
            return IM_ERROR;
        }

        left -= items[i]->page.bytes;
    }

    for (i = 0; i < sync->n; i++) {
        if (sync_known(sync, &sync->items[i]) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


/* By what is above the cursor, at most. */
static int
sync_compare(const void *a, const void *b)
{
    uint64_t                  n, m;
    logic_sync_item_t *const  *x = a, *const  *y = b;

    n = (*x)->head - (*x)->cursor->seq;
    m = (*y)->head - (*y)->cursor->seq;

    return (n < m) ? -1 : (n > m);
}


int
logic_sync_page(logic_sync_t *sync, logic_sync_item_t *item, size_t part,
    size_t room)
{
    size_t             limit;
    logic_page_t      *page;
    im_mysql_value_t   v[4];

    static const char  sql[] =
        "SELECT " LOGIC_PAGE_COLUMNS " FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? "
        "ORDER BY seq ASC LIMIT ?";

    page = &item->page;

    if (room <= LOGIC_PAGE_MESSAGE) {
        page->more = 1;
        return IM_OK;
    }

    limit = part / LOGIC_PAGE_MESSAGE;
    limit = (limit < 1) ? 1 : (limit < sync->limit) ? limit : sync->limit;

    if (logic_page_create(page, &item->conv, limit, part) != IM_OK) {
        sync->memory = 1;
        return IM_ERROR;
    }

    page->first_max = room;

    memset(v, 0, sizeof(v));
    v[0].u64 = item->conv.a;
    v[1].u64 = item->conv.b;
    v[2].u64 = item->cursor->seq;
    v[3].u64 = page->limit + 1;

    if (logic_page_read(sync->db, sql, v, 4, page) != IM_OK) {
        sync->memory = page->failed;
        return IM_ERROR;
    }

    if (page->n > 0 && page->messages[page->n - 1]->seq > item->head) {
        item->head = page->messages[page->n - 1]->seq;
    }

    return IM_OK;
}


/* Voids that matter to the page: below its messages, and above the last one if
 * it is the end of the conversation. */
static int
sync_known(logic_sync_t *sync, logic_sync_item_t *item)
{
    uint64_t             last;
    const logic_page_t  *page;

    page = &item->page;
    last = (page->n > 0) ? page->messages[page->n - 1]->seq
                         : item->cursor->seq;

    if (item->judged || item->error != NULL || !item->read
        || (last - item->cursor->seq == page->n
            && (page->more || item->void_top <= last)))
    {
        return IM_OK;
    }

    return sync_voids(sync, item, item->cursor->seq,
                      page->more ? last : INT64_MAX);
}


static int
sync_voids(logic_sync_t *sync, logic_sync_item_t *item, uint64_t above,
    uint64_t top)
{
    if (item->known == NULL) {
        item->known = malloc(LOGIC_SYNC_VOIDS_MAX * sizeof(logic_void_t));

        if (item->known == NULL) {
            sync->memory = 1;
            return IM_ERROR;
        }
    }

    return logic_voids_read(sync->db->mysql, &item->conv, above, top,
                            item->known, LOGIC_SYNC_VOIDS_MAX,
                            &item->n_known);
}


void
logic_sync_forget(logic_sync_item_t *item)
{
    logic_page_free(&item->page);
    memset(&item->page, 0, sizeof(item->page));

    free(item->known);
    item->known = NULL;
    item->n_known = 0;

    free(item->voids);
    item->voids = NULL;
    free(item->out.voids);
    item->out.voids = NULL;
    item->out.n_voids = 0;
    item->judged = 0;
}
