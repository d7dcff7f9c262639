/*
 * logic_listing.c -- see logic_listing.h.
 *
 * Most users have a few conversations.  One statement reads them all, with
 * their last messages, and for up to 16 users that ask at the same time: a
 * statement costs MySQL more than a row, which counts when a crowd of clients
 * comes back together.  Its LIMIT is for all of them.  If it is reached, at
 * least one user has a long list; those of whom that is not known are asked for
 * once more without the long ones, and then each alone.  (A branch with a LIMIT
 * for each user is a plan for each, also where all lists are short.)
 *
 * For users with more, direct conversations come from an index (uid, hot,
 * last_id), so a page reads about a page of rows, however many there are.
 * A key that is not hot is that of the last message.  A hot one may be behind
 * by LISTING_LAG (task_tails.c), so those rows are read on until no further one
 * can be among the page's:
 *
 *   last_id   90   88   71   60 | 52 ...      the next key is too low, even if
 *   message   90   97   73   60 |             it is behind: 97 90 73 60
 *
 * Rooms are merged in.  A key in the rows of all members would be 5,000 rows
 * for each message of a large group; so the last messages of all groups of the
 * user are looked at, 1,000 at most ([rooms] user_groups_max), by the primary
 * key; not their bodies, for most of them are not on the page.  A group without
 * messages stands where its member joined it.
 *
 * Hidden conversations are passed over.  After LISTING_SCAN_MAX of them a page
 * ends, with `next` to go on from.
 *
 * Rows of an earlier version have no key.  They are given one when their user
 * asks for the first time, LISTING_FILL at a time.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_snowflake.h"
#include "im_timeouts.h"
#include "logic_ask.h"
#include "logic_db.h"
#include "logic_listing.h"
#include "logic_page.h"


#define LISTING_COLUMNS   22
#define LISTING_FEW       32           /* conversations: one statement */
#define LISTING_CHUNK     16           /* rows over a page, read at once */
#define LISTING_SCAN_MAX  2000
#define LISTING_FILL      500
#define LISTING_ID_SHIFT  22           /* im_snowflake.h: ms in an id */
#define LISTING_LAG       (10000ull << LISTING_ID_SHIFT)


/* Rows of the index, as they come. */
typedef struct {
    logic_listing_t  *list;
    size_t            limit;
    uint64_t          hot;
    uint64_t          first;           /* key, 0: none yet */
    uint64_t          last;
    size_t            n;
} listing_walk_t;

/* All rows of some users, as they come. */
typedef struct {
    logic_listing_t  *list;
    size_t            n;
} listing_user_t;

typedef struct {
    size_t            n_users;
    size_t            n;               /* rows */
    listing_user_t    users[LOGIC_CALLS_MAX];
} listing_few_t;


static int listing_few(logic_db_t *db, listing_few_t *few);
static int listing_on_few(void *ctx, const im_mysql_value_t *v);
static void listing_put_few(listing_user_t *u, const im_mysql_value_t *v);
static int listing_many(logic_db_t *db, logic_listing_t *l);
static int listing_fill(logic_db_t *db, uint64_t uid);
static int listing_rooms(logic_db_t *db, logic_listing_t *l);
static int listing_on_room(void *ctx, const im_mysql_value_t *v);
static void listing_room(logic_listing_t *l, const im_mysql_value_t *v);
static int listing_direct(logic_db_t *db, logic_listing_t *l, uint64_t hot,
    uint64_t lag);
static int listing_chunk(logic_db_t *db, listing_walk_t *walk,
    uint64_t below);
static int listing_on_direct(void *ctx, const im_mysql_value_t *v);
static void listing_put_direct(logic_listing_t *l, const im_mysql_value_t *v);
static void listing_row(logic_listed_t *row, const im_mysql_value_t *v);
static void listing_put(logic_listing_t *l, const logic_listed_t *row,
    const im_mysql_value_t *v);
static void listing_end(logic_listing_t *l);


/* t is the last message, f the one that was read last, if there is one of that
 * very number: to look for the next lower one would read all that is unread.
 * Not MAX(seq): a subquery that depends on its outer row would read the whole
 * conversation for it.  A long body is read only if its row is on the page
 * (logic_unread.c). */
#define LISTING_SELECT                                                        \
    "SELECT c.conv_a, c.conv_b, c.last_id, c.read_seq, c.pinned, c.muted, "   \
    "c.hidden_seq, c.own_above, t.run_seq, t.nth, t.nth_a, t.seq, t.msg_id, "
#define LISTING_FULL                                                          \
    "t.sender, t.time_ms, t.cmid, IF(LENGTH(t.body) <= 1024, t.body, NULL), " \
    "f.run_seq, f.nth, f.nth_a, "
#define LISTING_BARE                                                          \
    "0, 0, '', NULL, NULL, NULL, NULL, "
#define LISTING_LAST                                                          \
    "LEFT JOIN messages t ON t.conv_a = c.conv_a AND t.conv_b = c.conv_b "    \
    "AND t.seq = (SELECT x.seq FROM messages x WHERE x.conv_a = c.conv_a "    \
    "AND x.conv_b = c.conv_b ORDER BY x.seq DESC LIMIT 1) "
#define LISTING_READ                                                          \
    "LEFT JOIN messages f ON f.conv_a = c.conv_a AND f.conv_b = c.conv_b "    \
    "AND f.seq = c.read_seq "

/* Places in a row. */
enum {
    LISTING_AT_ID = 2, LISTING_AT_RUN = 8, LISTING_AT_MESSAGE = 11,
    LISTING_AT_BODY = 16, LISTING_AT_READ = 17, LISTING_AT_JOINED = 20,
    LISTING_AT_HOT = 21, LISTING_AT_UID = 22
};

static const im_mysql_type_t  listing_columns[LISTING_COLUMNS + 1] = {
    IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
    IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
    IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
    IM_MYSQL_STR, IM_MYSQL_STR, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
    IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
};


int
logic_listing_begin(logic_db_t *db, logic_listing_t **lists, size_t n)
{
    int            rc, tries;
    size_t         i;
    listing_few_t  few = { .n_users = 0 };

    for (i = 0; i < n; i++) {

        if (lists[i]->before == INT64_MAX) {
            few.users[few.n_users++].list = lists[i];

        } else {
            lists[i]->many = 1;        /* who asks for a second page has many */
        }
    }

    rc = IM_OK;

    for (tries = 0; tries < 2 && few.n_users > 0 && rc == IM_OK; tries++) {
        rc = listing_few(db, &few);
    }

    return rc;
}


int
logic_listing(logic_db_t *db, logic_listing_t *l)
{
    int  rc;

    rc = IM_OK;

    if (!l->whole && !l->many) {
        rc = logic_listing_begin(db, &l, 1);
    }

    if (rc == IM_OK && l->many) {
        logic_listing_free(l);
        rc = listing_many(db, l);
    }

    if (rc == IM_OK) {
        listing_end(l);
    }

    return rc;
}


/* Keeps the users of whom rows may be missing, since others took the room. */
static int
listing_few(logic_db_t *db, listing_few_t *few)
{
    size_t             i, n, left;
    listing_user_t    *u;
    im_mysql_value_t   v[LOGIC_CALLS_MAX + 1];

#define LISTING_FEW_OF(users)                                                 \
    LISTING_SELECT LISTING_FULL "g.joined_ms, c.hot, c.uid "                  \
    "FROM conversations c FORCE INDEX (PRIMARY) "                             \
    "LEFT JOIN members g ON c.conv_a = 0 AND g.room = c.conv_b "              \
    "AND g.uid = c.uid AND g.role > 0 " LISTING_LAST LISTING_READ             \
    "WHERE c.uid " users " LIMIT ?"

    static const char  one[] = LISTING_FEW_OF("= ?");
    static const char  many[] =
        LISTING_FEW_OF("IN (" LOGIC_ASK_4(LOGIC_ASK_4("?", ", "), ", ") ")");

    _Static_assert(LOGIC_CALLS_MAX == 16, "one ? for each");

    n = (few->n_users > 1) ? LOGIC_CALLS_MAX : 1;
    memset(v, 0, sizeof(v));

    for (i = 0; i < n; i++) {          /* filled up with the last one */
        u = &few->users[(i < few->n_users) ? i : few->n_users - 1];
        logic_listing_free(u->list);
        u->n = 0;
        v[i].u64 = u->list->uid;
    }

    few->n = 0;
    v[n].u64 = few->n_users * LISTING_FEW + 1;

    if (logic_db_run(db, (n > 1) ? many : one, v, n + 1, listing_columns,
                     LISTING_COLUMNS + 1, listing_on_few, few)
        != IM_OK)
    {
        return IM_ERROR;
    }

    for (i = 0, left = 0; i < few->n_users; i++) {
        u = &few->users[i];
        u->list->many = u->list->many || u->n > LISTING_FEW;
        u->list->whole = !u->list->many && few->n < v[n].u64;

        if (!u->list->many && !u->list->whole) {
            few->users[left++] = *u;
        }
    }

    few->n_users = left;

    return IM_OK;
}


static int
listing_on_few(void *ctx, const im_mysql_value_t *v)
{
    size_t          i;
    listing_few_t  *few = ctx;

    few->n++;

    for (i = 0; i < few->n_users; i++) {
        if (few->users[i].list->uid == v[LISTING_AT_UID].u64) {
            listing_put_few(&few->users[i], v);
        }
    }

    return IM_OK;
}


static void
listing_put_few(listing_user_t *u, const im_mysql_value_t *v)
{
    if (++u->n > LISTING_FEW) {
        return;
    }

    if (v[0].u64 == 0) {

        if (!v[LISTING_AT_JOINED].null) {
            listing_room(u->list, v);
        }

    } else if (v[LISTING_AT_ID].u64 > 1) {
        listing_put_direct(u->list, v);

    } else if (v[LISTING_AT_ID].u64 == 0 && v[LISTING_AT_HOT].u64 == 0) {
        u->list->many = 1;             /* see listing_fill() */
    }
}


static int
listing_many(logic_db_t *db, logic_listing_t *l)
{
    int  rc;

    rc = listing_fill(db, l->uid);

    if (rc == IM_OK) {
        rc = listing_rooms(db, l);
    }

    if (rc == IM_OK) {
        rc = listing_direct(db, l, 0, 0);
    }

    if (rc == IM_OK) {
        rc = listing_direct(db, l, 1, LISTING_LAG);
    }

    return rc;
}


static int
listing_fill(logic_db_t *db, uint64_t uid)
{
    uint64_t          other, until_us;
    im_mysql_value_t  v[2];

    static const char  look[] =
        "SELECT conv_b FROM conversations FORCE INDEX (by_last) "
        "WHERE uid = ? AND hot = 0 AND last_id = 0 AND conv_a > 0 LIMIT 1";
    static const char  fill[] =
        "UPDATE conversations c FORCE INDEX (by_last) SET c.last_id = "
        "COALESCE((SELECT m.msg_id FROM messages m WHERE m.conv_a = c.conv_a "
        "AND m.conv_b = c.conv_b ORDER BY m.seq DESC LIMIT 1), 1) "
        "WHERE c.uid = ? AND c.hot = 0 AND c.last_id = 0 AND c.conv_a > 0 "
        "LIMIT ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = LISTING_FILL;
    until_us = im_mono_us() + IM_SYNC_WAIT_MS * 1000;

    for ( ;; ) {

        if (logic_db_number(db, look, v, 1, &other) != IM_OK) {
            return IM_ERROR;
        }

        if (other == 0) {
            return IM_OK;
        }

        if (im_mono_us() >= until_us) {
            return IM_AGAIN;
        }

        if (logic_db_run(db, fill, v, 2, NULL, 0, NULL, NULL) != IM_OK) {
            return IM_ERROR;
        }
    }
}


/* A room is shown to its members, whatever row there may be. */
static int
listing_rooms(logic_db_t *db, logic_listing_t *l)
{
    im_mysql_value_t  v[1];

    static const char  sql[] =
        LISTING_SELECT LISTING_BARE "g.joined_ms, 0 FROM conversations c "
        "JOIN members g ON g.room = c.conv_b AND g.uid = c.uid "
        "AND g.role > 0 " LISTING_LAST
        "WHERE c.uid = ? AND c.conv_a = 0";

    memset(v, 0, sizeof(v));
    v[0].u64 = l->uid;

    return logic_db_run(db, sql, v, 1, listing_columns, LISTING_COLUMNS,
                          listing_on_room, l);
}


static int
listing_on_room(void *ctx, const im_mysql_value_t *v)
{
    listing_room(ctx, v);

    return IM_OK;
}


static void
listing_room(logic_listing_t *l, const im_mysql_value_t *v)
{
    uint64_t        ms;
    logic_listed_t  row;

    listing_row(&row, v);

    if (row.seq == 0) {
        ms = (v[LISTING_AT_JOINED].u64 > IM_SNOWFLAKE_EPOCH_MS)
             ? v[LISTING_AT_JOINED].u64 - IM_SNOWFLAKE_EPOCH_MS : 0;
        row.id = (ms << LISTING_ID_SHIFT)
                 | (row.conv.b & ((1u << LISTING_ID_SHIFT) - 1));
    }

    listing_put(l, &row, v);
}


/* Rows that are hot, or are not; whose keys may be behind by lag. */
static int
listing_direct(logic_db_t *db, logic_listing_t *l, uint64_t hot, uint64_t lag)
{
    size_t          scanned;
    uint64_t        below, bound;
    listing_walk_t  walk = {
        .list = l, .limit = l->limit + 1 + LISTING_CHUNK, .hot = hot
    };

    below = l->before;
    scanned = 0;

    for ( ;; ) {
        if (listing_chunk(db, &walk, below) != IM_OK) {
            return IM_ERROR;
        }

        if (walk.n < walk.limit) {
            return IM_OK;              /* those were all */
        }

        below = walk.last;
        bound = walk.last + lag;

        if (l->n > l->limit && l->rows[l->limit].id >= bound) {
            return IM_OK;
        }

        scanned += walk.n;

        /* below bound there may be others; above it the page goes on */

        if (scanned >= LISTING_SCAN_MAX && bound < walk.first) {
            l->cut = (l->cut < bound) ? bound : l->cut;
            return IM_OK;
        }
    }
}


static int
listing_chunk(logic_db_t *db, listing_walk_t *walk, uint64_t below)
{
    im_mysql_value_t  v[4];

    static const char  sql[] =
        LISTING_SELECT LISTING_FULL "0, c.hot "
        "FROM conversations c FORCE INDEX (by_last) " LISTING_LAST LISTING_READ
        "WHERE c.uid = ? AND c.hot = ? AND c.last_id > 1 AND c.last_id < ? "
        "AND c.conv_a > 0 ORDER BY c.last_id DESC LIMIT ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = walk->list->uid;
    v[1].u64 = walk->hot;
    v[2].u64 = below;
    v[3].u64 = walk->limit;
    walk->n = 0;

    return logic_db_run(db, sql, v, 4, listing_columns, LISTING_COLUMNS,
                          listing_on_direct, walk);
}


static int
listing_on_direct(void *ctx, const im_mysql_value_t *v)
{
    listing_walk_t  *walk = ctx;

    walk->last = v[LISTING_AT_ID].u64;
    walk->n++;

    if (walk->first == 0) {
        walk->first = walk->last;
    }

    listing_put_direct(walk->list, v);

    return IM_OK;
}


static void
listing_put_direct(logic_listing_t *l, const im_mysql_value_t *v)
{
    logic_listed_t  row;

    listing_row(&row, v);

    if (row.seq == 0) {
        return;
    }

    /* clocks differ: the last one may not have the highest id */

    if (row.id < v[LISTING_AT_ID].u64 || v[LISTING_AT_HOT].u64 == 0) {
        row.id = v[LISTING_AT_ID].u64;
    }

    listing_put(l, &row, v);
}


static void
listing_row(logic_listed_t *row, const im_mysql_value_t *v)
{
    memset(row, 0, sizeof(logic_listed_t));

    row->conv.a = v[0].u64;
    row->conv.b = v[1].u64;
    row->read_seq = v[3].u64;
    row->pinned = (v[4].u64 != 0);
    row->muted = (v[5].u64 != 0);
    row->hidden_seq = v[6].u64;
    row->own_known = !v[7].null;
    row->own_above = v[7].u64;

    if (v[LISTING_AT_MESSAGE].null) {
        return;
    }

    row->seq = v[LISTING_AT_MESSAGE].u64;
    row->msg_id = v[LISTING_AT_MESSAGE + 1].u64;
    row->id = row->msg_id;
    row->run_seq = v[LISTING_AT_RUN].u64;
    row->nth = v[LISTING_AT_RUN + 1].u64;
    row->nth_a = v[LISTING_AT_RUN + 2].u64;

    if (!v[LISTING_AT_READ].null) {
        row->read_known = 1;
        row->read_run_seq = v[LISTING_AT_READ].u64;
        row->read_nth = v[LISTING_AT_READ + 1].u64;
        row->read_nth_a = v[LISTING_AT_READ + 2].u64;
    }
}


/* Keeps the highest: one more than the page has. */
static void
listing_put(logic_listing_t *l, const logic_listed_t *row,
    const im_mysql_value_t *v)
{
    size_t  i;

    if (row->id >= l->before
        || (row->seq != 0 && row->hidden_seq >= row->seq && !l->hidden)
        || (l->n > l->limit && row->id <= l->rows[l->limit].id))
    {
        return;
    }

    if (l->n <= l->limit) {
        l->n++;

    } else {
        free(l->rows[l->limit].last);
    }

    for (i = l->n - 1; i > 0 && l->rows[i - 1].id < row->id; i--) {
        l->rows[i] = l->rows[i - 1];
    }

    l->rows[i] = *row;

    /* NULL, too, if memory is out: then it is read once more */

    if (row->seq != 0 && !v[LISTING_AT_BODY].null) {
        l->rows[i].last = logic_page_message(&row->conv,
                                             &v[LISTING_AT_MESSAGE]);
    }
}


static void
listing_end(logic_listing_t *l)
{
    while (l->n > 0 && l->rows[l->n - 1].id < l->cut) {
        l->n--;
        free(l->rows[l->n].last);
    }

    if (l->n > l->limit) {
        l->n = l->limit;
        free(l->rows[l->n].last);
        l->more = 1;
        l->next = l->rows[l->n - 1].id;

    } else if (l->cut != 0) {
        l->more = 1;
        l->next = l->cut;
    }
}


void
logic_listing_free(logic_listing_t *l)
{
    while (l->n > 0) {
        l->n--;
        free(l->rows[l->n].last);
    }
}
