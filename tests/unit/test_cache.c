/*
 * test_cache.c -- what Logic remembers of MySQL's answers: a full table forgets
 * one answer at a time, no answer outlives a change, and age alone ends none.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "unit.h"

#include "logic_cache.h"

#define SETS    64
#define KEYS    (SETS * LOGIC_CACHE_WAYS)
#define SECOND  ((uint64_t) 1000000)
#define TRUTHS  512
#define READS   100000


LOGIC_CACHE(cache, SETS, sizeof(uint64_t), 2 * SECOND, 5 * SECOND);
LOGIC_CACHE(ageless, SETS, sizeof(uint64_t), LOGIC_CACHE_EVER,
            LOGIC_CACHE_EVER);


static logic_cache_key_t
key(uint64_t a)
{
    logic_cache_key_t  k = { a, 7 };

    return k;
}


static int
setup(void **state)
{
    (void) state;

    memset(cache_memory, 0, sizeof(cache_memory));
    memset(ageless_memory, 0, sizeof(ageless_memory));

    return 0;
}


static logic_cache_e
state_of(uint64_t a, uint64_t now_us)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    return logic_cache_get(&cache, key(a), now_us, &value, &mark);
}


static int
known(uint64_t a, uint64_t now_us)
{
    return state_of(a, now_us) > LOGIC_CACHE_STALE;
}


static void
learn_at(uint64_t a, uint64_t value, uint64_t now_us)
{
    uint64_t            old;
    logic_cache_mark_t  mark;

    (void) logic_cache_get(&cache, key(a), now_us, &old, &mark);
    logic_cache_put(&cache, key(a), now_us, &value, mark);
}


static void
learn(uint64_t a, uint64_t value)
{
    learn_at(a, value, 0);
}


static size_t
count(uint64_t n)
{
    size_t    sum;
    uint64_t  a;

    for (a = 1, sum = 0; a <= n; a++) {
        sum += (size_t) known(a, 0);
    }

    return sum;
}


static void
an_answer_is_fresh_then_due_then_stale(void **state)
{
    (void) state;

    learn_at(1, 42, SECOND);

    assert_int_equal(state_of(1, SECOND), LOGIC_CACHE_FRESH);
    assert_int_equal(state_of(1, 3 * SECOND - 1), LOGIC_CACHE_FRESH);
    assert_int_equal(state_of(1, 3 * SECOND), LOGIC_CACHE_DUE);
    assert_int_equal(state_of(1, 6 * SECOND - 1), LOGIC_CACHE_DUE);
    assert_int_equal(state_of(1, 6 * SECOND), LOGIC_CACHE_STALE);
    assert_int_equal(state_of(2, SECOND), LOGIC_CACHE_NONE);

    /* the answer to the next question takes its place */

    learn_at(1, 43, 6 * SECOND);
    assert_int_equal(state_of(1, 6 * SECOND), LOGIC_CACHE_FRESH);
}


static void
one_user_in_a_second_is_told_to_ask_again(void **state)
{
    int       i, due;
    uint64_t  now_us;

    (void) state;

    learn_at(1, 42, 0);

    for (now_us = 2 * SECOND; now_us < 5 * SECOND; now_us += SECOND) {

        for (i = 0, due = 0; i < 100; i++) {
            due += state_of(1, now_us + (uint64_t) i * 9000)
                   == LOGIC_CACHE_DUE;
        }

        assert_int_equal(due, 1);
    }
}


static void
a_stale_answer_is_kept_for_as_long_as_nobody_answers(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    learn_at(1, 42, SECOND);

    assert_int_equal(logic_cache_get(&cache, key(1), 86400 * SECOND, &value,
                                     &mark), LOGIC_CACHE_STALE);
    assert_int_equal(value, 42);
}


static void
an_older_answer_does_not_replace_a_newer_one(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    assert_int_equal(logic_cache_get(&cache, key(1), SECOND, &value, &mark),
                     LOGIC_CACHE_NONE);
    learn_at(1, 43, 2 * SECOND);

    value = 42;
    logic_cache_put(&cache, key(1), SECOND, &value, mark);

    (void) logic_cache_get(&cache, key(1), 2 * SECOND, &value, &mark);
    assert_int_equal(value, 43);
}


static void
what_was_invalidated_is_stale_until_it_is_asked_for_again(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    learn(1, 42);
    (void) logic_cache_get(&cache, key(2), 0, &value, &mark);

    logic_cache_invalidate(&cache);

    assert_int_equal(state_of(1, 0), LOGIC_CACHE_STALE);

    /* the answer to a question from before it */

    logic_cache_put(&cache, key(2), 0, &value, mark);
    assert_int_equal(state_of(2, 0), LOGIC_CACHE_STALE);

    learn(1, 43);
    assert_int_equal(state_of(1, 0), LOGIC_CACHE_FRESH);
}


static void
an_answer_without_an_age_is_always_fresh(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    value = 42;
    (void) logic_cache_get(&ageless, key(1), 0, &value, &mark);
    logic_cache_put(&ageless, key(1), 0, &value, mark);

    assert_int_equal(logic_cache_get(&ageless, key(1), 86400 * 365 * SECOND,
                                     &value, &mark), LOGIC_CACHE_FRESH);
}


static void
a_full_table_forgets_one_answer_for_each_new_one(void **state)
{
    size_t    n;
    uint64_t  a;

    (void) state;

    for (a = 1; a <= 8 * KEYS; a++) {
        learn(a, a);
    }

    n = count(8 * KEYS);
    assert_true(n > KEYS - SETS && n <= KEYS);

    for (/* void */; a <= 9 * KEYS; a++) {
        learn(a, a);
        assert_true(known(a, 0));
        assert_true(count(a) >= n);
    }
}


static void
what_is_asked_for_all_the_time_is_kept(void **state)
{
    uint64_t  a;

    (void) state;

    learn(1, 1);

    for (a = 2; a <= 100 * KEYS; a++) {
        learn(a, a);
        assert_true(known(1, 0));
    }
}


static void
an_answer_from_before_a_change_is_not_kept(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    value = 1;
    (void) logic_cache_get(&cache, key(1), 0, &value, &mark);
    assert_int_equal(logic_cache_drop(&cache, key(1)), 0);
    logic_cache_put(&cache, key(1), 0, &value, mark);
    assert_int_equal(state_of(1, 0), LOGIC_CACHE_NONE);

    learn(1, 1);
    assert_true(known(1, 0));
}


static void
a_change_drops_its_own_answer_only(void **state)
{
    uint64_t  a;

    (void) state;

    for (a = 1; a <= KEYS / 4; a++) {
        learn(a, a);
    }

    assert_int_equal(logic_cache_drop(&cache, key(1)), 1);
    assert_int_equal(state_of(1, 0), LOGIC_CACHE_NONE);
    assert_int_equal(count(KEYS / 4), KEYS / 4 - 1);

    logic_cache_invalidate(&cache);
    assert_int_equal(count(KEYS / 4), 0);
}


/* A change is counted, then dropped, then it has taken effect. */
static atomic_ulong  truths[TRUTHS + 1];
static atomic_ulong  effects[TRUTHS + 1];
static atomic_int    reading;


static void *
reader(void *arg)
{
    uint64_t             a, value, effect, stale;
    unsigned             i, dice;
    logic_cache_mark_t   mark;

    dice = *(unsigned *) arg;
    stale = 0;

    for (i = 0; i < READS; i++) {
        dice = dice * 1103515245 + 12345;
        a = 1 + (dice >> 8) % TRUTHS;
        effect = atomic_load(&effects[a]);

        if (logic_cache_get(&cache, key(a), 0, &value, &mark)
            > LOGIC_CACHE_STALE)
        {
            stale += (value < effect);
            continue;
        }

        value = atomic_load(&truths[a]);
        logic_cache_put(&cache, key(a), 0, &value, mark);
    }

    atomic_fetch_sub(&reading, 1);

    return (void *) (uintptr_t) stale;
}


static void
threads_never_see_what_was_before_a_change(void **state)
{
    int        i;
    void      *stale;
    uint64_t   a, n, value;
    unsigned   seeds[3] = { 1, 2, 3 };
    pthread_t  ids[3];

    (void) state;

    atomic_store(&reading, 3);

    for (i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&ids[i], NULL, reader, &seeds[i]), 0);
    }

    for (n = 1; atomic_load(&reading) > 0; n++) {
        a = 1 + n * 7 % TRUTHS;
        value = atomic_fetch_add(&truths[a], 1) + 1;

        if (n % 64 == 0) {
            logic_cache_invalidate(&cache);

        } else {
            logic_cache_drop(&cache, key(a));
        }

        atomic_store(&effects[a], value);
    }

    for (i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(ids[i], &stale), 0);
        assert_null(stale);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(an_answer_is_fresh_then_due_then_stale, setup),
        cmocka_unit_test_setup(one_user_in_a_second_is_told_to_ask_again,
                               setup),
        cmocka_unit_test_setup(
            a_stale_answer_is_kept_for_as_long_as_nobody_answers, setup),
        cmocka_unit_test_setup(an_older_answer_does_not_replace_a_newer_one,
                               setup),
        cmocka_unit_test_setup(
            what_was_invalidated_is_stale_until_it_is_asked_for_again, setup),
        cmocka_unit_test_setup(an_answer_without_an_age_is_always_fresh, setup),
        cmocka_unit_test_setup(a_full_table_forgets_one_answer_for_each_new_one,
                               setup),
        cmocka_unit_test_setup(what_is_asked_for_all_the_time_is_kept, setup),
        cmocka_unit_test_setup(an_answer_from_before_a_change_is_not_kept,
                               setup),
        cmocka_unit_test_setup(a_change_drops_its_own_answer_only, setup),
        cmocka_unit_test_setup(threads_never_see_what_was_before_a_change,
                               setup)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
