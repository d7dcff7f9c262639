/*
 * logic_rooms_roles.c -- the members of a room in MySQL: their rows in
 * `members`, and what belongs to them in `conversations`.
 *
 * In a transaction, under the locks of logic_rooms_store.c, where something is
 * changed.  Functions of a pool's thread.
 */

#include <string.h>

#include "im_clock.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_rooms_int.h"
#include "logic_sequence.h"


#define ROLES_IN     12            /* users in one statement */

#define ROLES_LIST   "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


typedef struct {
    uint64_t  uids[LOGIC_ROOMS_UIDS_MAX + 1];
    size_t    n;
    size_t    over;                /* of these, with too large a number */
} roles_found_t;

typedef struct {
    uint64_t  members;
    uint64_t  owner;
} roles_size_t;


static int roles_run(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *v, size_t n, size_t columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx);
static int roles_on_member(void *ctx, const im_mysql_value_t *v);
static int roles_on_size(void *ctx, const im_mysql_value_t *v);
static int roles_users(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *first, size_t n_first, roles_found_t *found);
static int roles_on_user(void *ctx, const im_mysql_value_t *v);
static int roles_on_groups(void *ctx, const im_mysql_value_t *v);
static int roles_put(logic_rooms_t *r, const char *sql, uint64_t uid,
    uint64_t value);
static int roles_head(logic_rooms_t *r, uint64_t *head);
static size_t roles_list(im_mysql_value_t *v, const logic_rooms_t *r,
    size_t from);


static int
roles_run(logic_rooms_t *r, const char *sql, const im_mysql_value_t *v,
    size_t n, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    return im_mysql_run(r->db->mysql, sql, v, n, columns, n_columns, row, ctx,
                        NULL, NULL);
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

    return roles_run(r, sql, v, 2, 2, roles_on_member, member);
}


static int
roles_on_member(void *ctx, const im_mysql_value_t *v)
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
    roles_size_t      size = { 0, 0 };
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT COUNT(*), MAX(CASE WHEN role = 3 THEN uid ELSE 0 END) "
        "FROM members WHERE room = ? AND role > 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;

    rc = roles_run(r, sql, v, 1, 2, roles_on_size, &size);

    *members = size.members;

    if (owner != NULL) {
        *owner = size.owner;
    }

    return rc;
}


static int
roles_on_size(void *ctx, const im_mysql_value_t *v)
{
    roles_size_t  *size = ctx;

    size->members = v[0].u64;
    size->owner = v[1].null ? 0 : v[1].u64;

    return IM_OK;
}


int
logic_rooms_lock_users(logic_rooms_t *r)
{
    int             rc;
    roles_found_t   found;

    static const char  sql[] =
        "SELECT uid FROM users WHERE uid IN " ROLES_LIST
        " ORDER BY uid FOR UPDATE";

    rc = roles_users(r, sql, NULL, 0, &found);

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
    roles_found_t     found;
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT uid FROM members WHERE room = ? AND uid IN " ROLES_LIST
        " AND role > 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;

    rc = roles_users(r, sql, v, 1, &found);
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
    roles_found_t     found = { .n = 0 };
    im_mysql_value_t  v[ROLES_IN];

    static const char  sql[] =
        "SELECT uid, COUNT(*) FROM conversations WHERE uid IN " ROLES_LIST
        " AND conv_a = 0 GROUP BY uid";

    for (i = 0; i < r->n; i += n) {
        n = roles_list(v, r, i);
        rc = roles_run(r, sql, v, ROLES_IN, 2, roles_on_groups, &found);

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
roles_on_groups(void *ctx, const im_mysql_value_t *v)
{
    roles_found_t  *found = ctx;

    found->over += (v[1].u64 >= logic_conf.rooms_user_groups_max);

    return IM_OK;
}


/* Which of r->uids a statement finds. */
static int
roles_users(logic_rooms_t *r, const char *sql, const im_mysql_value_t *first,
    size_t n_first, roles_found_t *found)
{
    int               rc;
    size_t            i, n;
    im_mysql_value_t  v[1 + ROLES_IN];

    found->n = 0;

    for (i = 0; i < r->n; i += n) {

        if (n_first > 0) {
            v[0] = first[0];
        }

        n = roles_list(v + n_first, r, i);
        rc = roles_run(r, sql, v, n_first + ROLES_IN, 1, roles_on_user,
                       found);

        if (rc != IM_OK) {
            return rc;
        }
    }

    return IM_OK;
}


static int
roles_on_user(void *ctx, const im_mysql_value_t *v)
{
    roles_found_t  *found = ctx;

    if (found->n < LOGIC_ROOMS_UIDS_MAX + 1) {
        found->uids[found->n++] = v[0].u64;
    }

    return IM_OK;
}


/* Nobody has uid 0.  How many of r->uids it took. */
static size_t
roles_list(im_mysql_value_t *v, const logic_rooms_t *r, size_t from)
{
    size_t  n;

    memset(v, 0, ROLES_IN * sizeof(im_mysql_value_t));

    for (n = 0; n < ROLES_IN && from + n < r->n; n++) {
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
    im_mysql_value_t  v[2 + ROLES_IN];

    static const char  members[] =
        "INSERT INTO members (room, uid, role, joined_ms) "
        "SELECT ?, uid, 1, ? FROM users FORCE INDEX (PRIMARY) "
        "WHERE uid IN " ROLES_LIST
        " ON DUPLICATE KEY UPDATE role = 1";
    static const char  conversations[] =
        "INSERT INTO conversations (uid, conv_a, conv_b, read_seq, own_above) "
        "SELECT uid, 0, ?, ?, 0 FROM users FORCE INDEX (PRIMARY) "
        "WHERE uid IN " ROLES_LIST
        " ON DUPLICATE KEY UPDATE conv_a = 0";

    if (roles_head(r, &head) != IM_OK || logic_rooms_removals(r) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < r->n; i += n) {
        n = roles_list(v + 2, r, i);
        memset(v, 0, 2 * sizeof(im_mysql_value_t));
        v[0].u64 = r->room;
        v[1].u64 = im_now_ms();

        rc = logic_rooms_write(r, members, v, 2 + ROLES_IN);

        v[1].u64 = head;

        if (rc == IM_OK && r->kind == LOGIC_ROOM_GROUP) {
            rc = logic_rooms_write(r, conversations, v, 2 + ROLES_IN);
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
    static const char  sql[] =
        "INSERT INTO members (room, uid, role, joined_ms) "
        "VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE role = ?";

    return roles_put(r, sql, uid, role);
}


int
logic_rooms_put_mute(logic_rooms_t *r, uint64_t uid, uint64_t until_ms)
{
    static const char  sql[] =
        "INSERT INTO members (room, uid, role, muted_until_ms, joined_ms) "
        "VALUES (?, ?, 0, ?, ?) ON DUPLICATE KEY UPDATE muted_until_ms = ?";

    return roles_put(r, sql, uid, until_ms);
}


/* One field of a member, who has a row then. */
static int
roles_put(logic_rooms_t *r, const char *sql, uint64_t uid, uint64_t value)
{
    im_mysql_value_t  v[5];

    memset(v, 0, sizeof(v));
    v[0].u64 = r->room;
    v[1].u64 = uid;
    v[2].u64 = value;
    v[3].u64 = im_now_ms();
    v[4].u64 = value;

    return logic_rooms_write(r, sql, v, 5);
}


/* With those that are not stored yet; without Redis, what is stored. */
static int
roles_head(logic_rooms_t *r, uint64_t *head)
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
