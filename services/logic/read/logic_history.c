/*
 * logic_history.c -- pages of a conversation from MySQL, by seq.
 *
 * It never waits for the store and never judges a gap: who must know whether
 * a number is void asks sync.
 */

#include <string.h>

#include "im_slot.h"
#include "logic_fail.h"
#include "logic_page.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


static int history_check(im_rpc_req_t *req, const Im__HistoryRequest *r);


void
logic_history_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    im_conv_t                   conv;
    logic_page_t                page;
    im_mysql_value_t            v[4];
    Im__HistoryReply            reply = IM__HISTORY_REPLY__INIT;
    const Im__HistoryRequest   *r;

    static const char  before[] =
        "SELECT " LOGIC_PAGE_COLUMNS " FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq < ? "
        "ORDER BY seq DESC LIMIT ?";
    static const char  after[] =
        "SELECT " LOGIC_PAGE_COLUMNS " FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? "
        "ORDER BY seq ASC LIMIT ?";

    r = (const Im__HistoryRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK
        || history_check(req, r) != IM_OK
        || logic_page_conversation(db, req, r->caller->uid, r->has_with,
                                   r->with, r->has_room, r->room, &conv)
           != IM_OK)
    {
        return;
    }

    if (logic_page_create(&page, &conv,
                          r->has_limit ? r->limit : LOGIC_PAGE_LIMIT,
                          LOGIC_PAGE_BYTES_MAX)
        != IM_OK)
    {
        logic_page_failed(db, req, 1);
        return;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = conv.a;
    v[1].u64 = conv.b;
    v[2].u64 = r->has_after_seq ? r->after_seq
               : r->has_before_seq ? r->before_seq : INT64_MAX;
    v[3].u64 = page.limit + 1;

    if (logic_page_read(db, r->has_after_seq ? after : before, v, 4, &page)
        != IM_OK)
    {
        logic_page_failed(db, req, page.failed);

    } else {
        reply.messages = page.messages;
        reply.n_messages = page.n;
        reply.more = page.more;
        reply.has_id = r->has_id;
        reply.id = r->id;
        im_rpc_reply(req, &reply.base);
    }

    logic_page_free(&page);
}


/* IM_OK, or it has been refused. */
static int
history_check(im_rpc_req_t *req, const Im__HistoryRequest *r)
{
    if (r->has_before_seq && r->has_after_seq) {
        logic_fail(req, "bad_request", "before_seq and after_seq exclude one "
                   "another");
        return IM_DECLINED;
    }

    return IM_OK;
}
