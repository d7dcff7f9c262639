/*
 * logic_unread.c -- see logic_unread.h.
 *
 *   seq    4    9   12   13   20   21        run_seq 9, read up to 14:
 *   nth    -    1    2    3    4    5        5 - 3 = 2, less one's own
 *                       |read     |last
 *
 * A message in a run knows its place, and how many up to there are of the lower
 * one of two users; so what is unread is a difference, whatever numbers are
 * missing.  Rows that are in no run, of an earlier version, or below the run
 * of the last message, are counted one by one.
 *
 * In a group one's own messages are not told apart by that.  Those above the
 * read mark are counted in the member's row: by the store when it adds some,
 * here when the mark moves.  Both lock the row first, so each message counts
 * once.  To move a mark, the smaller part is looked at: what has become read,
 * or what is left; mostly nothing is left.
 *
 * Functions of a pool's thread.
 */

#include <string.h>

#include "logic_page.h"
#include "logic_unread.h"


#define UNREAD_COLUMNS  9
#define UNREAD_TRIES    3


/* Of a page's row: the last message, and the one that was read last. */
typedef struct {
    const im_conv_t  *conv;
    Im__Message      *last;
    int               memory;          /* is out */
    uint64_t          run_seq;
    uint64_t          nth;
    uint64_t          nth_a;
} unread_read_t;

/* A member's row, locked. */
typedef struct {
    int               found;
    uint64_t          read_seq;
    int               own_known;
    uint64_t          own_above;
} unread_mark_t;


static int unread_places(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, const unread_read_t *read, uint64_t *unread);
static int unread_less_own(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, uint64_t *unread);
static int unread_rows(logic_db_t *db, const logic_listed_t *row,
    unread_read_t *read);
static int unread_on_row(void *ctx, const im_mysql_value_t *v);
static uint64_t unread_of(const im_conv_t *conv, uint64_t uid, uint64_t nth,
    uint64_t nth_a);
static int unread_count(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, uint64_t end, uint64_t *n);
static int unread_own(logic_db_t *db, uint64_t uid, uint64_t room,
    uint64_t above, uint64_t end, uint64_t *n);
static int unread_step(logic_db_t *db, uint64_t uid, uint64_t room,
    uint64_t seq);
static int unread_on_mark(void *ctx, const im_mysql_value_t *v);
static int unread_left(logic_db_t *db, uint64_t uid, uint64_t room,
    const unread_mark_t *mark, uint64_t seq, uint64_t *own);


int
logic_unread(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    Im__Message **last, uint64_t *unread)
{
    int            rc;
    unread_read_t  read = { .conv = &row->conv };

    *unread = 0;

    rc = unread_rows(db, row, &read);
    *last = read.last;

    if (rc != IM_OK || row->seq <= row->read_seq || row->conv.a == row->conv.b)
    {
        return rc;
    }

    if (row->run_seq == 0
        || (row->read_seq >= row->run_seq && read.run_seq != row->run_seq))
    {
        return unread_count(db, uid, row, row->seq + 1, unread);
    }

    rc = unread_places(db, uid, row, &read, unread);

    return (rc == IM_OK && row->conv.a == 0)
           ? unread_less_own(db, uid, row, unread) : rc;
}


/* Of others; in a group, of all. */
static int
unread_places(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    const unread_read_t *read, uint64_t *unread)
{
    uint64_t  n, all;

    n = 0;

    if (row->read_seq >= row->run_seq) {
        n = unread_of(&row->conv, uid, read->nth, read->nth_a);

    } else if (row->read_seq + 1 < row->run_seq
               && unread_count(db, row->conv.a == 0 ? 0 : uid, row,
                               row->run_seq, unread)
                  != IM_OK)
    {
        return IM_ERROR;
    }

    /* a message that was late may have come in between */

    all = unread_of(&row->conv, uid, row->nth, row->nth_a);
    *unread += (all > n) ? all - n : 0;

    return IM_OK;
}


static int
unread_less_own(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    uint64_t *unread)
{
    uint64_t  own;

    own = row->own_above;

    if (!row->own_known
        && unread_own(db, uid, row->conv.b, row->read_seq, row->seq, &own)
           != IM_OK)
    {
        return IM_ERROR;
    }

    *unread = (*unread > own) ? *unread - own : 0;

    return IM_OK;
}


static int
unread_rows(logic_db_t *db, const logic_listed_t *row, unread_read_t *read)
{
    im_mysql_value_t  v[6];

    static const char             sql[] =
        "SELECT m.seq, m.msg_id, m.sender, m.time_ms, m.cmid, m.body, "
        "f.run_seq, f.nth, f.nth_a FROM messages m "
        "LEFT JOIN messages f ON f.conv_a = m.conv_a AND f.conv_b = m.conv_b "
        "AND f.seq = (SELECT x.seq FROM messages x WHERE x.conv_a = ? "
        "AND x.conv_b = ? AND x.seq <= ? ORDER BY x.seq DESC LIMIT 1) "
        "WHERE m.conv_a = ? AND m.conv_b = ? AND m.seq = ?";
    static const im_mysql_type_t  columns[UNREAD_COLUMNS] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR,
        IM_MYSQL_STR, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = row->conv.a;
    v[1].u64 = row->conv.b;
    v[2].u64 = row->read_seq;
    v[3].u64 = row->conv.a;
    v[4].u64 = row->conv.b;
    v[5].u64 = row->seq;

    if (logic_page_run(db, sql, v, 6, columns, UNREAD_COLUMNS, unread_on_row,
                       read)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return read->memory ? IM_DECLINED : IM_OK;
}


static int
unread_on_row(void *ctx, const im_mysql_value_t *v)
{
    unread_read_t  *read = ctx;

    read->last = logic_page_message(read->conv, v);
    read->memory = (read->last == NULL);

    if (!v[6].null) {
        read->run_seq = v[6].u64;
        read->nth = v[7].u64;
        read->nth_a = v[8].u64;
    }

    return IM_DONE;
}


/* Messages up to a place that are of others; in a group, of all. */
static uint64_t
unread_of(const im_conv_t *conv, uint64_t uid, uint64_t nth, uint64_t nth_a)
{
    if (conv->a == 0) {
        return nth;
    }

    return (conv->a == uid) ? nth - nth_a : nth_a;
}


/* Above the read mark and below end, not of uid (0: nobody). */
static int
unread_count(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    uint64_t end, uint64_t *n)
{
    im_mysql_value_t  v[5];

    static const char  sql[] =
        "SELECT COUNT(*) FROM messages WHERE conv_a = ? AND conv_b = ? "
        "AND seq > ? AND seq < ? AND sender <> ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = row->conv.a;
    v[1].u64 = row->conv.b;
    v[2].u64 = row->read_seq;
    v[3].u64 = end;
    v[4].u64 = uid;

    return logic_page_number(db, sql, v, 5, n);
}


static int
unread_own(logic_db_t *db, uint64_t uid, uint64_t room, uint64_t above,
    uint64_t end, uint64_t *n)
{
    im_mysql_value_t  v[4];

    static const char  sql[] =
        "SELECT COUNT(*) FROM messages WHERE conv_a = 0 AND conv_b = ? "
        "AND seq > ? AND seq <= ? AND sender = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = room;
    v[1].u64 = above;
    v[2].u64 = end;
    v[3].u64 = uid;

    return logic_page_number(db, sql, v, 4, n);
}


int
logic_unread_read_room(logic_db_t *db, uint64_t uid, uint64_t room,
    uint64_t seq)
{
    int  rc, tries;

    rc = IM_AGAIN;

    for (tries = 0; tries < UNREAD_TRIES && rc == IM_AGAIN; tries++) {
        rc = im_mysql_begin(db->mysql);

        if (rc == IM_OK) {
            rc = unread_step(db, uid, room, seq);
        }

        if (rc == IM_OK) {
            rc = im_mysql_commit(db->mysql);   /* may be repeated */

        } else {
            im_mysql_rollback(db->mysql);
        }
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


/* The lock comes before the first plain read, which sees all before it. */
static int
unread_step(logic_db_t *db, uint64_t uid, uint64_t room, uint64_t seq)
{
    int               rc;
    uint64_t          own;
    unread_mark_t     mark = { .found = 0 };
    im_mysql_value_t  v[4];

    static const char             lock[] =
        "SELECT read_seq, own_above FROM conversations "
        "WHERE uid = ? AND conv_a = 0 AND conv_b = ? FOR UPDATE";
    static const char             move[] =
        "UPDATE conversations SET read_seq = ?, own_above = ? "
        "WHERE uid = ? AND conv_a = 0 AND conv_b = ?";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = room;

    rc = im_mysql_run(db->mysql, lock, v, 2, columns, 2, unread_on_mark, &mark,
                      NULL, NULL);

    if (rc != IM_OK || !mark.found || seq <= mark.read_seq) {
        return rc;
    }

    rc = unread_left(db, uid, room, &mark, seq, &own);

    if (rc != IM_OK) {
        return rc;
    }

    v[0].u64 = seq;
    v[1].u64 = own;
    v[2].u64 = uid;
    v[3].u64 = room;

    return im_mysql_run(db->mysql, move, v, 4, NULL, 0, NULL, NULL, NULL,
                        NULL);
}


static int
unread_on_mark(void *ctx, const im_mysql_value_t *v)
{
    unread_mark_t  *mark = ctx;

    mark->found = 1;
    mark->read_seq = v[0].u64;
    mark->own_known = !v[1].null;
    mark->own_above = v[1].u64;

    return IM_DONE;
}


/* One's own messages above seq. */
static int
unread_left(logic_db_t *db, uint64_t uid, uint64_t room,
    const unread_mark_t *mark, uint64_t seq, uint64_t *own)
{
    int       rc;
    uint64_t  head, passed;

    *own = 0;

    rc = logic_page_head(db, 0, room, &head);

    if (rc != IM_OK || seq >= head) {
        return rc;
    }

    if (!mark->own_known || head - seq <= seq - mark->read_seq) {
        return unread_own(db, uid, room, seq, head, own);
    }

    rc = unread_own(db, uid, room, mark->read_seq, seq, &passed);
    *own = (mark->own_above > passed) ? mark->own_above - passed : 0;

    return rc;
}
