/*
 * task_conversations.c -- see task_conversations.h.
 *
 * Two users have a row each in their list, made with the first message of their
 * conversation.  It is moved up (last_id) for those messages that are due
 * (task_tails.c), and never down: a repeat, or a row that is late, does no
 * harm.
 *
 * Members of a group have their rows by joining, and these are not moved: there
 * may be 5,000 of them for each message, and few groups in a list.  But a
 * sender's own messages are not unread for him, so those above his read mark
 * are counted in his row, in the transaction of the messages: each counts once.
 *
 * `read` locks the row before it moves a mark (logic_unread.c): either it sees
 * these messages, or we see its mark.  Messages of one sender are added at once
 * if their numbers follow one another, so it is known how many are above
 * a mark that lies in their middle.
 */

#include <stdlib.h>
#include <string.h>

#include "task_conversations.h"


#define MOVE_COLUMNS  6
#define OWN_COLUMNS   6


/* Messages of one sender in one group, of each number from low to high. */
typedef struct {
    uint64_t  uid;
    uint64_t  room;
    uint64_t  low;
    uint64_t  high;
} own_t;


static int conversations_move(im_mysql_t *mysql, const task_turn_t *turns,
    size_t n_turns);
static void conversations_move_row(im_mysql_value_t *v, uint64_t uid,
    const task_turn_t *turn);
static int conversations_own(im_mysql_t *mysql, const task_row_t *rows,
    size_t n);
static size_t conversations_own_fold(const task_row_t *rows, size_t n);
static int conversations_compare_move(const void *a, const void *b);
static int conversations_compare_own(const void *a, const void *b);


static const char  conversations_move_sql[] =
    "INSERT INTO conversations (uid, conv_a, conv_b, last_id)"
    " VALUES (?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE hot = ?, last_id = GREATEST(last_id, ?)";

static const char  conversations_own_sql[] =
    "UPDATE conversations SET own_above = own_above"
    " + IF(read_seq < ?, ?, IF(read_seq < ?, ? - read_seq, 0))"
    " WHERE uid = ? AND conv_a = 0 AND conv_b = ?";

static own_t             *conversations_owns;
static im_mysql_value_t  *conversations_values;


int
task_conversations_start(size_t max)
{
    conversations_owns = calloc(max, sizeof(own_t));
    conversations_values = calloc(max * 2 * MOVE_COLUMNS,
                                  sizeof(im_mysql_value_t));

    return (conversations_owns != NULL && conversations_values != NULL)
           ? IM_OK : IM_ERROR;
}


int
task_conversations_write(im_mysql_t *mysql, const task_row_t *rows, size_t n,
    const task_turn_t *turns, size_t n_turns)
{
    int  rc;

    rc = conversations_move(mysql, turns, n_turns);

    return (rc == IM_OK) ? conversations_own(mysql, rows, n) : rc;
}


int
task_conversations_late(im_mysql_t *mysql, const task_row_t *row)
{
    int  rc;

    rc = task_conversations_known(mysql, row);

    return (rc == IM_OK) ? conversations_own(mysql, row, 1) : rc;
}


int
task_conversations_known(im_mysql_t *mysql, const task_row_t *row)
{
    unsigned            hot;
    task_turn_t         turn;
    const im_record_t  *m;
    const task_tail_t  *tail;

    m = &row->message;
    tail = task_tails_find(m->conv_a, m->conv_b);

    if (m->conv_a == 0
        || (tail != NULL && !task_tails_moves(tail, m->msg_id, &hot)))
    {
        return IM_OK;
    }

    memset(&turn, 0, sizeof(turn));
    turn.tail.conv_a = m->conv_a;
    turn.tail.conv_b = m->conv_b;
    turn.last_id = m->msg_id;
    turn.moves = 1;
    turn.hot = 1;                      /* it may not be the last message */

    return conversations_move(mysql, &turn, 1);
}


static int
conversations_move(im_mysql_t *mysql, const task_turn_t *turns,
    size_t n_turns)
{
    size_t             i, n;
    uint64_t           changed;
    im_mysql_value_t  *v;

    v = conversations_values;
    n = 0;

    for (i = 0; i < n_turns; i++) {

        if (!turns[i].moves) {
            continue;
        }

        conversations_move_row(v + n++ * MOVE_COLUMNS, turns[i].tail.conv_a,
                               &turns[i]);

        if (turns[i].tail.conv_a != turns[i].tail.conv_b) {
            conversations_move_row(v + n++ * MOVE_COLUMNS,
                                   turns[i].tail.conv_b, &turns[i]);
        }
    }

    /* by primary key: as in `messages`, no circle of locks */

    qsort(v, n, MOVE_COLUMNS * sizeof(im_mysql_value_t),
          conversations_compare_move);

    return im_mysql_insert(mysql, conversations_move_sql, v, MOVE_COLUMNS, n,
                           &changed);
}


static void
conversations_move_row(im_mysql_value_t *v, uint64_t uid,
    const task_turn_t *turn)
{
    memset(v, 0, MOVE_COLUMNS * sizeof(im_mysql_value_t));
    v[0].u64 = uid;
    v[1].u64 = turn->tail.conv_a;
    v[2].u64 = turn->tail.conv_b;
    v[3].u64 = turn->last_id;
    v[4].u64 = turn->hot;
    v[5].u64 = turn->last_id;
}


static int
conversations_own(im_mysql_t *mysql, const task_row_t *rows, size_t n)
{
    size_t             i;
    uint64_t           changed;
    const own_t       *own;
    im_mysql_value_t  *v;

    n = conversations_own_fold(rows, n);
    v = conversations_values;
    memset(v, 0, n * OWN_COLUMNS * sizeof(im_mysql_value_t));

    for (i = 0; i < n; i++) {
        own = &conversations_owns[i];
        v[0].u64 = own->low;
        v[1].u64 = own->high - own->low + 1;
        v[2].u64 = own->high;
        v[3].u64 = own->high;
        v[4].u64 = own->uid;
        v[5].u64 = own->room;
        v += OWN_COLUMNS;
    }

    return im_mysql_insert(mysql, conversations_own_sql, conversations_values,
                           OWN_COLUMNS, n, &changed);
}


/* By primary key. */
static size_t
conversations_own_fold(const task_row_t *rows, size_t n)
{
    size_t              i, count, k;
    own_t              *own;
    const im_record_t  *m;

    own = conversations_owns;
    count = 0;

    for (i = 0; i < n; i++) {
        m = &rows[i].message;

        if (m->conv_a == 0 && !rows[i].done) {
            own[count].uid = m->from;
            own[count].room = m->conv_b;
            own[count].low = m->seq;
            own[count++].high = m->seq;
        }
    }

    qsort(own, count, sizeof(own_t), conversations_compare_own);

    for (i = 0, k = 0; i < count; i++) {

        if (k > 0 && own[k - 1].uid == own[i].uid
            && own[k - 1].room == own[i].room
            && own[k - 1].high + 1 == own[i].low)
        {
            own[k - 1].high = own[i].high;
            continue;
        }

        own[k++] = own[i];
    }

    return k;
}


static int
conversations_compare_move(const void *a, const void *b)
{
    int                      i;
    const im_mysql_value_t  *x = a, *y = b;

    for (i = 0; i < 3; i++) {
        if (x[i].u64 != y[i].u64) {
            return (x[i].u64 < y[i].u64) ? -1 : 1;
        }
    }

    return 0;
}


static int
conversations_compare_own(const void *a, const void *b)
{
    const own_t  *x = a, *y = b;

    if (x->uid != y->uid) {
        return (x->uid < y->uid) ? -1 : 1;
    }

    if (x->room != y->room) {
        return (x->room < y->room) ? -1 : 1;
    }

    return (x->low < y->low) ? -1 : (x->low > y->low);
}


void
task_conversations_stop(void)
{
    free(conversations_owns);
    free(conversations_values);
    conversations_owns = NULL;
    conversations_values = NULL;
}
