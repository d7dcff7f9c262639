/*
 * logic_conversations.c -- the list of a user's conversations, and read
 * cursors.
 *
 * A row of `conversations` does not change when a message is sent, so sending
 * costs nothing here.  The price is paid by the list: it looks up the last
 * message of each of the user's conversations, two steps in the primary key,
 * and sorts those.  500 conversations take a few ms.  Bodies and unread
 * messages are looked up for one page only.
 *
 * Unread messages are counted up to 1000, and looked for among the newest
 * 10,000 numbers: a conversation with oneself, or one's own flood, must not
 * make the list slow.
 *
 * A conversation whose first message was acked, but is not stored yet, is
 * waited for (logic_begun.c): the recipient who connects now learns of it from
 * nobody else.
 *
 * A read cursor may be as high as the last number that Redis has given: a
 * message is pushed before it is stored, and who has read it says so at once.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_begun.h"
#include "logic_conversations.h"
#include "logic_page.h"
#include "logic_sequence.h"
#include "logic_sessions.h"


#define CONVERSATIONS_LIMIT       50
#define CONVERSATIONS_LIMIT_MAX   100
#define CONVERSATIONS_UNREAD_MAX  1000
#define CONVERSATIONS_SCAN_MAX    10000
#define CONVERSATIONS_COLUMNS     12


typedef struct {
    uint64_t            uid;
    size_t              limit;
    size_t              n;
    size_t              bytes;
    unsigned            hidden:1;  /* those, too */
    unsigned            more:1;
    unsigned            memory:1;  /* is out */
    Im__Conversation    rows[CONVERSATIONS_LIMIT_MAX];
    Im__Conversation   *list[CONVERSATIONS_LIMIT_MAX];
    im_conv_t           convs[CONVERSATIONS_LIMIT_MAX];
} conversations_t;


static void conversations_answer(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static int conversations_check(im_rpc_req_t *req,
    const Im__ConversationsRequest *r);
static int conversations_list(logic_db_t *db, conversations_t *c,
    uint64_t before);
static int conversations_on_row(void *ctx, const im_mysql_value_t *v);
static int conversations_unread(logic_db_t *db, conversations_t *c, size_t i);
static int conversations_heads(logic_db_t *db, im_rpc_req_t *req,
    const im_conv_t *conv, uint64_t *stored, uint64_t *last);
static void conversations_nobody(logic_db_t *db, im_rpc_req_t *req,
    const Im__ReadRequest *r);
static int conversations_move(logic_db_t *db, uint64_t uid,
    const im_conv_t *conv, uint64_t seq);


void
logic_conversations_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK
        || conversations_check(req, r) != IM_OK)
    {
        return;
    }

    if (!r->has_before
        && logic_begun_wait(db, req, in, r->caller->uid, conversations_answer)
           != IM_OK)
    {
        return;
    }

    conversations_answer(db, req, in);
}


/* Another thread may run it than the one that began. */
static void
conversations_answer(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                              rc;
    size_t                           i;
    conversations_t                 *c;
    Im__ConversationsReply           reply = IM__CONVERSATIONS_REPLY__INIT;
    const Im__ConversationsRequest  *r;

    r = (const Im__ConversationsRequest *) in;

    c = calloc(1, sizeof(conversations_t));
    if (c == NULL) {
        logic_page_failed(db, req, 1);
        return;
    }

    c->uid = r->caller->uid;
    c->limit = r->has_limit ? r->limit : CONVERSATIONS_LIMIT;
    c->hidden = r->has_hidden && r->hidden;

    rc = conversations_list(db, c, r->has_before ? r->before : INT64_MAX);

    for (i = 0; i < c->n && rc == IM_OK; i++) {
        rc = conversations_unread(db, c, i);
        c->list[i] = &c->rows[i];
    }

    if (rc == IM_OK) {
        reply.has_id = r->has_id;
        reply.id = r->id;
        reply.conversations = c->list;
        reply.n_conversations = c->n;
        reply.more = c->more;
        im_rpc_reply(req, &reply.base);

    } else {
        logic_page_failed(db, req, c->memory);
    }

    for (i = 0; i < c->n; i++) {
        free(c->rows[i].last);
    }

    free(c);
}


static int
conversations_check(im_rpc_req_t *req, const Im__ConversationsRequest *r)
{
    if (r->has_limit && (r->limit < 1 || r->limit > CONVERSATIONS_LIMIT_MAX)) {
        logic_fail(req, "bad_field", "field 'limit' is not in 1-%d",
                   CONVERSATIONS_LIMIT_MAX);
        return IM_DECLINED;
    }

    if (r->has_before && r->before > INT64_MAX) {
        logic_fail(req, "bad_field", "field 'before' is above 2^63-1");
        return IM_DECLINED;
    }

    return IM_OK;
}


static int
conversations_list(logic_db_t *db, conversations_t *c, uint64_t before)
{
    im_mysql_value_t  v[4];

    /*
     * The page is chosen first, so that no body is sorted.  Not MAX(x.seq): a
     * subquery that depends on its outer row would read the whole conversation
     * for it.  A room is shown to its members, whatever row there may be.
     */

    static const char             sql[] =
        "SELECT m.seq, m.msg_id, m.sender, m.time_ms, m.cmid, m.body, "
        "p.conv_a, p.conv_b, p.read_seq, p.pinned, p.muted, p.hidden_seq FROM "
        "(SELECT c.conv_a, c.conv_b, c.read_seq, c.pinned, c.muted, "
        "c.hidden_seq, l.seq AS head, l.msg_id "
        "FROM conversations c "
        "JOIN messages l ON l.conv_a = c.conv_a AND l.conv_b = c.conv_b "
        "AND l.seq = (SELECT x.seq FROM messages x WHERE x.conv_a = c.conv_a "
        "AND x.conv_b = c.conv_b ORDER BY x.seq DESC LIMIT 1) "
        "WHERE c.uid = ? AND l.msg_id < ? AND (c.hidden_seq < l.seq OR ?) "
        "AND (c.conv_a > 0 OR EXISTS (SELECT 1 FROM members g "
        "WHERE g.room = c.conv_b AND g.uid = c.uid AND g.role > 0)) "
        "ORDER BY l.msg_id DESC LIMIT ?) AS p "
        "JOIN messages m ON m.conv_a = p.conv_a AND m.conv_b = p.conv_b "
        "AND m.seq = p.head ORDER BY p.msg_id DESC";
    static const im_mysql_type_t  columns[CONVERSATIONS_COLUMNS] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR,
        IM_MYSQL_STR, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
        IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = c->uid;
    v[1].u64 = before;
    v[2].u64 = c->hidden;
    v[3].u64 = c->limit + 1;

    if (logic_page_run(db, sql, v, 4, columns, CONVERSATIONS_COLUMNS,
                       conversations_on_row, c)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return c->memory ? IM_ERROR : IM_OK;
}


static int
conversations_on_row(void *ctx, const im_mysql_value_t *v)
{
    im_conv_t         *conv;
    Im__Message       *m;
    conversations_t   *c = ctx;
    Im__Conversation  *row;

    if (c->n == c->limit) {
        c->more = 1;
        return IM_DONE;
    }

    conv = &c->convs[c->n];
    conv->a = v[6].u64;
    conv->b = v[7].u64;

    m = logic_page_message(conv, v);
    if (m == NULL) {
        c->memory = 1;
        return IM_DONE;
    }

    if (c->bytes + logic_page_cost(m) > LOGIC_PAGE_BYTES_MAX) {
        c->more = 1;
        free(m);
        return IM_DONE;
    }

    c->bytes += logic_page_cost(m);

    row = &c->rows[c->n++];
    im__conversation__init(row);
    row->head = m->seq;
    row->read_seq = v[8].u64;
    row->has_pinned = 1;
    row->pinned = (v[9].u64 != 0);
    row->has_muted = 1;
    row->muted = (v[10].u64 != 0);
    row->has_hidden = 1;
    row->hidden = (v[11].u64 >= m->seq);
    row->last = m;

    if (conv->a == 0) {
        row->has_room = 1;
        row->room = conv->b;

    } else {
        row->has_with = 1;
        row->with = im_conv_other(conv, c->uid);
    }

    return IM_OK;
}


static int
conversations_unread(logic_db_t *db, conversations_t *c, size_t i)
{
    uint64_t           unread, above;
    im_mysql_value_t   v[6];
    Im__Conversation  *row;

    static const char  sql[] =
        "SELECT COUNT(*) FROM (SELECT 1 FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? AND seq <= ? "
        "AND sender <> ? LIMIT ?) AS u";

    row = &c->rows[i];

    if (row->head <= row->read_seq) {
        return IM_OK;
    }

    above = row->read_seq;

    if (row->head - above > CONVERSATIONS_SCAN_MAX) {
        above = row->head - CONVERSATIONS_SCAN_MAX;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = c->convs[i].a;
    v[1].u64 = c->convs[i].b;
    v[2].u64 = above;
    v[3].u64 = row->head;
    v[4].u64 = c->uid;
    v[5].u64 = CONVERSATIONS_UNREAD_MAX;

    if (logic_page_number(db, sql, v, 6, &unread) != IM_OK) {
        return IM_ERROR;
    }

    row->unread = (uint32_t) unread;

    return IM_OK;
}


void
logic_conversations_read(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    uint64_t                 stored, last;
    im_conv_t                conv;
    Im__ReadReply            reply = IM__READ_REPLY__INIT;
    im_mysql_value_t         v[3];
    const Im__ReadRequest   *r;

    static const char  sql[] =
        "SELECT read_seq FROM conversations "
        "WHERE uid = ? AND conv_a = ? AND conv_b = ?";

    r = (const Im__ReadRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (logic_page_conversation(db, req, r->caller->uid, r->has_with, r->with,
                                r->has_room, r->room, &conv)
        != IM_OK)
    {
        return;
    }

    if (conversations_heads(db, req, &conv, &stored, &last) != IM_OK) {
        return;
    }

    if (last == 0) {
        conversations_nobody(db, req, r);
        return;
    }

    if (r->seq > last) {
        logic_fail(req, "cursor_ahead", "the last message is %llu",
                   (unsigned long long) stored);
        return;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    v[1].u64 = conv.a;
    v[2].u64 = conv.b;

    if (conversations_move(db, r->caller->uid, &conv, r->seq) != IM_OK
        || logic_page_number(db, sql, v, 3, &reply.read_seq) != IM_OK)
    {
        logic_mysql_failed(db, req);
        return;
    }

    reply.has_id = r->has_id;
    reply.id = r->id;
    im_rpc_reply(req, &reply.base);
}


/* IM_ERROR: it has been answered. */
static int
conversations_heads(logic_db_t *db, im_rpc_req_t *req, const im_conv_t *conv,
    uint64_t *stored, uint64_t *last)
{
    if (logic_page_head(db, conv->a, conv->b, stored) != IM_OK) {
        logic_mysql_failed(db, req);
        return IM_ERROR;
    }

    if (logic_sequence_heads(db->redis, conv, 1, last) != IM_OK) {
        im_warn_seldom("read marks are refused: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "the counters do not answer");
        return IM_ERROR;
    }

    if (*last < *stored) {
        *last = *stored;
    }

    return IM_OK;
}


/* Nothing was ever sent: there is no row to make. */
static void
conversations_nobody(logic_db_t *db, im_rpc_req_t *req,
    const Im__ReadRequest *r)
{
    uint64_t       known;
    Im__ReadReply  reply = IM__READ_REPLY__INIT;

    known = r->room;

    if (!r->has_room && logic_page_user(db, r->with, &known) != IM_OK) {
        logic_mysql_failed(db, req);

    } else if (known == 0) {
        logic_fail(req, "no_such_user", "there is no such user");

    } else if (r->seq > 0) {
        logic_fail(req, "cursor_ahead", "there are no messages");

    } else {
        reply.has_id = r->has_id;
        reply.id = r->id;
        im_rpc_reply(req, &reply.base);
    }
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
    static const char  room[] =
        "UPDATE conversations SET read_seq = GREATEST(read_seq, ?) "
        "WHERE uid = ? AND conv_a = 0 AND conv_b = ?";

    memset(v, 0, sizeof(v));

    if (conv->a == 0) {
        v[0].u64 = seq;
        v[1].u64 = uid;
        v[2].u64 = conv->b;

        return logic_page_run(db, room, v, 3, NULL, 0, NULL, NULL);
    }

    v[0].u64 = uid;
    v[1].u64 = conv->a;
    v[2].u64 = conv->b;
    v[3].u64 = seq;
    v[4].u64 = seq;

    return logic_page_run(db, sql, v, 5, NULL, 0, NULL, NULL);
}
