/*
 * logic_rooms_access.c -- see logic_rooms_access.h.
 *
 * Every message of a room asks whether its sender may speak.  The answer is
 * remembered, and dropped when a room RPC changes it; these run at the room's
 * owner, where its messages are numbered, too.  Another Logic is the owner for
 * a moment when instances come and go.  So when a worker reconnects, all
 * answers are invalidated: it may have used another owner meanwhile.  One case
 * is left: for one worker another Logic is the owner, and for the others we
 * are; then an answer may be 5 s old.
 *
 * An answer is asked for again when it is 2.5 s old and still used, so that
 * nobody waits for it.  At 5 s it is stale, and a message waits for MySQL
 * (logic_park.c).  Only when MySQL does not answer are stale answers used, for
 * as long as it takes.  That is safe: a change is a transaction of MySQL, so
 * there is none meanwhile, and what has changed before is known here, but for
 * the two cases above: somebody who was removed just before by way of another
 * Logic may speak until MySQL is back.
 *
 * An answer that was read from MySQL before a change must not be remembered
 * after it: logic_cache.h.  What is known of a room and of a user in it are two
 * entries, so that a crowd in one room does not keep it a thousand times.  A
 * quarter of a million are kept, in 11 MB.
 */

#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "logic_ask.h"
#include "logic_db.h"
#include "logic_renew.h"
#include "logic_rooms.h"
#include "logic_rooms_access.h"


#define ACCESS_DUE_US    2500000
#define ACCESS_STALE_US  5000000
#define ACCESS_SETS      32768     /* of 8 rooms or users */
#define ACCESS_QUERY     15


/* Of the room itself, stored with uid 0. */
typedef struct {
    uint64_t               removals;   /* so far */
    uint32_t               kind;       /* 0: there is none */
    uint16_t               dismissed;
    uint16_t               open;
} access_room_t;

typedef struct {
    uint64_t               muted_until_ms;
    uint64_t               role;
} access_user_t;

/* What is known, or is to be asked for. */
typedef struct {
    uint64_t               room_id;
    uint64_t               uid;
    uint64_t               asked_us;
    logic_cache_mark_t     room_mark;
    logic_cache_mark_t     user_mark;
    access_room_t          room;
    access_user_t          user;
} access_want_t;

typedef struct {
    const uint64_t        *rooms;
    size_t                 n;
    const char           **codes;
} access_read_t;


static logic_cache_e access_look(const logic_rooms_access_t *item,
    uint64_t now_us, access_want_t *want);
static void access_decide(logic_rooms_access_t *item,
    const access_want_t *want);
static int access_is_hidden(const logic_rooms_access_t *item,
    const access_want_t *want);
static int access_load_rooms(im_mysql_t *mysql, access_want_t *wants,
    logic_ask_t *asks, size_t n);
static int access_load_users(im_mysql_t *mysql, access_want_t *wants,
    logic_ask_t *asks, size_t n);
static void access_keep(const access_want_t *want);
static logic_cache_key_t access_key(uint64_t room, uint64_t uid);
static int access_on_read(void *ctx, const im_mysql_value_t *v);


LOGIC_CACHE(access_cache, ACCESS_SETS, sizeof(access_room_t), ACCESS_DUE_US,
            ACCESS_STALE_US);

_Static_assert(sizeof(access_room_t) == sizeof(access_user_t),
               "they share a table");

static const struct {
    const char  *code;
    const char  *text;
} access_texts[] = {
    { "no_such_room", "there is no such room" },
    { "room_dismissed", "the room was dismissed" },
    { "not_member", "only users in the room may send" },
    { "muted", "this user may not speak here at present" },
    { "forbidden", "only users in the room may read it" },
    { NULL, "not permitted" }
};


logic_cache_e
logic_rooms_access_known(logic_rooms_access_t *item, uint64_t now_us)
{
    logic_cache_e  state;
    access_want_t  want;

    state = access_look(item, now_us, &want);

    if (state != LOGIC_CACHE_NONE) {
        access_decide(item, &want);
    }

    return state;
}


static logic_cache_e
access_look(const logic_rooms_access_t *item, uint64_t now_us,
    access_want_t *want)
{
    logic_cache_e  room, user;

    memset(want, 0, sizeof(access_want_t));
    want->room_id = item->room;
    want->uid = item->uid;
    want->asked_us = now_us;

    room = logic_cache_get(&access_cache, access_key(item->room, 0), now_us,
                           &want->room, &want->room_mark);
    user = logic_cache_get(&access_cache, access_key(item->room, item->uid),
                           now_us, &want->user, &want->user_mark);

    return (room < user) ? room : user;
}


static void
access_decide(logic_rooms_access_t *item, const access_want_t *want)
{
    const access_room_t  *room;
    const access_user_t  *user;

    room = &want->room;
    user = &want->user;

    item->removals = room->removals;

    if (room->kind == 0 || access_is_hidden(item, want)) {
        item->code = "no_such_room";

    } else if (room->dismissed) {
        item->code = "room_dismissed";

    } else if (room->kind == LOGIC_ROOM_GROUP
               ? user->role == LOGIC_ROLE_NONE
               : !item->joined
                 && (item->by_frame || user->role < LOGIC_ROLE_ADMIN))
    {
        item->code = "not_member";

    } else if (user->muted_until_ms > im_now_ms()) {
        item->code = "muted";

    } else {
        item->code = NULL;
    }
}


/* A room that the user is not in and may not enter: as if there were none. */
static int
access_is_hidden(const logic_rooms_access_t *item, const access_want_t *want)
{
    return !want->room.open && !item->joined
           && want->user.role == LOGIC_ROLE_NONE;
}


int
logic_rooms_access_ask(im_mysql_t *mysql, const logic_rooms_access_t *items,
    size_t n)
{
    int             rc;
    size_t          i;
    logic_ask_t    *asks;
    access_want_t  *wants;

    rc = IM_ERROR;
    asks = calloc(n, sizeof(logic_ask_t));
    wants = calloc(n, sizeof(access_want_t));

    if (asks != NULL && wants != NULL) {

        for (i = 0; i < n; i++) {
            (void) access_look(&items[i], im_mono_us(), &wants[i]);
        }

        rc = access_load_rooms(mysql, wants, asks, n);

        if (rc == IM_OK) {
            rc = access_load_users(mysql, wants, asks, n);
        }

        for (i = 0; i < n && rc == IM_OK; i++) {
            access_keep(&wants[i]);
        }
    }

    free(asks);
    free(wants);

    return rc;
}


/* MAX(no) would read all numbers of the room. */
static int
access_load_rooms(im_mysql_t *mysql, access_want_t *wants, logic_ask_t *asks,
    size_t n)
{
    size_t          i;
    access_room_t  *room;

#define ACCESS_ROOMS(in)                                                      \
    "SELECT r.room, r.kind, r.open + 2 * (r.dismissed_ms > 0), COALESCE(("    \
    "SELECT x.no FROM removals x WHERE x.room = r.room "                      \
    "ORDER BY x.no DESC LIMIT 1), 0) FROM rooms r WHERE r.room IN (" in ")"

    static const logic_ask_sql_t  sql = {
        ACCESS_ROOMS(LOGIC_ASK_8("?", ", ")),
        ACCESS_ROOMS(LOGIC_ASK_128("?", ", ")), 1, 3
    };

    for (i = 0; i < n; i++) {
        asks[i].key[0] = wants[i].room_id;
        asks[i].item = &wants[i].room;
    }

    if (logic_ask(mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        room = asks[i].item;
        memset(room, 0, sizeof(access_room_t));

        if (asks[i].found) {
            room->kind = (uint32_t) asks[i].values[0];
            room->open = (asks[i].values[1] & 1) != 0;
            room->dismissed = (asks[i].values[1] & 2) != 0;
            room->removals = asks[i].values[2];
        }
    }

    return IM_OK;
}


static int
access_load_users(im_mysql_t *mysql, access_want_t *wants, logic_ask_t *asks,
    size_t n)
{
    size_t          i;
    access_user_t  *user;

#define ACCESS_USERS(users)                                                   \
    "SELECT room, uid, role, muted_until_ms FROM members WHERE " users
#define ACCESS_USER  "(room = ? AND uid = ?)"

    static const logic_ask_sql_t  sql = {
        ACCESS_USERS(LOGIC_ASK_8(ACCESS_USER, " OR ")),
        ACCESS_USERS(LOGIC_ASK_128(ACCESS_USER, " OR ")), 2, 2
    };

    for (i = 0; i < n; i++) {
        asks[i].key[0] = wants[i].room_id;
        asks[i].key[1] = wants[i].uid;
        asks[i].item = &wants[i].user;
    }

    if (logic_ask(mysql, &sql, asks, n) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        user = asks[i].item;
        memset(user, 0, sizeof(access_user_t));

        if (asks[i].found) {
            user->role = asks[i].values[0];
            user->muted_until_ms = asks[i].values[1];
        }
    }

    return IM_OK;
}


static void
access_keep(const access_want_t *want)
{
    logic_cache_put(&access_cache, access_key(want->room_id, 0),
                    want->asked_us, &want->room, want->room_mark);

    if (want->uid != 0) {
        logic_cache_put(&access_cache, access_key(want->room_id, want->uid),
                        want->asked_us, &want->user, want->user_mark);
    }
}


static logic_cache_key_t
access_key(uint64_t room, uint64_t uid)
{
    logic_cache_key_t  key = { room, uid };

    return key;
}


void
logic_rooms_access_drop(uint64_t room, uint64_t uid)
{
    if (logic_cache_drop(&access_cache, access_key(room, uid))) {
        logic_renew(uid, 0, room);
    }
}


void
logic_rooms_access_invalidate(void)
{
    logic_cache_invalidate(&access_cache);
}


int
logic_rooms_may_read(logic_db_t *db, uint64_t uid, const uint64_t *rooms,
    size_t n, const char **codes)
{
    size_t            i, k;
    access_read_t     read = { rooms, n, codes };
    im_mysql_value_t  v[1 + ACCESS_QUERY];

    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };
    static const char             sql[] =
        "SELECT r.room, r.kind, r.open, r.history, m.role FROM rooms r "
        "LEFT JOIN members m ON m.room = r.room AND m.uid = ? "
        "WHERE r.room IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    for (i = 0; i < n; i++) {
        codes[i] = "no_such_room";
    }

    for (i = 0; i < n; i += ACCESS_QUERY) {
        memset(v, 0, sizeof(v));
        v[0].u64 = uid;

        for (k = 0; k < ACCESS_QUERY && i + k < n; k++) {
            v[1 + k].u64 = rooms[i + k];
        }

        if (logic_db_run(db, sql, v, 1 + ACCESS_QUERY, columns, 5,
                           access_on_read, &read)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
access_on_read(void *ctx, const im_mysql_value_t *v)
{
    int             may, is_in;
    size_t          i;
    access_read_t  *read = ctx;

    is_in = !v[4].null && v[4].u64 != LOGIC_ROLE_NONE;
    may = is_in;

    if (v[1].u64 == LOGIC_ROOM_LIVE) {
        may = v[3].u64 && (v[2].u64 || is_in);
    }

    if (!is_in && !v[2].u64) {
        return IM_OK;                  /* as if there were none */
    }

    for (i = 0; i < read->n; i++) {
        if (read->rooms[i] == v[0].u64) {
            read->codes[i] = may ? NULL : "forbidden";
        }
    }

    return IM_OK;
}


const char *
logic_rooms_access_text(const char *code)
{
    size_t  i;

    for (i = 0; access_texts[i].code != NULL; i++) {
        if (strcmp(access_texts[i].code, code) == 0) {
            break;
        }
    }

    return access_texts[i].text;
}
