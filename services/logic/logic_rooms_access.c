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
 * after it: each part of the table counts what was dropped, and takes nothing
 * that was asked for before.
 *
 * Parts (by room) have a lock each, so that shard threads do not meet.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "logic_rooms.h"
#include "logic_rooms_access.h"


#define ACCESS_VALID_US  (5 * (uint64_t) 1000000)
#define ACCESS_PARTS     16        /* a power of two */
#define ACCESS_MAX       16384     /* entries of a part: then it is emptied */
#define ACCESS_QUERY     15


/* uid 0: of the room itself. */
typedef struct {
    uint64_t          room;
    uint64_t          uid;
} access_key_t;

typedef struct {
    access_key_t      key;
    uint64_t          until_us;
    uint64_t          muted_until_ms;
    uint64_t          removals;    /* of a room, so far */
    unsigned char     kind;        /* 0: there is none */
    unsigned char     dismissed;
    unsigned char     role;        /* of a user */
    UT_hash_handle    hh;
} access_entry_t;

typedef struct {
    pthread_mutex_t   lock;
    uint64_t          drops;
    uint64_t          doubt_us;    /* what is older counts for nothing */
    access_entry_t   *entries;
} access_part_t;

/* One that is not known. */
typedef struct {
    logic_rooms_access_t  *item;
    uint64_t               drops;
    access_entry_t         room;
    access_entry_t         user;
} access_want_t;

typedef struct {
    access_want_t         *wants;
    size_t                 n;
} access_wants_t;

typedef struct {
    const uint64_t        *rooms;
    size_t                 n;
    const char           **codes;
} access_read_t;


static int access_known(logic_rooms_access_t *item, uint64_t *drops);
static int access_valid(const access_part_t *part, const access_entry_t *e,
    uint64_t now_us);
static void access_decide(logic_rooms_access_t *item,
    const access_entry_t *room, const access_entry_t *user);
static int access_load(im_mysql_t *mysql, access_want_t *wants, size_t n);
static int access_compare(const void *a, const void *b);
static int access_load_rooms(im_mysql_t *mysql, access_want_t *wants,
    size_t n);
static int access_on_room(void *ctx, const im_mysql_value_t *v);
static int access_load_users(im_mysql_t *mysql, access_want_t *wants,
    size_t n);
static int access_on_user(void *ctx, const im_mysql_value_t *v);
static int access_run(im_mysql_t *mysql, const char *sql,
    const im_mysql_value_t *v, size_t n, size_t columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx);
static void access_keep(const access_want_t *want);
static void access_put(access_part_t *part, const access_entry_t *entry);
static void access_remove(access_part_t *part, access_key_t key);
static void access_empty(access_part_t *part);
static int access_on_read(void *ctx, const im_mysql_value_t *v);
static access_part_t *access_part(uint64_t room);


#define ACCESS_LOCK  { .lock = PTHREAD_MUTEX_INITIALIZER }

static access_part_t  access_parts[ACCESS_PARTS] = {
    ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK,
    ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK,
    ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK,
    ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK, ACCESS_LOCK
};

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
    uint64_t        drops;
    access_want_t  *wants;

    wants = NULL;
    missing = 0;

    for (i = 0; i < n; i++) {
        if (access_known(&items[i], &drops)) {
            continue;
        }

        items[i].code = "unavailable";

        if (wants == NULL) {
            wants = calloc(n - i, sizeof(access_want_t));
            if (wants == NULL) {
                return IM_ERROR;
            }
        }

        wants[missing].item = &items[i];
        wants[missing].drops = drops;
        wants[missing].room.key.room = items[i].room;
        wants[missing].user.key.room = items[i].room;
        wants[missing].user.key.uid = items[i].uid;
        missing++;
    }

    rc = (missing > 0) ? access_load(mysql, wants, missing) : IM_OK;

    free(wants);

    return rc;
}


/* 1: decided. */
static int
access_known(logic_rooms_access_t *item, uint64_t *drops)
{
    int              known;
    uint64_t         now;
    access_key_t     key = { .room = item->room };
    access_part_t   *part;
    access_entry_t  *room, *user;

    now = im_mono_us();
    part = access_part(item->room);
    user = NULL;

    pthread_mutex_lock(&part->lock);

    *drops = part->drops;
    HASH_FIND(hh, part->entries, &key, sizeof(key), room);

    if (access_valid(part, room, now)) {
        key.uid = item->uid;
        HASH_FIND(hh, part->entries, &key, sizeof(key), user);
    }

    known = access_valid(part, user, now);

    if (known) {
        access_decide(item, room, user);
    }

    pthread_mutex_unlock(&part->lock);

    return known;
}


static int
access_valid(const access_part_t *part, const access_entry_t *e,
    uint64_t now_us)
{
    return e != NULL && e->until_us > now_us
           && e->until_us > part->doubt_us + ACCESS_VALID_US;
}


static void
access_decide(logic_rooms_access_t *item, const access_entry_t *room,
    const access_entry_t *user)
{
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
    size_t  i;

    qsort(wants, n, sizeof(access_want_t), access_compare);

    if (access_load_rooms(mysql, wants, n) != IM_OK
        || access_load_users(mysql, wants, n) != IM_OK)
    {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        access_decide(wants[i].item, &wants[i].room, &wants[i].user);
        access_keep(&wants[i]);
    }

    return IM_OK;
}


static int
access_compare(const void *a, const void *b)
{
    const access_want_t  *x = a, *y = b;

    if (x->item->room != y->item->room) {
        return (x->item->room < y->item->room) ? -1 : 1;
    }

    return (x->item->uid < y->item->uid) ? -1 : (x->item->uid > y->item->uid);
}


/* MAX(no) would read all numbers of the room. */
static int
access_load_rooms(im_mysql_t *mysql, access_want_t *wants, size_t n)
{
    size_t            i, k;
    access_wants_t    all = { wants, n };
    im_mysql_value_t  v[ACCESS_QUERY];

    static const char  sql[] =
        "SELECT r.room, r.kind, r.dismissed_ms, COALESCE((SELECT x.no "
        "FROM removals x WHERE x.room = r.room ORDER BY x.no DESC LIMIT 1), 0) "
        "FROM rooms r WHERE r.room IN "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    for (i = 0; i < n; ) {
        memset(v, 0, sizeof(v));       /* no room is 0 */
        k = 0;

        for ( /* void */ ; i < n; i++) {

            if (k > 0 && v[k - 1].u64 == wants[i].item->room) {
                continue;
            }

            if (k == ACCESS_QUERY) {
                break;
            }

            v[k++].u64 = wants[i].item->room;
        }

        if (access_run(mysql, sql, v, ACCESS_QUERY, 4, access_on_room, &all)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
access_on_room(void *ctx, const im_mysql_value_t *v)
{
    size_t           i;
    access_wants_t  *all = ctx;

    for (i = 0; i < all->n; i++) {
        if (all->wants[i].item->room == v[0].u64) {
            all->wants[i].room.kind = (unsigned char) v[1].u64;
            all->wants[i].room.dismissed = (v[2].u64 != 0);
            all->wants[i].room.removals = v[3].u64;
        }
    }

    return IM_OK;
}


static int
access_load_users(im_mysql_t *mysql, access_want_t *wants, size_t n)
{
    size_t            i, k;
    uint64_t          room;
    access_wants_t    all = { wants, n };
    im_mysql_value_t  v[1 + ACCESS_QUERY];

    static const char  sql[] =
        "SELECT room, uid, role, muted_until_ms FROM members "
        "WHERE room = ? AND uid IN "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    for (i = 0; i < n; ) {
        room = wants[i].item->room;

        memset(v, 0, sizeof(v));       /* nobody has uid 0 */
        v[0].u64 = room;
        k = 1;

        for ( /* void */ ; i < n && wants[i].item->room == room; i++) {

            if (k > 1 && v[k - 1].u64 == wants[i].item->uid) {
                continue;
            }

            if (k == 1 + ACCESS_QUERY) {
                break;
            }

            v[k++].u64 = wants[i].item->uid;
        }

        if (access_run(mysql, sql, v, 1 + ACCESS_QUERY, 4, access_on_user,
                       &all)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
access_on_user(void *ctx, const im_mysql_value_t *v)
{
    size_t           i;
    access_wants_t  *all = ctx;

    for (i = 0; i < all->n; i++) {
        if (all->wants[i].item->room == v[0].u64
            && all->wants[i].item->uid == v[1].u64)
        {
            all->wants[i].user.role = (unsigned char) v[2].u64;
            all->wants[i].user.muted_until_ms = v[3].u64;
        }
    }

    return IM_OK;
}


/* A connection that was idle too long is noticed by its first use. */
static int
access_run(im_mysql_t *mysql, const char *sql, const im_mysql_value_t *v,
    size_t n, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    int  rc, tries;

    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = im_mysql_run(mysql, sql, v, n, columns, n_columns, row, ctx,
                          NULL, NULL);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


static void
access_keep(const access_want_t *want)
{
    access_part_t  *part;

    part = access_part(want->item->room);

    pthread_mutex_lock(&part->lock);

    if (part->drops == want->drops) {

        if (HASH_COUNT(part->entries) >= ACCESS_MAX) {
            access_empty(part);
        }

        access_put(part, &want->room);
        access_put(part, &want->user);
    }

    pthread_mutex_unlock(&part->lock);
}


/* Under the lock, as the next two. */
static void
access_put(access_part_t *part, const access_entry_t *entry)
{
    access_entry_t  *e;

    access_remove(part, entry->key);

    e = malloc(sizeof(access_entry_t));
    if (e == NULL) {
        return;
    }

    *e = *entry;
    e->until_us = im_mono_us() + ACCESS_VALID_US;
    HASH_ADD(hh, part->entries, key, sizeof(e->key), e);
}


static void
access_remove(access_part_t *part, access_key_t key)
{
    access_entry_t  *e;

    HASH_FIND(hh, part->entries, &key, sizeof(key), e);

    if (e != NULL) {
        HASH_DEL(part->entries, e);
        free(e);
    }
}


static void
access_empty(access_part_t *part)
{
    access_entry_t  *e, *next;

    HASH_ITER(hh, part->entries, e, next) {
        HASH_DEL(part->entries, e);
        free(e);
    }
}


void
logic_rooms_access_drop(uint64_t room, uint64_t uid)
{
    access_key_t    key = { .room = room, .uid = uid };
    access_part_t  *part;

    part = access_part(room);

    pthread_mutex_lock(&part->lock);
    part->drops++;
    access_remove(part, key);
    pthread_mutex_unlock(&part->lock);
}


int
logic_rooms_may_read(logic_db_t *db, uint64_t uid, const uint64_t *rooms,
    size_t n, const char **codes)
{
    size_t            i, k;
    access_read_t     read = { rooms, n, codes };
    im_mysql_value_t  v[1 + ACCESS_QUERY];

    static const char  sql[] =
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

        if (access_run(db->mysql, sql, v, 1 + ACCESS_QUERY, 5, access_on_read,
                       &read)
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


void
logic_rooms_access_doubt(void)
{
    size_t          i;
    access_part_t  *part;

    for (i = 0; i < ACCESS_PARTS; i++) {
        part = &access_parts[i];

        pthread_mutex_lock(&part->lock);
        part->drops++;
        part->doubt_us = im_mono_us();
        pthread_mutex_unlock(&part->lock);
    }
}


void
logic_rooms_access_clear(void)
{
    size_t  i;

    for (i = 0; i < ACCESS_PARTS; i++) {
        pthread_mutex_lock(&access_parts[i].lock);
        access_empty(&access_parts[i]);
        pthread_mutex_unlock(&access_parts[i].lock);
    }
}


static access_part_t *
access_part(uint64_t room)
{
    return &access_parts[room & (ACCESS_PARTS - 1)];
}
