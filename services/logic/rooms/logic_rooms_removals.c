/*
 * logic_rooms_removals.c -- the removals of a room, numbered.
 *
 * A worker knows the members of a room by notifications, which can come late,
 * or be lost with a link.  So removals of a room (a member who leaves is one,
 * too) have numbers, given under the room's lock; every message carries the
 * number that was the last when it was accepted.  A worker that does not know
 * so many removals shows the message to nobody: it asks here first
 * (src/nginx/rooms/ngx_im_removals.c).
 *
 * A worker that has just started knows of none (since 0) and must not wait for
 * MySQL: so this answer is remembered in Redis for a day, as "<number> <uid>
 * ...", by the rules of logic_rooms_groups.c.  It is used while MySQL does not
 * answer.  Rooms that more than 500 users have left do without.
 *
 * One row for each user, with his last removal: the table does not grow by
 * people who come and go.  Rows stay, so the largest number never falls.
 *
 * Jobs of a pool.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_keys.h"
#include "logic_args.h"
#include "logic_fail.h"
#include "logic_probes.h"
#include "logic_rooms_groups.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"


#define REMOVED_MAX        4096    /* users in one answer */
#define REMOVED_KEPT       500     /* in a text of Redis */
#define REMOVED_KEPT_S     "86400"
#define REMOVED_FRESH_US   10000000    /* less than LOGIC_ROOMS_MARK_S */
#define REMOVED_STR(n)     REMOVED_STR2(n)
#define REMOVED_STR2(n)    #n


typedef struct {
    uint64_t    last;              /* number of the last row */
    size_t      n;
    uint64_t    uids[REMOVED_MAX];
} removed_t;


static int removals_on_last(void *ctx, const im_mysql_value_t *v);
static int removed_find(logic_rooms_t *r, uint64_t since, removed_t *found);
static int removed_read(logic_rooms_t *r, uint64_t since, removed_t *found);
static int removed_keep(logic_rooms_t *r, const removed_t *found,
    const char *mark);
static int removed_recall(logic_rooms_t *r, removed_t *found);
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


int
logic_rooms_removal(logic_rooms_t *r, uint64_t uid, uint64_t *no)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT no FROM removals WHERE room = ? AND uid = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    *no = 0;

    return removals_run(r, sql, v, 2, 1, removals_on_last, no);
}


static int
removals_on_last(void *ctx, const im_mysql_value_t *v)
{
    uint64_t  *last = ctx;

    *last = v[0].u64;

    return IM_OK;
}


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
        logic_fail(req, "forbidden", "only a worker may ask this");
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

    rc = removed_find(&r, q->since, found);

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


static int
removed_find(logic_rooms_t *r, uint64_t since, removed_t *found)
{
    int       rc;
    uint64_t  read_us;

    rc = IM_ERROR;
    read_us = im_mono_us();

    if (!logic_probes_mysql_away()) {
        rc = logic_rooms_read(r);

        if (rc == IM_OK) {
            rc = removed_read(r, since, found);
        }
    }

    if (since != 0) {
        return rc;
    }

    if (rc == IM_OK && im_mono_us() - read_us < REMOVED_FRESH_US) {
        (void) removed_keep(r, found, NULL);
    }

    return (rc == IM_OK || rc == IM_DECLINED) ? rc : removed_recall(r, found);
}


int
logic_rooms_removed_touch(im_redis_t *redis, uint64_t room, const char *mark)
{
    char  key[IM_KEY_MAX];

    snprintf(key, sizeof(key), IM_KEY_REMOVED, room);

    return (logic_args(redis, 5, "SET", key, mark, "EX", LOGIC_ROOMS_MARK_S)
            == IM_OK)
           ? logic_args_done(redis, 1) : IM_ERROR;
}


/* The number of r is that of the last notification: it stays. */
int
logic_rooms_removed_refill(logic_rooms_t *r, const char *mark)
{
    int             rc;
    removed_t      *found;
    logic_rooms_t   now;

    found = calloc(1, sizeof(removed_t));
    if (found == NULL) {
        return IM_ERROR;
    }

    now = *r;
    rc = removed_read(&now, 0, found);

    if (rc == IM_OK) {
        rc = removed_keep(&now, found, mark);
    }

    free(found);

    return rc;
}


/* mark: where it stands, NULL: where nothing does. */
static int
removed_keep(logic_rooms_t *r, const removed_t *found, const char *mark)
{
    int      rc;
    char     key[IM_KEY_MAX], *p;
    char     text[(1 + REMOVED_KEPT) * IM_KEYS_NUMBER_MAX + 1];
    size_t   i;

    if (found->n > REMOVED_KEPT) {
        return IM_OK;
    }

    p = im_keys_number_write(text, text, r->removals);

    for (i = 0; i < found->n; i++) {
        p = im_keys_number_write(text, p, found->uids[i]);
    }

    snprintf(key, sizeof(key), IM_KEY_REMOVED, r->room);

    rc = (mark == NULL)
         ? logic_args(r->db->redis, 6, "SET", key, text, "NX", "EX",
                      REMOVED_KEPT_S)
         : logic_rooms_refill(r->db->redis, key, mark, text, REMOVED_KEPT_S);

    return (rc == IM_OK) ? logic_args_done(r->db->redis, 1) : rc;
}


static int
removed_recall(logic_rooms_t *r, removed_t *found)
{
    int          rc;
    char         key[IM_KEY_MAX];
    redisReply  *reply;

    snprintf(key, sizeof(key), IM_KEY_REMOVED, r->room);

    if (logic_args(r->db->redis, 2, "GET", key) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_reply(r->db->redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    found->n = REMOVED_KEPT;
    rc = (reply->type == REDIS_REPLY_STRING
          && im_keys_removals_read(reply->str, &r->removals, found->uids,
                                   &found->n) == IM_OK)
         ? IM_OK : IM_ERROR;

    im_redis_free(reply);

    return rc;
}


/*
 * A user who was removed and admitted again does not count: he may read the
 * messages of the meantime, as any member may.  In an open live room, Logic
 * does not know who has come again; so a worker that knows no removal there (it
 * was notified of all that concern it, or the room is new there) does not get
 * old ones as an answer.
 *
 * The number is read before the rows: those may be newer, never older.
 */
static int
removed_read(logic_rooms_t *r, uint64_t since, removed_t *found)
{
    int               rc;
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT x.uid, x.no FROM removals x LEFT JOIN members m "
        "ON m.room = x.room AND m.uid = x.uid WHERE x.room = ? AND x.no > ? "
        "AND COALESCE(m.role, 0) = 0 ORDER BY x.no LIMIT "
        REMOVED_STR(REMOVED_MAX);

    rc = logic_rooms_removals(r);

    if (rc != IM_OK
        || (r->kind == LOGIC_ROOM_LIVE && r->open && since == 0))
    {
        return rc;
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
