/*
 * logic_rooms_removals.c -- who is not in a room any more, numbered.
 *
 * A worker knows who is in a room because it was told, and what it is told can
 * come late, or be lost with a link.  So removals of a room (one's own leaving
 * is one, too) have numbers, given under the room's lock; every message carries
 * the number that was the last when it was accepted.  A worker that has not
 * heard of so many removals shows the message to nobody: it asks here first
 * (src/nginx/ngx_im_removals.c).
 *
 * One row for each user, with his last removal: the table does not grow by
 * people who come and go.  Rows stay, so the largest number never falls.
 *
 * Jobs of a pool.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_rooms_int.h"


#define REMOVED_MAX        4096    /* users in one answer */
#define REMOVED_STR(n)     REMOVED_STR2(n)
#define REMOVED_STR2(n)    #n


typedef struct {
    uint64_t    last;              /* number of the last row */
    size_t      n;
    uint64_t    uids[REMOVED_MAX];
} removed_t;


static int removals_on_last(void *ctx, const im_mysql_value_t *v);
static int removed_read(logic_rooms_t *r, uint64_t since, removed_t *found);
static int removed_on_row(void *ctx, const im_mysql_value_t *v);
static int removals_run(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *v, size_t n, size_t columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx);


/* In a transaction that has locked the room. */
int
logic_rooms_put_removal(logic_rooms_t *r, uint64_t uid)
{
    int               rc;
    im_mysql_value_t  v[4];

    static const char  sql[] =
        "INSERT INTO removals (room, uid, no) VALUES (?, ?, ?) "
        "ON DUPLICATE KEY UPDATE no = ?";

    rc = logic_rooms_removals(r);
    if (rc != IM_OK) {
        return rc;
    }

    r->removals++;

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    v[2].u64 = r->removals;
    v[3].u64 = r->removals;

    return logic_rooms_write(r, sql, v, 4);
}


int
logic_rooms_removals(logic_rooms_t *r)
{
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT COALESCE(MAX(no), 0) FROM removals WHERE room = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;

    return removals_run(r, sql, v, 1, 1, removals_on_last, &r->removals);
}


static int
removals_on_last(void *ctx, const im_mysql_value_t *v)
{
    uint64_t  *last = ctx;

    *last = v[0].u64;

    return IM_OK;
}


/* The number is read before the rows: those may be newer, never older. */
void
logic_rooms_removed(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                             rc;
    removed_t                      *found;
    logic_rooms_t                   r;
    Im__RoomRemovedReply            reply = IM__ROOM_REMOVED_REPLY__INIT;
    const Im__RoomRemovedRequest   *q;

    q = (const Im__RoomRemovedRequest *) in;

    if (q->instance == NULL || q->instance[0] == '\0') {
        logic_fail(req, "forbidden", "only a worker may ask that");
        return;
    }

    found = calloc(1, sizeof(removed_t));
    if (found == NULL) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    memset(&r, 0, sizeof(r));
    r.db = db;
    r.req = req;
    r.in = in;
    r.room = q->room;

    rc = logic_rooms_read(&r);

    if (rc == IM_OK) {
        rc = logic_rooms_removals(&r);
    }

    if (rc == IM_OK) {
        rc = removed_read(&r, q->since, found);
    }

    if (rc == IM_OK) {

        /* if these are not all, the worker asks on from the last */
        reply.removals = (found->n == REMOVED_MAX) ? found->last
                                                   : r.removals;
        reply.uids = found->uids;
        reply.n_uids = found->n;
        im_rpc_reply(req, &reply.base);

    } else {
        logic_rooms_failed(&r, rc);
    }

    free(found);
}


/*
 * Who was removed and has been let in again does not count: he may read what
 * was said meanwhile, as any member may.  To an open live room, Logic does not
 * know who has come again; so a worker that knows of no removal there (it has
 * been told of all that concern it, or the room has just come to be there) is
 * not answered with old ones.
 */
static int
removed_read(logic_rooms_t *r, uint64_t since, removed_t *found)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT x.uid, x.no FROM removals x LEFT JOIN members m "
        "ON m.room = x.room AND m.uid = x.uid WHERE x.room = ? AND x.no > ? "
        "AND COALESCE(m.role, 0) = 0 ORDER BY x.no LIMIT "
        REMOVED_STR(REMOVED_MAX);

    if (r->kind == LOGIC_ROOM_LIVE && r->open && since == 0) {
        return IM_OK;
    }

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = since;

    return removals_run(r, sql, v, 2, 2, removed_on_row, found);
}


static int
removed_on_row(void *ctx, const im_mysql_value_t *v)
{
    removed_t  *found = ctx;

    if (found->n < REMOVED_MAX) {
        found->uids[found->n++] = v[0].u64;
        found->last = v[1].u64;
    }

    return IM_OK;
}


static int
removals_run(logic_rooms_t *r, const char *sql, const im_mysql_value_t *v,
    size_t n, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    return im_mysql_run(r->db->mysql, sql, v, n, columns, n_columns, row, ctx,
                        NULL, NULL);
}
