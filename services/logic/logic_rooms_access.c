/*
 * logic_rooms_access.c -- see logic_rooms_access.h.
 *
 * Every message of a room asks whether its sender may speak.  The answer is
 * remembered for 5 s, and dropped when a room RPC changes it; these run at the
 * room's home, where its messages are numbered, too.  Another Logic is home for
 * a moment when instances come and go.  So a worker that links anew makes all
 * answers count for nothing: it may have taken us for dead until now.  Left is
 * a worker that takes another Logic for the home while we are the home of
 * others: then an answer may be 5 s old.
 *
 * An answer that was read from MySQL before a change must not be remembered
 * after it: logic_cache.h.  What is known of a room and of a user in it are two
 * entries, so that a crowd in one room does not keep it a thousand times.  A
 * quarter of a million are kept, in 11 MB.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_ask.h"
#include "logic_cache.h"
#include "logic_page.h"
#include "logic_rooms.h"
#include "logic_rooms_access.h"


#define ACCESS_VALID_US  (5 * (uint64_t) 1000000)
#define ACCESS_SETS      32768     /* of 8 rooms or users */
#define ACCESS_QUERY     15


/* Of the room itself, stored with uid 0. */
typedef struct {
    uint64_t               removals;   /* so far */
    uint32_t               kind;       /* 0: there is none */
    uint32_t               dismissed;
} access_room_t;

typedef struct {
    uint64_t               muted_until_ms;
    uint64_t               role;
} access_user_t;

/* One that is not known. */
typedef struct {
    logic_rooms_access_t  *item;
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


static int access_known(logic_rooms_access_t *item, access_want_t *want);
static void access_decide(const access_want_t *want);
static int access_load(im_mysql_t *mysql, access_want_t *wants, size_t n);
static int access_load_rooms(im_mysql_t *mysql, access_want_t *wants,
    logic_ask_t *asks, size_t n);
static int access_load_users(im_mysql_t *mysql, access_want_t *wants,
    logic_ask_t *asks, size_t n);
static void access_keep(const access_want_t *want);
static logic_cache_key_t access_key(uint64_t room, uint64_t uid);
static int access_on_read(void *ctx, const im_mysql_value_t *v);


LOGIC_CACHE(access_cache, ACCESS_SETS, sizeof(access_room_t));

_Static_assert(sizeof(access_room_t) == sizeof(access_user_t),
               "they share a table");

static const struct {
    const char  *code;
    const char  *text;
} access_texts[] = {
    { "no_such_room", "there is no such room" },
    { "room_dismissed", "the room was dismissed" },
    { "not_member", "only who is in the room may send" },
    { "muted", "this user may not speak here at present" },
    { "forbidden", "only who is in the room may read it" },
    { "unavailable", "the room cannot be looked up" },
    { NULL, "not permitted" }
};


int
logic_rooms_may_send(im_mysql_t *mysql, logic_rooms_access_t *items, size_t n)
{
    int             rc;
    size_t          i, missing;
    access_want_t  *wants, want;

    wants = NULL;
    missing = 0;

    for (i = 0; i < n; i++) {
        items[i].code = "unavailable";
    }

    for (i = 0; i < n; i++) {
        if (access_known(&items[i], &want)) {
            continue;
        }

        if (wants == NULL) {
            wants = calloc(n - i, sizeof(access_want_t));
            if (wants == NULL) {
                return IM_ERROR;
            }
        }

        wants[missing++] = want;
    }

    rc = (missing > 0) ? access_load(mysql, wants, missing) : IM_OK;

    free(wants);

    return rc;
}


/* 1: decided.  0: *want is to be asked for. */
static int
access_known(logic_rooms_access_t *item, access_want_t *want)
{
    int  known;

    memset(want, 0, sizeof(access_want_t));
    want->item = item;
    want->asked_us = im_mono_us();

    known = logic_cache_get(&access_cache, access_key(item->room, 0),
                            want->asked_us, &want->room, &want->room_mark);
    known &= logic_cache_get(&access_cache, access_key(item->room, item->uid),
                             want->asked_us, &want->user, &want->user_mark);

    if (known) {
        access_decide(want);
    }

    return known;
}


static void
access_decide(const access_want_t *want)
{
    const access_room_t   *room;
    const access_user_t   *user;
    logic_rooms_access_t  *item;

    room = &want->room;
    user = &want->user;
    item = want->item;

    item->removals = room->removals;

    if (room->kind == 0) {
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


static int
access_load(im_mysql_t *mysql, access_want_t *wants, size_t n)
{
    int           rc;
    size_t        i;
    logic_ask_t  *asks;

    asks = calloc(n, sizeof(logic_ask_t));
    if (asks == NULL) {
        return IM_ERROR;
    }

    rc = access_load_rooms(mysql, wants, asks, n);

    if (rc == IM_OK) {
        rc = access_load_users(mysql, wants, asks, n);
    }

    for (i = 0; i < n && rc == IM_OK; i++) {
        access_decide(&wants[i]);
        access_keep(&wants[i]);
    }

    free(asks);

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
    "SELECT r.room, r.kind, r.dismissed_ms, COALESCE((SELECT x.no "           \
    "FROM removals x WHERE x.room = r.room ORDER BY x.no DESC LIMIT 1), 0) "  \
    "FROM rooms r WHERE r.room IN (" in ")"

    static const logic_ask_sql_t  sql = {
        ACCESS_ROOMS(LOGIC_ASK_8("?", ", ")),
        ACCESS_ROOMS(LOGIC_ASK_128("?", ", ")), 1, 3
    };

    for (i = 0; i < n; i++) {
        asks[i].key[0] = wants[i].item->room;
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
            room->dismissed = (asks[i].values[1] != 0);
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
        asks[i].key[0] = wants[i].item->room;
        asks[i].key[1] = wants[i].item->uid;
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
    uint64_t  now, until;

    now = want->asked_us;
    until = now + ACCESS_VALID_US;

    logic_cache_put(&access_cache, access_key(want->item->room, 0), now,
                    until, &want->room, want->room_mark);
    logic_cache_put(&access_cache,
                    access_key(want->item->room, want->item->uid), now,
                    until, &want->user, want->user_mark);
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
    logic_cache_drop(&access_cache, access_key(room, uid));
}


void
logic_rooms_access_doubt(void)
{
    logic_cache_drop_all(&access_cache);
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

        if (logic_page_run(db, sql, v, 1 + ACCESS_QUERY, columns, 5,
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
    int             may;
    size_t          i;
    access_read_t  *read = ctx;

    may = !v[4].null && v[4].u64 != LOGIC_ROLE_NONE;

    if (v[1].u64 == LOGIC_ROOM_LIVE) {
        may = v[3].u64 && (v[2].u64 || may);
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
