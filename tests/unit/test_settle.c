/*
 * test_settle.c -- who waits for the log, with a Kafka of our own.
 */

#include "unit.h"

#include "logic_settle_list.h"


#define CROWD  3000

static logic_settle_list_t  list;
static int64_t              offsets[LOGIC_SETTLE_PARTITIONS];


static int
setup(void **state)
{
    (void) state;

    memset(&list, 0, sizeof(list));
    memset(offsets, 0, sizeof(offsets));

    return 0;
}


static void
come(logic_wait_t *w, uint64_t partitions, uint64_t until_us)
{
    w->partitions = partitions;
    w->until_us = until_us;
    logic_settle_list_add(&list, w);
}


/* A question for the ends, and its answer. */
static void
ends(int64_t end)
{
    unsigned  p;
    uint64_t  asked;

    for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
        offsets[p] = end;
    }

    asked = logic_settle_list_begin(&list);
    logic_settle_list_ends(&list, asked, offsets);
}


static logic_wait_t *
commits(int64_t commit)
{
    unsigned  p;

    for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
        offsets[p] = commit;
    }

    return logic_settle_list_commits(&list, logic_settle_list_marked(&list),
                                     offsets);
}


static void
test_a_crowd_shares_two_questions(void **state)
{
    unsigned             i;
    logic_wait_t        *w;
    static logic_wait_t  crowd[CROWD];

    (void) state;

    for (i = 0; i < CROWD; i++) {
        come(&crowd[i], 1ULL << i % LOGIC_SETTLE_PARTITIONS, 1000);
    }

    ends(10);
    assert_int_equal(logic_settle_list_marked(&list), UINT64_MAX);
    assert_null(commits(9));

    for (w = commits(10), i = 0; w != NULL; w = w->next) {
        i++;
    }

    assert_int_equal(i, CROWD);
    assert_int_equal(list.n, 0);
    assert_null(list.first);
}


static void
test_an_end_from_before_the_question_does_not_count(void **state)
{
    uint64_t      asked;
    logic_wait_t  early = { 0 }, late = { 0 };

    (void) state;

    come(&early, 1, 1000);
    asked = logic_settle_list_begin(&list);
    assert_int_equal(asked, 1);
    come(&late, 1, 1000);                  /* Kafka's answer is on its way */
    offsets[0] = 5;
    logic_settle_list_ends(&list, asked, offsets);

    assert_ptr_equal(commits(5), &early);
    assert_int_equal(late.reached, 0);

    ends(6);                               /* acked before late asked */
    assert_null(commits(5));
    assert_ptr_equal(commits(6), &late);
}


/* Nothing was appended since: the first commit is enough. */
static void
test_an_end_that_was_committed_before_needs_no_question(void **state)
{
    logic_wait_t  first = { 0 }, second = { 0 }, third = { 0 }, cut = { 0 };

    (void) state;

    come(&first, 3, 1000);
    ends(10);
    assert_ptr_equal(commits(10), &first);

    come(&second, 3, 1000);
    ends(10);
    assert_int_equal(logic_settle_list_marked(&list), 0);
    assert_ptr_equal(logic_settle_list_commits(&list, 0, offsets), &second);

    come(&third, 1, 1000);
    ends(11);                              /* something was appended */
    assert_int_equal(logic_settle_list_marked(&list), 1);
    assert_null(commits(10));
    assert_ptr_equal(commits(11), &third);

    come(&cut, 1, 1000);
    ends(9);
    assert_int_equal(logic_settle_list_marked(&list), 1);
    assert_ptr_equal(commits(9), &cut);
}


static void
test_a_commit_is_forgotten_when_nobody_waits(void **state)
{
    logic_wait_t  first = { 0 }, second = { 0 };

    (void) state;

    come(&first, 1, 1000);
    ends(10);
    assert_ptr_equal(commits(10), &first);

    logic_settle_list_forget(&list);
    come(&second, 1, 1000);
    ends(10);
    assert_int_equal(logic_settle_list_marked(&list), 1);
}


static void
test_all_partitions_must_be_reached(void **state)
{
    logic_wait_t  w = { 0 };

    (void) state;

    come(&w, 6, 1000);
    ends(3);
    memset(offsets, 0, sizeof(offsets));
    offsets[1] = 3;
    assert_null(logic_settle_list_commits(&list, 6, offsets));
    assert_int_equal(w.reached, 2);
    assert_ptr_equal(commits(3), &w);
    assert_int_equal(w.reached, 6);
}


static void
test_a_log_that_holds_nothing_is_settled(void **state)
{
    logic_wait_t  w = { 0 };

    (void) state;

    come(&w, 1, 1000);
    ends(0);
    assert_int_equal(logic_settle_list_marked(&list), 0);
    assert_ptr_equal(commits(-1), &w);
}


static void
test_what_kafka_does_not_know_settles_nobody(void **state)
{
    logic_wait_t  w = { 0 };

    (void) state;

    come(&w, 1, 1000);
    ends(-2);
    assert_int_equal(logic_settle_list_begin(&list), 1);  /* asked again */
    ends(2);
    assert_null(commits(-1));              /* the group has done nothing yet */
    assert_null(commits(-2));
    assert_ptr_equal(commits(2), &w);
}


static void
test_nobody_waits_longer_than_his_time(void **state)
{
    logic_wait_t  a = { 0 }, b = { 0 };

    (void) state;

    assert_true(logic_settle_list_next_us(&list) == UINT64_MAX);
    come(&a, 1, 200);
    come(&b, 1, 100);
    assert_int_equal(logic_settle_list_next_us(&list), 100);
    assert_null(logic_settle_list_due(&list, 99));
    assert_ptr_equal(logic_settle_list_due(&list, 100), &b);
    assert_int_equal(logic_settle_list_next_us(&list), 200);
    assert_ptr_equal(logic_settle_list_due(&list, UINT64_MAX), &a);
    assert_int_equal(list.n, 0);
}


static void
test_who_waits_again_keeps_his_end(void **state)
{
    logic_wait_t  w = { 0 };

    (void) state;

    come(&w, 1, 100);
    ends(5);
    assert_ptr_equal(logic_settle_list_due(&list, 100), &w);

    come(&w, 1, 200);
    ends(9);                               /* others have written meanwhile */
    assert_ptr_equal(commits(5), &w);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest  tests[] = {
        T(test_a_crowd_shares_two_questions),
        T(test_an_end_that_was_committed_before_needs_no_question),
        T(test_a_commit_is_forgotten_when_nobody_waits),
        T(test_an_end_from_before_the_question_does_not_count),
        T(test_all_partitions_must_be_reached),
        T(test_a_log_that_holds_nothing_is_settled),
        T(test_what_kafka_does_not_know_settles_nobody),
        T(test_nobody_waits_longer_than_his_time),
        T(test_who_waits_again_keeps_his_end),
    };

    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
