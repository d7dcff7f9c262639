/*
 * fuzz_record.c -- records of Kafka, as im-task stores and as it routes them.
 *
 * An input is a list of records: a byte with the length of the value, and the
 * value.
 *
 * The rows to insert are in the order of the primary key, one for each place;
 * each record is a row, a repeat, a fence, or a dead letter, and none is lost.
 */

#include "fuzz.h"
#include "im_slot.h"
#include "task_batch.h"
#include "task_dead.h"
#include "task_rows.h"


#define RECORDS_MAX  64


static size_t record_list(const uint8_t *data, size_t size,
    im_kafka_record_t *list);
static void record_rows(const im_kafka_record_t *list, size_t n);
static size_t record_fences(const im_kafka_record_t *list, size_t n);
static void record_row(const task_row_t *row, const task_row_t *before);
static void record_routes(const im_kafka_record_t *list, size_t n);


void
fuzz_record(const uint8_t *data, size_t size)
{
    size_t             i, n;
    im_kafka_record_t  list[RECORDS_MAX];

    n = record_list(data, size, list);

    if (task_conf.common.kafka_topic == NULL) {
        task_conf.common.kafka_topic = "im.msg";
    }

    record_rows(list, n);
    record_routes(list, n);

    for (i = 0; i < n; i++) {
        free(list[i].value.data);
    }
}


static size_t
record_list(const uint8_t *data, size_t size, im_kafka_record_t *list)
{
    size_t  n, at, len;

    memset(list, 0, RECORDS_MAX * sizeof(im_kafka_record_t));

    for (n = 0, at = 0; at < size && n < RECORDS_MAX; n++) {
        len = data[at++];
        len = (len < size - at) ? len : size - at;

        list[n].value = fuzz_exact(data + at, len);
        list[n].offset = (int64_t) n;
        at += len;
    }

    return n;
}


static void
record_rows(const im_kafka_record_t *list, size_t n)
{
    size_t             i;
    uint64_t           dead, dead_before, reused, reused_before;
    task_row_t         rows[RECORDS_MAX];
    task_rows_t        r;
    im_mysql_value_t   values[TASK_ROWS_N_COLUMNS];

    task_dead_stats(&dead_before, &reused_before);
    task_rows_init(&r, rows, list, n);
    task_dead_stats(&dead, &reused);

    dead -= dead_before;
    reused -= reused_before;

    FUZZ_CHECK(r.n <= r.all && r.all <= n);
    FUZZ_CHECK(r.all == r.n + r.known + reused);
    FUZZ_CHECK(n == r.n + r.known + dead + record_fences(list, n));

    for (i = 0; i < r.n; i++) {
        record_row(&rows[i], i > 0 ? &rows[i - 1] : NULL);
        task_rows_values(&rows[i], values);
    }

    for (i = r.n; i < r.all; i++) {
        FUZZ_CHECK(rows[i].kafka != NULL);
    }

    task_dead_forget();
}


static size_t
record_fences(const im_kafka_record_t *list, size_t n)
{
    size_t       i, found;
    Im__Record  *m;

    found = 0;

    for (i = 0; i < n; i++) {
        m = im__record__unpack(NULL, list[i].value.len, list[i].value.data);

        if (m != NULL) {
            found += im_conv_is_fence(m->conv_a, m->conv_b);
            im__record__free_unpacked(m, NULL);
        }
    }

    return found;
}


static void
record_row(const task_row_t *row, const task_row_t *before)
{
    const im_record_t  *m, *b;

    m = &row->message;

    FUZZ_CHECK(m->conv_b != 0 && m->conv_a <= m->conv_b);
    FUZZ_CHECK(m->seq != 0 && m->msg_id != 0);
    FUZZ_CHECK(!im_conv_is_fence(m->conv_a, m->conv_b));

    if (before == NULL) {
        return;
    }

    b = &before->message;

    FUZZ_CHECK(b->conv_a < m->conv_a
               || (b->conv_a == m->conv_a && b->conv_b < m->conv_b)
               || (b->conv_a == m->conv_a && b->conv_b == m->conv_b
                   && b->seq < m->seq));
}


static void
record_routes(const im_kafka_record_t *list, size_t n)
{
    size_t                i;
    task_batch_t         *b;
    const task_record_t  *r;

    b = task_batch_get(list, n);
    FUZZ_CHECK(b != NULL && b->n == n);

    for (i = 0; i < n; i++) {
        r = &b->records[i];
        FUZZ_CHECK(r->n_users <= 2);
        FUZZ_CHECK(r->n_users == 0 || r->room == 0);
        FUZZ_CHECK(r->n_users != 2 || r->users[0] != r->users[1]);
        FUZZ_CHECK(r->room != UINT64_MAX);
    }

    b->n = 0;                          /* the records are not Kafka's */
    task_batch_put(b);
}
