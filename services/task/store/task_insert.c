/*
 * task_insert.c -- see task_insert.h.
 *
 *   rows -> places ---> INSERT messages, UPDATE conversations
 *             |         in one transaction
 *             +-- late: one by one, task_late.c
 *
 * All rows go into one INSERT.  If the database refuses it, or it is too big to
 * be sent at once, its halves are tried, and so on: a row that it refuses for
 * good is found in a few steps, and only that one is a dead letter.  The
 * error shows whether it is the row's fault; any other error is the database's,
 * and is waited for, because a table that is missing must not empty a topic.
 *
 * A row that is not above its conversation's last one is looked up: one whose
 * place is taken by another message (a number given twice) is a dead letter.
 * Fewer new rows than an INSERT has: another member has stored some of them, so
 * it is rolled back and done again with a new look at the tails.
 */

#include <stdatomic.h>
#include <stdlib.h>

#include "im_crash.h"
#include "task_conversations.h"
#include "task_dead.h"
#include "task_insert.h"
#include "task_late.h"
#include "task_store_int.h"


#define INSERT_BYTES_MAX  4000000      /* of one INSERT: max_allowed_packet */


static int insert_rows(task_row_t *rows, size_t n);
static int insert_late(task_row_t *rows, size_t n);
static int insert_bulk(task_row_t *rows, size_t n, const task_turn_t *turns,
    size_t n_turns);
static int insert_step(const task_row_t *rows, size_t n, size_t count,
    const task_turn_t *turns, size_t n_turns);
static size_t insert_fill(const task_row_t *rows, size_t n);
static size_t insert_bytes(const task_row_t *rows, size_t n);
static int insert_is_refused(void);


static const char  insert_sql[] =
    "INSERT INTO messages (" TASK_ROWS_COLUMNS ")"
    " VALUES (" TASK_ROWS_MARKS ")"
    " ON DUPLICATE KEY UPDATE msg_id = msg_id";

/* Errors that are the fault of a value, not of the database. */
static const unsigned  insert_refusals[] = {
    1048,          /* column cannot be null */
    1153,          /* bigger than max_allowed_packet */
    1264,          /* out of range */
    1265,          /* data truncated */
    1366,          /* incorrect value */
    1406,          /* data too long */
    1452,          /* a foreign key */
    1526,          /* no partition for the value */
    1644,          /* SIGNAL of a trigger */
    3819,          /* CHECK constraint, MySQL */
    4025           /* CHECK constraint, MariaDB */
};

static im_mysql_t        *insert_mysql;
static im_mysql_value_t  *insert_values;
static atomic_ullong      insert_stored, insert_known;


int
task_insert_start(size_t max)
{
    im_mysql_conf_t  conf;

    conf.address = task_conf.common.mysql_address;
    conf.user = task_conf.common.mysql_user;
    conf.password = task_conf.common.mysql_password;
    conf.database = task_conf.common.mysql_database;
    conf.timeout_ms = task_conf.common.mysql_timeout_ms;

    insert_mysql = im_mysql_create(&conf);
    insert_values = calloc(max * TASK_ROWS_N_COLUMNS,
                           sizeof(im_mysql_value_t));

    return (insert_mysql != NULL && insert_values != NULL) ? IM_OK : IM_ERROR;
}


void
task_insert_stop(void)
{
    im_mysql_destroy(insert_mysql);
    free(insert_values);
    insert_mysql = NULL;
    insert_values = NULL;
}


void
task_insert_stats(uint64_t *stored, uint64_t *known)
{
    *stored = atomic_load(&insert_stored);
    *known = atomic_load(&insert_known);
}


int
task_insert(task_row_t *rows, size_t n)
{
    int       rc;
    unsigned  tries;

    if (n == 0) {
        return IM_OK;
    }

    tries = 0;
    rc = IM_ERROR;

    while (n == 1 || insert_bytes(rows, n) <= INSERT_BYTES_MAX) {
        rc = insert_rows(rows, n);

        if (rc == IM_OK || rc == IM_DONE) {
            return rc;
        }

        if (rc != IM_AGAIN && n > 1) {
            break;
        }

        if (rc != IM_AGAIN && insert_is_refused()) {
            task_dead_add(rows[0].kafka, im_mysql_error(insert_mysql));
            return IM_OK;
        }

        rc = task_store_again(&tries, im_mysql_error(insert_mysql));

        if (rc != IM_OK) {
            return rc;
        }
    }

    rc = task_insert(rows, n / 2);

    return (rc == IM_OK) ? task_insert(rows + n / 2, n - n / 2) : rc;
}


/* Rows that are not above their conversation's tail come first, one by one:
 * they are there already, or change the places of those above. */
static int
insert_rows(task_row_t *rows, size_t n)
{
    int           rc;
    size_t        n_turns;
    task_turn_t  *turns;

    do {
        rc = task_tails_number(insert_mysql, rows, n, &turns, &n_turns);

        if (rc == IM_OK) {
            rc = insert_late(rows, n);
        }

    } while (rc == IM_DECLINED);       /* there were some */

    return (rc == IM_OK) ? insert_bulk(rows, n, turns, n_turns) : rc;
}


/* IM_OK: there were none; IM_DECLINED: all of them are done. */
static int
insert_late(task_row_t *rows, size_t n)
{
    int          rc;
    size_t       i, late;
    uint64_t     msg_id;
    task_row_t  *row;

    late = 0;

    for (i = 0; i < n; i++) {
        row = &rows[i];

        if (row->done || !row->late) {
            continue;
        }

        if (task_store_is_stopping()) {
            return IM_DONE;            /* up to a thousand look-ups */
        }

        rc = task_late(insert_mysql, row, &msg_id);

        if (rc != IM_OK) {
            return rc;
        }

        row->done = 1;
        late++;

        if (msg_id == 0) {
            atomic_fetch_add(&insert_stored, 1);

        } else if (msg_id == row->message.msg_id) {
            atomic_fetch_add(&insert_known, 1);

        } else {
            task_dead_reused(row->kafka, &row->message, msg_id);
        }
    }

    return (late > 0) ? IM_DECLINED : IM_OK;
}


/* What is left, in one transaction with all that it changes. */
static int
insert_bulk(task_row_t *rows, size_t n, const task_turn_t *turns,
    size_t n_turns)
{
    int     rc;
    size_t  count;

    count = insert_fill(rows, n);

    if (count == 0) {
        return IM_OK;
    }

    rc = im_mysql_begin(insert_mysql);

    if (rc == IM_OK) {
        rc = insert_step(rows, n, count, turns, n_turns);
    }

    if (rc == IM_OK) {
        rc = im_mysql_commit(insert_mysql);

    } else {
        im_mysql_rollback(insert_mysql);
    }

    if (rc == IM_OK) {
        atomic_fetch_add(&insert_stored, count);
        task_tails_written(turns, n_turns);

    } else {
        task_tails_forget();           /* it may have taken effect */
    }

    return rc;
}


static int
insert_step(const task_row_t *rows, size_t n, size_t count,
    const task_turn_t *turns, size_t n_turns)
{
    int       rc;
    uint64_t  new_rows;

    rc = im_mysql_insert(insert_mysql, insert_sql, insert_values,
                         TASK_ROWS_N_COLUMNS, count, &new_rows);

    if (rc == IM_OK && new_rows < count) {
        rc = IM_AGAIN;                 /* another member has stored some */
    }

    if (rc == IM_OK) {
        IM_CRASH_POINT("store.inserted");
        rc = task_conversations_write(insert_mysql, rows, n, turns, n_turns);
    }

    return rc;
}


static size_t
insert_fill(const task_row_t *rows, size_t n)
{
    size_t  i, count;

    count = 0;

    for (i = 0; i < n; i++) {
        if (!rows[i].done) {
            task_rows_values(&rows[i], insert_values
                             + count++ * TASK_ROWS_N_COLUMNS);
        }
    }

    return count;
}


/* 64: numbers and lengths of a row, rounded up. */
static size_t
insert_bytes(const task_row_t *rows, size_t n)
{
    size_t  i, bytes;

    bytes = 0;

    for (i = 0; i < n; i++) {
        bytes += rows[i].kafka->value.len + 64;
    }

    return bytes;
}


/* 1: the row is to blame, not the database. */
static int
insert_is_refused(void)
{
    size_t    i;
    unsigned  err;

    err = im_mysql_errno(insert_mysql);

    for (i = 0; i < sizeof(insert_refusals) / sizeof(unsigned); i++) {
        if (insert_refusals[i] == err) {
            return 1;
        }
    }

    return 0;
}
