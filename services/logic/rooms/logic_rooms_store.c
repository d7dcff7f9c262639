/*
 * logic_rooms_store.c -- changes of a room in MySQL, and its row.
 *
 * Whatever changes who is in a room first locks its row in `rooms`, so changes
 * of one room come one after the other and a limit cannot be passed by two who
 * take the last place at a time.  Then the rows of the users, by uid: a user's
 * number of groups is counted under them.  Everybody takes the locks in this
 * order, and only then reads.
 *
 * Functions of a pool's thread.
 */

#include <string.h>

#include "im_clock.h"
#include "im_log.h"
#include "logic_rooms_groups.h"
#include "logic_rooms_int.h"


#define STORE_TRIES  3


static int store_mark(logic_rooms_t *r, const char *mark);
static void store_refill(logic_rooms_t *r, const char *mark);
static int store_room(logic_rooms_t *r, const char *sql);


int
logic_rooms_transact(logic_rooms_t *r, int (*step)(logic_rooms_t *r))
{
    int   rc, tries;
    char  mark[LOGIC_ROOMS_MARK];

    rc = IM_AGAIN;
    logic_rooms_mark(mark);

    for (tries = 0; tries < STORE_TRIES && rc == IM_AGAIN; tries++) {
        rc = im_mysql_begin(r->db->mysql);

        if (rc == IM_OK) {
            rc = step(r);
        }

        if (rc == IM_OK) {
            rc = store_mark(r, mark);
        }

        if (rc != IM_OK) {
            im_mysql_rollback(r->db->mysql);
            continue;
        }

        if (im_mysql_commit(r->db->mysql) != IM_OK) {
            return IM_ERROR;           /* nobody knows: not once more */
        }

        store_refill(r, mark);
    }

    r->unchanged = (rc == IM_DONE);

    return (rc == IM_DONE) ? IM_OK : rc;
}


/* What Redis remembers of the users and the room is about to change. */
static int
store_mark(logic_rooms_t *r, const char *mark)
{
    if (logic_rooms_groups_touch(r->db->redis, r->uids, r->n, mark) == IM_OK
        && logic_rooms_removed_touch(r->db->redis, r->room, mark) == IM_OK)
    {
        return IM_OK;
    }

    im_warn_seldom("changes of groups are refused: redis: %s",
                   im_redis_error(r->db->redis));

    return logic_rooms_refuse(r, "unavailable",
                              "the cache of groups does not answer");
}


/* Without it MySQL is asked by who needs it next. */
static void
store_refill(logic_rooms_t *r, const char *mark)
{
    if (logic_rooms_groups_refill(r->db, r->uids, r->n, mark) != IM_OK
        || logic_rooms_removed_refill(r, mark) != IM_OK)
    {
        im_warn_seldom("groups are not remembered after a change: mysql or "
                       "redis does not answer");
    }
}


int
logic_rooms_write(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *v, size_t n)
{
    return im_mysql_run(r->db->mysql, sql, v, n, NULL, 0, NULL, NULL, NULL,
                        NULL);
}


#define STORE_ROOM                                                            \
    "SELECT kind, open, history, dismissed_ms, name FROM rooms WHERE room = ?"

int
logic_rooms_lock(logic_rooms_t *r)
{
    static const char  sql[] = STORE_ROOM " FOR UPDATE";

    return store_room(r, sql);
}


int
logic_rooms_read(logic_rooms_t *r)
{
    int  rc, tries;

    static const char  sql[] = STORE_ROOM;

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = store_room(r, sql);
    }

    return rc;
}


static int
store_room(logic_rooms_t *r, const char *sql)
{
    int               rc;
    im_mysql_value_t  v[1];

    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    r->kind = 0;

    rc = im_mysql_run(r->db->mysql, sql, v, 1, columns, 5,
                      logic_rooms_on_room, r, NULL, NULL);

    if (rc == IM_OK && r->kind == 0) {
        return logic_rooms_refuse(r, "no_such_room",
                                  "there is no such room");
    }

    return rc;
}


int
logic_rooms_on_room(void *ctx, const im_mysql_value_t *v)
{
    logic_rooms_t  *r = ctx;

    r->kind = (unsigned) v[0].u64;
    r->open = (v[1].u64 != 0);
    r->history = (v[2].u64 != 0);
    r->dismissed = (v[3].u64 != 0);

    if (v[4].str.len <= LOGIC_ROOMS_NAME_MAX) {
        memcpy(r->name, v[4].str.data, v[4].str.len);
        r->name[v[4].str.len] = '\0';
    }

    return IM_OK;
}


int
logic_rooms_put_dismissed(logic_rooms_t *r)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "UPDATE rooms SET dismissed_ms = ? WHERE room = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = im_now_ms();
    v[1].u64 = r->room;

    return logic_rooms_write(r, sql, v, 2);
}
