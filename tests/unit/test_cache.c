/*
 * test_cache.c -- what Logic remembers of MySQL's answers: a full table forgets
 * one answer at a time, and no answer outlives a change.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "unit.h"

#include "logic_cache.h"

#define SETS    64
#define KEYS    (SETS * LOGIC_CACHE_WAYS)
#define SECOND  ((uint64_t) 1000000)
#define TRUTHS  512
#define READS   100000


LOGIC_CACHE(cache, SETS, sizeof(uint64_t));


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

    logic_cache_drop_all(&cache);

    return 0;
}


static int
known(uint64_t a, uint64_t now_us)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    return logic_cache_get(&cache, key(a), now_us, &value, &mark);
}


static void
learn(uint64_t a, uint64_t value, uint64_t until_us)
{
    uint64_t            old;
    logic_cache_mark_t  mark;

    if (!logic_cache_get(&cache, key(a), 0, &old, &mark)) {
        logic_cache_put(&cache, key(a), 0, until_us, &value, mark);
    }
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
an_answer_is_known_until_its_time_is_over(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    learn(1, 42, 5 * SECOND);

    assert_true(logic_cache_get(&cache, key(1), 5 * SECOND - 1, &value,
                                &mark));
    assert_int_equal(value, 42);
    assert_false(known(1, 5 * SECOND));
    assert_false(known(2, 0));

    /* the answer to the next question takes its place */

    value = 43;
    assert_false(logic_cache_get(&cache, key(1), 5 * SECOND, &value, &mark));
    logic_cache_put(&cache, key(1), 5 * SECOND, 9 * SECOND, &value, mark);
    assert_true(known(1, 5 * SECOND));
}


static void
a_full_table_forgets_one_answer_for_each_new_one(void **state)
{
    size_t    n;
    uint64_t  a;

    (void) state;

    for (a = 1; a <= 8 * KEYS; a++) {
        learn(a, a, LOGIC_CACHE_EVER);
    }

    n = count(8 * KEYS);
    assert_true(n > KEYS - SETS && n <= KEYS);

    for (/* void */; a <= 9 * KEYS; a++) {
        learn(a, a, LOGIC_CACHE_EVER);
        assert_true(known(a, 0));
        assert_true(count(a) >= n);
    }
}


static void
what_is_asked_for_all_the_time_is_kept(void **state)
{
    uint64_t  a;

    (void) state;

    learn(1, 1, LOGIC_CACHE_EVER);

    for (a = 2; a <= 100 * KEYS; a++) {
        learn(a, a, LOGIC_CACHE_EVER);
        assert_true(known(1, 0));
    }
}


/* As the answers of rooms do all the time. */
static void
an_answer_that_is_over_makes_room_first(void **state)
{
    uint64_t            a;
    logic_cache_mark_t  mark;

    (void) state;

    for (a = 1; a <= KEYS / 4; a++) {
        learn(a, a, 9 * SECOND);
    }

    for (/* void */; a <= 9 * KEYS; a++) {
        assert_false(logic_cache_get(&cache, key(a), 0, &(uint64_t) { 0 },
                                     &mark));
        logic_cache_put(&cache, key(a), a, a + 1, &a, mark);
    }

    assert_int_equal(count(KEYS / 4), KEYS / 4);
}


static void
an_answer_from_before_a_change_is_not_kept(void **state)
{
    uint64_t            value;
    logic_cache_mark_t  mark;

    (void) state;

    value = 1;
    assert_false(logic_cache_get(&cache, key(1), 0, &value, &mark));
    logic_cache_drop(&cache, key(1));
    logic_cache_put(&cache, key(1), 0, LOGIC_CACHE_EVER, &value, mark);
    assert_false(known(1, 0));

    assert_false(logic_cache_get(&cache, key(1), 0, &value, &mark));
    logic_cache_drop_all(&cache);
    logic_cache_put(&cache, key(1), 0, LOGIC_CACHE_EVER, &value, mark);
    assert_false(known(1, 0));

    learn(1, 1, LOGIC_CACHE_EVER);
    assert_true(known(1, 0));
}


static void
a_change_drops_its_own_answer_only(void **state)
{
    uint64_t  a;

    (void) state;

    for (a = 1; a <= KEYS / 4; a++) {
        learn(a, a, LOGIC_CACHE_EVER);
    }

    logic_cache_drop(&cache, key(1));
    assert_false(known(1, 0));
    assert_int_equal(count(KEYS / 4), KEYS / 4 - 1);

    logic_cache_drop_all(&cache);
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

        if (logic_cache_get(&cache, key(a), 0, &value, &mark)) {
            stale += (value < effect);
            continue;
        }

        value = atomic_load(&truths[a]);
        logic_cache_put(&cache, key(a), 0, LOGIC_CACHE_EVER, &value, mark);
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
            logic_cache_drop_all(&cache);

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
        cmocka_unit_test_setup(an_answer_is_known_until_its_time_is_over,
                               setup),
        cmocka_unit_test_setup(a_full_table_forgets_one_answer_for_each_new_one,
                               setup),
        cmocka_unit_test_setup(what_is_asked_for_all_the_time_is_kept, setup),
        cmocka_unit_test_setup(an_answer_that_is_over_makes_room_first, setup),
        cmocka_unit_test_setup(an_answer_from_before_a_change_is_not_kept,
                               setup),
        cmocka_unit_test_setup(a_change_drops_its_own_answer_only, setup),
        cmocka_unit_test_setup(threads_never_see_what_was_before_a_change,
                               setup)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
