/*
 * logic_sync_whole.c -- syncs that one page of one conversation answers.
 *
 * As nearly always, when a client has missed something.  A message that was
 * acked before the question has a number up to the counter, and a page without
 * a gap has all of these, so nothing else need be known.  Two conversations are
 * not tried: what one of them lags behind would be read in vain.
 *
 * When a crowd asks, the pages of several syncs are read by one statement,
 * which costs MySQL little more than one page.  Only short pages: the rows of
 * all of them are in memory at a time.
 *
 * Functions of a pool's thread.
 */

#include <string.h>

#include "logic_ask.h"
#include "logic_db.h"
#include "logic_sync_int.h"


#define WHOLE_FEW      8       /* messages of a sync that shares a statement */
#define WHOLE_PARAMS   4
#define WHOLE_COLUMNS  (2 + LOGIC_PAGE_N_COLUMNS)


typedef struct {
    size_t               n;
    logic_sync_t        *syncs[LOGIC_CALLS_MAX];
    logic_sync_item_t   *items[LOGIC_CALLS_MAX];
} whole_t;


static logic_sync_item_t *whole_item(logic_sync_t *sync, uint64_t max);
static int whole_judge(logic_sync_item_t *item);
static int whole_read(logic_db_t *db, whole_t *all);
static int whole_on_row(void *ctx, const im_mysql_value_t *v);


int
logic_sync_whole(logic_sync_t *sync)
{
    logic_sync_item_t  *item;

    item = whole_item(sync, sync->limit);

    if (item == NULL) {
        return IM_DECLINED;
    }

    if (logic_sync_page(sync, item, LOGIC_PAGE_BYTES_MAX, LOGIC_PAGE_BYTES_MAX)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return whole_judge(item);
}


/* The only one that is to be read, if its counter is up to max above its
 * cursor. */
static logic_sync_item_t *
whole_item(logic_sync_t *sync, uint64_t max)
{
    size_t              i;
    logic_sync_item_t  *only;

    only = NULL;

    for (i = 0; i < sync->n; i++) {

        if (!sync->items[i].read || sync->items[i].error != NULL) {
            continue;
        }

        if (only != NULL) {
            return NULL;
        }

        only = &sync->items[i];
    }

    return (only != NULL && only->counter > only->cursor->seq
            && only->counter - only->cursor->seq <= max)
           ? only : NULL;
}


/* IM_OK: the page has all that is up to the counter. */
static int
whole_judge(logic_sync_item_t *item)
{
    uint64_t  above;

    above = (item->page.n > 0)
            ? item->page.messages[item->page.n - 1]->seq - item->cursor->seq
            : 0;

    if (item->page.more || above != item->page.n
        || item->cursor->seq + above < item->counter)
    {
        logic_sync_forget(item);
        return IM_DECLINED;
    }

    item->head = item->cursor->seq + above;
    item->void_top = 0;                /* not asked for */

    return IM_OK;
}


int
logic_sync_whole_many(logic_db_t *db, logic_sync_t **syncs, size_t n)
{
    int                 rc;
    size_t              i;
    uint64_t            max;
    whole_t             all = { .n = 0 };
    logic_sync_item_t  *item;

    for (i = 0; i < n; i++) {
        max = (syncs[i]->limit < WHOLE_FEW) ? syncs[i]->limit : WHOLE_FEW;
        item = whole_item(syncs[i], max);

        if (item != NULL) {
            all.syncs[all.n] = syncs[i];
            all.items[all.n++] = item;
        }
    }

    if (all.n < 2) {
        return IM_OK;
    }

    rc = whole_read(db, &all);

    for (i = 0; i < all.n; i++) {
        all.syncs[i]->memory = all.items[i]->page.failed;
        all.syncs[i]->first = (rc == IM_OK && !all.items[i]->page.failed)
                              ? whole_judge(all.items[i]) : IM_ERROR;
    }

    return rc;
}


/* What is above a counter is pushed to its client; no page needs it. */
static int
whole_read(logic_db_t *db, whole_t *all)
{
    size_t              i;
    logic_sync_item_t  *item;
    im_mysql_value_t    v[WHOLE_PARAMS * LOGIC_CALLS_MAX];

#define WHOLE_PAGE  "(conv_a = ? AND conv_b = ? AND seq > ? AND seq <= ?)"

    static const char             sql[] =
        "SELECT conv_a, conv_b, " LOGIC_PAGE_COLUMNS " FROM messages WHERE "
        LOGIC_ASK_4(LOGIC_ASK_4(WHOLE_PAGE, " OR "), " OR ")
        " ORDER BY conv_a, conv_b, seq";
    static const im_mysql_type_t  columns[WHOLE_COLUMNS] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
        IM_MYSQL_U64, IM_MYSQL_STR, IM_MYSQL_STR
    };

    _Static_assert(LOGIC_CALLS_MAX == 16, "one page for each");

    memset(v, 0, sizeof(v));           /* the others are of no conversation */

    for (i = 0; i < all->n; i++) {
        item = all->items[i];
        v[WHOLE_PARAMS * i].u64 = item->conv.a;
        v[WHOLE_PARAMS * i + 1].u64 = item->conv.b;
        v[WHOLE_PARAMS * i + 2].u64 = item->cursor->seq;
        v[WHOLE_PARAMS * i + 3].u64 = item->counter;

        if (logic_page_create(&item->page, &item->conv,
                              item->counter - item->cursor->seq,
                              LOGIC_PAGE_BYTES_MAX)
            != IM_OK)
        {
            item->page.failed = 1;
        }
    }

    return logic_db_run(db, sql, v, WHOLE_PARAMS * LOGIC_CALLS_MAX, columns,
                        WHOLE_COLUMNS, whole_on_row, all);
}


/* Two may want the same row: devices of a user, or both users. */
static int
whole_on_row(void *ctx, const im_mysql_value_t *v)
{
    size_t              i;
    whole_t            *all = ctx;
    logic_sync_item_t  *item;

    for (i = 0; i < all->n; i++) {
        item = all->items[i];

        if (item->conv.a == v[0].u64 && item->conv.b == v[1].u64
            && v[2].u64 > item->cursor->seq && v[2].u64 <= item->counter)
        {
            (void) logic_page_row(&item->page, &v[2]);
        }
    }

    return IM_OK;
}
