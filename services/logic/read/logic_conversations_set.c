/*
 * logic_conversations_set.c -- how a user's own list shows a conversation:
 * pinned, muted, hidden.
 *
 * Hidden means: up to the last number that was given when it was hidden, so
 * the next message shows it again without anybody writing anything.
 *
 * Functions of a pool's thread.
 */

#include <string.h>

#include "logic_conversations.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_page.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


static int conversations_there(logic_db_t *db, im_rpc_req_t *req,
    const im_conv_t *conv, uint64_t uid, uint64_t *head);
static int conversations_write(logic_db_t *db,
    const Im__ConversationSetRequest *r, const im_conv_t *conv,
    uint64_t head);


void
logic_conversations_set(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    uint64_t                            head;
    im_conv_t                           conv;
    Im__ConversationSetReply            reply =
        IM__CONVERSATION_SET_REPLY__INIT;
    const Im__ConversationSetRequest   *r;

    r = (const Im__ConversationSetRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (logic_page_conversation(db, req, r->caller->uid, r->has_with, r->with,
                                r->has_room, r->room, &conv)
        != IM_OK
        || conversations_there(db, req, &conv, r->caller->uid, &head)
           != IM_OK)
    {
        return;
    }

    if (conversations_write(db, r, &conv, head) != IM_OK) {
        logic_db_failed(db, req);
        return;
    }

    im_rpc_reply(req, &reply.base);
}


/* A direct conversation is there once something was sent, a group for whom it
 * has a row.  IM_ERROR: it has been answered. */
static int
conversations_there(logic_db_t *db, im_rpc_req_t *req, const im_conv_t *conv,
    uint64_t uid, uint64_t *head)
{
    uint64_t          row;
    im_mysql_value_t  v[3];

    static const char  sql[] =
        "SELECT COUNT(*) FROM conversations "
        "WHERE uid = ? AND conv_a = ? AND conv_b = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = conv->a;
    v[2].u64 = conv->b;

    if (logic_db_number(db, sql, v, 3, &row) != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    /* the first message may have been acked, and not be stored yet */

    if (logic_conversations_last(db, req, conv, (row == 0), head) != IM_OK) {
        return IM_ERROR;
    }

    if (row == 0 && (conv->a == 0 || *head == 0)) {
        logic_fail(req, "not_found", "there is no such conversation");
        return IM_ERROR;
    }

    return IM_OK;
}


/* What is not named stays as it is. */
static int
conversations_write(logic_db_t *db, const Im__ConversationSetRequest *r,
    const im_conv_t *conv, uint64_t head)
{
    uint64_t          hidden;
    im_mysql_value_t  v[12];

    static const char  sql[] =
        "INSERT INTO conversations "
        "(uid, conv_a, conv_b, pinned, muted, hidden_seq) "
        "VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE "
        "pinned = IF(?, ?, pinned), muted = IF(?, ?, muted), "
        "hidden_seq = IF(?, ?, hidden_seq)";

    hidden = (r->has_hidden && r->hidden) ? head : 0;

    memset(v, 0, sizeof(v));
    v[0].u64 = r->caller->uid;
    v[1].u64 = conv->a;
    v[2].u64 = conv->b;
    v[3].u64 = r->has_pinned && r->pinned;
    v[4].u64 = r->has_muted && r->muted;
    v[5].u64 = hidden;
    v[6].u64 = (r->has_pinned != 0);
    v[7].u64 = v[3].u64;
    v[8].u64 = (r->has_muted != 0);
    v[9].u64 = v[4].u64;
    v[10].u64 = (r->has_hidden != 0);
    v[11].u64 = hidden;

    return logic_db_run(db, sql, v, 12, NULL, 0, NULL, NULL);
}
