/*
 * logic_rooms_mine.c -- the rooms of a user, by room id: groups that he is a
 * member of, and live rooms in which he has a role.
 *
 * An index of `members` (uid, room) gives a page.  A room is shown as it is by
 * itself, with the numbers of its members and of who is there, so a page costs
 * what so many single questions do, and is short.  Rooms that were dismissed
 * are left out: their messages are in the list of conversations.
 *
 * A job of a pool.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_page.h"
#include "logic_rooms_int.h"


#define MINE_LIMIT      20
#define MINE_LIMIT_MAX  50
#define MINE_COLUMNS    8


typedef struct {
    logic_rooms_t    *asked;
    size_t            limit;
    size_t            n;
    unsigned          more:1;
    logic_rooms_t     rooms[MINE_LIMIT_MAX];
    Im__Room          rows[MINE_LIMIT_MAX];
    Im__Room         *list[MINE_LIMIT_MAX];
} mine_t;


static int mine_check(logic_rooms_t *r);
static int mine_read(mine_t *m, uint64_t after);
static int mine_on_row(void *ctx, const im_mysql_value_t *v);
static int mine_show(mine_t *m);


void
logic_rooms_mine(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                       rc;
    mine_t                   *m;
    logic_rooms_t             r;
    Im__RoomsReply            reply = IM__ROOMS_REPLY__INIT;
    const Im__RoomsRequest   *q;

    q = (const Im__RoomsRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, 0) != IM_OK) {
        return;
    }

    m = calloc(1, sizeof(mine_t));
    if (m == NULL) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    m->asked = &r;
    m->limit = q->has_limit ? q->limit : MINE_LIMIT;

    rc = mine_check(&r);

    if (rc == IM_OK) {
        rc = mine_read(m, q->after);
    }

    if (rc == IM_OK) {
        rc = mine_show(m);
    }

    if (rc == IM_OK) {
        reply.rooms = m->list;
        reply.n_rooms = m->n;
        reply.more = m->more;
        im_rpc_reply(req, &reply.base);

    } else {
        logic_rooms_failed(&r, rc);
    }

    free(m);
}


static int
mine_check(logic_rooms_t *r)
{
    const Im__RoomsRequest  *q;

    q = (const Im__RoomsRequest *) r->in;

    if (q->has_limit && (q->limit < 1 || q->limit > MINE_LIMIT_MAX)) {
        return logic_rooms_refuse(r, "bad_field",
                                  "field 'limit' is not in 1-50");
    }

    if (q->has_after && q->after > INT64_MAX) {
        return logic_rooms_refuse(r, "bad_field",
                                  "field 'after' is above 2^63-1");
    }

    return IM_OK;
}


static int
mine_read(mine_t *m, uint64_t after)
{
    im_mysql_value_t  v[3];

    static const char             sql[] =
        "SELECT r.room, r.kind, r.open, r.history, r.dismissed_ms, r.name, "
        "g.role, g.muted_until_ms FROM members g FORCE INDEX (by_uid) "
        "JOIN rooms r ON r.room = g.room AND r.dismissed_ms = 0 "
        "WHERE g.uid = ? AND g.room > ? AND g.role > 0 "
        "ORDER BY g.room LIMIT ?";
    static const im_mysql_type_t  columns[MINE_COLUMNS] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
        IM_MYSQL_STR, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = m->asked->uid;
    v[1].u64 = after;
    v[2].u64 = m->limit + 1;

    return logic_page_run(m->asked->db, sql, v, 3, columns, MINE_COLUMNS,
                          mine_on_row, m);
}


static int
mine_on_row(void *ctx, const im_mysql_value_t *v)
{
    mine_t         *m = ctx;
    logic_rooms_t  *r;

    if (m->n == m->limit) {
        m->more = 1;
        return IM_DONE;
    }

    r = &m->rooms[m->n++];
    *r = *m->asked;

    r->room = v[0].u64;
    r->me.role = (unsigned) v[6].u64;
    r->me.muted_until_ms = v[7].u64;

    return logic_rooms_on_room(r, &v[1]);
}


static int
mine_show(mine_t *m)
{
    int     rc;
    size_t  i;

    for (i = 0; i < m->n; i++) {
        rc = logic_rooms_show(&m->rooms[i], LOGIC_ROOMS_EXACT_MAX,
                              &m->rows[i]);
        if (rc != IM_OK) {
            m->asked->code = m->rooms[i].code;
            m->asked->text = m->rooms[i].text;
            return rc;
        }

        m->list[i] = &m->rows[i];
    }

    return IM_OK;
}
