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
 *
 * Then the list of what is due (logic_presence_events.c) on a real Redis, when
 * the clock was set back.
 */

#include "unit_presence_world.h"

#include "im_clock.h"
#include "logic_alive.h"
#include "logic_owner.h"
#include "logic_presence_int.h"
#include "logic_workers.h"


#define STEPS     120
#define QUIET_MS  2500             /* 2 s, and what the world's wires take */
#define MANY      450              /* more than two rounds of a Logic take */


/* The Logic around its list of what is due. */
typedef struct {
    unsigned   home;               /* it is home to all slots */
    unsigned   linked;             /* the subscriber has a link to it */
    unsigned   stops;
    unsigned   looked;             /* users that it took for home or not */
    unsigned   sent;               /* users that it notified of */
} logic_t;


static uint64_t  run_seed;
static logic_t   logic;


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
logic_is_owner(unsigned slot)
{
    (void) slot;

    if (++logic.looked > 10 * MANY) {
        fail_msg("the same users are looked at again and again");
    }

    return (int) logic.home;
}


int
logic_alive(const char *id, size_t len)
{
    (void) id;
    (void) len;

    return IM_OK;
}


int
logic_workers_send(const char *instance, const Im__DownItem *item)
{
    (void) instance;

    logic.sent += (unsigned) item->presence->n_users;

    return logic.linked ? IM_OK : IM_DECLINED;
}


int
logic_presence_stops(void)
{
    return (int) logic.stops;
}


int
logic_presence_skip(im_redis_t *redis, size_t n)
{
    return logic_args_done(redis, (unsigned) n);
}


/* Many users with one subscriber, in a list of what is due in an hour. */
static presence_t *
many_are_ahead(const char *list, uint64_t unit)
{
    char         uid[40], score[40], key[40];
    uint64_t     i;
    presence_t  *p;

    memset(&logic, 0, sizeof(logic));
    logic.home = 1;
    presence_lose();

    for (i = 1; i <= MANY; i++) {
        real_do(4, "ZADD", list,
                text(score, "%" PRIu64, (im_now_ms() + 3600000) * unit + i),
                text(uid, "%" PRIu64, i), NULL);
        real_do(3, "SADD", text(key, "im:ps:{%" PRIu64 "}", i), "w0", NULL,
                NULL);
    }

    p = calloc(1, sizeof(presence_t));
    assert_non_null(p);
    p->db.redis = real;

    return p;
}


static long long
left_in(const char *list)
{
    long long    n;
    redisReply  *reply;

    assert_int_equal(logic_args(real, 2, "ZCARD", list), IM_OK);
    reply = im_redis_reply(real);
    assert_non_null(reply);
    n = reply->integer;
    im_redis_free(reply);

    return n;
}


static void
test_notes_from_before_the_clock_was_set_back_are_sent_once(void **state)
{
    presence_t  *p;

    (void) state;

    real_start();
    p = many_are_ahead("im:news", 1000);

    assert_int_equal(logic_presence_expire(p), IM_OK);
    assert_int_equal(logic.sent, MANY);
    assert_int_equal(left_in("im:news"), MANY);

    logic.linked = 1;
    p->repeat_us = 0;
    assert_int_equal(logic_presence_expire(p), IM_OK);
    assert_int_equal(logic.sent, 2 * MANY);
    assert_int_equal(left_in("im:news"), 0);

    free(p);
    real_stop();
}


static void
test_users_who_left_before_that_are_left_to_their_home(void **state)
{
    presence_t  *p;

    (void) state;

    real_start();
    p = many_are_ahead("im:off", 1);

    logic.home = 0;
    assert_int_equal(logic_presence_expire(p), IM_OK);
    assert_int_equal(logic.looked, MANY);
    assert_int_equal(left_in("im:off"), MANY);

    logic.home = 1;
    assert_int_equal(logic_presence_expire(p), IM_OK);
    assert_int_equal(left_in("im:off"), 0);

    free(p);
    real_stop();
}


static void
test_a_logic_that_stops_does_not_go_through_all(void **state)
{
    presence_t  *p;

    (void) state;

    real_start();
    p = many_are_ahead("im:news", 1000);

    logic.stops = 1;
    assert_int_equal(logic_presence_expire(p), IM_OK);
    assert_in_range(logic.sent, 1, MANY - 1);
    assert_int_equal(left_in("im:news"), MANY);

    free(p);
    real_stop();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_after_quiet_each_subscriber_is_right),
        cmocka_unit_test(test_the_script_is_this_machine),
        cmocka_unit_test(
            test_notes_from_before_the_clock_was_set_back_are_sent_once),
        cmocka_unit_test(
            test_users_who_left_before_that_are_left_to_their_home),
        cmocka_unit_test(test_a_logic_that_stops_does_not_go_through_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
