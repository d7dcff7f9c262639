/*
 * logic_sync.c -- what is above a client's cursors, and nothing missed.
 *
 * A client that connects and asks must learn of every message that was acked
 * before its question; later ones are pushed to it.  MySQL may be behind:
 *
 *   begin    counters of Redis, for all cursors in one round trip; rooms that
 *            may be read.  Where the counter is the cursor, the client has all
 *   whole    a page that ends at the counter and has no gap is the answer
 *            (logic_sync_whole.c)
 *   heads    how far MySQL is, for the others in one statement  <--+
 *   pages    of MySQL, and the voids that are written down         |
 *   judge    which gaps are void               logic_sync_answer.c |
 *   park     if rows may still come, or a gap can be judged once   |
 *            the log is settled (logic_settle.c): without a thread +
 *   answer   and proven voids are written down
 *
 * The store is usually a few ms behind, and commits its offset later than its
 * rows; numbers that nobody got never come.  So a request that is parked comes
 * back for a look at the rows, first soon, then less often, and at once when
 * the log is settled.  Then it reads anew: it holds no page while it is parked.
 *
 * What is not decided in time is answered as pending: the client asks again.
 * Where other messages can be given, that time is short (logic_sync_until()): a
 * conversation that waits must not hold up those that do not.
 * So Kafka's absence delays a sync, and never makes one wrong.  The same where
 * too many are parked.
 *
 * Threads of the pool "sync" run it; one at a time has a request.  Up to 16
 * that come at the same time begin together.  After the first error of MySQL
 * the others of them that would have to ask it are refused at once: each would
 * wait for it as long as the first one did.
 */

#include <stdlib.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_timeouts.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"
#include "logic_sync_int.h"


static logic_sync_t *sync_create(logic_db_t *db, const logic_call_t *call);
static int sync_ask(logic_sync_t **sync);
static int sync_begin(logic_sync_t *sync);
static void sync_items(logic_sync_t *sync);
static size_t sync_rooms(logic_sync_t **syncs, size_t n, int *rc);
static void sync_go_on_all(logic_sync_t **syncs, size_t n, int rc);
static int sync_asks(const logic_sync_t *sync);
static int sync_may_ask(logic_sync_t *sync, int rc);
static int sync_go_on(logic_sync_t *sync);
static int sync_look(logic_sync_t *sync);
static int sync_read(logic_sync_t *sync, size_t *cut);
static int sync_judge(logic_sync_t *sync, size_t *cut);
static size_t sync_deal_again(logic_sync_t *sync);
static int sync_wait(logic_sync_t *sync, uint64_t partitions, int look);
static int sync_park_lagging(logic_sync_t *sync);
static int sync_park_undecided(logic_sync_t *sync);
static void sync_resume(logic_db_t *db, logic_parked_t **parked, size_t n);
static void sync_drop(logic_parked_t *parked);
static void sync_reply(logic_sync_t *sync);
static void sync_destroy(logic_sync_t *sync);


void
logic_sync_get(logic_db_t *db, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    int            rc;
    size_t         i, n, n_syncs;
    logic_call_t   calls[LOGIC_CALLS_MAX] = { { req, in } };
    logic_sync_t  *syncs[LOGIC_CALLS_MAX];

    n = logic_pool_share(db, logic_sync_get, calls);

    for (i = 0, n_syncs = 0; i < n; i++) {
        syncs[n_syncs] = sync_create(db, &calls[i]);
        n_syncs += (syncs[n_syncs] != NULL);
    }

    rc = IM_OK;

    for (i = 0; i < n_syncs && rc != IM_ERROR; i++) {
        rc = sync_ask(&syncs[i]);
    }

    /* after an error there are no replies, and each sync fails by that */

    for (i = 0, n = 0; i < n_syncs; i++) {
        if (syncs[i] != NULL && sync_begin(syncs[i]) == IM_OK) {
            syncs[n++] = syncs[i];
        }
    }

    n = sync_rooms(syncs, n, &rc);

    if (rc == IM_OK) {
        rc = logic_sync_whole_many(db, syncs, n);
    }

    sync_go_on_all(syncs, n, rc);
}


/* NULL: the call has been refused. */
static logic_sync_t *
sync_create(logic_db_t *db, const logic_call_t *call)
{
    int                     ms;
    im_rpc_req_t           *req;
    logic_sync_t           *sync;
    const Im__SyncRequest  *r;

    req = call->req;
    r = (const Im__SyncRequest *) call->in;

    sync = calloc(1, sizeof(logic_sync_t)
                     + r->n_cursors * sizeof(logic_sync_item_t));
    if (sync == NULL) {
        logic_page_failed(db, req, 1);
        return NULL;
    }

    ms = im_rpc_req_left_ms(req) / 2;
    ms = (ms < IM_SYNC_WAIT_MS) ? ms : IM_SYNC_WAIT_MS;

    sync->parked.req = req;
    sync->parked.resume = sync_resume;
    sync->parked.drop = sync_drop;
    sync->db = db;
    sync->request = r;
    sync->first = IM_AGAIN;
    sync->items = (logic_sync_item_t *) (sync + 1);
    sync->n = r->n_cursors;
    sync->uid = (r->caller != NULL) ? r->caller->uid : 0;
    sync->start_ms = im_now_ms();
    sync->start_us = im_mono_us();
    sync->until_us = sync->start_us + (uint64_t) (ms > 0 ? ms : 0) * 1000;
    sync->limit = r->has_limit ? r->limit : LOGIC_PAGE_LIMIT;
    sync->look_ms = IM_SETTLE_POLL_MS;

    sync_items(sync);

    return sync;
}


static void
sync_items(logic_sync_t *sync)
{
    size_t              i;
    const char         *text;
    const Im__Cursor   *c;
    logic_sync_item_t  *item;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];
        c = sync->request->cursors[i];

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
}


/* Queues what Redis is asked for a sync.  IM_DECLINED: it has been answered,
 * and is NULL; IM_ERROR: Redis is not there. */
static int
sync_ask(logic_sync_t **sync)
{
    int  rc;

    rc = logic_sessions_check_append((*sync)->db, (*sync)->parked.req,
                                     (*sync)->request->caller);
    if (rc != IM_OK) {
        sync_destroy(*sync);
        *sync = NULL;
        return rc;
    }

    return logic_sync_ask(*sync);
}


static int
sync_begin(logic_sync_t *sync)
{
    if (logic_sync_begin(sync) == IM_OK) {
        return IM_OK;
    }

    sync_destroy(sync);

    return IM_ERROR;
}


/* How many are left.  *rc: IM_OK, or IM_ERROR: MySQL. */
static size_t
sync_rooms(logic_sync_t **syncs, size_t n, int *rc)
{
    size_t  i, left;

    *rc = IM_OK;

    for (i = 0, left = 0; i < n; i++) {

        if (!logic_sync_has_rooms(syncs[i])) {
            syncs[left++] = syncs[i];
            continue;
        }

        if (!sync_may_ask(syncs[i], *rc)) {
            continue;
        }

        *rc = logic_sync_rooms(syncs[i]);

        if (*rc == IM_OK) {
            syncs[left++] = syncs[i];

        } else {
            sync_destroy(syncs[i]);
        }
    }

    return left;
}


/* Those that need no more of MySQL wait for none that does.  rc: of what was
 * asked of MySQL before. */
static void
sync_go_on_all(logic_sync_t **syncs, size_t n, int rc)
{
    size_t  i, left;

    for (i = 0, left = 0; i < n; i++) {
        if (sync_asks(syncs[i])) {
            syncs[left++] = syncs[i];

        } else {
            (void) sync_go_on(syncs[i]);
        }
    }

    for (i = 0; i < left; i++) {
        if (sync_may_ask(syncs[i], rc)) {
            rc = sync_go_on(syncs[i]);
        }
    }
}


/* 1: MySQL will be asked for it. */
static int
sync_asks(const logic_sync_t *sync)
{
    size_t  i;

    if (sync->first == IM_OK || sync->first == IM_ERROR) {
        return 0;
    }

    for (i = 0; i < sync->n; i++) {
        if (sync->items[i].read && sync->items[i].error == NULL) {
            return 1;
        }
    }

    return 0;
}


/* 0: it has been refused.  rc: of what was asked of MySQL before. */
static int
sync_may_ask(logic_sync_t *sync, int rc)
{
    if (rc == IM_OK && logic_pool_goes_on(sync->db, sync->parked.req)) {
        return 1;
    }

    if (rc != IM_OK) {
        logic_page_failed(sync->db, sync->parked.req, 0);
    }

    sync_destroy(sync);

    return 0;
}


/* Ends in an answer, or parked: then sync belongs to another thread.  IM_OK;
 * IM_ERROR: MySQL. */
static int
sync_go_on(logic_sync_t *sync)
{
    int  rc;

    rc = sync_look(sync);

    if (rc == IM_AGAIN) {
        return IM_OK;
    }

    if (rc == IM_OK) {
        sync_reply(sync);

    } else {
        logic_page_failed(sync->db, sync->parked.req, sync->memory);
        rc = sync->memory ? IM_OK : IM_ERROR;
    }

    sync_destroy(sync);

    return rc;
}


/* IM_OK: can be answered; IM_AGAIN: it is parked; IM_ERROR. */
static int
sync_look(logic_sync_t *sync)
{
    int                 rc;
    size_t              i, cut;
    logic_sync_item_t  *item;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];
        item->settled = item->read
                        && (sync->parked.wait.reached
                            & logic_settle_bit(&item->conv)) != 0;
    }

    /* a later look is for rows that are late: heads cost less than a page */

    rc = (sync->first == IM_AGAIN) ? logic_sync_whole(sync) : sync->first;
    sync->first = IM_DECLINED;

    if (rc != IM_DECLINED) {
        return (rc == IM_OK) ? sync_judge(sync, &cut) : rc;
    }

    if (logic_sync_heads(sync) != IM_OK) {
        return IM_ERROR;
    }

    if (sync_park_lagging(sync) == IM_AGAIN) {
        return IM_AGAIN;
    }

    do {
        if (sync_read(sync, &cut) != IM_OK) {
            return IM_ERROR;
        }

        /* each time one is cut, and it is not read again */

    } while (cut > 0 && sync_deal_again(sync) > 0);

    return sync_park_undecided(sync);
}


/* *cut: how many pages have made room for others. */
static int
sync_read(logic_sync_t *sync, size_t *cut)
{
    if (logic_sync_pages(sync) != IM_OK) {
        return IM_ERROR;
    }

    return sync_judge(sync, cut);
}


static int
sync_judge(logic_sync_t *sync, size_t *cut)
{
    size_t              i;
    logic_sync_item_t  *item;

    *cut = 0;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->judged) {
            continue;
        }

        if (logic_sync_judge(sync, item) != IM_OK) {
            sync->memory = 1;
            return IM_ERROR;
        }

        *cut += item->cut;
    }

    return IM_OK;
}


/* Those that got no room: how many. */
static size_t
sync_deal_again(logic_sync_t *sync)
{
    size_t              i, n;
    logic_sync_item_t  *item;

    for (i = 0, n = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->page.more && item->page.n == 0
            && item->out.next == item->cursor->seq)
        {
            logic_sync_forget(item);
            n++;
        }
    }

    return n;
}


/* Before pages are read.  One that would not reach the end of its conversation
 * can be read at once. */
static int
sync_park_lagging(logic_sync_t *sync)
{
    int                 look;
    size_t              i;
    uint64_t            partitions;
    logic_sync_item_t  *item;

    partitions = 0;
    look = 0;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->settled || !logic_sync_lags(item)
            || item->head >= item->cursor->seq + sync->limit)
        {
            continue;
        }

        partitions |= logic_settle_bit(&item->conv);

        /* without a counter nobody knows what to look for */

        look = look || item->counter != 0;
    }

    return (partitions != 0) ? sync_wait(sync, partitions, look) : IM_OK;
}


static int
sync_park_undecided(logic_sync_t *sync)
{
    int                 look;
    size_t              i;
    uint64_t            partitions;
    logic_sync_item_t  *item;

    partitions = 0;
    look = 0;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        if (item->waits) {
            partitions |= logic_settle_bit(&item->conv);
            look = look || (item->lags && item->counter != 0);
        }
    }

    return (partitions != 0) ? sync_wait(sync, partitions, look) : IM_OK;
}


/*
 * IM_AGAIN: parked, and sync_resume() goes on.  IM_OK: no more waiting.  When
 * the log was settled for some partitions only, the others go on waiting for
 * the ends that they were told at first.
 */
static int
sync_wait(logic_sync_t *sync, uint64_t partitions, int look)
{
    size_t         i;
    uint64_t       now_us, look_us, until_us;
    logic_wait_t  *w;

    now_us = im_mono_us();
    until_us = logic_sync_until(sync);

    if (now_us >= until_us) {
        return IM_OK;
    }

    w = &sync->parked.wait;
    w->partitions = partitions;
    w->until_us = until_us;

    if (look) {
        look_us = now_us + (uint64_t) sync->look_ms * 1000;
        w->until_us = (look_us < w->until_us) ? look_us : w->until_us;
        sync->look_ms = (2 * sync->look_ms < IM_SYNC_LOOK_MAX_MS)
                        ? 2 * sync->look_ms : IM_SYNC_LOOK_MAX_MS;
    }

    for (i = 0; i < sync->n; i++) {
        logic_sync_forget(&sync->items[i]);
    }

    if (logic_pool_park(sync->db, &sync->parked) == IM_AGAIN) {
        return IM_AGAIN;
    }

    sync->until_us = 0;                /* too many: answered as it is */

    return sync_look(sync);
}


static void
sync_resume(logic_db_t *db, logic_parked_t **parked, size_t n)
{
    size_t         i;
    logic_sync_t  *syncs[LOGIC_CALLS_MAX];

    for (i = 0; i < n; i++) {
        syncs[i] = (logic_sync_t *) parked[i];
        syncs[i]->db = db;
    }

    sync_go_on_all(syncs, n, IM_OK);
}


static void
sync_drop(logic_parked_t *parked)
{
    sync_destroy((logic_sync_t *) parked);
}


static void
sync_reply(logic_sync_t *sync)
{
    size_t          i;
    Im__Synced     *list[LOGIC_SYNC_CURSORS_MAX];
    Im__SyncReply   reply = IM__SYNC_REPLY__INIT;

    for (i = 0; i < sync->n; i++) {
        list[i] = &sync->items[i].out;
    }

    reply.has_id = sync->request->has_id;
    reply.id = sync->request->id;
    reply.conversations = list;
    reply.n_conversations = sync->n;

    logic_sync_write_down(sync);
    im_rpc_reply(sync->parked.req, &reply.base);
}


static void
sync_destroy(logic_sync_t *sync)
{
    size_t  i;

    for (i = 0; i < sync->n; i++) {
        logic_sync_forget(&sync->items[i]);
    }

    free(sync);
}
