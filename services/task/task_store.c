/*
 * task_store.c -- Kafka to MySQL.
 *
 * Up to store_batch rows go into one INSERT that leaves rows alone that are
 * there already, so any batch may be done twice.  Rows are sorted by primary
 * key: two members cannot wait for each other's locks in a circle, and pages
 * are touched once.  Offsets are stored after the database has committed.
 *
 * Fewer new rows than records: some were there.  Each is looked up; one whose
 * place is taken by another message (a number given twice) is a dead letter,
 * as is what the database refuses for good and what is no message at all.
 *
 * One thread.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "task_dead.h"
#include "task_store.h"


#define STORE_IDLE_MS   200
#define STORE_COLUMNS   8


/* One value for each column of store_insert. */
typedef struct {
    Im__Record          *message;
    im_kafka_record_t   *kafka;
} store_row_t;


static void *store_thread(void *arg);
static int store_batch(size_t n);
static size_t store_parse(size_t n);
static int store_compare(const void *a, const void *b);
static size_t store_fold(size_t n);
static int store_same_place(const Im__Record *a, const Im__Record *b);
static int store_write(size_t first, size_t n);
static int store_insert(size_t first, size_t n, uint64_t *new_rows);
static int store_insert_one(size_t i);
static int store_check(size_t first, size_t n);
static int store_check_one(const store_row_t *row);
static int store_on_msg_id(void *ctx, const im_mysql_value_t *values);
static int store_again(unsigned *tries);
static void store_dead(const im_kafka_record_t *kafka, const char *reason);


static const char  store_insert_sql[] =
    "INSERT INTO messages"
    " (conv_a, conv_b, seq, msg_id, sender, time_ms, cmid, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE msg_id = msg_id";

static const char  store_select_sql[] =
    "SELECT msg_id FROM messages WHERE conv_a = ? AND conv_b = ? AND seq = ?";

static pthread_t             store_id;
static atomic_int            store_stopping;
static im_kafka_consumer_t  *store_consumer;
static im_mysql_t           *store_mysql;
static im_dependency_t       store_dependency = { "mysql", 0 };
static im_kafka_record_t    *store_kafka;
static store_row_t          *store_rows;
static im_mysql_value_t     *store_values;

static atomic_ullong         store_records, store_stored, store_known,
                             store_lost;


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
    store_rows = calloc(task_conf.store_batch, sizeof(store_row_t));
    store_values = calloc((size_t) task_conf.store_batch * STORE_COLUMNS,
                          sizeof(im_mysql_value_t));

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.group = task_conf.store_group;
    conf.topic = task_conf.common.kafka_topic;
    conf.client_id = "im-task-store";
    conf.session_ms = task_conf.session_ms;
    conf.poll_max_ms = task_conf.poll_max_ms;
    conf.log = im_log_lower;

    store_consumer = im_kafka_consumer_create(&conf);

    if (store_mysql == NULL || store_kafka == NULL || store_rows == NULL
        || store_values == NULL || store_consumer == NULL
        || pthread_create(&store_id, NULL, store_thread, NULL) != 0)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


void
task_store_stop(void)
{
    atomic_store(&store_stopping, 1);
    pthread_join(store_id, NULL);

    im_kafka_consumer_destroy(store_consumer);
    im_mysql_destroy(store_mysql);
    task_dead_stop();

    free(store_kafka);
    free(store_rows);
    free(store_values);
}


void
task_store_stats(task_store_stats_t *stats)
{
    stats->records = atomic_load(&store_records);
    stats->stored = atomic_load(&store_stored);
    stats->known = atomic_load(&store_known);
    stats->dead = atomic_load(&store_lost);
}


int
task_store_healthy(void)
{
    return !store_dependency.down && task_dead_healthy();
}


static void *
store_thread(void *arg)
{
    size_t  n;

    (void) arg;

    while (!atomic_load(&store_stopping)) {
        n = im_kafka_consume(store_consumer, store_kafka,
                             task_conf.store_batch, STORE_IDLE_MS,
                             task_conf.store_fill_ms);
        if (n == 0) {
            continue;
        }

        atomic_fetch_add(&store_records, n);

        /* not IM_OK: stopped while something was away; these records are
         * taken again by whoever comes next */

        (void) store_batch(n);
        im_kafka_batch_free(store_kafka, n);
    }

    return NULL;
}


static int
store_batch(size_t n)
{
    int     rc;
    size_t  i, rows, unique;

    rows = store_parse(n);

    qsort(store_rows, rows, sizeof(store_row_t), store_compare);
    unique = store_fold(rows);
    rc = store_write(0, unique);

    for (i = 0; i < rows; i++) {
        im__record__free_unpacked(store_rows[i].message, NULL);
    }

    if (rc == IM_OK) {
        rc = task_dead_flush(&store_stopping);
    }

    if (rc != IM_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        if (i + 1 == n || store_kafka[i + 1].partition
                          != store_kafka[i].partition)
        {
            (void) im_kafka_store(store_consumer, store_kafka[i].partition,
                                  store_kafka[i].offset);
        }
    }

    return IM_OK;
}


static size_t
store_parse(size_t n)
{
    size_t       i, rows;
    Im__Record  *m;

    rows = 0;

    for (i = 0; i < n; i++) {
        m = im__record__unpack(NULL, store_kafka[i].value.len,
                               store_kafka[i].value.data);
        if (m == NULL) {
            store_dead(&store_kafka[i], "not a message");
            continue;
        }

        store_rows[rows].message = m;
        store_rows[rows].kafka = &store_kafka[i];
        rows++;
    }

    return rows;
}


/* By primary key; one place's records in the order of the log. */
static int
store_compare(const void *a, const void *b)
{
    const store_row_t  *x = a, *y = b;

    if (x->message->conv_a != y->message->conv_a) {
        return (x->message->conv_a < y->message->conv_a) ? -1 : 1;
    }

    if (x->message->conv_b != y->message->conv_b) {
        return (x->message->conv_b < y->message->conv_b) ? -1 : 1;
    }

    if (x->message->seq != y->message->seq) {
        return (x->message->seq < y->message->seq) ? -1 : 1;
    }

    /* the same key means the same partition */

    return (x->kafka->offset < y->kafka->offset) ? -1
           : (x->kafka->offset > y->kafka->offset);
}


/* The first of each place stays in front, repeats go behind; the order of
 * the first is kept. */
static size_t
store_fold(size_t n)
{
    size_t       i, unique;
    store_row_t  row;

    unique = 0;

    for (i = 0; i < n; i++) {

        if (unique > 0
            && store_same_place(store_rows[unique - 1].message,
                                store_rows[i].message))
        {
            if (store_rows[unique - 1].message->msg_id
                != store_rows[i].message->msg_id)
            {
                store_dead(store_rows[i].kafka, "its number is taken");

            } else {
                atomic_fetch_add(&store_known, 1);
            }

            continue;
        }

        row = store_rows[unique];
        store_rows[unique++] = store_rows[i];
        store_rows[i] = row;
    }

    return unique;
}


static int
store_same_place(const Im__Record *a, const Im__Record *b)
{
    return a->conv_a == b->conv_a && a->conv_b == b->conv_b
           && a->seq == b->seq;
}


static int
store_write(size_t first, size_t n)
{
    int       rc;
    size_t    i;
    unsigned  tries;
    uint64_t  new_rows;

    tries = 0;

    for ( ;; ) {
        rc = store_insert(first, n, &new_rows);

        if (rc != IM_AGAIN) {
            break;
        }

        if (store_again(&tries) != IM_OK) {
            return IM_DONE;
        }
    }

    im_dependency_up(&store_dependency);

    if (rc != IM_OK) {
        im_log(IM_LOG_ERR, "mysql refuses a batch of %zu rows (%s): one by "
               "one", n, im_mysql_error(store_mysql));

        for (i = first; i < first + n; i++) {
            if (store_insert_one(i) != IM_OK) {
                return IM_DONE;
            }
        }

        return IM_OK;
    }

    atomic_fetch_add(&store_stored, new_rows);

    return (new_rows < n) ? store_check(first, n) : IM_OK;
}


static int
store_insert(size_t first, size_t n, uint64_t *new_rows)
{
    size_t             i;
    Im__Record        *m;
    im_mysql_value_t  *v;

    v = store_values;
    memset(v, 0, n * STORE_COLUMNS * sizeof(im_mysql_value_t));

    for (i = first; i < first + n; i++) {
        m = store_rows[i].message;

        v[0].u64 = m->conv_a;
        v[1].u64 = m->conv_b;
        v[2].u64 = m->seq;
        v[3].u64 = m->msg_id;
        v[4].u64 = m->from;
        v[5].u64 = m->time_ms;
        v[6].type = IM_MYSQL_STR;
        v[6].str.data = (unsigned char *) m->cmid;
        v[6].str.len = strlen(m->cmid);
        v[7].type = IM_MYSQL_STR;
        v[7].str.data = m->body.data;
        v[7].str.len = m->body.len;
        v += STORE_COLUMNS;
    }

    return im_mysql_insert(store_mysql, store_insert_sql, store_values,
                           STORE_COLUMNS, n, new_rows);
}


static int
store_insert_one(size_t i)
{
    int       rc;
    unsigned  tries;
    uint64_t  new_rows;

    tries = 0;

    for ( ;; ) {
        rc = store_insert(i, 1, &new_rows);

        if (rc == IM_OK) {
            atomic_fetch_add(&store_stored, new_rows);
            return (new_rows == 0) ? store_check_one(&store_rows[i]) : IM_OK;
        }

        if (rc != IM_AGAIN) {
            store_dead(store_rows[i].kafka, im_mysql_error(store_mysql));
            return IM_OK;
        }

        if (store_again(&tries) != IM_OK) {
            return IM_DONE;
        }
    }
}


static int
store_check(size_t first, size_t n)
{
    size_t  i;

    for (i = first; i < first + n; i++) {
        if (store_check_one(&store_rows[i]) != IM_OK) {
            return IM_DONE;
        }
    }

    return IM_OK;
}


/* Rows that this very batch has inserted pass too: theirs is their msg_id. */
static int
store_check_one(const store_row_t *row)
{
    int                           rc;
    unsigned                      tries;
    uint64_t                      msg_id;
    im_mysql_value_t              place[3];
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64 };

    memset(place, 0, sizeof(place));
    place[0].u64 = row->message->conv_a;
    place[1].u64 = row->message->conv_b;
    place[2].u64 = row->message->seq;
    tries = 0;

    for ( ;; ) {
        msg_id = 0;
        rc = im_mysql_run(store_mysql, store_select_sql, place, 3, columns, 1,
                          store_on_msg_id, &msg_id, NULL, NULL);

        if (rc == IM_OK) {
            break;
        }

        if (store_again(&tries) != IM_OK) {
            return IM_DONE;
        }
    }

    if (msg_id != row->message->msg_id) {
        store_dead(row->kafka, "its number is taken");

    } else {
        atomic_fetch_add(&store_known, 1);
    }

    return IM_OK;
}


static int
store_on_msg_id(void *ctx, const im_mysql_value_t *values)
{
    *(uint64_t *) ctx = values[0].u64;

    return IM_OK;
}


/* The database is away or busy: 50 ms, doubled up to 1 s.  IM_DONE: stop. */
static int
store_again(unsigned *tries)
{
    unsigned         ms;
    struct timespec  ts;

    im_dependency_down(&store_dependency, im_mysql_error(store_mysql));

    if (atomic_load(&store_stopping)) {
        return IM_DONE;
    }

    ms = (*tries < 4) ? 50u << *tries : 1000;
    (*tries)++;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = (long) (ms % 1000) * 1000000;
    nanosleep(&ts, NULL);

    return IM_OK;
}


static void
store_dead(const im_kafka_record_t *kafka, const char *reason)
{
    atomic_fetch_add(&store_lost, 1);

    im_log(IM_LOG_ERR, "dead letter: partition %d, offset %" PRId64 ": %s",
           kafka->partition, kafka->offset, reason);

    task_dead_add(kafka);
}
