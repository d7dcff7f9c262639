/*
 * logic_rooms_store.c -- rooms and members in MySQL.
 *
 * Whatever changes who is in a room first locks its row in `rooms`, so changes
 * of one room come one after the other and a limit cannot be passed by two who
 * take the last place at a time.  Then the rows of the users, by uid: a user's
 * number of groups is counted under them.  Everybody takes the locks in this
 * order, and only then reads.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_db.h"
#include "logic_rooms_groups.h"
#include "logic_rooms_int.h"
#include "logic_sequence.h"


#define STORE_TRIES  3
#define STORE_IN     12            /* users in one statement */

#define STORE_LIST   "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


typedef struct {
    uint64_t  uids[LOGIC_ROOMS_UIDS_MAX + 1];
    size_t    n;
    size_t    over;                /* of these, with too large a number */
} store_found_t;

typedef struct {
    uint64_t  members;
    uint64_t  owner;
} store_size_t;


static int store_mark(logic_rooms_t *r, const char *mark);
static void store_refill(logic_rooms_t *r, const char *mark);
static int store_run(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *v, size_t n, size_t columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx);
static int store_room(logic_rooms_t *r, const char *sql);
static int store_on_member(void *ctx, const im_mysql_value_t *v);
static int store_on_size(void *ctx, const im_mysql_value_t *v);
static int store_users(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *first, size_t n_first, store_found_t *found);
static int store_on_user(void *ctx, const im_mysql_value_t *v);
static int store_on_groups(void *ctx, const im_mysql_value_t *v);
static int store_head(logic_rooms_t *r, uint64_t *head);
static size_t store_list(im_mysql_value_t *v, const logic_rooms_t *r,
    size_t from);


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


static int
store_run(logic_rooms_t *r, const char *sql, const im_mysql_value_t *v,
    size_t n, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    return im_mysql_run(r->db->mysql, sql, v, n, columns, n_columns, row, ctx,
                        NULL, NULL);
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
logic_rooms_member(logic_rooms_t *r, uint64_t uid,
    logic_rooms_member_t *member)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT role, muted_until_ms FROM members "
        "WHERE room = ? AND uid = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;

    member->role = LOGIC_ROLE_NONE;
    member->muted_until_ms = 0;

    return store_run(r, sql, v, 2, 2, store_on_member, member);
}


static int
store_on_member(void *ctx, const im_mysql_value_t *v)
{
    logic_rooms_member_t  *m = ctx;

    m->role = (unsigned) v[0].u64;
    m->muted_until_ms = v[1].u64;

    return IM_OK;
}


int
logic_rooms_size(logic_rooms_t *r, uint64_t *members, uint64_t *owner)
{
    int               rc;
    store_size_t      size = { 0, 0 };
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT COUNT(*), MAX(CASE WHEN role = 3 THEN uid ELSE 0 END) "
        "FROM members WHERE room = ? AND role > 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;

    rc = store_run(r, sql, v, 1, 2, store_on_size, &size);

    *members = size.members;

    if (owner != NULL) {
        *owner = size.owner;
    }

    return rc;
}


static int
store_on_size(void *ctx, const im_mysql_value_t *v)
{
    store_size_t  *size = ctx;

    size->members = v[0].u64;
    size->owner = v[1].null ? 0 : v[1].u64;

    return IM_OK;
}


int
logic_rooms_lock_users(logic_rooms_t *r)
{
    int             rc;
    store_found_t   found;

    static const char  sql[] =
        "SELECT uid FROM users WHERE uid IN " STORE_LIST
        " ORDER BY uid FOR UPDATE";

    rc = store_users(r, sql, NULL, 0, &found);

    if (rc == IM_OK && found.n < r->n) {
        return logic_rooms_refuse(r, "no_such_user",
                                  "one of these users does not exist");
    }

    return rc;
}


int
logic_rooms_without_members(logic_rooms_t *r)
{
    int               rc;
    size_t            i, k, n;
    store_found_t     found;
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT uid FROM members WHERE room = ? AND uid IN " STORE_LIST
        " AND role > 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;

    rc = store_users(r, sql, v, 1, &found);
    if (rc != IM_OK) {
        return rc;
    }

    for (i = 0, n = 0; i < r->n; i++) {

        for (k = 0; k < found.n; k++) {
            if (found.uids[k] == r->uids[i]) {
                break;
            }
        }

        if (k == found.n) {
            r->uids[n++] = r->uids[i];
        }
    }

    r->n = n;

    return IM_OK;
}


int
logic_rooms_check_groups(logic_rooms_t *r)
{
    int               rc;
    size_t            i, n;
    store_found_t     found = { .n = 0 };
    im_mysql_value_t  v[STORE_IN];

    static const char  sql[] =
        "SELECT uid, COUNT(*) FROM conversations WHERE uid IN " STORE_LIST
        " AND conv_a = 0 GROUP BY uid";

    for (i = 0; i < r->n; i += n) {
        n = store_list(v, r, i);
        rc = store_run(r, sql, v, STORE_IN, 2, store_on_groups, &found);

        if (rc != IM_OK) {
            return rc;
        }
    }

    if (found.over > 0) {
        return logic_rooms_refuse(r, "limit_reached",
                                  "a user is in too many groups");
    }

    return IM_OK;
}


static int
store_on_groups(void *ctx, const im_mysql_value_t *v)
{
    store_found_t  *found = ctx;

    found->over += (v[1].u64 >= logic_conf.rooms_user_groups_max);

    return IM_OK;
}


/* Which of r->uids a statement finds. */
static int
store_users(logic_rooms_t *r, const char *sql, const im_mysql_value_t *first,
    size_t n_first, store_found_t *found)
{
    int               rc;
    size_t            i, n;
    im_mysql_value_t  v[1 + STORE_IN];

    found->n = 0;

    for (i = 0; i < r->n; i += n) {

        if (n_first > 0) {
            v[0] = first[0];
        }

        n = store_list(v + n_first, r, i);
        rc = store_run(r, sql, v, n_first + STORE_IN, 1, store_on_user,
                       found);

        if (rc != IM_OK) {
            return rc;
        }
    }

    return IM_OK;
}


static int
store_on_user(void *ctx, const im_mysql_value_t *v)
{
    store_found_t  *found = ctx;

    if (found->n < LOGIC_ROOMS_UIDS_MAX + 1) {
        found->uids[found->n++] = v[0].u64;
    }

    return IM_OK;
}


/* Nobody has uid 0.  How many of r->uids it took. */
static size_t
store_list(im_mysql_value_t *v, const logic_rooms_t *r, size_t from)
{
    size_t  n;

    memset(v, 0, STORE_IN * sizeof(im_mysql_value_t));

    for (n = 0; n < STORE_IN && from + n < r->n; n++) {
        v[n].u64 = r->uids[from + n];
    }

    return n;
}


/* Who is new has read all that there is: a group is not joined with a thousand
 * unread messages. */
int
logic_rooms_put_members(logic_rooms_t *r)
{
    int               rc;
    size_t            i, n;
    uint64_t          head;
    im_mysql_value_t  v[2 + STORE_IN];

    static const char  members[] =
        "INSERT INTO members (room, uid, role, joined_ms) "
        "SELECT ?, uid, 1, ? FROM users FORCE INDEX (PRIMARY) "
        "WHERE uid IN " STORE_LIST
        " ON DUPLICATE KEY UPDATE role = 1";
    static const char  conversations[] =
        "INSERT INTO conversations (uid, conv_a, conv_b, read_seq, own_above) "
        "SELECT uid, 0, ?, ?, 0 FROM users FORCE INDEX (PRIMARY) "
        "WHERE uid IN " STORE_LIST
        " ON DUPLICATE KEY UPDATE conv_a = 0";

    if (store_head(r, &head) != IM_OK || logic_rooms_removals(r) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < r->n; i += n) {
        n = store_list(v + 2, r, i);
        memset(v, 0, 2 * sizeof(im_mysql_value_t));
        v[0].u64 = r->room;
        v[1].u64 = im_now_ms();

        rc = logic_rooms_write(r, members, v, 2 + STORE_IN);

        v[1].u64 = head;

        if (rc == IM_OK && r->kind == LOGIC_ROOM_GROUP) {
            rc = logic_rooms_write(r, conversations, v, 2 + STORE_IN);
        }

        if (rc != IM_OK) {
            return rc;
        }
    }

    return IM_OK;
}


int
logic_rooms_put_role(logic_rooms_t *r, uint64_t uid, unsigned role)
{
    im_mysql_value_t  v[5];

    static const char  sql[] =
        "INSERT INTO members (room, uid, role, joined_ms) "
        "VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE role = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    v[2].u64 = role;
    v[3].u64 = im_now_ms();
    v[4].u64 = role;

    return logic_rooms_write(r, sql, v, 5);
}


int
logic_rooms_put_mute(logic_rooms_t *r, uint64_t uid, uint64_t until_ms)
{
    im_mysql_value_t  v[5];

    static const char  sql[] =
        "INSERT INTO members (room, uid, role, muted_until_ms, joined_ms) "
        "VALUES (?, ?, 0, ?, ?) ON DUPLICATE KEY UPDATE muted_until_ms = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    v[2].u64 = until_ms;
    v[3].u64 = im_now_ms();
    v[4].u64 = until_ms;

    return logic_rooms_write(r, sql, v, 5);
}


/* With those that are not stored yet; without Redis, what is stored. */
static int
store_head(logic_rooms_t *r, uint64_t *head)
{
    uint64_t   last;
    im_conv_t  conv = { .a = 0, .b = r->room };

    if (logic_db_head(r->db, 0, r->room, head) != IM_OK) {
        return IM_ERROR;
    }

    if (logic_sequence_heads(r->db->redis, &conv, 1, &last) == IM_OK
        && last > *head)
    {
        *head = last;
    }

    return IM_OK;
}


/* A mute stays, or leaving an open room and coming back would end it. */
int
logic_rooms_delete_member(logic_rooms_t *r, uint64_t uid)
{
    int               rc;
    im_mysql_value_t  v[3];

    static const char  member[] =
        "DELETE FROM members WHERE room = ? AND uid = ? "
        "AND muted_until_ms <= ?";
    static const char  role[] =
        "UPDATE members SET role = 0 WHERE room = ? AND uid = ?";
    static const char  conversation[] =
        "DELETE FROM conversations WHERE conv_b = ? AND uid = ? "
        "AND conv_a = 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    v[2].u64 = im_now_ms();

    rc = logic_rooms_write(r, member, v, 3);

    if (rc == IM_OK) {
        rc = logic_rooms_write(r, role, v, 2);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_write(r, conversation, v, 2);
    }

    return (rc == IM_OK) ? logic_rooms_put_removal(r, uid) : rc;
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
