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
 * of the last message, are counted one by one, upwards from the read mark.  A
 * request looks at LOGIC_UNREAD_ROWS_MAX of them, and then at UNREAD_ROWS_MIN
 * for each further conversation; what is above is left out, and `unread` is too
 * low.
 *
 * In a group one's own messages are not told apart by places.  Those above the
 * read mark are counted in the member's row (own_above): by the store when it
 * adds some, here when the mark moves.  Both lock the row first, so each
 * message counts once.  To move a mark, the smaller part is looked at: what has
 * become read, or what is left; mostly nothing is left.
 *
 * Where own_above is not known (NULL: the row is of an earlier version), a list
 * counts it and writes it, if that takes no more rows than a request may look
 * at.  If it takes more, only UNREAD_ROWS_MIN are counted: the others are for
 * groups where it can be finished.  `read` may look at UNREAD_READ_MAX; if that
 * is not enough, it writes NULL, and a later list or `read` finds less to
 * count.
 *
 * Functions of a pool's thread.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_db.h"
#include "logic_page.h"
#include "logic_unread.h"


#define UNREAD_COLUMNS   9
#define UNREAD_ROWS_MIN  500
#define UNREAD_READ_MAX  200000


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

/* Rows above `above` and below `end`, limit of them at most. */
typedef struct {
    uint64_t          above;
    uint64_t          end;
    uint64_t          limit;
    uint64_t          n;               /* found */
    uint64_t          own;             /* of these, of one's own */
    uint64_t          own_listed;      /* of these, up to `listed` */
    uint64_t          listed;
} unread_count_t;

/* What a transaction of a member's row is about. */
typedef struct {
    uint64_t          uid;
    uint64_t          room;
    uint64_t          seq;             /* to move the mark to */
    unread_count_t   *count;           /* to be mended */
} unread_move_t;


static int unread_lacks_place(const logic_listed_t *row);
static int unread_places(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, const unread_read_t *read, uint64_t *rows,
    uint64_t *unread);
static int unread_less_own(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, uint64_t *rows, uint64_t *unread);
static int unread_mend_step(logic_db_t *db, void *ctx);
static int unread_rows(logic_db_t *db, const logic_listed_t *row,
    unread_read_t *read);
static int unread_on_row(void *ctx, const im_mysql_value_t *v);
static uint64_t unread_of(const im_conv_t *conv, uint64_t uid, uint64_t nth,
    uint64_t nth_a);
static int unread_others(logic_db_t *db, uint64_t uid,
    const logic_listed_t *row, uint64_t end, uint64_t *rows, uint64_t *n);
static uint64_t unread_limit(uint64_t rows);
static void unread_spend(uint64_t *rows, uint64_t n);
static int unread_count(logic_db_t *db, uint64_t uid, const im_conv_t *conv,
    unread_count_t *count);
static int unread_on_count(void *ctx, const im_mysql_value_t *v);
static int unread_lock(logic_db_t *db, uint64_t uid, uint64_t room,
    unread_mark_t *mark);
static int unread_write(logic_db_t *db, uint64_t uid, uint64_t room,
    const unread_mark_t *mark);
static int unread_step(logic_db_t *db, void *ctx);
static int unread_on_mark(void *ctx, const im_mysql_value_t *v);
static int unread_left(logic_db_t *db, uint64_t uid, uint64_t room,
    unread_mark_t *mark, uint64_t seq);


int
logic_unread(logic_db_t *db, uint64_t uid, logic_listed_t *row,
    uint64_t *rows, Im__Message **last, uint64_t *unread)
{
    int            rc;
    unread_read_t  read = {
        .conv = &row->conv, .last = row->last, .run_seq = row->read_run_seq,
        .nth = row->read_nth, .nth_a = row->read_nth_a
    };

    *unread = 0;
    rc = IM_OK;

    if (row->last == NULL || unread_lacks_place(row)) {
        free(row->last);
        read = (unread_read_t) { .conv = &row->conv };
        rc = unread_rows(db, row, &read);
    }

    row->last = NULL;
    *last = read.last;

    if (rc != IM_OK || row->seq <= row->read_seq || row->conv.a == row->conv.b)
    {
        return rc;
    }

    if (row->run_seq == 0
        || (row->read_seq >= row->run_seq && read.run_seq != row->run_seq))
    {
        return unread_others(db, uid, row, row->seq + 1, rows, unread);
    }

    rc = unread_places(db, uid, row, &read, rows, unread);

    return (rc == IM_OK && row->conv.a == 0)
           ? unread_less_own(db, uid, row, rows, unread) : rc;
}


/* No message has the number of the read mark; the one below it is needed. */
static int
unread_lacks_place(const logic_listed_t *row)
{
    return !row->read_known && row->run_seq != 0
           && row->read_seq >= row->run_seq && row->read_seq < row->seq;
}


/* Of others; in a group, of all. */
static int
unread_places(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    const unread_read_t *read, uint64_t *rows, uint64_t *unread)
{
    uint64_t  n, all;

    n = 0;

    if (row->read_seq >= row->run_seq) {
        n = unread_of(&row->conv, uid, read->nth, read->nth_a);

    } else if (row->read_seq + 1 < row->run_seq
               && unread_others(db, row->conv.a == 0 ? 0 : uid, row,
                                row->run_seq, rows, unread)
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
    uint64_t *rows, uint64_t *unread)
{
    uint64_t        own, others;
    unread_count_t  count = {
        .above = row->read_seq, .end = INT64_MAX, .listed = row->seq
    };
    unread_move_t   move = {
        .uid = uid, .room = row->conv.b, .count = &count
    };

    own = row->own_above;

    if (!row->own_known) {
        count.limit = unread_limit(*rows);

        if (*unread >= count.limit) {
            count.limit = UNREAD_ROWS_MIN;
        }

        if (logic_db_transact(db, unread_mend_step, &move) != IM_OK) {
            return IM_ERROR;
        }

        own = count.own_listed;
        others = count.n - count.own;

        if (count.n == count.limit && others < *unread) {
            *unread = others;          /* those are certain */
            return IM_OK;
        }

        unread_spend(rows, count.n);
    }

    *unread = (*unread > own) ? *unread - own : 0;

    return IM_OK;
}


/* Counts one's own messages above the read mark, for the member's row, too.
 * The lock comes before the first plain read, which sees all before it. */
static int
unread_mend_step(logic_db_t *db, void *ctx)
{
    int              rc;
    unread_move_t   *move = ctx;
    unread_count_t  *count = move->count;
    im_conv_t        conv = { 0, move->room };
    unread_mark_t    mark = { .found = 0 };

    rc = unread_lock(db, move->uid, move->room, &mark);

    if (rc == IM_OK) {
        rc = unread_count(db, move->uid, &conv, count);
    }

    if (rc != IM_OK || !mark.found || mark.own_known
        || mark.read_seq != count->above || count->n == count->limit)
    {
        return rc;
    }

    mark.own_known = 1;
    mark.own_above = count->own;

    return unread_write(db, move->uid, move->room, &mark);
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

    if (logic_db_run(db, sql, v, 6, columns, UNREAD_COLUMNS, unread_on_row,
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
unread_others(logic_db_t *db, uint64_t uid, const logic_listed_t *row,
    uint64_t end, uint64_t *rows, uint64_t *n)
{
    int             rc;
    unread_count_t  count = {
        .above = row->read_seq, .end = end, .limit = unread_limit(*rows)
    };

    rc = unread_count(db, uid, &row->conv, &count);

    if (rc == IM_AGAIN) {
        rc = unread_count(db, uid, &row->conv, &count);
    }

    if (rc != IM_OK) {
        return IM_ERROR;
    }

    unread_spend(rows, count.n);
    *n = count.n - count.own;

    return IM_OK;
}


static uint64_t
unread_limit(uint64_t rows)
{
    return (rows > UNREAD_ROWS_MIN) ? rows : UNREAD_ROWS_MIN;
}


static void
unread_spend(uint64_t *rows, uint64_t n)
{
    *rows = (*rows > n) ? *rows - n : 0;
}


/* In a transaction or not. */
static int
unread_count(logic_db_t *db, uint64_t uid, const im_conv_t *conv,
    unread_count_t *count)
{
    im_mysql_value_t  v[8];

    static const char             sql[] =
        "SELECT COUNT(*), COUNT(CASE WHEN t.sender = ? THEN 1 END), "
        "COUNT(CASE WHEN t.sender = ? AND t.seq <= ? THEN 1 END) "
        "FROM (SELECT seq, sender FROM messages WHERE conv_a = ? "
        "AND conv_b = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?) t";
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = uid;
    v[2].u64 = count->listed;
    v[3].u64 = conv->a;
    v[4].u64 = conv->b;
    v[5].u64 = count->above;
    v[6].u64 = count->end;
    v[7].u64 = count->limit;

    return im_mysql_run(db->mysql, sql, v, 8, columns, 3, unread_on_count,
                        count, NULL, NULL);
}


static int
unread_on_count(void *ctx, const im_mysql_value_t *v)
{
    unread_count_t  *count = ctx;

    count->n = v[0].u64;
    count->own = v[1].u64;
    count->own_listed = v[2].u64;

    return IM_OK;
}


int
logic_unread_read_room(logic_db_t *db, uint64_t uid, uint64_t room,
    uint64_t seq)
{
    unread_move_t  move = { .uid = uid, .room = room, .seq = seq };

    return logic_db_transact(db, unread_step, &move);
}


/* Locks first, as above. */
static int
unread_step(logic_db_t *db, void *ctx)
{
    int             rc;
    unread_mark_t   mark = { .found = 0 };
    unread_move_t  *move = ctx;

    rc = unread_lock(db, move->uid, move->room, &mark);

    if (rc != IM_OK || !mark.found || move->seq <= mark.read_seq) {
        return rc;
    }

    rc = unread_left(db, move->uid, move->room, &mark, move->seq);

    return (rc == IM_OK) ? unread_write(db, move->uid, move->room, &mark) : rc;
}


static int
unread_lock(logic_db_t *db, uint64_t uid, uint64_t room, unread_mark_t *mark)
{
    im_mysql_value_t  v[2];

    static const char             sql[] =
        "SELECT read_seq, own_above FROM conversations "
        "WHERE uid = ? AND conv_a = 0 AND conv_b = ? FOR UPDATE";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;
    v[1].u64 = room;

    return im_mysql_run(db->mysql, sql, v, 2, columns, 2, unread_on_mark,
                        mark, NULL, NULL);
}


static int
unread_write(logic_db_t *db, uint64_t uid, uint64_t room,
    const unread_mark_t *mark)
{
    im_mysql_value_t  v[4];

    static const char  sql[] =
        "UPDATE conversations SET read_seq = ?, own_above = ? "
        "WHERE uid = ? AND conv_a = 0 AND conv_b = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = mark->read_seq;
    v[1].u64 = mark->own_above;
    v[1].null = !mark->own_known;
    v[2].u64 = uid;
    v[3].u64 = room;

    return im_mysql_run(db->mysql, sql, v, 4, NULL, 0, NULL, NULL, NULL,
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


/* Moves the mark to seq: how many of one's own messages are above it? */
static int
unread_left(logic_db_t *db, uint64_t uid, uint64_t room, unread_mark_t *mark,
    uint64_t seq)
{
    int             rc, passed;
    uint64_t        head;
    im_conv_t       conv = { 0, room };
    unread_count_t  count = { .limit = UNREAD_READ_MAX };

    if (mark->own_known && mark->own_above == 0) {
        mark->read_seq = seq;          /* none is above a higher one */
        return IM_OK;
    }

    rc = logic_db_head(db, 0, room, &head);

    if (rc != IM_OK) {
        return rc;
    }

    passed = (mark->own_known && head > seq
              && head - seq > seq - mark->read_seq);
    count.above = passed ? mark->read_seq : seq;
    count.end = passed ? seq + 1 : INT64_MAX;
    mark->read_seq = seq;

    rc = unread_count(db, uid, &conv, &count);

    mark->own_known = (count.n < count.limit);
    mark->own_above = !passed ? count.own
                      : (mark->own_above > count.own)
                        ? mark->own_above - count.own : 0;

    return rc;
}
