/*
 * task_tails.c -- see task_tails.h.
 *
 * Unread messages are the difference of two places, that of the last message
 * and that of the last one that was read: exact whatever numbers are missing
 * in between, and found by two steps in the primary key at any size.  So each
 * row of `messages` has a place: the nth one of its run, and how many up to it
 * are of conv_a.  A run begins where the row below has no place (a message of
 * an earlier version, or the first one of all), and is named by the number of
 * its first row; below it readers count rows.
 *
 * Rejected: a counter for each user of a conversation, which is two more rows
 * to write for each message; and for groups as many as there are members.
 *
 * The place of a new row follows from the tail, which is remembered.  What is
 * remembered is true as long as nobody else stores messages of that partition:
 * only a gap or a step back in the offsets can come after that
 * (task_tails_follow).  A member that was frozen, and has lost its partitions
 * without knowing it, stores nothing new: all that it has in hand comes before
 * what the next member begins with, so its INSERT meets rows that are there, is
 * rolled back, and done again from what is stored (task_store.c).
 *
 * Order of a user's list: last_id in `conversations` is a key of an index, and
 * moving the two of them costs four times as much as the message's row.  Where
 * people talk it would be moved all the time, and stay on top.  So the second
 * message within TASK_TAILS_LAG_MS makes the rows `hot`, and for so long they
 * are not moved again: a list looks at the last messages of hot ones, whose
 * keys may be behind by that much (logic_listing.c).  The others are exact:
 * their next message moves them.
 *
 * The memory: a table of sets with two places each.  The last one used is in
 * front, a new one pushes out the one behind.  Keys are whole, because a wrong
 * tail would make a wrong count.
 */

#include <stdlib.h>
#include <string.h>

#include "task_tails.h"


#define TAILS_SETS        131072       /* two each; 15 MB.  A power of two */
#define TAILS_PARTITIONS  1024
#define TAILS_FEW         8
#define TAILS_MANY        128
#define TAILS_COLUMNS     6
#define TAILS_ID_SHIFT    22           /* im_snowflake.h: ms in an id */


typedef struct {
    task_turn_t  **turns;              /* ascending */
    size_t         n;
} tails_ask_t;


static size_t tails_collect(const task_row_t *rows, size_t n);
static int tails_load(im_mysql_t *mysql, size_t n);
static int tails_ask(im_mysql_t *mysql, task_turn_t **asked, size_t n);
static int tails_on_row(void *ctx, const im_mysql_value_t *v);
static void tails_place(task_row_t *row, task_turn_t *turn);
static int tails_of(const task_tail_t *t, const im_record_t *m);
static int tails_compare(const void *a, const void *b);
static task_tail_t *tails_set(uint64_t conv_a, uint64_t conv_b);


static task_tail_t  *tails;            /* the sets */
static task_turn_t  *tails_turns;      /* of one batch */
static int64_t       tails_next[TAILS_PARTITIONS];   /* offsets */


int
task_tails_start(size_t max)
{
    tails = calloc(TAILS_SETS * 2, sizeof(task_tail_t));
    tails_turns = calloc(max, sizeof(task_turn_t));

    return (tails != NULL && tails_turns != NULL) ? IM_OK : IM_ERROR;
}


void
task_tails_follow(const im_kafka_record_t *kafka, size_t n)
{
    int     p;
    size_t  i;

    for (i = 0; i < n; i++) {
        p = kafka[i].partition;

        if (p < 0 || p >= TAILS_PARTITIONS) {
            task_tails_forget();
            continue;
        }

        if (tails_next[p] != kafka[i].offset) {
            task_tails_forget();
        }

        tails_next[p] = kafka[i].offset + 1;
    }
}


void
task_tails_forget(void)
{
    memset(tails, 0, TAILS_SETS * 2 * sizeof(task_tail_t));
}


int
task_tails_number(im_mysql_t *mysql, task_row_t *rows, size_t n,
    task_turn_t **turns, size_t *n_turns)
{
    int           rc;
    size_t        i, k, count;
    task_turn_t  *t;

    count = tails_collect(rows, n);

    rc = tails_load(mysql, count);
    if (rc != IM_OK) {
        return rc;
    }

    t = tails_turns;

    for (i = 0; i < n; i++) {

        if (rows[i].done) {
            continue;
        }

        while (!tails_of(&t->tail, &rows[i].message)) {
            t++;
        }

        tails_place(&rows[i], t);
    }

    for (i = 0, k = 0; i < count; i++) {
        if (tails_turns[i].last_id != 0) {
            tails_turns[k++] = tails_turns[i];
        }
    }

    *turns = tails_turns;
    *n_turns = k;

    return IM_OK;
}


/* The conversations of rows that are not done, in their order. */
static size_t
tails_collect(const task_row_t *rows, size_t n)
{
    size_t              i, count;
    task_turn_t        *t;
    const im_record_t  *m;
    const task_tail_t  *known;

    count = 0;

    for (i = 0; i < n; i++) {
        m = &rows[i].message;

        if (rows[i].done
            || (count > 0 && tails_of(&tails_turns[count - 1].tail, m)))
        {
            continue;
        }

        t = &tails_turns[count++];
        memset(t, 0, sizeof(task_turn_t));

        known = task_tails_find(m->conv_a, m->conv_b);

        if (known != NULL) {
            t->tail = *known;
            t->known = 1;

        } else {
            t->tail.conv_a = m->conv_a;
            t->tail.conv_b = m->conv_b;
        }
    }

    return count;
}


static int
tails_load(im_mysql_t *mysql, size_t n)
{
    int           rc;
    size_t        i, asked;
    task_turn_t  *ask[TAILS_MANY];

    asked = 0;

    for (i = 0; i < n; i++) {

        if (!tails_turns[i].known) {
            ask[asked++] = &tails_turns[i];
        }

        if (asked == TAILS_MANY || (i + 1 == n && asked > 0)) {
            rc = tails_ask(mysql, ask, asked);

            if (rc != IM_OK) {
                return rc;
            }

            asked = 0;
        }
    }

    return IM_OK;
}


/* The parameters have no type of their own, and a text would not be looked up
 * in the index.  What fills a statement up is (0, 0), which has no rows. */
#define TAILS_CONV                                                            \
    "SELECT CAST(? AS UNSIGNED) AS a, CAST(? AS UNSIGNED) AS b"
#define TAILS_SELECT(convs)                                                   \
    "SELECT m.conv_a, m.conv_b, m.seq, m.run_seq, m.nth, m.nth_a "            \
    "FROM (" convs ") k JOIN messages m ON m.conv_a = k.a "                   \
    "AND m.conv_b = k.b AND m.seq = (SELECT x.seq FROM messages x "           \
    "WHERE x.conv_a = k.a AND x.conv_b = k.b ORDER BY x.seq DESC LIMIT 1)"

#define TAILS_4(x)   x " UNION ALL " x " UNION ALL " x " UNION ALL " x
#define TAILS_8      TAILS_4(TAILS_CONV) " UNION ALL " TAILS_4(TAILS_CONV)
#define TAILS_32     TAILS_4(TAILS_8)
#define TAILS_128    TAILS_4(TAILS_32)

static int
tails_ask(im_mysql_t *mysql, task_turn_t **asked, size_t n)
{
    int               rc, few;
    size_t            i;
    tails_ask_t       ask = { asked, n };
    im_mysql_value_t  v[TAILS_MANY * 2];

    static const char             sql_few[] = TAILS_SELECT(TAILS_8);
    static const char             sql_many[] = TAILS_SELECT(TAILS_128);
    static const im_mysql_type_t  columns[TAILS_COLUMNS] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64,
        IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));

    for (i = 0; i < n; i++) {
        v[2 * i].u64 = asked[i]->tail.conv_a;
        v[2 * i + 1].u64 = asked[i]->tail.conv_b;
    }

    few = (n <= TAILS_FEW);

    rc = im_mysql_run(mysql, few ? sql_few : sql_many, v,
                      2 * (few ? TAILS_FEW : TAILS_MANY), columns,
                      TAILS_COLUMNS, tails_on_row, &ask, NULL, NULL);

    for (i = 0; i < n; i++) {
        asked[i]->known = (rc == IM_OK);
    }

    return rc;
}


static int
tails_on_row(void *ctx, const im_mysql_value_t *v)
{
    task_turn_t         key, *p, **found;
    const tails_ask_t  *ask = ctx;

    key.tail.conv_a = v[0].u64;
    key.tail.conv_b = v[1].u64;
    p = &key;

    found = bsearch(&p, ask->turns, ask->n, sizeof(task_turn_t *),
                    tails_compare);

    if (found != NULL) {
        (*found)->tail.seq = v[2].u64;
        (*found)->tail.run_seq = v[3].u64;
        (*found)->tail.nth = (uint32_t) v[4].u64;
        (*found)->tail.nth_a = (uint32_t) v[5].u64;
    }

    return IM_OK;
}


static int
tails_compare(const void *a, const void *b)
{
    const task_tail_t  *x = &(*(task_turn_t *const *) a)->tail;
    const task_tail_t  *y = &(*(task_turn_t *const *) b)->tail;

    if (x->conv_a != y->conv_a) {
        return (x->conv_a < y->conv_a) ? -1 : 1;
    }

    return (x->conv_b < y->conv_b) ? -1 : (x->conv_b > y->conv_b);
}


static void
tails_place(task_row_t *row, task_turn_t *turn)
{
    unsigned            hot;
    task_tail_t        *t;
    const im_record_t  *m;

    hot = 0;
    t = &turn->tail;
    m = &row->message;

    row->late = (m->seq <= t->seq);

    if (row->late) {
        return;
    }

    if (t->run_seq == 0) {
        t->run_seq = m->seq;
        t->nth = 0;
        t->nth_a = 0;
    }

    t->seq = m->seq;
    t->nth++;
    t->nth_a += (m->from == m->conv_a);

    row->run_seq = t->run_seq;
    row->nth = t->nth;
    row->nth_a = t->nth_a;

    if (turn->last_id < m->msg_id) {
        turn->last_id = m->msg_id;
        turn->moves = (m->conv_a != 0
                       && task_tails_moves(t, m->msg_id, &hot));
        turn->hot = hot;
    }
}


static int
tails_of(const task_tail_t *t, const im_record_t *m)
{
    return t->conv_a == m->conv_a && t->conv_b == m->conv_b;
}


int
task_tails_moves(const task_tail_t *tail, uint64_t msg_id, unsigned *hot)
{
    uint64_t  lag;

    lag = (uint64_t) TASK_TAILS_LAG_MS << TAILS_ID_SHIFT;

    *hot = (tail->moved_id != 0 && msg_id < tail->moved_id + lag);

    return !*hot || !tail->hot;
}


void
task_tails_written(const task_turn_t *turns, size_t n)
{
    size_t       i;
    task_tail_t  tail;

    for (i = 0; i < n; i++) {
        tail = turns[i].tail;

        if (turns[i].moves) {
            tail.moved_id = turns[i].last_id;
            tail.hot = turns[i].hot;
        }

        task_tails_put(&tail);
    }
}


task_tail_t *
task_tails_find(uint64_t conv_a, uint64_t conv_b)
{
    task_tail_t  *set, front;

    set = tails_set(conv_a, conv_b);

    if (set[0].conv_a == conv_a && set[0].conv_b == conv_b) {
        return &set[0];
    }

    if (set[1].conv_a != conv_a || set[1].conv_b != conv_b) {
        return NULL;
    }

    front = set[1];
    set[1] = set[0];
    set[0] = front;

    return &set[0];
}


void
task_tails_put(const task_tail_t *tail)
{
    task_tail_t  *set;

    if (task_tails_find(tail->conv_a, tail->conv_b) == NULL) {
        set = tails_set(tail->conv_a, tail->conv_b);
        set[1] = set[0];

    } else {
        set = tails_set(tail->conv_a, tail->conv_b);
    }

    set[0] = *tail;
}


void
task_tails_drop(uint64_t conv_a, uint64_t conv_b)
{
    task_tail_t  *tail;

    tail = task_tails_find(conv_a, conv_b);

    if (tail != NULL) {
        memset(tail, 0, sizeof(task_tail_t));
    }
}


/* Users' numbers are small and dense: spread by the finalizer of MurmurHash3
 * (fmix64, public domain, Austin Appleby). */
static task_tail_t *
tails_set(uint64_t conv_a, uint64_t conv_b)
{
    uint64_t  h;

    h = conv_a * 0x9e3779b97f4a7c15u ^ conv_b;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;

    return &tails[(h & (TAILS_SETS - 1)) * 2];
}


void
task_tails_stop(void)
{
    free(tails);
    free(tails_turns);
    tails = NULL;
    tails_turns = NULL;
    memset(tails_next, 0, sizeof(tails_next));
}
