/*
 * task_late.c -- see task_late.h.
 *
 * Records come in the order of their numbers, but for a message that was
 * produced again after higher ones, and for those that are read once more after
 * a crash.  Each is a transaction of its own:
 *
 *   is the place taken?  -->  what is below, what is above
 *                             --> INSERT, those above move up by one
 *
 * What is above and belongs to a run that began below: the row is in the middle
 * of it, and all that follow in the run are one place higher.  There are few,
 * for a message that is late is late by seconds.  Else the row is in front of a
 * run, where rows are counted, and gets no place; or it is the last one after
 * all (a batch was halved), and gets one as usual.
 */

#include <string.h>

#include "task_conversations.h"
#include "task_late.h"
#include "task_tails.h"


/* A neighbour of the row. */
typedef struct {
    int       found;
    uint64_t  run_seq;
    uint32_t  nth;
    uint32_t  nth_a;
} late_row_t;


static int late_step(im_mysql_t *mysql, task_row_t *row, uint64_t *msg_id);
static int late_place(im_mysql_t *mysql, task_row_t *row, int *shifts);
static int late_neighbour(im_mysql_t *mysql, const char *sql,
    const task_row_t *row, late_row_t *found);
static int late_on_row(void *ctx, const im_mysql_value_t *v);
static int late_insert(im_mysql_t *mysql, const task_row_t *row);
static int late_shift(im_mysql_t *mysql, const task_row_t *row);
static int late_taken(im_mysql_t *mysql, const task_row_t *row,
    uint64_t *msg_id);
static int late_on_msg_id(void *ctx, const im_mysql_value_t *v);


int
task_late(im_mysql_t *mysql, task_row_t *row, uint64_t *msg_id)
{
    int  rc;

    rc = im_mysql_begin(mysql);

    if (rc == IM_OK) {
        rc = late_step(mysql, row, msg_id);
    }

    if (rc == IM_OK) {
        rc = im_mysql_commit(mysql);

    } else {
        im_mysql_rollback(mysql);
    }

    /* also of one that is there already: another instance may have stored it
     * late, and moved those above it, while it had our partition */

    task_tails_drop(row->message.conv_a, row->message.conv_b);

    return rc;
}


static int
late_step(im_mysql_t *mysql, task_row_t *row, uint64_t *msg_id)
{
    int  rc, shifts;

    rc = late_taken(mysql, row, msg_id);

    if (rc != IM_OK) {
        return rc;
    }

    if (*msg_id != 0) {

        /* its conversation may be missing: a crash of an earlier version */

        return (*msg_id == row->message.msg_id)
               ? task_conversations_known(mysql, row) : IM_OK;
    }

    rc = late_place(mysql, row, &shifts);

    if (rc == IM_OK) {
        rc = late_insert(mysql, row);
    }

    if (rc == IM_OK && shifts) {
        rc = late_shift(mysql, row);
    }

    return (rc == IM_OK) ? task_conversations_late(mysql, row) : rc;
}


static int
late_taken(im_mysql_t *mysql, const task_row_t *row, uint64_t *msg_id)
{
    im_mysql_value_t              v[3];
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64 };

    static const char  sql[] =
        "SELECT msg_id FROM messages WHERE conv_a = ? AND conv_b = ? "
        "AND seq = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = row->message.conv_a;
    v[1].u64 = row->message.conv_b;
    v[2].u64 = row->message.seq;
    *msg_id = 0;

    return im_mysql_run(mysql, sql, v, 3, columns, 1, late_on_msg_id, msg_id,
                        NULL, NULL);
}


static int
late_on_msg_id(void *ctx, const im_mysql_value_t *v)
{
    *(uint64_t *) ctx = v[0].u64;

    return IM_OK;
}


static int
late_place(im_mysql_t *mysql, task_row_t *row, int *shifts)
{
    int                 rc;
    late_row_t          below, above;
    const im_record_t  *m;

    static const char  sql_below[] =
        "SELECT run_seq, nth, nth_a FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq < ? "
        "ORDER BY seq DESC LIMIT 1";
    static const char  sql_above[] =
        "SELECT run_seq, nth, nth_a FROM messages "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? "
        "ORDER BY seq ASC LIMIT 1";

    rc = late_neighbour(mysql, sql_below, row, &below);

    if (rc == IM_OK) {
        rc = late_neighbour(mysql, sql_above, row, &above);
    }

    if (rc != IM_OK) {
        return rc;
    }

    m = &row->message;
    *shifts = (above.found && above.run_seq != 0
               && above.run_seq == below.run_seq);

    if (*shifts || !above.found) {
        row->run_seq = (below.run_seq != 0) ? below.run_seq : m->seq;
        row->nth = below.nth + 1;
        row->nth_a = below.nth_a + (m->from == m->conv_a);

    } else {
        row->run_seq = 0;
        row->nth = 0;
        row->nth_a = 0;
    }

    return IM_OK;
}


static int
late_neighbour(im_mysql_t *mysql, const char *sql, const task_row_t *row,
    late_row_t *found)
{
    im_mysql_value_t              v[3];
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    memset(v, 0, sizeof(v));
    v[0].u64 = row->message.conv_a;
    v[1].u64 = row->message.conv_b;
    v[2].u64 = row->message.seq;
    memset(found, 0, sizeof(late_row_t));

    return im_mysql_run(mysql, sql, v, 3, columns, 3, late_on_row, found, NULL,
                        NULL);
}


static int
late_on_row(void *ctx, const im_mysql_value_t *v)
{
    late_row_t  *found = ctx;

    found->found = 1;
    found->run_seq = v[0].u64;
    found->nth = (uint32_t) v[1].u64;
    found->nth_a = (uint32_t) v[2].u64;

    return IM_OK;
}


/* Not one that leaves alone what is there: somebody was faster, so again. */
static int
late_insert(im_mysql_t *mysql, const task_row_t *row)
{
    int               rc;
    im_mysql_value_t  v[TASK_ROWS_N_COLUMNS];

    static const char  sql[] =
        "INSERT INTO messages (" TASK_ROWS_COLUMNS ") "
        "VALUES (" TASK_ROWS_MARKS ")";

    task_rows_values(row, v);

    rc = im_mysql_run(mysql, sql, v, TASK_ROWS_N_COLUMNS, NULL, 0, NULL, NULL,
                      NULL, NULL);

    return (rc == IM_DECLINED) ? IM_AGAIN : rc;
}


static int
late_shift(im_mysql_t *mysql, const task_row_t *row)
{
    im_mysql_value_t    v[5];
    const im_record_t  *m;

    static const char  sql[] =
        "UPDATE messages SET nth = nth + 1, nth_a = nth_a + ? "
        "WHERE conv_a = ? AND conv_b = ? AND seq > ? AND run_seq = ?";

    m = &row->message;

    memset(v, 0, sizeof(v));
    v[0].u64 = (m->from == m->conv_a);
    v[1].u64 = m->conv_a;
    v[2].u64 = m->conv_b;
    v[3].u64 = m->seq;
    v[4].u64 = row->run_seq;

    return im_mysql_run(mysql, sql, v, 5, NULL, 0, NULL, NULL, NULL, NULL);
}
