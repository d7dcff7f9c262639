/*
 * task_store.c -- Kafka to MySQL.
 *
 *   records -> rows -> places ---> INSERT messages, UPDATE conversations
 *                         |         in one transaction --> dead letters
 *                         |                                --> the offset
 *                         +-- late: one by one, task_late.c
 *
 * Each step leaves alone what is there already, and the offset comes last: a
 * crash between two steps, or a rebalance, means that a batch is done again,
 * by this member or another, with the same end.
 *
 * Up to store_batch rows go into one INSERT.  If the database refuses it, its
 * halves are tried, and so on: a row that it refuses for good is found in a
 * few steps, and only that one is a dead letter.  Whether it is the row's
 * fault is told by the error; any other error is the database's, and waited
 * for, because a table that is missing must not empty a topic.
 *
 * A row that is not above its conversation's last one is looked up: one whose
 * place is taken by another message (a number given twice) is a dead letter.
 * Fewer new rows than an INSERT has: another member has stored some of them, so
 * it is rolled back and done again with a new look at the tails.
 *
 * While the database is away, the partitions are paused and the group is
 * served (im_kafka_idle).  A batch whose partitions are revoked is given up.
 *
 * One thread.  Its steps return IM_OK; IM_DONE: stopped; IM_DECLINED: given
 * up.  In both of these, nothing is stored of the offset.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_crash.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "task_conversations.h"
#include "task_dead.h"
#include "task_late.h"
#include "task_rows.h"
#include "task_store.h"
#include "task_work.h"


#define STORE_IDLE_MS    200
#define STORE_LAG_MS     1000        /* between two looks at the lag */
#define STORE_DEAD_MS    100
#define STORE_TRIES      4           /* 750 ms, then /readyz says so */
#define STORE_BYTES_MAX  4000000     /* of one INSERT: max_allowed_packet */


static void *store_thread(void *arg);
static int store_batch(size_t n);
static int store_write(size_t first, size_t n);
static int store_insert(size_t first, size_t n);
static int store_late(size_t first, size_t n);
static int store_bulk(size_t first, size_t n, const task_turn_t *turns,
    size_t n_turns);
static int store_step(size_t first, size_t n, size_t count,
    const task_turn_t *turns, size_t n_turns);
static size_t store_values_of(size_t first, size_t n);
static size_t store_bytes(size_t first, size_t n);
static int store_refused(void);
static int store_dead_letters(void);
static void store_offsets(size_t n);
static unsigned store_commit(void);
static int store_again(unsigned *tries);
static void store_says(const char *what, const char *why);
static void store_lag(void);


static const char  store_insert_sql[] =
    "INSERT INTO messages (" TASK_ROWS_COLUMNS ")"
    " VALUES (" TASK_ROWS_MARKS ")"
    " ON DUPLICATE KEY UPDATE msg_id = msg_id";

/* What a database says of a value, not of itself. */
static const unsigned  store_refusals[] = {
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

static im_thread_t           store_id;
static atomic_int            store_stopping;
static im_kafka_consumer_t  *store_consumer;
static im_mysql_t           *store_mysql;
static im_kafka_record_t    *store_kafka;
static task_row_t           *store_rows;
static im_mysql_value_t     *store_values;
static uint64_t              store_lag_us;
static uint64_t              store_commit_us;
static int                   store_stale;         /* rows, and no commit yet */

static atomic_ullong         store_records, store_stored, store_known;
static atomic_llong          store_behind = -1;


int
task_store_start(void)
{
    im_mysql_conf_t           mysql;
    im_kafka_consumer_conf_t  conf;

    mysql.address = task_conf.common.mysql_address;
    mysql.user = task_conf.common.mysql_user;
    mysql.password = task_conf.common.mysql_password;
    mysql.database = task_conf.common.mysql_database;
    mysql.timeout_ms = task_conf.common.mysql_timeout_ms;
    store_mysql = im_mysql_create(&mysql);

    store_kafka = calloc(task_conf.store_batch, sizeof(im_kafka_record_t));
    store_rows = calloc(task_conf.store_batch, sizeof(task_row_t));
    store_values = calloc((size_t) task_conf.store_batch * TASK_ROWS_N_COLUMNS,
                          sizeof(im_mysql_value_t));

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.group = task_conf.store_group;
    conf.topic = task_conf.common.kafka_topic;
    conf.client_id = "im-task-store";
    conf.fill_ms = task_conf.store_fill_ms;
    conf.session_ms = task_conf.session_ms;
    conf.poll_max_ms = task_conf.poll_max_ms;
    conf.log = im_log_lower;

    store_consumer = im_kafka_consumer_create(&conf);

    if (store_mysql == NULL || store_kafka == NULL || store_rows == NULL
        || store_values == NULL || store_consumer == NULL
        || task_tails_start(task_conf.store_batch) != IM_OK
        || task_conversations_start(task_conf.store_batch) != IM_OK)
    {
        return IM_ERROR;
    }

    return im_thread_start(&store_id, store_thread, NULL);
}


void
task_store_end(void)
{
    atomic_store(&store_stopping, 1);
}


void
task_store_stop(void)
{
    task_store_end();
    im_thread_join(&store_id);

    im_kafka_consumer_destroy(store_consumer);
    im_mysql_destroy(store_mysql);
    task_dead_forget();
    task_conversations_stop();
    task_tails_stop();

    free(store_kafka);
    free(store_rows);
    free(store_values);
    store_consumer = NULL;
    store_mysql = NULL;
    store_kafka = NULL;
    store_rows = NULL;
    store_values = NULL;
}


void
task_store_stats(task_store_stats_t *stats)
{
    stats->records = atomic_load(&store_records);
    stats->stored = atomic_load(&store_stored);
    stats->known = atomic_load(&store_known);
    stats->lag = atomic_load(&store_behind);
    task_dead_stats(&stats->dead, &stats->reused);
}


static void *
store_thread(void *arg)
{
    size_t  n;

    (void) arg;

    while (!atomic_load(&store_stopping)) {
        n = im_kafka_consume(store_consumer, store_kafka,
                             task_conf.store_batch, store_commit());

        if (n > 0) {
            atomic_fetch_add(&store_records, n);
            task_tails_follow(store_kafka, n);

            if (store_batch(n) == IM_OK) {
                store_offsets(n);
                store_stale = 1;
                IM_CRASH_POINT("store.before_commit");

            } else {
                /* whoever comes next takes these records again */
                task_dead_forget();
                task_tails_forget();
            }

            task_work_store(NULL);
            im_kafka_resume(store_consumer);
            im_kafka_batch_free(store_kafka, n);
        }

        store_lag();
    }

    return NULL;
}


static int
store_batch(size_t n)
{
    int          rc;
    task_rows_t  r;

    task_rows_init(&r, store_rows, store_kafka, n);
    atomic_fetch_add(&store_known, r.known);

    IM_CRASH_POINT("store.before_insert");

    rc = store_write(0, r.n);
    task_rows_free(&r, store_rows);

    if (rc == IM_OK) {
        IM_CRASH_POINT("store.conversations");
        rc = store_dead_letters();
    }

    return rc;
}


/* Halves what is refused, or too big to be sent at once. */
static int
store_write(size_t first, size_t n)
{
    int       rc;
    unsigned  tries;

    if (n == 0) {
        return IM_OK;
    }

    tries = 0;
    rc = IM_ERROR;

    while (n == 1 || store_bytes(first, n) <= STORE_BYTES_MAX) {
        rc = store_insert(first, n);

        if (rc == IM_OK || rc == IM_DONE) {
            return rc;
        }

        if (rc != IM_AGAIN && n > 1) {
            break;
        }

        if (rc != IM_AGAIN && store_refused()) {
            task_dead_add(store_rows[first].kafka,
                          im_mysql_error(store_mysql));
            return IM_OK;
        }

        rc = store_again(&tries);

        if (rc != IM_OK) {
            return rc;
        }
    }

    rc = store_write(first, n / 2);

    return (rc == IM_OK) ? store_write(first + n / 2, n - n / 2) : rc;
}


/* Rows that are not above their conversation's tail come first, one by one:
 * they are there already, or change the places of those above. */
static int
store_insert(size_t first, size_t n)
{
    int           rc;
    size_t        n_turns;
    task_turn_t  *turns;

    do {
        rc = task_tails_number(store_mysql, store_rows + first, n, &turns,
                               &n_turns);

        if (rc == IM_OK) {
            rc = store_late(first, n);
        }

    } while (rc == IM_DECLINED);       /* there were some */

    return (rc == IM_OK) ? store_bulk(first, n, turns, n_turns) : rc;
}


/* IM_OK: there were none; IM_DECLINED: all of them are done. */
static int
store_late(size_t first, size_t n)
{
    int          rc;
    size_t       i, late;
    uint64_t     msg_id;
    task_row_t  *row;

    late = 0;

    for (i = first; i < first + n; i++) {
        row = &store_rows[i];

        if (row->done || !row->late) {
            continue;
        }

        if (atomic_load(&store_stopping)) {
            return IM_DONE;            /* up to a thousand look-ups */
        }

        rc = task_late(store_mysql, row, &msg_id);

        if (rc != IM_OK) {
            return rc;
        }

        row->done = 1;
        late++;

        if (msg_id == 0) {
            atomic_fetch_add(&store_stored, 1);

        } else if (msg_id == row->message->msg_id) {
            atomic_fetch_add(&store_known, 1);

        } else {
            task_dead_reused(row->kafka, row->message, msg_id);
        }
    }

    return (late > 0) ? IM_DECLINED : IM_OK;
}


/* What is left, in one transaction with all that it changes. */
static int
store_bulk(size_t first, size_t n, const task_turn_t *turns, size_t n_turns)
{
    int     rc;
    size_t  count;

    count = store_values_of(first, n);

    if (count == 0) {
        return IM_OK;
    }

    rc = im_mysql_begin(store_mysql);

    if (rc == IM_OK) {
        rc = store_step(first, n, count, turns, n_turns);
    }

    if (rc == IM_OK) {
        rc = im_mysql_commit(store_mysql);

    } else {
        im_mysql_rollback(store_mysql);
    }

    if (rc == IM_OK) {
        atomic_fetch_add(&store_stored, count);
        task_tails_written(turns, n_turns);

    } else {
        task_tails_forget();           /* it may have taken effect */
    }

    return rc;
}


static int
store_step(size_t first, size_t n, size_t count, const task_turn_t *turns,
    size_t n_turns)
{
    int       rc;
    uint64_t  new_rows;

    rc = im_mysql_insert(store_mysql, store_insert_sql, store_values,
                         TASK_ROWS_N_COLUMNS, count, &new_rows);

    if (rc == IM_OK && new_rows < count) {
        rc = IM_AGAIN;                 /* another member has stored some */
    }

    if (rc == IM_OK) {
        IM_CRASH_POINT("store.inserted");
        rc = task_conversations_write(store_mysql, store_rows + first, n,
                                      turns, n_turns);
    }

    return rc;
}


static size_t
store_values_of(size_t first, size_t n)
{
    size_t  i, count;

    count = 0;

    for (i = first; i < first + n; i++) {
        if (!store_rows[i].done) {
            task_rows_values(&store_rows[i], store_values
                             + count++ * TASK_ROWS_N_COLUMNS);
        }
    }

    return count;
}


/* 64: numbers and lengths of a row, rounded up. */
static size_t
store_bytes(size_t first, size_t n)
{
    size_t  i, bytes;

    bytes = 0;

    for (i = first; i < first + n; i++) {
        bytes += store_rows[i].kafka->value.len + 64;
    }

    return bytes;
}


/* 1: the row is to blame, not the database. */
static int
store_refused(void)
{
    size_t    i;
    unsigned  err;

    err = im_mysql_errno(store_mysql);

    for (i = 0; i < sizeof(store_refusals) / sizeof(unsigned); i++) {
        if (store_refusals[i] == err) {
            return 1;
        }
    }

    return 0;
}


static int
store_dead_letters(void)
{
    while (task_dead_flush(STORE_DEAD_MS) != IM_OK) {

        if (task_dead_is_failing()) {
            store_says("a dead letter is not taken by its topic", "");

            if (atomic_load(&store_stopping)) {
                return IM_DONE;
            }
        }

        im_kafka_pause(store_consumer);

        if (im_kafka_idle(store_consumer, 1) != IM_OK) {
            return IM_DECLINED;
        }

        store_lag();
    }

    return IM_OK;
}


static void
store_offsets(size_t n)
{
    size_t  i;

    /* a partition's records are neighbours, in order */

    for (i = 0; i < n; i++) {
        if (i + 1 == n || store_kafka[i + 1].partition
                          != store_kafka[i].partition)
        {
            (void) im_kafka_store(store_consumer, store_kafka[i].partition,
                                  store_kafka[i].offset);
        }
    }
}


/* Who waits until all is stored waits for this commit, and not for the
 * library's.  Returns how long to wait for records, in ms. */
static unsigned
store_commit(void)
{
    uint64_t  now, next;

    if (!store_stale) {
        return STORE_IDLE_MS;
    }

    now = im_mono_us();
    next = store_commit_us + IM_KAFKA_COMMIT_MIN_MS * 1000;

    if (now < next) {
        return 1 + (unsigned) ((next - now) / 1000);
    }

    im_kafka_commit_soon(store_consumer);
    store_commit_us = now;
    store_stale = 0;

    return STORE_IDLE_MS;
}


/* The database is away or busy: 50 ms, doubled up to 1 s. */
static int
store_again(unsigned *tries)
{
    unsigned  ms;

    if (*tries == STORE_TRIES) {
        store_says("a batch is not taken by MySQL: ",
                   im_mysql_error(store_mysql));
    }

    if (atomic_load(&store_stopping)) {
        return IM_DONE;
    }

    ms = (*tries < 4) ? 50u << *tries : 1000;
    (*tries)++;

    im_kafka_pause(store_consumer);

    if (im_kafka_idle(store_consumer, ms) != IM_OK) {
        im_log(IM_LOG_NOTICE, "a batch that could not be stored yet is given "
               "up: its partitions have moved");
        return IM_DECLINED;
    }

    store_lag();

    return IM_OK;
}


static void
store_says(const char *what, const char *why)
{
    char  text[TASK_WORK_ERROR_MAX];

    snprintf(text, sizeof(text), "%s%s", what, why);
    task_work_store(text);
}


static void
store_lag(void)
{
    int       rc;
    uint64_t  now, lag;

    now = im_mono_us();

    if (now - store_lag_us < STORE_LAG_MS * 1000) {
        return;
    }

    rc = im_kafka_lag(store_consumer, IM_KAFKA_OFFSETS_MS, &lag);
    atomic_store(&store_behind, (rc == IM_OK) ? (long long) lag : -1);

    store_lag_us = im_mono_us();       /* it may have waited */
}
