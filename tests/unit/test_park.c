/*
 * test_park.c -- messages that wait for MySQL: those of a conversation keep
 * their order, others pass, each wait ends, and nothing is left behind.  And
 * repeats that wait for the first try: not more than a few.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "im_timeouts.h"
#include "logic_park.h"

#define MS     ((uint64_t) 1000)
#define SHORT  (IM_ASK_STALE_MS * MS)
#define LONG   (IM_ASK_MS * MS)
#define MAX    8


static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t   wake = PTHREAD_COND_INITIALIZER;
static logic_park_t     park;


static int
setup(void **state)
{
    (void) state;

    logic_park_init(&park, &lock, &wake, MAX);

    return 0;
}


/* Of a group, so that several users speak in one conversation. */
static logic_message_t *
message(uint64_t room, uint64_t from)
{
    logic_message_t  *m;

    m = calloc(1, sizeof(logic_message_t));
    assert_non_null(m);

    m->seq.conv.b = room;
    m->from = from;

    return m;
}


static logic_question_t *
ask(logic_message_t *m, logic_want_e want, logic_park_wait_e wait)
{
    logic_question_t  *q;

    q = logic_question_create(m, want, wait, 0);
    assert_non_null(q);
    assert_int_equal(logic_park_add(&park, m, q), IM_OK);

    return q;
}


static logic_question_t *
ask_may(logic_message_t *m)
{
    return ask(m, LOGIC_WANT_MAY, LOGIC_PARK_LONG);
}


static void
behind(logic_message_t *m)
{
    assert_true(logic_park_is_behind(&park, m));
    assert_int_equal(logic_park_add(&park, m, NULL), IM_OK);
}


static logic_message_t *
take(void)
{
    logic_message_t  *m;

    return (logic_park_take(&park, &m, 1) == 1) ? m : NULL;
}


static void
free_all(logic_message_t **m, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        free(m[i]);
    }
}


static void
test_a_conversation_keeps_its_order_and_others_pass(void **state)
{
    logic_message_t   *m[4];
    logic_question_t  *q[3];

    (void) state;

    m[0] = message(1, 7);
    m[1] = message(1, 8);
    m[2] = message(1, 7);
    m[3] = message(2, 7);

    assert_false(logic_park_is_behind(&park, m[0]));
    q[0] = ask_may(m[0]);
    q[1] = ask_may(m[1]);
    behind(m[2]);
    assert_false(logic_park_is_behind(&park, m[3]));
    q[2] = ask_may(m[3]);

    /* the second is answered first, and waits for the first */

    logic_park_done(q[1], IM_OK);
    assert_int_equal(logic_park_due(&park), 0);
    assert_null(take());

    logic_park_done(q[2], IM_OK);
    assert_ptr_equal(take(), m[3]);
    assert_null(take());

    logic_park_done(q[0], IM_OK);
    assert_ptr_equal(take(), m[0]);
    assert_ptr_equal(take(), m[1]);
    assert_ptr_equal(take(), m[2]);
    assert_null(take());

    assert_int_equal(park.n, 0);
    assert_null(park.convs);
    free_all(m, 4);
}


static void
test_what_has_to_wait_once_more_stays_in_front(void **state)
{
    logic_message_t   *m[3];
    logic_question_t  *q[2];

    (void) state;

    m[0] = message(1, 7);
    m[1] = message(1, 8);
    m[2] = message(1, 9);

    q[0] = ask_may(m[0]);
    q[1] = ask_may(m[1]);

    logic_park_done(q[0], IM_OK);
    assert_ptr_equal(take(), m[0]);
    assert_false(logic_park_is_behind(&park, m[0]));
    assert_true(logic_park_is_behind(&park, m[2]));
    behind(m[2]);

    q[0] = ask(m[0], LOGIC_WANT_SEED, LOGIC_PARK_LONG);
    logic_park_done(q[1], IM_OK);
    assert_null(take());

    q[0]->seq.seeded = 1;
    logic_park_done(q[0], IM_OK);
    assert_ptr_equal(take(), m[0]);
    assert_true(m[0]->seeded);
    assert_ptr_equal(take(), m[1]);
    assert_ptr_equal(take(), m[2]);

    free_all(m, 3);
}


static void
test_a_wait_ends_though_nobody_answers(void **state)
{
    logic_message_t   *m[3];
    logic_question_t  *q[2];

    (void) state;

    m[0] = message(1, 7);
    m[1] = message(2, 7);
    m[2] = message(2, 8);

    q[0] = ask(m[0], LOGIC_WANT_MAY, LOGIC_PARK_LONG);
    q[1] = ask(m[1], LOGIC_WANT_STORED, LOGIC_PARK_SHORT);
    behind(m[2]);

    assert_int_equal(logic_park_due(&park), SHORT);
    assert_int_equal(logic_park_expire(&park, SHORT - 1), 0);
    assert_int_equal(logic_park_expire(&park, SHORT), 1);
    assert_ptr_equal(take(), m[1]);
    assert_int_equal(m[1]->unanswered, LOGIC_WANT_STORED);
    assert_ptr_equal(take(), m[2]);
    assert_int_equal(m[2]->unanswered, 0);
    assert_null(take());

    assert_int_equal(logic_park_due(&park), LONG);
    assert_int_equal(logic_park_expire(&park, LONG), 1);
    assert_ptr_equal(take(), m[0]);
    assert_int_equal(m[0]->unanswered, LOGIC_WANT_MAY);
    assert_int_equal(logic_park_due(&park), LOGIC_PARK_NEVER);

    /* the answers come late, and are nobody's */

    logic_park_done(q[0], IM_OK);
    logic_park_done(q[1], IM_OK);
    assert_int_equal(logic_park_due(&park), LOGIC_PARK_NEVER);

    free_all(m, 3);
}


static void
test_an_answer_that_came_in_time_counts(void **state)
{
    logic_message_t   *m;
    logic_question_t  *q;

    (void) state;

    m = message(1, 7);
    m->seq.seq = 5;
    q = ask(m, LOGIC_WANT_STORED, LOGIC_PARK_SHORT);
    q->stored = 99;
    logic_park_done(q, IM_OK);

    /* the shard looks late */

    assert_int_equal(logic_park_expire(&park, 2 * SHORT), 0);
    assert_ptr_equal(take(), m);
    assert_int_equal(m->unanswered, 0);
    assert_int_equal(m->stored, 99);
    assert_int_equal(m->stored_seq, 5);

    free_all(&m, 1);
}


static void
test_a_question_that_failed_is_not_an_answer(void **state)
{
    logic_message_t   *m;
    logic_question_t  *q;

    (void) state;

    m = message(1, 7);
    q = ask_may(m);
    logic_park_done(q, IM_ERROR);

    assert_ptr_equal(take(), m);
    assert_int_equal(m->unanswered, LOGIC_WANT_MAY);
    assert_int_equal(m->answered, 0);

    free_all(&m, 1);
}


static void
test_no_more_wait_than_there_is_room_for(void **state)
{
    size_t             i;
    logic_message_t   *m[MAX + 1], *out[MAX];
    logic_question_t  *q;

    (void) state;

    for (i = 0; i < MAX; i++) {
        m[i] = message(1 + i % 2, 7);
        logic_park_done(ask_may(m[i]), IM_OK);
    }

    m[MAX] = message(9, 7);
    q = logic_question_create(m[MAX], LOGIC_WANT_MAY, LOGIC_PARK_LONG, 0);
    assert_int_equal(logic_park_add(&park, m[MAX], q), IM_BUSY);

    assert_int_equal(logic_park_take(&park, out, MAX), MAX);
    assert_int_equal(logic_park_add(&park, m[MAX], q), IM_OK);

    /* at the end of the shard all go */

    assert_int_equal(logic_park_expire(&park, LOGIC_PARK_NEVER), 1);
    assert_ptr_equal(take(), m[MAX]);
    logic_park_done(q, IM_ERROR);
    assert_null(park.convs);

    free_all(m, MAX + 1);
}


static void
test_a_few_repeats_wait_for_the_first_try_and_no_more(void **state)
{
    size_t            i;
    logic_message_t  *first, *m, *more[2 * LOGIC_MESSAGE_REPEATS];

    (void) state;

    first = message(1, 7);
    first->seq.by = LOGIC_BY_CMID;
    assert_int_equal(logic_message_track(first), IM_OK);

    for (i = 0; i < 2 * LOGIC_MESSAGE_REPEATS; i++) {
        more[i] = message(1, 7);
        more[i]->seq.by = LOGIC_BY_CMID;
        assert_int_equal(logic_message_track(more[i]),
                         i < LOGIC_MESSAGE_REPEATS ? IM_BUSY : IM_ERROR);
    }

    for (m = logic_message_untrack(first), i = 0; m != NULL; m = m->next) {
        i++;
    }

    assert_int_equal(i, LOGIC_MESSAGE_REPEATS);

    /* the next time there is room again */

    assert_int_equal(logic_message_track(first), IM_OK);
    assert_int_equal(logic_message_track(more[0]), IM_BUSY);
    assert_ptr_equal(logic_message_untrack(first), more[0]);

    free_all(&first, 1);
    free_all(more, UNIT_N(more));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(
            test_a_conversation_keeps_its_order_and_others_pass, setup),
        cmocka_unit_test_setup(test_what_has_to_wait_once_more_stays_in_front,
                               setup),
        cmocka_unit_test_setup(test_a_wait_ends_though_nobody_answers, setup),
        cmocka_unit_test_setup(test_an_answer_that_came_in_time_counts, setup),
        cmocka_unit_test_setup(test_a_question_that_failed_is_not_an_answer,
                               setup),
        cmocka_unit_test_setup(test_no_more_wait_than_there_is_room_for, setup),
        cmocka_unit_test(test_a_few_repeats_wait_for_the_first_try_and_no_more)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
