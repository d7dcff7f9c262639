/*
 * test_fate.c -- when it is known what became of numbers: phases, who is waited
 * for after Redis has lost its memory, and the queue of those not known yet.
 */

#include <stdlib.h>

#include "unit.h"

#include "logic_decided_peers.h"
#include "logic_fate_log.h"
#include "logic_fate_queue.h"
#include "logic_phases.h"


#define S     1000000ULL           /* us */
#define LOST  (100 * S)
#define AGE   (12 * S)


static logic_fence_t  made;            /* the last */
static unsigned       made_n;


static int
produce(const logic_fence_t *fence)
{
    made = *fence;
    made_n++;

    return IM_OK;
}


static void
a_turn_waits_for_all_who_came_before_it(void **state)
{
    unsigned char   a = 0, b = 0;
    logic_phases_t  p = { 0 };

    (void) state;

    logic_phases_enter(&p, &a);
    assert_int_equal(logic_phases_ended(&p, 0), IM_AGAIN);

    logic_phases_enter(&p, &b);        /* after the turn: not waited for */
    assert_int_equal(logic_phases_ended(&p, 0), IM_AGAIN);

    logic_phases_leave(&p, &a);
    assert_int_equal(a, 0);
    assert_int_equal(logic_phases_ended(&p, 0), IM_OK);
    assert_int_equal(logic_phases_now(&p), 1);

    logic_phases_leave(&p, &b);
    assert_int_equal(logic_phases_ended(&p, 1), IM_OK);
}


static void
a_phase_does_not_begin_while_one_of_its_parity_is_open(void **state)
{
    unsigned char   a = 0, b = 0;
    logic_phases_t  p = { 0 };

    (void) state;

    logic_phases_enter(&p, &a);
    assert_int_equal(logic_phases_ended(&p, 0), IM_AGAIN);
    logic_phases_enter(&p, &b);

    /* the second turn would mix a with those of phase 2 */

    assert_int_equal(logic_phases_ended(&p, 1), IM_AGAIN);
    assert_int_equal(logic_phases_now(&p), 1);

    logic_phases_leave(&p, &a);
    assert_int_equal(logic_phases_ended(&p, 1), IM_AGAIN);
    assert_int_equal(logic_phases_now(&p), 2);
    assert_int_equal(logic_phases_ended(&p, 0), IM_OK);

    logic_phases_leave(&p, &b);
    assert_int_equal(logic_phases_ended(&p, 1), IM_OK);
}


static void
who_enters_or_leaves_twice_counts_once(void **state)
{
    unsigned char   a = 0;
    logic_phases_t  p = { 0 };

    (void) state;

    logic_phases_enter(&p, &a);
    logic_phases_enter(&p, &a);
    logic_phases_leave(&p, &a);
    logic_phases_leave(&p, &a);

    assert_int_equal(logic_phases_ended(&p, 0), IM_OK);
}


static int
posts(logic_peers_t *p, const char *id, const char *post)
{
    return logic_peers_post(p, id, post, 777, 50000, LOST);
}


static void
after_a_loss_all_who_were_there_are_waited_for(void **state)
{
    logic_peers_t  p = { NULL };

    (void) state;

    logic_peers_up(&p, "a", S);
    logic_peers_up(&p, "b", S);
    assert_true(logic_peers_waits(&p, LOST, AGE));

    assert_int_equal(posts(&p, "a", "777 50000"), 0);
    assert_true(logic_peers_waits(&p, LOST, AGE));

    /* it has its numbers of before in hand still; then those of another loss */

    assert_int_equal(posts(&p, "b", "- 50000"), 1);
    assert_int_equal(posts(&p, "b", "776 50000"), 1);
    assert_true(logic_peers_waits(&p, LOST, AGE));

    assert_int_equal(posts(&p, "b", "777 50000"), 0);
    assert_false(logic_peers_waits(&p, LOST, AGE));

    logic_peers_unmark(&p);
    assert_true(logic_peers_waits(&p, LOST, AGE));
    logic_peers_clear(&p);
}


static void
one_that_died_before_the_loss_is_waited_for_while_numbers_live(
    void **state)
{
    logic_peers_t  p = { NULL };

    (void) state;

    logic_peers_up(&p, "dead", S);
    logic_peers_down(&p, "dead", LOST - AGE);
    assert_true(logic_peers_waits(&p, LOST, AGE));

    logic_peers_down(&p, "dead", LOST - AGE - 1);
    assert_false(logic_peers_waits(&p, LOST, AGE));

    /* etcd never named it, but it had posted */

    assert_int_equal(posts(&p, "unseen", "- 50000"), 1);
    assert_true(logic_peers_waits(&p, LOST, AGE));
    logic_peers_clear(&p);
}


static void
an_old_post_does_not_make_anybody_live(void **state)
{
    logic_peers_t  p = { NULL };

    (void) state;

    assert_int_equal(posts(&p, "frozen", "- 47999"), 0);
    assert_null(logic_peers_find(&p, "frozen"));

    /* what it has said stays said */

    logic_peers_up(&p, "frozen", S);
    assert_int_equal(posts(&p, "frozen", "777 47999"), 0);
    assert_false(logic_peers_waits(&p, LOST, AGE));
    logic_peers_clear(&p);
}


static void
a_text_that_is_no_post_is_nobodys_word(void **state)
{
    unsigned       i;
    logic_peers_t  p = { NULL };

    static const char  *texts[] = { "", " ", "-", "x", "777", "777 ", "- -5x" };

    (void) state;

    logic_peers_up(&p, "a", S);

    for (i = 0; i < UNIT_N(texts); i++) {
        assert_int_equal(posts(&p, "b", texts[i]), 0);
        assert_true(logic_peers_waits(&p, LOST, AGE));
    }

    logic_peers_clear(&p);
}


static void
an_instance_that_never_posts_is_of_an_earlier_version(void **state)
{
    logic_peers_t  p = { NULL };

    (void) state;

    logic_peers_up(&p, "new", LOST);
    assert_false(logic_peers_is_mixed(&p, LOST + S));      /* it may be young */
    assert_true(logic_peers_is_mixed(&p, LOST + S + 1));

    (void) posts(&p, "new", "- 50000");
    assert_false(logic_peers_is_mixed(&p, LOST + 99 * S));

    logic_peers_up(&p, "old", LOST);
    logic_peers_down(&p, "old", LOST + 9 * S);
    assert_false(logic_peers_is_mixed(&p, LOST + 99 * S));
    logic_peers_clear(&p);
}


static void
a_message_is_given_up_when_a_later_fence_is_confirmed(void **state)
{
    logic_fence_t  ticket, late;

    (void) state;

    logic_fence_ticket(3, &ticket);
    assert_int_equal(logic_fence_passed(&ticket), IM_AGAIN);
    assert_int_equal(made_n, 1);

    logic_fence_ticket(3, &late);          /* the fence is before it, maybe */
    assert_int_equal(logic_fence_passed(&late), IM_AGAIN);
    assert_int_equal(made_n, 1);

    logic_fence_on_report(&made, 1);
    assert_int_equal(logic_fence_passed(&ticket), IM_OK);
    assert_int_equal(logic_fence_passed(&late), IM_AGAIN);
    assert_int_equal(made_n, 2);

    logic_fence_on_report(&made, 0);       /* Kafka has given it up */
    assert_int_equal(logic_fence_passed(&late), IM_AGAIN);
    assert_int_equal(made_n, 3);

    logic_fence_on_report(&made, 1);
    assert_int_equal(logic_fence_passed(&late), IM_OK);
}


static void
a_fence_of_a_producer_that_was_replaced_confirms_nothing(void **state)
{
    logic_fence_t  ticket, fresh, old;

    (void) state;

    logic_fence_ticket(5, &ticket);
    assert_int_equal(logic_fence_passed(&ticket), IM_AGAIN);
    old = made;

    logic_fence_on_replaced();
    assert_int_equal(logic_fence_passed(&ticket), IM_DECLINED);

    logic_fence_ticket(5, &fresh);
    assert_int_equal(logic_fence_passed(&fresh), IM_AGAIN);

    /* it was handed to the new producer, before the fence of that one */

    logic_fence_on_report(&old, 1);
    assert_int_equal(logic_fence_passed(&fresh), IM_AGAIN);

    logic_fence_on_report(&made, 1);
    assert_int_equal(logic_fence_passed(&fresh), IM_OK);
}


static void
an_end_of_the_log_is_kept_until_the_store_reaches_it(void **state)
{
    uint64_t          first = 0, with = 0, late = 0, other = 0;
    logic_fate_log_t  log = { 0 };

    (void) state;

    assert_int_equal(logic_fate_log_passed(&log, 63, &first), IM_AGAIN);
    assert_int_equal(logic_fate_log_passed(&log, 63, &with), IM_AGAIN);
    assert_int_equal(logic_fate_log_passed(&log, 0, &other), IM_AGAIN);
    assert_true(log.wait.partitions == (1ULL << 63 | 1));

    log.wait.marked = log.wait.partitions;
    log.wait.ends[63] = 7;
    log.wait.reached = 1;
    logic_fate_log_turn(&log);

    assert_int_equal(logic_fate_log_passed(&log, 0, &other), IM_OK);
    assert_int_equal(logic_fate_log_passed(&log, 63, &first), IM_AGAIN);
    assert_true(log.wait.marked == 1ULL << 63);
    assert_int_equal(log.wait.ends[63], 7);

    /* this one's fence may be above that end */

    assert_int_equal(logic_fate_log_passed(&log, 63, &late), IM_AGAIN);

    log.wait.reached = 1ULL << 63;
    logic_fate_log_turn(&log);

    assert_int_equal(logic_fate_log_passed(&log, 63, &first), IM_OK);
    assert_int_equal(logic_fate_log_passed(&log, 63, &with), IM_OK);
    assert_int_equal(logic_fate_log_passed(&log, 63, &late), IM_AGAIN);
    assert_true(log.wait.marked == 0);
    assert_true(log.wait.partitions == 1ULL << 63);

    log.wait.marked = log.wait.reached = 1ULL << 63;
    logic_fate_log_turn(&log);
    assert_int_equal(logic_fate_log_passed(&log, 63, &late), IM_OK);
    assert_true(log.wait.partitions == 0);
}


static logic_fate_t *
fate(uint64_t seq)
{
    logic_fate_t  *f;

    f = calloc(1, sizeof(logic_fate_t));
    assert_non_null(f);
    f->seq.seq = seq;

    return f;
}


static void
a_number_that_is_not_known_yet_is_asked_for_again_a_little_later(void **state)
{
    int                 i;
    uint64_t            now, due, pause;
    logic_fate_t       *f;
    logic_fate_queue_t  q;

    (void) state;

    logic_fate_queue_init(&q, 10);
    assert_int_equal(logic_fate_queue_due(&q), UINT64_MAX);

    now = 5 * S;
    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_FENCE, fate(1), now),
                     IM_OK);

    for (i = 0, pause = LOGIC_FATE_PAUSE_MS; i < 9; i++) {
        assert_int_equal(logic_fate_queue_due(&q), now);
        assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_FENCE, now, &f,
                                               1), 1);
        logic_fate_queue_later(&q, LOGIC_FATE_FENCE, f, now);

        due = now + pause * 1000;
        assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_FENCE, due - 1,
                                               &f, 1), 0);
        now = due;
        pause = (i < 2) ? 2 * pause : LOGIC_FATE_PAUSE_MAX_MS;
    }

    assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_FENCE, now, &f, 1),
                     1);
    logic_fate_queue_next(&q, LOGIC_FATE_STORED, f, now);
    assert_int_equal(f->tries, 0);
    assert_int_equal(logic_fate_queue_due(&q), now);

    assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_STORED, now, &f, 1),
                     1);
    logic_fate_queue_done(&q, f);
    assert_int_equal(q.n, 0);
}


static void
one_that_waits_holds_up_none_behind_it(void **state)
{
    size_t              i, n;
    logic_fate_t       *f[4];
    logic_fate_queue_t  q;

    (void) state;

    logic_fate_queue_init(&q, 3);

    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_VOID, fate(1), 0),
                     IM_OK);
    assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_VOID, 0, f, 4), 1);
    logic_fate_queue_later(&q, LOGIC_FATE_VOID, f[0], 0);

    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_VOID, fate(2), 1),
                     IM_OK);
    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_VOID, fate(3), 1),
                     IM_OK);
    assert_int_equal(logic_fate_queue_take(&q, LOGIC_FATE_VOID, 1, f, 4), 2);
    assert_int_equal(f[0]->seq.seq, 2);
    assert_int_equal(f[1]->seq.seq, 3);

    /* those that were taken count still */

    f[2] = fate(4);
    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_VOID, f[2], 1),
                     IM_BUSY);
    free(f[2]);

    logic_fate_queue_done(&q, f[0]);
    logic_fate_queue_next(&q, LOGIC_FATE_VOID, f[1], 1);
    assert_int_equal(logic_fate_queue_add(&q, LOGIC_FATE_VOID, fate(5), 1),
                     IM_OK);

    n = logic_fate_queue_take(&q, LOGIC_FATE_VOID, S, f, 4);
    assert_int_equal(n, 3);
    assert_int_equal(f[0]->seq.seq, 1);
    assert_int_equal(f[2]->seq.seq, 5);

    for (i = 0; i < n; i++) {
        logic_fate_queue_done(&q, f[i]);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_turn_waits_for_all_who_came_before_it),
        cmocka_unit_test(
            a_phase_does_not_begin_while_one_of_its_parity_is_open),
        cmocka_unit_test(who_enters_or_leaves_twice_counts_once),
        cmocka_unit_test(after_a_loss_all_who_were_there_are_waited_for),
        cmocka_unit_test(
            one_that_died_before_the_loss_is_waited_for_while_numbers_live),
        cmocka_unit_test(an_old_post_does_not_make_anybody_live),
        cmocka_unit_test(a_text_that_is_no_post_is_nobodys_word),
        cmocka_unit_test(an_instance_that_never_posts_is_of_an_earlier_version),
        cmocka_unit_test(a_message_is_given_up_when_a_later_fence_is_confirmed),
        cmocka_unit_test(
            a_fence_of_a_producer_that_was_replaced_confirms_nothing),
        cmocka_unit_test(an_end_of_the_log_is_kept_until_the_store_reaches_it),
        cmocka_unit_test(
            a_number_that_is_not_known_yet_is_asked_for_again_a_little_later),
        cmocka_unit_test(one_that_waits_holds_up_none_behind_it),
    };

    logic_fence_register(produce);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
