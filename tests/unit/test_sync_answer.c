/*
 * test_sync_answer.c -- what a client is told of the numbers that a page lacks.
 */

#include "unit.h"

#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_sync_int.h"


#define NOW_MS    1000000000
#define OLD_MS    (NOW_MS - 60000)
#define YOUNG_MS  (NOW_MS - 1000)

static logic_sync_t       sync;
static logic_sync_item_t  item;
static Im__Cursor         cursor;


static int
setup(void **state)
{
    (void) state;

    memset(&sync, 0, sizeof(sync));
    memset(&item, 0, sizeof(item));
    im__cursor__init(&cursor);

    logic_conf.kafka_delivery_ms = 5000;
    sync.now_ms = NOW_MS;
    item.cursor = &cursor;
    item.conv.a = 1;
    item.conv.b = 2;
    item.read = 1;

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    logic_sync_forget(&item);

    return 0;
}


/* Another message of the page. */
static void
stored(uint64_t seq, uint64_t time_ms)
{
    Im__Message  *m;

    if (item.page.messages == NULL) {
        assert_int_equal(logic_page_create(&item.page, &item.conv, 50,
                                           LOGIC_PAGE_BYTES_MAX), IM_OK);
    }

    m = malloc(sizeof(Im__Message));
    assert_non_null(m);
    im__message__init(m);
    m->seq = seq;
    m->time_ms = time_ms;

    item.page.messages[item.page.n++] = m;
    item.page.bytes += logic_page_cost(m);
    item.head = item.counter = seq;
}


static void
written_down(uint64_t from, uint64_t to)
{
    logic_void_t  *v;

    if (item.known == NULL) {
        item.known = calloc(LOGIC_SYNC_VOIDS_MAX, sizeof(logic_void_t));
        assert_non_null(item.known);
    }

    v = &item.known[item.n_known++];
    v->conv = item.conv;
    v->from = from;
    v->to = to;
    item.void_top = to;
}


static void
judged(size_t messages, size_t voids, uint64_t next)
{
    assert_int_equal(logic_sync_judge(&sync, &item), IM_OK);
    assert_null(item.out.error);
    assert_int_equal(item.out.n_messages, messages);
    assert_int_equal(item.out.n_voids, voids);
    assert_int_equal(item.out.next, next);
    assert_int_equal(item.out.pending, item.pending);
}


static void
test_a_void_that_is_written_down_needs_no_settled_log(void **state)
{
    (void) state;

    stored(1, YOUNG_MS);
    written_down(2, 4);
    stored(5, YOUNG_MS);
    judged(2, 1, 5);
    assert_int_equal(item.out.voids[0]->from, 2);
    assert_int_equal(item.out.voids[0]->to, 4);
    assert_false(item.voids[0].proven);
    assert_false(item.waits || item.pending);
}


static void
test_an_old_gap_waits_for_the_settled_log(void **state)
{
    (void) state;

    stored(1, OLD_MS);
    stored(3, OLD_MS);
    judged(1, 0, 1);
    assert_true(item.waits && item.pending && item.cut);
    assert_false(item.out.more);
}


static void
test_an_old_gap_in_a_settled_log_is_void(void **state)
{
    (void) state;

    item.settled = 1;
    stored(1, OLD_MS);
    stored(3, OLD_MS);
    judged(2, 1, 3);
    assert_true(item.voids[0].proven);
    assert_false(item.waits || item.pending);
}


static void
test_a_young_gap_is_pending_and_nobody_waits_for_it(void **state)
{
    (void) state;

    stored(2, YOUNG_MS);
    judged(0, 0, 0);
    assert_true(item.pending);
    assert_false(item.waits);
}


static void
test_a_gap_is_passed_as_far_as_it_is_known(void **state)
{
    (void) state;

    written_down(1, 2);
    stored(4, YOUNG_MS);
    judged(0, 1, 2);
    assert_true(item.pending);
}


static void
test_a_range_that_is_wider_than_the_gap_hides_no_message(void **state)
{
    (void) state;

    written_down(1, 9);
    stored(3, YOUNG_MS);
    stored(5, YOUNG_MS);
    judged(2, 3, 9);
    assert_int_equal(item.out.voids[0]->to, 2);
    assert_int_equal(item.out.voids[1]->from, 4);
    assert_int_equal(item.out.voids[1]->to, 4);
    assert_int_equal(item.out.voids[2]->from, 6);
}


static void
test_voids_behind_the_last_message_are_stepped_over(void **state)
{
    (void) state;

    stored(1, YOUNG_MS);
    written_down(2, 3);
    item.counter = 3;
    assert_false(logic_sync_lags(&item));
    judged(1, 1, 3);
    assert_false(item.waits || item.pending);
}


static void
test_a_tail_that_nobody_knows_waits_once(void **state)
{
    (void) state;

    stored(1, YOUNG_MS);
    item.counter = 2;
    assert_true(logic_sync_lags(&item));
    judged(1, 0, 1);
    assert_true(item.waits && item.pending && item.lags);

    logic_sync_forget(&item);
    item.settled = 1;
    stored(1, YOUNG_MS);
    item.counter = 2;
    judged(1, 0, 1);                   /* none of it was acked by then */
    assert_false(item.waits || item.pending);
}


static void
test_a_cursor_on_a_void_is_not_ahead(void **state)
{
    (void) state;

    item.settled = 1;
    item.head = 3;
    cursor.seq = 5;
    item.void_top = 5;
    judged(0, 0, 5);

    item.judged = 0;
    cursor.seq = 6;
    assert_int_equal(logic_sync_judge(&sync, &item), IM_OK);
    assert_string_equal(item.out.error, "cursor_ahead");
}


/* Two conversations: `item`, and one in which nothing can be given yet. */
static uint64_t
until_ms(void)
{
    logic_sync_item_t  items[2];

    memset(items, 0, sizeof(items));
    items[0].cursor = &cursor;
    items[0].read = 1;
    items[1] = item;

    sync.items = items;
    sync.n = 2;
    sync.start_us = 1000000;
    sync.until_us = 2000000;

    return (logic_sync_until(&sync) - sync.start_us) / 1000;
}


static void
test_who_gets_nothing_waits_as_long_as_he_may(void **state)
{
    (void) state;

    assert_int_equal(until_ms(), 1000);

    item.head = 3;
    item.error = "not_member";
    assert_int_equal(until_ms(), 1000);
    item.error = NULL;

    /* read, and a gap is in the way */

    stored(2, YOUNG_MS);
    assert_int_equal(logic_sync_judge(&sync, &item), IM_OK);
    assert_int_equal(until_ms(), 1000);
}


static void
test_messages_do_not_wait_for_another_conversation(void **state)
{
    (void) state;

    item.head = 1;
    assert_int_equal(until_ms(), IM_SYNC_PART_MS);

    stored(1, YOUNG_MS);
    stored(3, YOUNG_MS);
    assert_int_equal(logic_sync_judge(&sync, &item), IM_OK);
    assert_int_equal(item.out.next, 1);
    assert_int_equal(until_ms(), IM_SYNC_PART_MS);

    /* not even longer where the call itself ends sooner */

    sync.items = &item;
    sync.n = 1;
    sync.until_us = sync.start_us + 5000;
    assert_int_equal(logic_sync_until(&sync), sync.until_us);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_a_void_that_is_written_down_needs_no_settled_log),
        T(test_an_old_gap_waits_for_the_settled_log),
        T(test_an_old_gap_in_a_settled_log_is_void),
        T(test_a_young_gap_is_pending_and_nobody_waits_for_it),
        T(test_a_gap_is_passed_as_far_as_it_is_known),
        T(test_a_range_that_is_wider_than_the_gap_hides_no_message),
        T(test_voids_behind_the_last_message_are_stepped_over),
        T(test_a_tail_that_nobody_knows_waits_once),
        T(test_a_cursor_on_a_void_is_not_ahead),
        T(test_who_gets_nothing_waits_as_long_as_he_may),
        T(test_messages_do_not_wait_for_another_conversation),
    };

    return cmocka_run_group_tests_name("sync_answer", tests, NULL, NULL);
}
