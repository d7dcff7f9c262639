/*
 * logic_rooms_list.c -- pages of a room's members, by uid.
 *
 * Of a group: those of MySQL, with who is online; of a live room, or asked for
 * those who are there: the users whom the Connect instances report, with what
 * MySQL says of them.
 *
 * Jobs of a pool.
 */

#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_log.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"


#define LIST_LIMIT      50
#define LIST_LIMIT_MAX  IM_PAGE_MAX


typedef struct {
    logic_rooms_t   *room;
    size_t           limit;
    size_t           n;
    unsigned         more:1;
    uint64_t         now_ms;
    uint64_t         uids[LIST_LIMIT_MAX + 1];
    unsigned char    online[LIST_LIMIT_MAX + 1];
    Im__RoomMember   rows[LIST_LIMIT_MAX + 1];
    Im__RoomMember  *list[LIST_LIMIT_MAX + 1];
} list_t;


static int list_check(logic_rooms_t *r);
static int list_visible(logic_rooms_t *r);
static int list_stored(list_t *l, uint64_t after);
static int list_on_row(void *ctx, const im_mysql_value_t *v);
static int list_online(list_t *l, uint64_t after);
static int list_roles(list_t *l);
static int list_on_role(void *ctx, const im_mysql_value_t *v);
static void list_row(list_t *l, size_t i, uint64_t role, uint64_t muted);
static int list_who(list_t *l);
static int list_redis(logic_rooms_t *r);


void
logic_rooms_members(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                             rc;
    list_t                         *l;
    logic_rooms_t                   r;
    Im__RoomMembersReply            reply = IM__ROOM_MEMBERS_REPLY__INIT;
    const Im__RoomMembersRequest   *q;

    q = (const Im__RoomMembersRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    l = calloc(1, sizeof(list_t));
    if (l == NULL) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    l->room = &r;
    l->limit = q->has_limit ? q->limit : LIST_LIMIT;
    l->now_ms = im_now_ms();

    rc = list_check(&r);

    if (rc == IM_OK) {
        rc = ((q->has_online && q->online) || r.kind == LOGIC_ROOM_LIVE)
             ? list_online(l, q->after) : list_stored(l, q->after);
    }

    if (rc == IM_OK) {
        reply.members = l->list;
        reply.n_members = l->n;
        reply.more = l->more;
        im_rpc_reply(req, &reply.base);

    } else {
        logic_rooms_failed(&r, rc);
    }

    free(l);
}


static int
list_check(logic_rooms_t *r)
{
    int  rc;

    rc = logic_rooms_read(r);

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    return (rc == IM_OK) ? list_visible(r) : rc;
}


/* The members of an open group are shown to its members only. */
static int
list_visible(logic_rooms_t *r)
{
    int  rc;

    rc = logic_rooms_known(r);

    if (rc == IM_OK && r->me.role == LOGIC_ROLE_NONE
        && r->kind == LOGIC_ROOM_GROUP)
    {
        return logic_rooms_refuse(r, "forbidden", "only users in the room "
                                  "may list the others");
    }

    return rc;
}


static int
list_stored(list_t *l, uint64_t after)
{
    im_mysql_value_t  v[3];

    static const char             sql[] =
        "SELECT uid, role, muted_until_ms FROM members "
        "WHERE room = ? AND uid > ? AND role > 0 ORDER BY uid LIMIT ?";
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = l->room->room;
    v[1].u64 = after;
    v[2].u64 = l->limit + 1;

    if (logic_db_run(l->room->db, sql, v, 3, columns, 3, list_on_row, l)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return list_who(l);
}


static int
list_on_row(void *ctx, const im_mysql_value_t *v)
{
    list_t  *l = ctx;

    if (l->n == l->limit) {
        l->more = 1;
        return IM_DONE;
    }

    l->uids[l->n] = v[0].u64;
    list_row(l, l->n++, v[1].u64, v[2].u64);

    return IM_OK;
}


static void
list_row(list_t *l, size_t i, uint64_t role, uint64_t muted)
{
    Im__RoomMember  *m;

    m = &l->rows[i];
    im__room_member__init(m);
    l->list[i] = m;

    m->uid = l->uids[i];
    m->role = (char *) logic_rooms_role((unsigned) role);
    m->has_muted_until_ms = (muted > l->now_ms);
    m->muted_until_ms = muted;
}


/* Which of the page are online. */
static int
list_who(list_t *l)
{
    size_t                i;
    logic_rooms_t        *r;
    logic_rooms_routes_t  routes;

    r = l->room;

    if (logic_rooms_routes(r->db->redis, r->room, &routes) != IM_OK
        || logic_rooms_online_of(r->db->redis, r->room, &routes, l->uids, l->n,
                                 l->online)
           != IM_OK)
    {
        return list_redis(r);
    }

    for (i = 0; i < l->n; i++) {
        l->rows[i].online = l->online[i];
    }

    return IM_OK;
}


static int
list_online(list_t *l, uint64_t after)
{
    logic_rooms_t        *r;
    logic_rooms_routes_t  routes;

    r = l->room;

    if (logic_rooms_routes(r->db->redis, r->room, &routes) != IM_OK
        || logic_rooms_online_page(r->db->redis, r->room, &routes, after,
                                   l->limit, l->uids, &l->n)
           != IM_OK)
    {
        return list_redis(r);
    }

    if (l->n > l->limit) {
        l->n = l->limit;
        l->more = 1;
    }

    return list_roles(l);
}


static int
list_roles(list_t *l)
{
    size_t            i;
    im_mysql_value_t  v[3];

    static const char             sql[] =
        "SELECT uid, role, muted_until_ms FROM members "
        "WHERE room = ? AND uid >= ? AND uid <= ?";
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    if (l->n == 0) {
        return IM_OK;
    }

    for (i = 0; i < l->n; i++) {
        list_row(l, i, LOGIC_ROLE_NONE, 0);
        l->rows[i].online = 1;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = l->room->room;
    v[1].u64 = l->uids[0];
    v[2].u64 = l->uids[l->n - 1];

    return logic_db_run(l->room->db, sql, v, 3, columns, 3, list_on_role,
                          l);
}


static int
list_on_role(void *ctx, const im_mysql_value_t *v)
{
    size_t   i;
    list_t  *l = ctx;

    for (i = 0; i < l->n; i++) {
        if (l->uids[i] == v[0].u64) {
            list_row(l, i, v[1].u64, v[2].u64);
            l->rows[i].online = 1;
        }
    }

    return IM_OK;
}


static int
list_redis(logic_rooms_t *r)
{
    im_warn_seldom("lists of members are refused: redis: %s",
                   im_redis_error(r->db->redis));

    return logic_rooms_refuse(r, "unavailable",
                              "the users who are there cannot be looked up");
}
