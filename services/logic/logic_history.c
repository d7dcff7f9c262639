/*
 * logic_history.c -- pages of a conversation from MySQL, by seq.
 *
 * One row more than the limit is asked for: if it comes, there is more.
 */

#include <stdlib.h>
#include <string.h>

#include "im_slot.h"
#include "logic_history.h"
#include "logic_sessions.h"


#define HISTORY_LIMIT      50
#define HISTORY_LIMIT_MAX  200


typedef struct {
    Im__HistoryReply     reply;
    Im__Message  *rows;
    size_t               limit;
    size_t               n;
    int                  more;
} history_page_t;


static int history_on_row(void *ctx, const im_mysql_value_t *v);
static void history_free(history_page_t *page);


void
logic_history_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    size_t                      i;
    im_conv_t                   conv;
    history_page_t              page;
    im_mysql_value_t            v[4];
    const Im__HistoryRequest   *r;

    static const char             before[] =
        "SELECT seq, msg_id, sender, time_ms, body FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq < ? "
        "ORDER BY seq DESC LIMIT ?";
    static const char             after[] =
        "SELECT seq, msg_id, sender, time_ms, body FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? "
        "ORDER BY seq ASC LIMIT ?";
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR
    };

    r = (const Im__HistoryRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (!r->has_with) {
        logic_fail(req, "missing_field", "field 'with' is required");
        return;
    }

    if (r->has_before_seq && r->has_after_seq) {
        logic_fail(req, "bad_request", "before_seq and after_seq exclude one "
                   "another");
        return;
    }

    if (r->has_limit && (r->limit < 1 || r->limit > HISTORY_LIMIT_MAX)) {
        logic_fail(req, "bad_field", "field 'limit' is not in 1-%d",
                   HISTORY_LIMIT_MAX);
        return;
    }

    memset(&page, 0, sizeof(page));
    page.limit = r->has_limit ? r->limit : HISTORY_LIMIT;
    page.rows = calloc(page.limit, sizeof(Im__Message));

    if (page.rows == NULL) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    /* only one's own conversations can be named */

    conv = im_conv_direct(r->caller->uid, r->with);

    memset(v, 0, sizeof(v));
    v[0].u64 = conv.a;
    v[1].u64 = conv.b;
    v[2].u64 = r->has_after_seq ? r->after_seq
               : r->has_before_seq ? r->before_seq : INT64_MAX;
    v[3].u64 = page.limit + 1;

    if (im_mysql_run(db->mysql, r->has_after_seq ? after : before, v, 4,
                     columns, 5, history_on_row, &page, NULL, NULL)
        != IM_OK)
    {
        logic_mysql_failed(db, req);
        history_free(&page);
        return;
    }

    im__history_reply__init(&page.reply);
    page.reply.more = page.more;
    page.reply.n_messages = page.n;
    page.reply.messages = calloc(page.n + 1, sizeof(Im__Message *));

    if (page.reply.messages != NULL) {
        for (i = 0; i < page.n; i++) {
            page.reply.messages[i] = &page.rows[i];
        }

        im_rpc_reply(req, &page.reply.base);

    } else {
        logic_fail(req, "internal", "out of memory");
    }

    free(page.reply.messages);
    history_free(&page);
}


static int
history_on_row(void *ctx, const im_mysql_value_t *v)
{
    history_page_t      *page = ctx;
    Im__Message  *m;

    if (page->n == page->limit) {
        page->more = 1;
        return IM_DONE;
    }

    m = &page->rows[page->n];
    im__message__init(m);

    m->seq = v[0].u64;
    m->msg_id = v[1].u64;
    m->from = v[2].u64;
    m->time_ms = v[3].u64;
    m->body.len = v[4].str.len;
    m->body.data = malloc(v[4].str.len + 1);

    if (m->body.data == NULL) {
        return IM_DONE;
    }

    memcpy(m->body.data, v[4].str.data, v[4].str.len);
    page->n++;

    return IM_OK;
}


static void
history_free(history_page_t *page)
{
    size_t  i;

    for (i = 0; i < page->n; i++) {
        free(page->rows[i].body.data);
    }

    free(page->rows);
}
