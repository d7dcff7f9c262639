/*
 * test_watch.c -- what members were told last of a room's count is right once
 * reports, counts and events have come through, whatever happened before.
 *
 * Workers report, two Logics take turns as the room's home, answers to joins
 * say what Redis says at that moment, events overtake each other or are lost
 * with a link, and Redis loses its memory.  A run follows from its seed, which
 * is printed when it fails and may be given as IM_TEST_SEED.
 */

#include <inttypes.h>

#include "unit.h"

#include "im_watch.h"


#define HOMES    2
#define WORKERS  3
#define MEMBERS  8                 /* connections, of a worker */
#define WIRE     512
#define STEPS    80
#define NONE     UINT32_MAX

typedef struct {
    im_watch_t    watch;
    uint32_t      users;
    uint32_t      reported;        /* what Redis has */
    unsigned      n;
    uint32_t      last[MEMBERS];   /* what each was told; NONE: nothing yet */
    unsigned      link;            /* that the last report took */
    int           dirty;
    int           ask;
} worker_t;

typedef struct {
    uint32_t      told;
    int           dirty;
    int           asked;
} home_t;

typedef struct {
    int           used;
    int           answer;          /* to a join; else an event */
    unsigned      w;
    uint32_t      value;
    uint64_t      version;
} wire_t;


static uint64_t   random_state;
static worker_t   workers[WORKERS];
static home_t     homes[HOMES];
static wire_t     wire[WIRE];
static unsigned   home;            /* the present one */
static unsigned   link_no;
static uint64_t   version;


static unsigned
chance(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return (unsigned) (random_state >> 33) % n;
}


static uint32_t
sum(int reported)
{
    unsigned  w;
    uint32_t  n;

    for (w = 0, n = 0; w < WORKERS; w++) {
        n += reported ? workers[w].reported : workers[w].users;
    }

    return n;
}


static void
put(int answer, unsigned w, uint32_t value, uint64_t v)
{
    unsigned  i;

    for (i = 0; i < WIRE && wire[i].used; i++) { /* void */ }

    assert_true(i < WIRE);
    wire[i] = (wire_t) { 1, answer, w, value, v };
}


/* Who is in a worker already by another connection comes unreported. */
static void
comes(unsigned w)
{
    worker_t  *k = &workers[w];

    put(1, w, sum(1), 0);

    if (k->users == 0 || chance(2) == 0) {
        k->users++;
        k->dirty = 1;
    }
}


static void
goes(unsigned w)
{
    worker_t  *k = &workers[w];

    if (k->users > 1 && k->n > 1) {
        k->users--;
        k->n--;
        k->dirty = 1;
    }
}


static void
report(unsigned w, unsigned refused)
{
    worker_t  *k = &workers[w];

    if (!k->dirty && !k->ask) {
        return;
    }

    if (refused) {
        k->ask = 1;
        return;
    }

    k->reported = k->users;
    k->link = link_no;
    homes[home].dirty = 1;
    homes[home].asked |= k->ask;
    k->dirty = 0;
    k->ask = 0;
}


/* A report may come between the version and the count. */
static void
count(unsigned h)
{
    unsigned   w;
    uint32_t   n;
    uint64_t   v;
    home_t    *k = &homes[h];

    if (!k->dirty) {
        return;
    }

    k->dirty = 0;
    v = ++version;
    report(chance(WORKERS), 0);
    n = sum(1);

    if (n == k->told && !k->asked) {
        return;
    }

    k->told = n;
    k->asked = 0;

    for (w = 0; w < WORKERS; w++) {
        put(0, w, n, v);
    }
}


static void
deliver(wire_t *m)
{
    unsigned   i;
    worker_t  *k = &workers[m->w];

    m->used = 0;

    if (m->answer && k->n < MEMBERS) {
        k->last[k->n++] = m->value;
        k->ask |= (im_watch_given(&k->watch, m->value) == IM_AGAIN);

    } else if (!m->answer
               && im_watch_event(&k->watch, m->version, m->value) == IM_OK)
    {
        for (i = 0; i < k->n; i++) {
            k->last[i] = m->value;
        }
    }
}


static void
home_moves(void)
{
    unsigned  i, w;

    home = chance(HOMES);
    link_no++;
    homes[home].told = chance(2) ? homes[home].told : NONE;

    for (i = 0; i < WIRE; i++) {
        if (!wire[i].answer && chance(2) == 0) {
            wire[i].used = 0;          /* lost with a link */
        }
    }

    for (w = 0; w < WORKERS; w++) {
        workers[w].ask |= (workers[w].link != link_no);
    }
}


static void
redis_forgets(void)
{
    unsigned  w;

    for (w = 0; w < WORKERS; w++) {
        workers[w].reported = 0;
        workers[w].dirty = 1;
        workers[w].ask = 1;
        im_watch_reset(&workers[w].watch);
    }
}


static void
step(void)
{
    wire_t  *m;

    switch (chance(12)) {

    case 0:
    case 1:
        comes(chance(WORKERS));
        break;

    case 2:
        goes(chance(WORKERS));
        break;

    case 3:
    case 4:
        report(chance(WORKERS), chance(5) == 0);
        break;

    case 5:
    case 6:
        count(chance(HOMES));
        break;

    case 7:
        if (chance(4) == 0) {
            home_moves();

        } else if (chance(4) == 0) {
            redis_forgets();
        }

        break;

    default:
        m = &wire[chance(16)];

        if (m->used) {
            deliver(m);
        }
    }
}


static void
settle(void)
{
    unsigned  i, n;

    for (n = 0; n < 3; n++) {

        for (i = 0; i < WIRE; i++) {
            if (wire[i].used) {
                deliver(&wire[i]);
            }
        }

        for (i = 0; i < WORKERS; i++) {
            report(i, 0);
        }

        for (i = 0; i < HOMES; i++) {
            count(i);
        }
    }
}


static void
run(uint64_t seed)
{
    unsigned  i, w;

    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    memset(workers, 0, sizeof(workers));
    memset(homes, 0, sizeof(homes));
    memset(wire, 0, sizeof(wire));

    for (i = 0; i < STEPS; i++) {
        step();
    }

    settle();

    for (w = 0; w < WORKERS; w++) {
        for (i = 0; i < workers[w].n; i++) {
            if (workers[w].last[i] != sum(0)) {
                fail_msg("IM_TEST_SEED=%" PRIu64 ": a member in worker %u was "
                         "told %u, not %u", seed, w, workers[w].last[i],
                         sum(0));
            }
        }
    }
}


static void
test_each_member_has_the_right_count_in_the_end(void **state)
{
    uint64_t     i;
    const char  *seed;

    (void) state;

    seed = getenv("IM_TEST_SEED");

    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }

    for (i = 1; i <= 10000; i++) {
        run(i);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_member_has_the_right_count_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
