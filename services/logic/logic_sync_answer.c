/*
 * logic_sync_answer.c -- what is missing in a page, and what a client may do
 * about it.
 *
 * A gap below a stored message has two causes: the message is late (a repeat
 * of it is produced under its number, or another Logic is slower), or its
 * number was given to one that was refused.  Only a number of the second kind
 * is void, and it is known as such when it was allocated so long ago that
 * nobody produces under it any more, and the log is settled.  It was allocated
 * before the number of the message above it, whose id has a time; what passes
 * between minting an id and its number is covered by SYNC_GAP_MS.
 *
 * A page ends before a gap that is not void yet, with `pending`.
 *
 * A tail (numbers that Redis has given, and nothing above them is stored) is
 * not judged: after the log was settled, none of it had been acked when the
 * client asked, and what comes of it later is pushed.
 */

#include <stdlib.h>

#include <hiredis.h>

#include "logic_sync_int.h"


/* Two clocks may differ, and a seed from MySQL may come in between. */
#define SYNC_GAP_MS  5000


static uint64_t sync_now(logic_sync_t *sync);
static int sync_old(logic_sync_t *sync, const Im__Message *above);
static int sync_walk(logic_sync_t *sync, logic_sync_item_t *item);
static int sync_void(logic_sync_item_t *item, uint64_t from, uint64_t to);
static void sync_refuse(logic_sync_item_t *item, const char *code,
    uint64_t head);


int
logic_sync_lags(const logic_sync_item_t *item)
{
    uint64_t             last;
    const logic_page_t  *page;

    page = &item->page;

    if (!item->read || item->error != NULL || page->more) {
        return 0;
    }

    /* Redis has lost it: anything may be under way */

    if (item->counter == 0) {
        return 1;
    }

    /* not head, which was asked for after the rows were */

    last = page->n > 0 ? page->messages[page->n - 1]->seq : item->cursor->seq;

    return last < item->counter;
}


int
logic_sync_gap_old(logic_sync_t *sync, const logic_sync_item_t *item)
{
    size_t               i;
    uint64_t             last;
    const logic_page_t  *page;

    page = &item->page;
    last = item->cursor->seq;

    for (i = 0; i < page->n; i++) {
        if (page->messages[i]->seq != last + 1) {
            return sync_old(sync, page->messages[i]);
        }

        last = page->messages[i]->seq;
    }

    return 0;
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


int
logic_sync_answer(logic_sync_t *sync, logic_sync_item_t *item)
{
    uint64_t     last;
    Im__Synced  *out;

    out = &item->out;
    im__synced__init(out);
    out->has_with = item->cursor->has_with;
    out->with = item->cursor->with;
    out->has_room = item->cursor->has_room;
    out->room = item->cursor->room;

    if (item->error != NULL) {
        sync_refuse(item, item->error, 0);
        return IM_OK;
    }

    last = (item->counter > item->head) ? item->counter : item->head;

    if (item->cursor->seq > last && !(logic_sync_lags(item)
                                      && !item->settled))
    {
        sync_refuse(item, "cursor_ahead", item->head);
        return IM_OK;
    }

    out->head = item->head;
    out->next = item->cursor->seq;
    out->more = item->page.more;
    out->pending = (logic_sync_lags(item) && !item->settled);

    if (sync_walk(sync, item) != IM_OK) {
        return IM_ERROR;
    }

    out->messages = item->page.messages;
    out->n_messages = item->page.n;

    return IM_OK;
}


static int
sync_walk(logic_sync_t *sync, logic_sync_item_t *item)
{
    size_t        i;
    Im__Synced   *out;
    Im__Message  *m;

    out = &item->out;

    for (i = 0; i < item->page.n; i++) {
        m = item->page.messages[i];

        if (m->seq != out->next + 1) {

            if (!item->settled || !sync_old(sync, m)) {
                logic_page_cut(&item->page, i);
                out->more = 0;
                out->pending = 1;
                break;
            }

            if (sync_void(item, out->next + 1, m->seq - 1) != IM_OK) {
                return IM_ERROR;
            }
        }

        out->next = m->seq;
    }

    return IM_OK;
}


static int
sync_void(logic_sync_item_t *item, uint64_t from, uint64_t to)
{
    Im__Void  *v;

    if (item->voids == NULL) {
        item->voids = calloc(item->page.n, sizeof(Im__Void));
        item->out.voids = calloc(item->page.n, sizeof(Im__Void *));

        if (item->voids == NULL || item->out.voids == NULL) {
            return IM_ERROR;
        }
    }

    v = &item->voids[item->out.n_voids];
    im__void__init(v);
    v->from = from;
    v->to = to;
    item->out.voids[item->out.n_voids++] = v;

    return IM_OK;
}


/* protobuf-c does not write to a string of ours. */
static void
sync_refuse(logic_sync_item_t *item, const char *code, uint64_t head)
{
    item->out.error = (char *) code;
    item->out.head = head;
}
