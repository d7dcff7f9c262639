/*
 * test_disc_node_chance.c -- message ids never repeat, whatever happens to the
 * clock, to processes and to etcd, in a hundred worlds of 20,000 steps.
 */

#include "unit_disc_node.h"


static uint64_t  dice;
static uint64_t  happened;


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
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(
            whatever_clock_processes_and_etcd_do_no_id_comes_twice, setup,
            teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
