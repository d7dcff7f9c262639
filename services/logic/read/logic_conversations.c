/*
 * logic_conversations.c -- the list of a user's conversations, and read
 * cursors.
 *
 * Which conversations are on a page: logic_listing.c.  What is unread in them:
 * logic_unread.c.
 *
 * A conversation whose first message was acked, but is not stored yet, is
 * waited for (logic_unstored.c): a recipient who connects now learns of it by
 * this list only.
 *
 * Lists that are asked for at the same time share a round trip to Redis, and a
 * statement where they are short.  After the first error of MySQL the others
 * are refused at once: each would wait for it as long as the first one did.
 *
 * A read cursor may be as high as the last number that Redis has given: a
 * message is pushed before it is stored, and who has read it says so at once.
 * Where Redis has lost that number, one that was acked may be above all that is
 * stored: a cursor is ahead only once the log is stored.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "im_log.h"
#include "im_timeouts.h"
#include "logic_conversations.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_page.h"
#include "logic_rpcs.h"
#include "logic_sequence.h"
#include "logic_sessions.h"
#include "logic_settle.h"
#include "logic_unread.h"
#include "logic_unstored.h"


#define CONVERSATIONS_LIMIT  50


typedef struct {
    logic_call_t        call;
    logic_listing_t     listing;
    size_t              n;
    size_t              bytes;
    unsigned            more:1;
    unsigned            memory:1;      /* is out */
    uint64_t            next;
    uint64_t            uncounted;     /* rows that may still be counted */
    Im__Conversation    rows[LOGIC_LISTING_MAX];
    Im__Conversation   *list[LOGIC_LISTING_MAX];
} conversations_t;


static int conversations_ask(logic_db_t *db, logic_call_t *call);
static int conversations_may(logic_db_t *db, const logic_call_t *call);
static void conversations_answer(logic_db_t *db, logic_call_t *calls,
    size_t n);
static conversations_t *conversations_create(logic_db_t *db,
    const logic_call_t *call);
static int conversations_finish(logic_db_t *db, conversations_t *c, int rc);
static void conversations_destroy(conversations_t *c);
static int conversations_page(logic_db_t *db, conversations_t *c);
static int conversations_row(logic_db_t *db, conversations_t *c, size_t i);
static void conversations_show(const logic_listing_t *l,
    const logic_listed_t *from, Im__Conversation *row);
static void conversations_reply(conversations_t *c);
static void conversations_mark(logic_db_t *db, im_rpc_req_t *req,
    const Im__ReadRequest *r, const im_conv_t *conv);
static int conversations_nobody(logic_db_t *db, im_rpc_req_t *req,
    const Im__ReadRequest *r);
static int conversations_move(logic_db_t *db, uint64_t uid,
    const im_conv_t *conv, uint64_t seq);


void
logic_conversations_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int           rc;
    size_t        i, n, n_ready;
    logic_call_t  calls[LOGIC_CALLS_MAX] = { { req, in } };

    n = logic_pool_share(db, logic_conversations_get, calls);
    rc = IM_OK;

    for (i = 0; i < n && rc != IM_ERROR; i++) {
        rc = conversations_ask(db, &calls[i]);
    }

    /* after an error there are no replies, and each call fails by that */

    for (i = 0, n_ready = 0; i < n; i++) {
        if (calls[i].req != NULL && conversations_may(db, &calls[i]) == IM_OK) {
            calls[n_ready++] = calls[i];
        }
    }

    if (n_ready > 0) {
        conversations_answer(db, calls, n_ready);
    }
}


/* Queues what Redis is asked for a call.  IM_DECLINED: it has been answered,
 * and is taken out; IM_ERROR: Redis is not there. */
static int
conversations_ask(logic_db_t *db, logic_call_t *call)
{
    int                              rc;
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) call->in;
    rc = logic_sessions_check_append(db, call->req, r->caller);

    if (rc != IM_OK) {
        call->req = NULL;
        return rc;
    }

    return r->has_before ? IM_OK
           : logic_unstored_ask(db->redis, r->caller->uid);
}


/* Takes the replies.  IM_OK: the list can be read; else the call is parked, or
 * has been answered. */
static int
conversations_may(logic_db_t *db, const logic_call_t *call)
{
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) call->in;

    if (logic_sessions_check_reply(db, call->req) != IM_OK) {
        (void) im_redis_skip(db->redis, r->has_before ? 0 : 1);
        return IM_ERROR;
    }

    return r->has_before ? IM_OK
           : logic_unstored_wait(db, call, r->caller->uid,
                                 conversations_answer);
}


/* Another thread may run it than the one that began. */
static void
conversations_answer(logic_db_t *db, logic_call_t *calls, size_t n)
{
    int               rc;
    size_t            i, n_lists;
    conversations_t  *all[LOGIC_CALLS_MAX];
    logic_listing_t  *lists[LOGIC_CALLS_MAX];

    for (i = 0, n_lists = 0; i < n; i++) {
        all[n_lists] = conversations_create(db, &calls[i]);

        if (all[n_lists] != NULL) {
            lists[n_lists] = &all[n_lists]->listing;
            n_lists++;
        }
    }

    rc = logic_listing_begin(db, lists, n_lists);

    /* those that are read wait for none that is not */

    for (i = 0, n = 0; i < n_lists; i++) {
        if (lists[i]->whole) {
            rc = conversations_finish(db, all[i], rc);

        } else {
            all[n++] = all[i];
        }
    }

    for (i = 0; i < n; i++) {
        rc = conversations_finish(db, all[i], rc);
    }
}


/* NULL: the call has been refused. */
static conversations_t *
conversations_create(logic_db_t *db, const logic_call_t *call)
{
    conversations_t                 *c;
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) call->in;

    c = calloc(1, sizeof(conversations_t));
    if (c == NULL) {
        logic_page_failed(db, call->req, 1);
        return NULL;
    }

    c->call = *call;
    c->listing.uid = r->caller->uid;
    c->listing.before = r->has_before ? r->before : INT64_MAX;
    c->listing.limit = r->has_limit ? r->limit : CONVERSATIONS_LIMIT;
    c->listing.hidden = r->has_hidden && r->hidden;
    c->uncounted = LOGIC_UNREAD_ROWS_MAX;

    return c;
}


/* rc: of what was asked of MySQL before, for any of them.  IM_OK; IM_ERROR:
 * MySQL. */
static int
conversations_finish(logic_db_t *db, conversations_t *c, int rc)
{
    if (rc == IM_OK && !logic_pool_goes_on(db, c->call.req)) {
        conversations_destroy(c);
        return IM_OK;
    }

    if (rc == IM_OK) {
        rc = conversations_page(db, c);
    }

    if (rc == IM_OK) {
        conversations_reply(c);

    } else if (rc == IM_AGAIN) {
        logic_fail(c->call.req, "unavailable", "the list is not in order yet");

    } else {
        logic_page_failed(db, c->call.req, c->memory);
    }

    rc = (rc == IM_ERROR && !c->memory) ? IM_ERROR : IM_OK;
    conversations_destroy(c);

    return rc;
}


static void
conversations_destroy(conversations_t *c)
{
    size_t  i;

    for (i = 0; i < c->n; i++) {
        free(c->rows[i].last);
    }

    logic_listing_free(&c->listing);
    free(c);
}


static int
conversations_page(logic_db_t *db, conversations_t *c)
{
    int     rc;
    size_t  i;

    rc = logic_listing(db, &c->listing);

    c->more = c->listing.more;
    c->next = c->listing.next;

    for (i = 0; i < c->listing.n && rc == IM_OK; i++) {
        rc = conversations_row(db, c, i);
    }

    return (rc == IM_DONE) ? IM_OK : rc;
}


/* IM_DONE: the page is full. */
static int
conversations_row(logic_db_t *db, conversations_t *c, size_t i)
{
    int                rc;
    uint64_t           unread;
    Im__Message       *last;
    Im__Conversation  *row;

    last = NULL;
    unread = 0;

    if (c->listing.rows[i].seq != 0) {
        rc = logic_unread(db, c->listing.uid, &c->listing.rows[i],
                          &c->uncounted, &last, &unread);
        if (rc != IM_OK) {
            c->memory = (rc == IM_DECLINED);
            free(last);
            return IM_ERROR;
        }
    }

    if (last != NULL
        && c->bytes + logic_page_cost(last) > LOGIC_PAGE_BYTES_MAX)
    {
        c->more = 1;
        c->next = c->listing.rows[i - 1].id;
        free(last);
        return IM_DONE;
    }

    c->bytes += (last != NULL) ? logic_page_cost(last) : LOGIC_PAGE_MESSAGE;

    row = &c->rows[c->n];
    c->list[c->n++] = row;
    conversations_show(&c->listing, &c->listing.rows[i], row);
    row->last = last;
    row->unread = (unread < UINT32_MAX) ? (uint32_t) unread : UINT32_MAX;

    return IM_OK;
}


static void
conversations_show(const logic_listing_t *l, const logic_listed_t *from,
    Im__Conversation *row)
{
    im__conversation__init(row);

    row->head = from->seq;
    row->read_seq = from->read_seq;
    row->has_pinned = 1;
    row->pinned = from->pinned;
    row->has_muted = 1;
    row->muted = from->muted;
    row->has_hidden = 1;
    row->hidden = (from->seq != 0 && from->hidden_seq >= from->seq);

    if (from->conv.a == 0) {
        row->has_room = 1;
        row->room = from->conv.b;

    } else {
        row->has_with = 1;
        row->with = im_conv_other(&from->conv, l->uid);
    }
}


static void
conversations_reply(conversations_t *c)
{
    Im__ConversationsReply           reply = IM__CONVERSATIONS_REPLY__INIT;
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) c->call.in;

    reply.has_id = r->has_id;
    reply.id = r->id;
    reply.conversations = c->list;
    reply.n_conversations = c->n;
    reply.more = c->more;
    reply.has_next = c->more;
    reply.next = c->next;

    im_rpc_reply(c->call.req, &reply.base);
}


void
logic_conversations_read(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    uint64_t                last;
    im_conv_t               conv;
    const Im__ReadRequest  *r;

    r = (const Im__ReadRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (logic_page_conversation(db, req, r->caller->uid, r->has_with, r->with,
                                r->has_room, r->room, &conv)
        != IM_OK
        || logic_conversations_last(db, req, &conv, r->seq, &last) != IM_OK)
    {
        return;
    }

    if (last == 0 && conversations_nobody(db, req, r) != IM_OK) {
        return;
    }

    if (r->seq > last) {
        logic_fail(req, "cursor_ahead", "the last message is %llu",
                   (unsigned long long) last);
        return;
    }

    /* of a conversation in which nothing was sent there is no row to make */

    if (last > 0
        && conversations_move(db, r->caller->uid, &conv, r->seq) != IM_OK)
    {
        logic_db_failed(db, req);
        return;
    }

    conversations_mark(db, req, r, &conv);
}


/* Answers with the read mark as it is now. */
static void
conversations_mark(logic_db_t *db, im_rpc_req_t *req, const Im__ReadRequest *r,
    const im_conv_t *conv)
{
    Im__ReadReply     reply = IM__READ_REPLY__INIT;
    im_mysql_value_t  v[3];

    static const char  sql[] =
        "SELECT read_seq FROM conversations "
        "WHERE uid = ? AND conv_a = ? AND conv_b = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    v[1].u64 = conv->a;
    v[2].u64 = conv->b;

    if (logic_db_number(db, sql, v, 3, &reply.read_seq) != IM_OK) {
        logic_db_failed(db, req);
        return;
    }

    if (reply.read_seq < r->seq) {
        /* nothing was moved: the row of a room is that of a member */
        logic_fail(req, "bad_request", "this room has no read mark of the "
                   "caller: it is live, or the caller has left it");
        return;
    }

    reply.has_id = r->has_id;
    reply.id = r->id;
    im_rpc_reply(req, &reply.base);
}


int
logic_conversations_last(logic_db_t *db, im_rpc_req_t *req,
    const im_conv_t *conv, uint64_t wanted, uint64_t *last)
{
    uint64_t  counter;

    if (logic_db_head(db, conv->a, conv->b, last) != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    if (logic_sequence_heads(db->redis, conv, 1, &counter) != IM_OK) {
        im_warn_seldom("read marks and settings are refused: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "the counters do not answer");
        return IM_ERROR;
    }

    if (*last < counter) {
        *last = counter;
    }

    if (counter != 0 || wanted <= *last) {
        return IM_OK;
    }

    /* Redis may have lost a number that was acked */

    if (logic_settle(conv, IM_SYNC_WAIT_MS) != IM_OK) {
        logic_fail(req, "unavailable", "the last message is not known yet");
        return IM_ERROR;
    }

    if (logic_db_head(db, conv->a, conv->b, last) != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    return IM_OK;
}


/* Nothing was ever sent.  IM_ERROR: it has been answered. */
static int
conversations_nobody(logic_db_t *db, im_rpc_req_t *req,
    const Im__ReadRequest *r)
{
    uint64_t  known;

    known = r->room;

    if (!r->has_room && logic_db_user(db, r->with, &known) != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    if (known == 0) {
        logic_fail(req, "no_such_user", "there is no such user");
        return IM_ERROR;
    }

    return IM_OK;
}


/*
 * Two devices may say different things at a time: the higher one stays.  The
 * row of a room is made by joining only: it would make a member of somebody who
 * was removed meanwhile, or is in a live room.
 */
static int
conversations_move(logic_db_t *db, uint64_t uid, const im_conv_t *conv,
    uint64_t seq)
{
    im_mysql_value_t  v[5];

    static const char  sql[] =
        "INSERT INTO conversations (uid, conv_a, conv_b, read_seq) "
        "VALUES (?, ?, ?, ?) "
        "ON DUPLICATE KEY UPDATE read_seq = GREATEST(read_seq, ?)";

    if (conv->a == 0) {
        return logic_unread_read_room(db, uid, conv->b, seq);
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = conv->a;
    v[2].u64 = conv->b;
    v[3].u64 = seq;
    v[4].u64 = seq;

    return logic_db_run(db, sql, v, 5, NULL, 0, NULL, NULL);
}
