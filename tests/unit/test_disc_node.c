/*
 * test_disc_node.c -- message ids never repeat: not when the clock steps back
 * by seconds or hours or stands still, not when processes die and others take
 * their node numbers, not when etcd loses answers or is away.
 *
 * By chance: test_disc_node_chance.c.  Real etcd is in
 * tests/e2e/test_discovery.py, real daemons are in tests/e2e/test_clock.py.
 */

#include "unit_disc_node.h"


static uint64_t
floor_of(unsigned node)
{
    char  key[32];

    snprintf(key, sizeof(key), "/im/floor/%u", node);

    return strtoull(kv(key)->value, NULL, 10);
}


static void
the_floor_is_written_before_the_first_id(void **state)
{
    proc_t  *p = &procs[0];

    (void) state;

    start(p, 4);
    check(p);                          /* lists */
    assert_int_equal(mint(p), IM_BUSY);
    assert_true(answer(&p->call));            /* takes */
    assert_int_equal(mint(p), IM_BUSY);
    assert_true(floor_of(0) == T0 + IM_ETCD_FLOOR_AHEAD_MS);
    assert_true(answer(&p->call));
    assert_int_equal(p->got, 1);
    assert_int_equal(mint(p), IM_OK);
}


static void
after_a_death_and_a_clock_set_back_no_id_comes_again(void **state)
{
    int  i;

    (void) state;

    start(&procs[0], 4);
    settle(&procs[0]);

    for (i = 0; i < 1000; i++) {
        assert_int_equal(mint(&procs[0]), IM_OK);
        wall_ms += (i % 3 == 0);
    }

    /* it dies, its lease ends, the clock is set back by an hour: and then
     * all of that time is gone through again */

    lease_ends(procs[0].d.node_lease.id);
    end(&procs[0], 1);
    wall_ms = T0;

    start(&procs[1], 4);
    settle(&procs[1]);
    assert_int_equal(procs[1].d.node.n, 1);    /* 0 was passed over */

    for (i = 0; i < 1000; i++) {
        assert_int_equal(mint(&procs[1]), IM_OK);
        wall_ms += (i % 3 == 0);
    }

    assert_no_id_twice();
}


static void
a_restart_gets_a_number_at_once(void **state)
{
    unsigned  i;

    (void) state;

    for (i = 0; i < 20; i++) {         /* killed each time */
        start(&procs[0], ETCD_NODES_MAX);
        settle(&procs[0]);
        assert_int_equal(mint(&procs[0]), IM_OK);
        end(&procs[0], 1);
    }

    assert_no_id_twice();
}


static void
who_ends_in_order_lowers_the_floor_to_its_last_id(void **state)
{
    unsigned  i;

    (void) state;

    for (i = 0; i < 20; i++) {         /* one number is enough for all */
        start(&procs[0], 1);
        settle(&procs[0]);
        assert_int_equal(procs[0].got, 1);
        assert_int_equal(mint(&procs[0]), IM_OK);
        end(&procs[0], 0);
        assert_true(floor_of(0) == wall_ms);
        wall_ms++;
    }

    assert_no_id_twice();

    /* without a single id it stays what it was */

    start(&procs[0], 1);
    settle(&procs[0]);
    end(&procs[0], 0);
    assert_true(floor_of(0) == wall_ms - 1);
}


static void
nobody_mints_above_the_floor_and_it_is_written_in_time(void **state)
{
    unsigned  i, writes;
    uint64_t  before;
    proc_t   *p = &procs[0];

    (void) state;

    start(p, 1);
    settle(p);
    writes = 0;

    for (i = 0; i < 3600; i++) {
        before = floor_of(0);
        settle(p);
        writes += (floor_of(0) != before);
        assert_int_equal(mint(p), IM_OK);
        assert_true(wall_ms <= floor_of(0));
        wall_ms += 1000;
    }

    assert_int_equal(writes, 3600000 / IM_ETCD_FLOOR_RENEW_MS - 1);

    /* etcd is away: on for 600 s at least, then no further */

    away = 1;

    for (i = 0; wall_ms <= floor_of(0); i++) {
        settle(p);
        assert_int_equal(mint(p), IM_OK);
        wall_ms += 1000;
    }

    assert_in_range(i, IM_ETCD_NODE_LEASE_S, IM_ETCD_FLOOR_AHEAD_MS / 1000);
    assert_int_equal(mint(p), IM_DECLINED);

    away = 0;
    settle(p);
    assert_int_equal(mint(p), IM_OK);
    assert_int_equal(p->got, 1);
}


static void
a_clock_that_jumps_ahead_and_back_stops_ids_for_a_second_at_most(void **state)
{
    proc_t  *p = &procs[0];

    (void) state;

    start(p, 4);
    settle(p);
    assert_int_equal(mint(p), IM_OK);

    wall_ms = T0 + HOUR_MS;
    assert_int_equal(mint(p), IM_DECLINED);    /* until the next check */
    settle(p);
    assert_int_equal(mint(p), IM_OK);
    assert_int_equal(p->got, 1);

    wall_ms = T0 + 1000;
    assert_int_equal(mint(p), IM_ERROR);       /* likewise */
    settle(p);
    assert_int_equal(mint(p), IM_OK);
    assert_int_equal(p->got, 2);
    assert_int_equal(p->lost, 1);
    assert_int_equal(p->d.node.n, 1);
    assert_true(floor_of(0) == T0 + HOUR_MS);  /* what was minted, no more */

    assert_no_id_twice();
}


static void
steps_that_the_minter_bridges_change_nothing(void **state)
{
    proc_t  *p = &procs[0];

    (void) state;

    start(p, 4);
    settle(p);
    assert_int_equal(mint(p), IM_OK);
    wall_ms -= IM_SNOWFLAKE_BACK_MS;
    settle(p);
    assert_int_equal(mint(p), IM_OK);
    assert_int_equal(p->got, 1);

    wall_ms -= 1;                      /* -5.001 s, and so -10 s */
    settle(p);
    assert_int_equal(p->got, 2);
    assert_int_equal(mint(p), IM_OK);
    assert_no_id_twice();
}


static void
garbage_in_a_floor_passes_its_number_over(void **state)
{
    size_t   i;
    char     key[32];
    proc_t  *p = &procs[0];

    static const char *const  bad[] = {
        "", " ", "x", "-1", "1e3", "17.5", "0x10", "179549781360 ",
        "99999999999999999999", "12345678901234567890123",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        snprintf(key, sizeof(key), "/im/floor/%zu", i);
        kv_put(key, bad[i], 0);
    }

    kv_put("/im/floor/64", "1", 0);    /* no such number */
    kv_put("/im/floor/x", "1", 0);
    kv_put("/im/floor/", "1", 0);

    start(p, UNIT_N(bad) + 1);
    settle(p);
    assert_int_equal(p->got, 1);
    assert_int_equal(p->d.node.n, UNIT_N(bad));
    assert_int_equal(atomic_load(&p->d.stats.garbage), UNIT_N(bad) + 3);
}


static void
when_none_is_free_it_says_so_and_looks_again(void **state)
{
    (void) state;

    start(&procs[0], 1);
    settle(&procs[0]);
    start(&procs[1], 1);
    settle(&procs[1]);
    assert_int_equal(procs[1].got, 0);
    assert_non_null(strstr(logged, "no node number is free"));

    end(&procs[0], 0);
    settle(&procs[1]);
    assert_int_equal(procs[1].got, 1);
}


static void
a_floor_that_moved_after_it_was_listed_is_not_passed(void **state)
{
    (void) state;

    start(&procs[1], 1);
    check(&procs[1]);
    answer(&procs[1].call);                 /* has taken 0 ... */
    end(&procs[1], 1);
    keys[0].key[0] = '\0';
    memset(keys, 0, sizeof(keys));

    start(&procs[0], 2);
    start(&procs[1], 2);
    check(&procs[0]);                  /* both list, before anything is */
    check(&procs[1]);
    answer(&procs[0].call);
    answer(&procs[0].call);
    assert_int_equal(procs[0].d.node.n, 0);

    /* the first one's clock is ahead; it mints, and goes in order */

    wall_ms += HOUR_MS;
    settle(&procs[0]);
    assert_int_equal(mint(&procs[0]), IM_OK);
    end(&procs[0], 0);
    wall_ms -= HOUR_MS;

    while (answer(&procs[1].call)) { /* until it has one */ }

    assert_int_equal(procs[1].d.node.n, 1);
}


int
main(void)
{
#define TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

    const struct CMUnitTest  tests[] = {
        TEST(the_floor_is_written_before_the_first_id),
        TEST(after_a_death_and_a_clock_set_back_no_id_comes_again),
        TEST(a_restart_gets_a_number_at_once),
        TEST(who_ends_in_order_lowers_the_floor_to_its_last_id),
        TEST(nobody_mints_above_the_floor_and_it_is_written_in_time),
        TEST(a_clock_that_jumps_ahead_and_back_stops_ids_for_a_second_at_most),
        TEST(steps_that_the_minter_bridges_change_nothing),
        TEST(garbage_in_a_floor_passes_its_number_over),
        TEST(when_none_is_free_it_says_so_and_looks_again),
        TEST(a_floor_that_moved_after_it_was_listed_is_not_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
