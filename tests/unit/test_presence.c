/*
 * test_presence.c -- two seconds after the last change each subscriber knows
 * who is online, whatever happened before.
 *
 * A small world with a clock of its own: users connect and go, watchers
 * subscribe, workers are killed, reloaded and cut off, Logics die between the
 * script and the notification, replies are lost and commands repeated, events
 * and answers overtake each other, Redis loses its memory.  Each run follows
 * from its seed, which is printed when it fails:
 *
 *     IM_TEST_SEED=17 build/tests/unit/test_presence
 */

#include "unit_presence_world.h"


#define STEPS     120
#define QUIET_MS  2500             /* 2 s, and what the world's wires take */


static uint64_t  run_seed;


/* Events on its links are lost, and what it has not sent; answers are asked for
 * once more. */
static void
logic_dies(unsigned l)
{
    wire_t    m;
    unsigned  i, w;

    memset(unsent[l], 0, sizeof(unsent[l]));

    for (i = 0; i < WIRE; i++) {
        m = wire[i];

        if (m.used && m.logic == l) {
            wire[i].used = 0;

            if (!m.event) {
                ask(m.w, m.u, m.watcher, m.young);
            }
        }
    }

    for (w = 0; w < FAKE_WORKERS; w++) {
        workers[w].refresh_at = fake.now_ms + 250;
    }
}


static void
worker_is_killed(unsigned w)
{
    unsigned   u, c, i;

    workers[w].alive = 0;
    workers[w].unlist_at = fake.now_ms + 3000;

    for (i = 0; i < WIRE; i++) {
        wire[i].used &= (wire[i].w != w);
    }

    for (u = 0; u < FAKE_USERS; u++) {
        for (c = 0; c < conns_n; c++) {
            if (users[u][c] == 1 + (int) w) {
                users[u][c] = 0;

                if (chance(2) == 0) {
                    user_connects(u);
                }
            }
        }
    }

    watchers_move(w);
}


/* It has nothing to say any more and ends.  Its users come back elsewhere. */
static void
worker_is_reloaded(unsigned w)
{
    unsigned  u, c;

    for (u = 0; u < FAKE_USERS; u++) {
        for (c = 0; c < conns_n; c++) {
            if (users[u][c] == 1 + (int) w) {
                users[u][c] = 0;
                put_op(w, u, c, 0);

                if (chance(4) != 0) {
                    user_connects(u);
                }
            }
        }
    }

    while (workers[w].at < workers[w].n) {
        run_op(w);
    }

    worker_is_killed(w);
    workers[w].unlist_at = fake.now_ms;
}


static void
worker_is_cut(unsigned w)
{
    unsigned  i;

    workers[w].cut = 1;
    workers[w].unlist_at = fake.now_ms + 3000;

    for (i = 0; i < WIRE; i++) {
        wire[i].used &= (wire[i].w != w);
    }
}


static void
worker_is_back(unsigned w)
{
    unsigned  i, u;

    workers[w].cut = 0;
    workers[w].unlist_at = 0;
    workers[w].listed = 1;
    workers[w].refresh_at = fake.now_ms + 250;
    announce(w);

    for (i = 0; i < WATCHERS; i++) {
        for (u = 0; u < FAKE_USERS; u++) {
            if (watchers[i].at == (int) w && watchers[i].subscribed[u]
                && !watchers[i].answered[u])
            {
                ask(w, u, (int) i, 0);     /* it had timed out */
            }
        }
    }
}


static void
redis_is_emptied(void)
{
    unsigned  w;

    presence_lose();

    for (w = 0; w < FAKE_WORKERS; w++) {
        workers[w].lost_at = fake.now_ms + 1 + chance(500);
    }
}


static void
damage(void)
{
    int  w;

    w = some_worker();

    switch (chance(7)) {

    case 0:
        logic_dies(chance(LOGICS));
        break;

    case 1:
        redis_is_emptied();
        break;

    case 2:
        w = (int) chance(FAKE_WORKERS);

        if (workers[w].used && workers[w].cut) {
            worker_is_back((unsigned) w);
        }

        break;

    case 3:
        if (w != -1) {
            worker_is_cut((unsigned) w);
        }

        break;

    default:
        if (w == -1 || new_worker() == -1) {
            break;
        }

        if (chance(2) == 0) {
            worker_is_killed((unsigned) w);

        } else {
            worker_is_reloaded((unsigned) w);
        }
    }
}


static void
something(void)
{
    unsigned  n;

    n = chance(20);

    if (n < 5) {
        user_connects(chance(FAKE_USERS));

    } else if (n < 10) {
        user_leaves(chance(FAKE_USERS));

    } else if (n < 13) {
        watcher_subscribes(chance(WATCHERS), chance(FAKE_USERS));

    } else if (n == 13) {
        damage();
    }

    for (n = chance(4); n > 0; n--) {
        tick();
    }
}


static int
is_connected(unsigned u)
{
    unsigned  c;

    for (c = 0; c < conns_n; c++) {
        if (users[u][c] != 0) {
            return 1;
        }
    }

    return 0;
}


/* All that was damaged runs again; what etcd had still to notice, it has. */
static void
quiet(void)
{
    unsigned  w, n;

    for (w = 0; w < FAKE_WORKERS; w++) {

        if (!workers[w].used) {
            continue;
        }

        if (workers[w].alive && workers[w].cut) {
            worker_is_back(w);
        }

        workers[w].listed = workers[w].alive;
    }

    is_quiet = 1;

    for (n = 0; n < QUIET_MS / TICK_MS; n++) {
        tick();
    }
}


static void
check(void)
{
    unsigned  i, u;

    for (i = 0; i < WATCHERS; i++) {
        for (u = 0; u < FAKE_USERS; u++) {

            if (watchers[i].at == -1 || !watchers[i].subscribed[u]) {
                continue;
            }

            if (!watchers[i].answered[u]
                || (int) watchers[i].online[u] != is_connected(u))
            {
                fail_msg("IM_TEST_SEED=%" PRIu64 ": watcher %u of worker %d "
                         "takes user %u for %s, %s", run_seed, i,
                         watchers[i].at, u,
                         watchers[i].online[u] ? "online" : "offline",
                         watchers[i].answered[u] ? "wrongly" : "unanswered");
            }
        }
    }
}


static void
run(uint64_t seed)
{
    unsigned  i;

    run_seed = seed;
    random_state = seed * 0x9e3779b97f4a7c15u + 1;

    memset(workers, 0, sizeof(workers));
    memset(watchers, 0, sizeof(watchers));
    memset(users, 0, sizeof(users));
    memset(wire, 0, sizeof(wire));
    memset(unsent, 0, sizeof(unsent));
    memset(looked, 0, sizeof(looked));
    conns_n = 0;
    is_quiet = 0;
    fake.now_ms = 1000000;
    presence_lose();

    for (i = 0; i < WATCHERS; i++) {
        watchers[i].at = -1;
        (void) new_worker();
    }

    for (i = 0; i < STEPS; i++) {
        something();
    }

    quiet();
    check();
}


/* A seed of the environment is the only one. */
static void
runs(unsigned n)
{
    uint64_t     i;
    const char  *seed;

    seed = getenv("IM_TEST_SEED");

    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }

    for (i = 1; i <= n; i++) {
        run(i);
    }
}


static void
test_after_quiet_each_subscriber_is_right(void **state)
{
    (void) state;

    runs(10000);
}


static void
test_the_script_is_this_machine(void **state)
{
    (void) state;

    real_start();
    runs(200);
    real_stop();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_after_quiet_each_subscriber_is_right),
        cmocka_unit_test(test_the_script_is_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
