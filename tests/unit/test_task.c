/*
 * test_task.c -- what im-task makes of a batch before it asks a database.
 */

#include <stdio.h>

#include "unit.h"

#include "task_dead.h"
#include "task_tails.h"

#define BATCH  8


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
    assert_int_equal(rows[0].message.msg_id, 103);
    assert_int_equal(rows[1].message.msg_id, 101);
    assert_int_equal(rows[2].message.msg_id, 100);
    assert_int_equal(rows[3].message.msg_id, 102);
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
    assert_int_equal(rows[0].message.msg_id, 200);
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
    assert_dead(5, 0);
}


static void
remember(uint64_t a, uint64_t b)
{
    task_tail_t  tail = { .conv_a = a, .conv_b = b, .seq = a, .nth = 1 };

    task_tails_put(&tail);
}


static void
test_remembered_conversations_have_exact_keys(void **state)
{
    uint64_t  i, missing;

    (void) state;

    assert_int_equal(task_tails_start(1), IM_OK);

    for (i = 1; i <= 1000; i++) {
        assert_null(task_tails_find(i, i + 1));
        remember(i, i + 1);
        assert_int_equal(task_tails_find(i, i + 1)->seq, i);
    }

    for (missing = 0, i = 1; i <= 1000; i++) {
        missing += (task_tails_find(i, i + 1) == NULL);
        assert_null(task_tails_find(i, i + 2));
    }

    assert_in_range(missing, 0, 5);        /* three in a set of two */

    task_tails_drop(7, 8);
    assert_null(task_tails_find(7, 8));

    task_tails_stop();
}


static void
test_a_million_conversations_push_out_older_ones_only(void **state)
{
    uint64_t  i, there;

    (void) state;

    assert_int_equal(task_tails_start(1), IM_OK);

    for (i = 1; i <= 1000000; i++) {
        remember(i, i);
        assert_non_null(task_tails_find(i, i));
    }

    for (there = 0, i = 1; i <= 1000000; i++) {
        there += (task_tails_find(i, i) != NULL);
    }

    assert_in_range(there, 200000, 262144);

    task_tails_stop();
}


/* Somebody else may have stored messages in between. */
static void
test_a_gap_in_the_log_forgets_what_is_remembered(void **state)
{
    im_kafka_record_t  k[2] = {
        { .partition = 3, .offset = 10 }, { .partition = 3, .offset = 11 }
    };

    (void) state;

    assert_int_equal(task_tails_start(1), IM_OK);

    task_tails_follow(k, 2);
    remember(1, 2);
    k[0].offset = 12;
    task_tails_follow(k, 1);
    assert_non_null(task_tails_find(1, 2));

    k[0].offset = 14;
    task_tails_follow(k, 1);
    assert_null(task_tails_find(1, 2));

    remember(1, 2);
    k[0].offset = 14;                      /* once more */
    task_tails_follow(k, 1);
    assert_null(task_tails_find(1, 2));

    task_tails_stop();
}


static void
test_messages_above_the_tail_get_the_next_places(void **state)
{
    size_t        n;
    task_rows_t   r;
    task_tail_t   tail = {
        .conv_a = 1, .conv_b = 2, .seq = 5, .run_seq = 3, .nth = 2, .nth_a = 1,
        .moved_id = 50, .hot = 1
    };
    task_turn_t  *turns;

    (void) state;

    assert_int_equal(task_tails_start(BATCH), IM_OK);
    task_tails_put(&tail);
    tail.conv_b = 9;
    tail.seq = tail.run_seq = 0;           /* nothing, or in no run */
    tail.moved_id = 0;
    tail.hot = 0;
    task_tails_put(&tail);

    add(1, 2, 1 << 20, 70);                /* after a jump */
    add(1, 2, 6, 60);
    add(1, 2, 5, 40);                      /* there already */
    add(1, 9, 7, 80);
    task_rows_init(&r, rows, kafka, batch);
    assert_int_equal(task_tails_number(NULL, rows, r.n, &turns, &n), IM_OK);

    assert_int_equal(n, 2);
    assert_true(rows[0].late);
    assert_false(rows[1].late);
    assert_int_equal(rows[1].run_seq, 3);
    assert_int_equal(rows[1].nth, 3);
    assert_int_equal(rows[2].nth, 4);
    assert_int_equal(rows[2].nth_a, 1);    /* from nobody here */
    assert_int_equal(rows[3].run_seq, 7);
    assert_int_equal(rows[3].nth, 1);

    assert_false(turns[0].moves);          /* its key is fresh enough */
    assert_true(turns[1].moves);

    /* nothing is remembered before it is stored */

    assert_int_equal(task_tails_find(1, 2)->nth, 2);
    task_tails_written(turns, n);
    assert_int_equal(task_tails_find(1, 2)->nth, 4);
    assert_int_equal(task_tails_find(1, 2)->moved_id, 50);
    assert_int_equal(task_tails_find(1, 9)->moved_id, 80);

    task_tails_stop();
}


/* A list looks for ten seconds beyond what a hot key says, no further. */
static void
test_a_key_is_exact_or_hot_and_less_than_ten_seconds_behind(void **state)
{
    unsigned     hot;
    uint64_t     id = 250852103515316224u, second = 1000ull << 22;
    task_tail_t  tail = { .moved_id = 0 };

    (void) state;

    assert_true(task_tails_moves(&tail, id, &hot));
    assert_false(hot);

    tail.moved_id = id;
    assert_true(task_tails_moves(&tail, id + 1, &hot));
    assert_true(hot);
    assert_true(task_tails_moves(&tail, id + 10 * second, &hot));
    assert_false(hot);

    tail.hot = 1;
    assert_false(task_tails_moves(&tail, id + 1, &hot));
    assert_false(task_tails_moves(&tail, id + 10 * second - 1, &hot));
    assert_false(task_tails_moves(&tail, id - 100 * second, &hot));
    assert_true(task_tails_moves(&tail, id + 10 * second, &hot));
    assert_false(hot);
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
        T(test_remembered_conversations_have_exact_keys),
        T(test_a_million_conversations_push_out_older_ones_only),
        T(test_a_gap_in_the_log_forgets_what_is_remembered),
        T(test_messages_above_the_tail_get_the_next_places),
        T(test_a_key_is_exact_or_hot_and_less_than_ten_seconds_behind),
    };

    task_conf.common.kafka_topic = "im.msg";

    return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
