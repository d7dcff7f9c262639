/*
 * logic_page.c -- what history, sync and the list of conversations share.
 *
 * A page asks for one row more than its limit: if it comes, there is more.  It
 * is limited by bytes, too, because a reply must fit into the send queue of a
 * connection (im_ws_send_queue, 256 KiB): 128 KiB of bodies, client ids and
 * 128 bytes for the rest of each message.  As JSON the rest takes up to 165
 * bytes: the 1024 smallest messages are 168 KiB with them.  A body is at most
 * 64 KiB, so an empty page always takes the first row.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_db.h"
#include "logic_fail.h"
#include "logic_page.h"
#include "logic_rooms_access.h"
#include "logic_sessions.h"


static int page_on_row(void *ctx, const im_mysql_value_t *v);


static const im_mysql_type_t  page_columns[] = {
    IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR,
    IM_MYSQL_STR
};


int
logic_page_create(logic_page_t *page, const im_conv_t *conv, size_t limit,
    size_t bytes_max)
{
    memset(page, 0, sizeof(logic_page_t));
    page->conv = *conv;
    page->limit = limit;
    page->bytes_max = bytes_max;
    page->first_max = bytes_max;
    page->messages = calloc(limit, sizeof(Im__Message *));

    return (page->messages != NULL) ? IM_OK : IM_ERROR;
}


void
logic_page_free(logic_page_t *page)
{
    logic_page_cut(page, 0);
    free(page->messages);
    page->messages = NULL;
}


int
logic_page_read(logic_db_t *db, const char *sql, const im_mysql_value_t *v,
    size_t n, logic_page_t *page)
{
    if (logic_db_run(db, sql, v, n, page_columns, LOGIC_PAGE_N_COLUMNS,
                       page_on_row, page)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return page->failed ? IM_ERROR : IM_OK;
}


static int
page_on_row(void *ctx, const im_mysql_value_t *v)
{
    return logic_page_row(ctx, v);
}


int
logic_page_row(logic_page_t *page, const im_mysql_value_t *v)
{
    Im__Message  *m;

    if (page->more || page->failed) {
        return IM_DONE;
    }

    if (page->n == page->limit) {
        page->more = 1;
        return IM_DONE;
    }

    m = logic_page_message(&page->conv, v);

    if (m == NULL) {
        page->failed = 1;
        return IM_DONE;
    }

    if (page->bytes + logic_page_cost(m)
        > (page->n == 0 ? page->first_max : page->bytes_max))
    {
        page->more = 1;
        free(m);
        return IM_DONE;
    }

    page->messages[page->n++] = m;
    page->bytes += logic_page_cost(m);

    return IM_OK;
}


void
logic_page_cut(logic_page_t *page, size_t n)
{
    while (page->n > n) {
        page->n--;
        page->bytes -= logic_page_cost(page->messages[page->n]);
        free(page->messages[page->n]);
    }
}


Im__Message *
logic_page_message(const im_conv_t *conv, const im_mysql_value_t *v)
{
    Im__Message     *m;
    unsigned char   *p;
    const im_str_t  *cmid, *body;

    cmid = &v[4].str;
    body = &v[5].str;

    m = malloc(sizeof(Im__Message) + body->len + cmid->len + 1);
    if (m == NULL) {
        return NULL;
    }

    im__message__init(m);
    m->seq = v[0].u64;
    m->msg_id = v[1].u64;
    m->from = v[2].u64;
    m->time_ms = v[3].u64;

    if (conv->a == 0) {
        m->has_room = 1;
        m->room = conv->b;

    } else {
        m->has_to = 1;
        m->to = im_conv_other(conv, m->from);
    }

    p = (unsigned char *) (m + 1);
    m->body.data = p;
    m->body.len = body->len;
    memcpy(p, body->data, body->len);

    if (cmid->len > 0) {
        m->cmid = (char *) p + body->len;
        memcpy(m->cmid, cmid->data, cmid->len);
        m->cmid[cmid->len] = '\0';
    }

    return m;
}


size_t
logic_page_cost(const Im__Message *m)
{
    return LOGIC_PAGE_MESSAGE + m->body.len
           + (m->cmid != NULL ? strlen(m->cmid) : 0);
}


const char *
logic_page_named(int has_with, uint64_t with, int has_room,
    const char **text)
{
    if (!has_with && !has_room) {
        *text = "field 'with' or 'room' is required";
        return "missing_field";
    }

    if (has_with && has_room) {
        *text = "fields 'with' and 'room' exclude one another";
        return "bad_field";
    }

    if (with > INT64_MAX) {
        *text = "field 'with' is no user id";
        return "bad_field";
    }

    if (has_with && with == 0) {
        /* (0, one's own uid) would be the name of a room */
        *text = "the user does not exist";
        return "no_such_user";
    }

    return NULL;
}


void
logic_page_failed(logic_db_t *db, im_rpc_req_t *req, int memory)
{
    if (memory) {
        logic_fail(req, "internal", "out of memory");

    } else {
        logic_db_failed(db, req);
    }
}


int
logic_page_conversation(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    int has_with, uint64_t with, int has_room, uint64_t room,
    im_conv_t *conv)
{
    const char  *code, *text;

    code = logic_page_named(has_with, with, has_room, &text);

    if (code == NULL && !has_room) {
        *conv = im_conv_direct(uid, with);     /* only one's own have a name */
        return IM_OK;
    }

    if (code == NULL) {
        conv->a = 0;
        conv->b = room;

        if (logic_rooms_may_read(db, uid, &room, 1, &code) != IM_OK) {
            logic_db_failed(db, req);
            return IM_ERROR;
        }

        text = (code != NULL) ? logic_rooms_access_text(code) : NULL;
    }

    if (code != NULL) {
        logic_fail(req, code, "%s", text);
        return IM_DECLINED;
    }

    return IM_OK;
}
