/*
 * logic_rooms_mine.c -- the rooms of a user, by room id: groups that he is a
 * member of, and live rooms in which he has a role.
 *
 * An index of `members` (uid, room) gives a page, and one more statement the
 * sizes of all its rooms.  Users who are online are counted one room after the
 * other; so in a list the count is exact up to LOGIC_ROOMS_CHEAP_MAX users
 * only.  Rooms that were dismissed are left out: their messages are in the list
 * of conversations.
 *
 * A job of a pool.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_db.h"
#include "logic_fail.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"


#define MINE_LIMIT      20
#define MINE_LIMIT_MAX  IM_ROOMS_MAX
#define MINE_COLUMNS    8
#define MINE_IN         10
#define MINE_LIST                                                             \
    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

_Static_assert(MINE_LIMIT_MAX == 5 * MINE_IN, "a page in one statement");


typedef struct {
    logic_rooms_t    *asked;
    size_t            limit;
    size_t            n;
    unsigned          more:1;
    uint64_t          members[MINE_LIMIT_MAX];
    uint64_t          owners[MINE_LIMIT_MAX];
    logic_rooms_t     rooms[MINE_LIMIT_MAX];
    Im__Room          rows[MINE_LIMIT_MAX];
    Im__Room         *list[MINE_LIMIT_MAX];
} mine_t;


static int mine_read(mine_t *m, uint64_t after);
static int mine_on_row(void *ctx, const im_mysql_value_t *v);
static int mine_sizes(mine_t *m);
static int mine_on_size(void *ctx, const im_mysql_value_t *v);
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

    rc = mine_read(m, q->after);

    if (rc == IM_OK && m->n > 0) {
        rc = mine_sizes(m);
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

    return logic_db_run(m->asked->db, sql, v, 3, columns, MINE_COLUMNS,
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
mine_sizes(mine_t *m)
{
    size_t            i;
    im_mysql_value_t  v[MINE_LIMIT_MAX];

    static const char             sql[] =
        "SELECT room, COUNT(*), MAX(CASE WHEN role = 3 THEN uid ELSE 0 END) "
        "FROM members WHERE room IN (" MINE_LIST ", " MINE_LIST ", "
        MINE_LIST ", " MINE_LIST ", " MINE_LIST ") "
        "AND role > 0 GROUP BY room";
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));

    for (i = 0; i < m->n; i++) {
        v[i].u64 = m->rooms[i].room;
    }

    return logic_db_run(m->asked->db, sql, v, MINE_LIMIT_MAX, columns, 3,
                          mine_on_size, m);
}


static int
mine_on_size(void *ctx, const im_mysql_value_t *v)
{
    size_t   i;
    mine_t  *m = ctx;

    for (i = 0; i < m->n; i++) {
        if (m->rooms[i].room == v[0].u64) {
            m->members[i] = v[1].u64;
            m->owners[i] = v[2].u64;
        }
    }

    return IM_OK;
}


static int
mine_show(mine_t *m)
{
    int     rc;
    size_t  i;

    for (i = 0; i < m->n; i++) {
        rc = logic_rooms_show(&m->rooms[i], m->members[i], m->owners[i],
                              LOGIC_ROOMS_CHEAP_MAX, &m->rows[i]);
        if (rc != IM_OK) {
            m->asked->code = m->rooms[i].code;
            m->asked->text = m->rooms[i].text;
            return rc;
        }

        m->list[i] = &m->rows[i];
    }

    return IM_OK;
}
