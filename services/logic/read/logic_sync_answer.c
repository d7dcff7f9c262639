/*
 * logic_sync_answer.c -- what is missing in a page, and what a client may do
 * about it.
 *
 * A gap below a stored message has two causes: the message is late (a repeat
 * of it is produced under its number, or another Logic is slower), or its
 * number was given to one that was refused.  Only a number of the second kind
 * is void.  Most of these are written down (logic_voids.h) by the Logic that
 * refused them, which knows at once.  Of the others it is proven: the number
 * was allocated so long ago that nobody produces under it any more, and the log
 * is settled.  It was allocated before the number of the message above it,
 * whose id has a time; what passes between minting an id and its number is
 * covered by SYNC_GAP_MS.  What was proven is written down, too.
 *
 * A page ends before a gap that is not void yet, with `pending`.
 *
 * A tail (numbers that Redis has given, and nothing above them is stored) is
 * stepped over only as far as it is written down; it is not proven: after the
 * log was settled, none of it had been acked when the client asked, and what
 * comes of it later is pushed.
 */

#include <stdlib.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_timeouts.h"
#include "logic_sync_int.h"


/* Two clocks may differ, and a seed from MySQL may come in between. */
#define SYNC_GAP_MS  5000


static int sync_gives(const logic_sync_item_t *item);
static void sync_begin(const logic_sync_item_t *item, Im__Synced *out);
static void sync_walk(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_gap(logic_sync_t *sync, logic_sync_item_t *item,
    const Im__Message *above);
static void sync_tail(logic_sync_item_t *item);
static int sync_old(logic_sync_t *sync, const Im__Message *above);
static uint64_t sync_now(logic_sync_t *sync);
static uint64_t sync_reach(const logic_sync_item_t *item, uint64_t last);
static void sync_step(logic_sync_item_t *item, uint64_t to, unsigned proven);
static int sync_alloc(logic_sync_item_t *item);
static void sync_refuse(logic_sync_item_t *item, const char *code,
    uint64_t head);


int
logic_sync_lags(const logic_sync_item_t *item)
{
    if (!item->read || item->error != NULL) {
        return 0;
    }

    /* Redis has lost it: anything may be under way */

    if (item->counter == 0) {
        return 1;
    }

    return sync_reach(item, item->head) < item->counter;
}


int
logic_sync_judge(logic_sync_t *sync, logic_sync_item_t *item)
{
    uint64_t  last;

    item->pending = item->cut = item->lags = item->waits = 0;
    item->judged = 1;

    free(item->voids);                 /* of an earlier look, if any */
    free(item->out.voids);
    item->voids = NULL;
    sync_begin(item, &item->out);

    if (item->error != NULL) {
        sync_refuse(item, item->error, 0);
        return IM_OK;
    }

    if (!item->read) {
        item->out.head = item->counter;
        item->out.next = item->cursor->seq;
        return IM_OK;
    }

    last = (item->counter > item->head) ? item->counter : item->head;
    last = (item->void_top > last) ? item->void_top : last;

    if (item->cursor->seq > last && (item->counter != 0 || item->settled)) {
        sync_refuse(item, "cursor_ahead", item->head);
        return IM_OK;
    }

    if (sync_alloc(item) != IM_OK) {
        return IM_ERROR;
    }

    sync_walk(sync, item);

    item->out.head = item->head;
    item->out.more = item->page.more;
    item->out.pending = item->pending;
    item->out.messages = item->page.messages;
    item->out.n_messages = item->page.n;

    return IM_OK;
}


uint64_t
logic_sync_until(const logic_sync_t *sync)
{
    size_t    i;
    uint64_t  until_us;

    for (i = 0; i < sync->n; i++) {
        if (sync_gives(&sync->items[i])) {
            until_us = sync->start_us + IM_SYNC_PART_MS * 1000;
            return (until_us < sync->until_us) ? until_us : sync->until_us;
        }
    }

    return sync->until_us;
}


/* Whether its client gets further by it; before it is judged: may get. */
static int
sync_gives(const logic_sync_item_t *item)
{
    if (item->judged) {
        return item->out.next > item->cursor->seq;
    }

    return item->read && item->error == NULL
           && item->head > item->cursor->seq;
}


static void
sync_begin(const logic_sync_item_t *item, Im__Synced *out)
{
    im__synced__init(out);
    out->has_with = item->cursor->has_with;
    out->with = item->cursor->with;
    out->has_room = item->cursor->has_room;
    out->room = item->cursor->room;
}


static void
sync_walk(logic_sync_t *sync, logic_sync_item_t *item)
{
    size_t        i;
    Im__Synced   *out;
    Im__Message  *m;

    out = &item->out;
    out->next = item->cursor->seq;

    for (i = 0; i < item->page.n; i++) {
        m = item->page.messages[i];

        if (m->seq != out->next + 1 && sync_gap(sync, item, m) != IM_OK) {
            logic_page_cut(&item->page, i);
            item->cut = 1;
            return;
        }

        out->next = m->seq;
    }

    if (!item->page.more) {
        sync_tail(item);
    }
}


/* IM_OK: all numbers below the message are void.  Else the page ends there, and
 * with it what is known to be `more`. */
static int
sync_gap(logic_sync_t *sync, logic_sync_item_t *item, const Im__Message *above)
{
    uint64_t  next, known;

    next = item->out.next;
    known = sync_reach(item, next);

    if (known >= above->seq - 1) {
        sync_step(item, above->seq - 1, 0);
        return IM_OK;
    }

    if (item->settled && sync_old(sync, above)) {
        sync_step(item, above->seq - 1, 1);
        return IM_OK;
    }

    if (known > next) {
        sync_step(item, known, 0);
    }

    /* there may be more ranges than were read */

    item->page.more = (item->n_known == LOGIC_SYNC_VOIDS_MAX && known > next);
    item->pending = !item->page.more;
    item->waits = (item->pending && !item->settled && sync_old(sync, above));

    return IM_AGAIN;
}


/* Behind the last message of the conversation. */
static void
sync_tail(logic_sync_item_t *item)
{
    uint64_t  known;

    known = sync_reach(item, item->out.next);

    if (known > item->out.next) {
        sync_step(item, known, 0);
    }

    item->lags = (item->counter == 0 || item->out.next < item->counter);
    item->waits = (item->lags && !item->settled);
    item->pending = item->waits;
}


static int
sync_old(logic_sync_t *sync, const Im__Message *above)
{
    if (sync->now_ms == 0) {
        sync->now_ms = sync_now(sync);
    }

    return above->time_ms + logic_void_after_ms() + SYNC_GAP_MS
           < sync->now_ms;
}


/*
 * When the request came, which is before any sample of the log's end, by the
 * earlier of our clock and Redis's: one that has jumped ahead must not make a
 * young gap look old.  1 when Redis does not say: no gap is old then.
 */
static uint64_t
sync_now(logic_sync_t *sync)
{
    uint64_t     theirs;
    im_str_t     argv[1] = { im_str("TIME") };
    redisReply  *reply;

    if (im_redis_append(sync->db->redis, 1, argv) != IM_OK) {
        return 1;
    }

    reply = im_redis_reply(sync->db->redis);
    if (reply == NULL) {
        return 1;
    }

    theirs = 1;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
        && reply->element[0]->type == REDIS_REPLY_STRING)
    {
        theirs = strtoull(reply->element[0]->str, NULL, 10) * 1000
                 - (im_mono_us() - sync->start_us) / 1000;
    }

    im_redis_free(reply);

    return (sync->start_ms < theirs) ? sync->start_ms : theirs;
}


/* The last number above `last` that is written down as void with all between;
 * `last` if there is none. */
static uint64_t
sync_reach(const logic_sync_item_t *item, uint64_t last)
{
    return logic_voids_reach(item->known, item->n_known, last + 1);
}


static void
sync_step(logic_sync_item_t *item, uint64_t to, unsigned proven)
{
    logic_sync_void_t  *v;

    v = &item->voids[item->out.n_voids];
    im__void__init(&v->out);
    v->out.from = item->out.next + 1;
    v->out.to = to;
    v->proven = proven;

    item->out.voids[item->out.n_voids++] = &v->out;
    item->out.next = to;
}


/* A range below each message, and one behind. */
static int
sync_alloc(logic_sync_item_t *item)
{
    item->voids = calloc(item->page.n + 1, sizeof(logic_sync_void_t));
    item->out.voids = calloc(item->page.n + 1, sizeof(Im__Void *));

    return (item->voids != NULL && item->out.voids != NULL)
           ? IM_OK : IM_ERROR;
}


/* protobuf-c does not write to a string of ours. */
static void
sync_refuse(logic_sync_item_t *item, const char *code, uint64_t head)
{
    item->out.error = (char *) code;
    item->out.head = head;
}


void
logic_sync_write_down(const logic_sync_t *sync)
{
    size_t                    i, k;
    logic_void_t              v;
    const logic_sync_item_t  *item;

    for (i = 0; i < sync->n; i++) {
        item = &sync->items[i];

        for (k = 0; k < item->out.n_voids; k++) {
            if (item->voids[k].proven) {
                v.conv = item->conv;
                v.from = item->voids[k].out.from;
                v.to = item->voids[k].out.to;
                logic_voids_add(&v, 1);
            }
        }
    }
}
