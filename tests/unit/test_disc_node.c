/*
 * test_disc_node.c -- message ids never repeat: not when the clock steps back
 * by seconds or hours or stands still, not when processes die and others take
 * their node numbers, not when etcd loses answers or is away.
 *
 * im_disc_node.c and im_snowflake.c are the real ones; etcd is a table here
 * (tests/lib/unit_etcd.h), the clock a variable.  Real etcd is in
 * tests/e2e/test_discovery.py, real daemons are in tests/e2e/test_clock.py.
 */

#include <stdio.h>

#include "unit.h"

#include "im_snowflake.h"
#include "unit_etcd.h"


#define T0         (IM_SNOWFLAKE_EPOCH_MS + 31536000000ULL)
#define HOUR_MS    3600000
#define PROCS      3
#define IDS_MAX    2000000


typedef struct {
    im_disc_t        d;
    im_snowflake_t   ids;
    int              minting;
    unsigned         got;          /* how often */
    unsigned         lost;
    call_t           call;         /* one at a time, by design */
} proc_t;


static uint64_t  wall_ms;
static proc_t    procs[PROCS];
static uint64_t *given;            /* every id of a test */
static size_t    given_n;
static uint64_t  dice;
static uint64_t  happened;
static char      logged[600];


/* A process. */

static uint64_t
wall(void)
{
    return wall_ms;
}


static void
on_got(void *ctx, unsigned node, uint64_t floor_ms, uint64_t limit_ms)
{
    proc_t  *p = ctx;

    im_snowflake_start(&p->ids, node, floor_ms, limit_ms);
    p->minting = 1;
    p->got++;
}


static void
on_limit(void *ctx, uint64_t limit_ms)
{
    proc_t  *p = ctx;

    im_snowflake_extend(&p->ids, limit_ms);
}


static void
on_lost(void *ctx)
{
    proc_t  *p = ctx;

    p->minting = 0;
    p->lost++;
}


static uint64_t
on_minted(void *ctx)
{
    proc_t  *p = ctx;

    return im_snowflake_minted_ms(&p->ids);
}


static void
on_log(void *ctx, int level, const char *msg)
{
    (void) ctx;
    (void) level;

    snprintf(logged, sizeof(logged), "%s", msg);
}


static const im_disc_node_handler_t  handler = {
    .got = on_got, .limit = on_limit, .lost = on_lost, .minted_ms = on_minted
};


static void
start(proc_t *p, unsigned nodes)
{
    static int64_t  leases;

    memset(p, 0, sizeof(proc_t));
    snprintf(p->d.root, sizeof(p->d.root), "/im/");
    p->d.log = on_log;

    assert_int_equal(im_disc_node_init(&p->d, nodes, &handler, p, wall),
                     IM_OK);
    p->d.node_lease.id = ++leases;
    p->d.node.n = 0;                   /* all want the same ones */
}


static void
check(proc_t *p)
{
    caller = &p->call;
    im_disc_node_check(&p->d);
}


static void
settle(proc_t *p)
{
    check(p);

    while (answer(&p->call)) { /* another question may follow */ }
}


/* In order, or by SIGKILL: its key goes when its lease ends. */
static void
end(proc_t *p, int killed)
{
    caller = &p->call;

    if (!killed) {
        p->minting = 0;
        (void) im_disc_node_release(&p->d);
    }

    im_disc_garbage_forget(&p->d);
    free(p->d.node.floors);
    memset(p, 0, sizeof(proc_t));
}


static int
mint(proc_t *p)
{
    int       rc;
    uint64_t  id;

    if (!p->minting) {
        return IM_BUSY;
    }

    rc = im_snowflake_next(&p->ids, wall_ms, &id);

    if (rc == IM_OK) {
        assert_true(given_n < IDS_MAX);
        given[given_n++] = id;
    }

    return rc;
}


static int
compare_ids(const void *a, const void *b)
{
    const uint64_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}


static void
assert_no_id_twice(void)
{
    size_t  i;

    qsort(given, given_n, sizeof(uint64_t), compare_ids);

    for (i = 1; i < given_n; i++) {
        assert_true(given[i] != given[i - 1]);
    }
}


static int
setup(void **state)
{
    (void) state;

    memset(keys, 0, sizeof(keys));
    memset(procs, 0, sizeof(procs));
    revision = 1;
    away = 0;
    lose_answers = 0;
    wall_ms = T0;
    given = malloc(IDS_MAX * sizeof(uint64_t));
    given_n = 0;
    logged[0] = '\0';

    return (given != NULL) ? 0 : -1;
}


static int
teardown(void **state)
{
    unsigned  i;

    (void) state;

    for (i = 0; i < PROCS; i++) {
        im_disc_garbage_forget(&procs[i].d);
        free(procs[i].d.node.floors);
    }

    free(given);

    return 0;
}


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


static uint64_t
roll(uint64_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;

    return dice % n;
}


/* Mostly to one of six places, so that the same ms are gone through again and
 * again; they are a little further apart than the floor runs ahead, and move
 * on, so that numbers become free again. */
static void
step_the_clock(void)
{
    uint64_t  by;

    static const uint64_t  steps[] = { 10, 4000, 10000, HOUR_MS };

    if (roll(4) != 0) {
        wall_ms = T0 + (happened / 500 + roll(6))
                       * (IM_ETCD_FLOOR_AHEAD_MS + 10) + roll(10);
        return;
    }

    by = roll(steps[roll(UNIT_N(steps))]) + 1;
    wall_ms = roll(2) ? wall_ms + by : wall_ms - by;
}


/* One thing that happens to one process, or to all. */
static void
something_happens(unsigned nodes)
{
    unsigned  i;
    uint64_t  ms;
    proc_t   *p = &procs[roll(PROCS)];

    happened++;

    switch (roll(40)) {

    case 0:
        step_the_clock();
        break;

    case 1:
        away = (roll(4) == 0);
        break;

    case 2:
        lose_answers = (roll(4) == 0);
        break;

    case 3:
        if (p->d.node.nodes != 0) {
            lease_ends(roll(2) ? p->d.node_lease.id : 0);
            end(p, (int) roll(2));
        }
        break;

    case 4:
        if (p->d.node.nodes == 0) {
            start(p, nodes);
        }
        break;

    case 5:                            /* its lease runs out at both ends */
        if (p->d.node.nodes != 0) {
            lease_ends(p->d.node_lease.id);
            im_disc_node_lost(&p->d);
            p->d.node_lease.id = (roll(3) != 0) ? ++revision + 1000000 : 0;
        }
        break;

    case 6:
        if (p->d.node.nodes != 0 && p->d.node_lease.id == 0) {
            p->d.node_lease.id = ++revision + 1000000;
        }
        break;

    default:
        ms = roll(20) ? roll(3) : roll(2000);
        wall_ms += ms;

        for (i = 0; i < PROCS; i++) {

            if (procs[i].d.node.nodes != 0) {
                if (roll(2)) {
                    (void) answer(&procs[i].call);

                } else {
                    check(&procs[i]);
                }
            }
        }

        for (i = 0; i < 8; i++) {
            (void) mint(&procs[roll(PROCS)]);
        }
    }
}


static void
whatever_clock_processes_and_etcd_do_no_id_comes_twice(void **state)
{
    unsigned  world, i, nodes;
    size_t    ids;

    (void) state;

    ids = 0;

    for (world = 1; world <= 100; world++) {
        teardown(state);
        setup(state);
        dice = world * 0x9e3779b97f4a7c15ull;
        happened = 0;
        nodes = (unsigned) (world % 3 == 0 ? 4 : ETCD_NODES_MAX / 2);

        for (i = 0; i < 20000; i++) {
            something_happens(nodes);
        }

        ids += given_n;
        assert_no_id_twice();
    }

    assert_true(ids > 500000);         /* it was not all refusals */
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
        TEST(whatever_clock_processes_and_etcd_do_no_id_comes_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
