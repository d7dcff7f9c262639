/*
 * test_task.c -- what im-task makes of a batch before it asks a database.
 */

#include <stdio.h>

#include "unit.h"

#include "task_conversations.h"
#include "task_dead.h"

#define BATCH  8


task_conf_t  task_conf;        /* task_main.c stays out */

static im_kafka_record_t  kafka[BATCH];
static task_row_t         rows[BATCH];
static size_t             batch;


static void
add(uint64_t a, uint64_t b, uint64_t seq, uint64_t msg_id)
{
    Im__Record          m = IM__RECORD__INIT;
    im_kafka_record_t  *k;

    m.conv_a = a;
    m.conv_b = b;
    m.seq = seq;
    m.msg_id = msg_id;

    k = &kafka[batch];
    k->offset = (int64_t) batch++;
    k->value.len = im__record__get_packed_size(&m);
    k->value.data = malloc(k->value.len + 1);
    assert_non_null(k->value.data);
    im__record__pack(&m, k->value.data);
}


static int
teardown(void **state)
{
    (void) state;

    while (batch > 0) {
        free(kafka[--batch].value.data);
    }

    task_dead_forget();

    return 0;
}


/* What has become dead since the last call. */
static void
assert_dead(uint64_t dead, uint64_t reused)
{
    uint64_t         d, r;
    static uint64_t  last_dead, last_reused;

    task_dead_stats(&d, &r);
    assert_int_equal(d - last_dead, dead);
    assert_int_equal(r - last_reused, reused);
    last_dead = d;
    last_reused = r;
}


static void
test_rows_come_in_the_order_of_the_primary_key(void **state)
{
    task_rows_t  r;

    (void) state;

    add(2, 3, 2, 102);
    add(1, 9, 1, 101);
    add(2, 3, 1, 100);
    add(0, 5, 7, 103);             /* a room */

    task_rows_init(&r, rows, kafka, batch);
    assert_int_equal(r.n, 4);
    assert_int_equal(rows[0].message->msg_id, 103);
    assert_int_equal(rows[1].message->msg_id, 101);
    assert_int_equal(rows[2].message->msg_id, 100);
    assert_int_equal(rows[3].message->msg_id, 102);
    task_rows_free(&r, rows);
    assert_dead(0, 0);
}


static void
test_a_repeat_in_a_batch_is_one_row(void **state)
{
    task_rows_t  r;

    (void) state;

    add(1, 2, 1, 100);
    add(1, 2, 2, 101);
    add(1, 2, 1, 100);

    task_rows_init(&r, rows, kafka, batch);
    assert_int_equal(r.n, 2);
    assert_int_equal(r.all, 3);
    assert_int_equal(r.known, 1);
    task_rows_free(&r, rows);
    assert_dead(0, 0);
}


static void
test_the_first_in_the_log_keeps_a_number_that_was_given_twice(void **state)
{
    task_rows_t  r;

    (void) state;

    add(1, 2, 1, 200);
    add(1, 2, 1, 100);

    task_rows_init(&r, rows, kafka, batch);
    assert_int_equal(r.n, 1);
    assert_int_equal(rows[0].message->msg_id, 200);
    task_rows_free(&r, rows);
    assert_dead(1, 1);
}


static void
test_what_has_no_place_is_a_dead_letter(void **state)
{
    task_rows_t  r;

    (void) state;

    add(1, 2, 0, 100);             /* no number */
    add(1, 2, 1, 0);               /* no id */
    add(2, 1, 1, 100);             /* users the wrong way round */
    add(0, 0, 1, 100);             /* nobody */
    add(1, 2, 1, 100);
    kafka[4].value.len--;          /* cut off */

    task_rows_init(&r, rows, kafka, batch);
    assert_int_equal(r.n, 0);
    task_rows_free(&r, rows);
    assert_dead(5, 0);
}


static void
test_known_conversations_have_exact_keys(void **state)
{
    uint64_t  i, missing;

    (void) state;

    assert_int_equal(task_conversations_start(1), IM_OK);

    for (i = 1; i <= 1000; i++) {
        assert_false(task_known_has(i, i + 1));
        task_known_add(i, i + 1);
        assert_true(task_known_has(i, i + 1));
    }

    for (missing = 0, i = 1; i <= 1000; i++) {
        missing += !task_known_has(i, i + 1);
        assert_false(task_known_has(i, i + 2));
    }

    assert_in_range(missing, 0, 5);        /* three in a set of two */

    task_conversations_stop();
}


static void
test_a_million_conversations_push_out_older_ones_only(void **state)
{
    uint64_t  i, there;

    (void) state;

    assert_int_equal(task_conversations_start(1), IM_OK);

    for (i = 1; i <= 1000000; i++) {
        task_known_add(i, i);
        assert_true(task_known_has(i, i));
    }

    for (there = 0, i = 1; i <= 1000000; i++) {
        there += task_known_has(i, i);
    }

    assert_in_range(there, 200000, 262144);

    task_conversations_stop();
}


int
main(void)
{
#define T(name)  cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_rows_come_in_the_order_of_the_primary_key),
        T(test_a_repeat_in_a_batch_is_one_row),
        T(test_the_first_in_the_log_keeps_a_number_that_was_given_twice),
        T(test_what_has_no_place_is_a_dead_letter),
        T(test_known_conversations_have_exact_keys),
        T(test_a_million_conversations_push_out_older_ones_only),
    };

    task_conf.common.kafka_topic = "im.msg";

    return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
