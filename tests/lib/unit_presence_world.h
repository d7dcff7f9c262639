/*
 * unit_presence_world.h -- workers, Logics, users and watchers around the
 * presence of users in Redis (unit_presence.h), with a clock of its own.
 *
 * A Logic runs the script, and sends what it returns a while later.  What
 * happens to it and to workers (unit_presence_workers.h) is the test's.
 */

#ifndef UNIT_PRESENCE_WORLD_H
#define UNIT_PRESENCE_WORLD_H

#include "unit_presence.h"
#include "unit_presence_workers.h"

#define UNSENT     256
#define TICK_MS    50

typedef struct {
    int           used;
    unsigned      u;
    fake_news_t   news;
    uint64_t      noted;
    uint64_t      at;
} unsent_t;


static unsent_t    unsent[LOGICS][UNSENT];
static uint64_t    looked[FAKE_USERS];     /* 0: nobody has */


static void
put_unsent(unsigned l, unsigned u, const fake_news_t *news, uint64_t noted)
{
    unsigned  i;

    if (!news->any) {
        return;
    }

    for (i = 0; i < UNSENT && unsent[l][i].used; i++) { /* void */ }

    assert_true(i < UNSENT);
    unsent[l][i].used = 1;
    unsent[l][i].u = u;
    unsent[l][i].news = *news;
    unsent[l][i].noted = noted;
    unsent[l][i].at = fake.now_ms + chance(50);
}


static void
send_due(unsigned l)
{
    int         missed;
    unsigned    i, w;
    unsent_t   *s;

    for (i = 0; i < UNSENT; i++) {
        s = &unsent[l][i];

        if (!s->used || s->at > fake.now_ms) {
            continue;
        }

        missed = 0;

        for (w = 0; w < FAKE_WORKERS; w++) {

            if (!(s->news.to & (uint32_t) 1 << w) || !workers[w].listed) {
                continue;
            }

            if (!reaches(w) || fails(10)) {  /* no link just now */
                missed = 1;
                continue;
            }

            put_wire(&(wire_t) { .event = 1, .watcher = -1, .logic = l,
                                 .w = w, .u = s->u,
                                 .online = s->news.online,
                                 .version = s->news.version });
        }

        if (!missed) {
            presence_done(s->u, s->noted);
        }

        s->used = 0;
    }
}


/* One open or close of a worker, by some Logic.  A reply that is lost: nobody
 * hears of the change, and the worker asks again, from some way back. */
static void
run_op(unsigned w)
{
    unsigned      l, back;
    op_t         *op;
    worker_t     *k = &workers[w];
    fake_news_t   news = { 0, 0, 0, 0 };

    if (!reaches(w) || k->at == k->n) {
        return;
    }

    l = chance(LOGICS);
    op = &k->ops[k->at];

    if (op->open) {
        news = presence_open(op->u, op->conn, w);

    } else {
        presence_close(op->u, op->conn);
    }

    if (fails(10)) {
        back = chance(3);
        k->at -= (back < k->at) ? back : k->at;
        return;
    }

    k->at++;
    put_unsent(l, op->u, &news, news.version);
}


static int
is_dead(unsigned u, unsigned conn)
{
    return fake.conns[u][conn] != 0
           && !workers[fake.conns[u][conn] - 1].listed;
}


/* What dead instances have left: first the user is to be looked at. */
static void
janitor(void)
{
    size_t    dead;
    unsigned  u, c;

    for (u = 0; u < FAKE_USERS; u++) {

        for (c = 0, dead = 0; c < conns_n; c++) {
            dead += is_dead(u, c);
        }

        if (dead > 0 && dead == fake_count(u)) {
            presence_suspect(u);

            if (looked[u] == 0 && chance(2) == 0) {
                looked[u] = fake.now_ms + chance(400);
            }
        }

        for (c = 0; c < conns_n; c++) {
            if (is_dead(u, c) && chance(2) == 0) {
                presence_sweep(u, c);
            }
        }
    }
}


/* A query or Task has read a user's entries, all of dead instances, and writes
 * im:off a while later: "offline" may have been notified meanwhile. */
static void
suspects_late(void)
{
    unsigned  u;

    for (u = 0; u < FAKE_USERS; u++) {
        if (looked[u] != 0 && looked[u] <= fake.now_ms) {
            looked[u] = 0;
            presence_suspect(u);
        }
    }
}


static void
logic_ticks(unsigned l)
{
    unsigned      u, c;
    uint64_t      age;
    fake_news_t   news;

    send_due(l);

    for (u = 0; u < FAKE_USERS; u++) {

        if (presence_is_due(u)) {
            for (c = 0; c < conns_n; c++) {
                if (is_dead(u, c)) {
                    presence_sweep(u, c);
                }
            }

            news = presence_expire(u);
            put_unsent(l, u, &news, news.version);
        }

        age = fake.now_ms * 1000 - fake.news[u];

        if (fake.news[u] != 0 && age > LOGIC_PRESENCE_RETRY_US
            && chance(8) == 0)
        {
            news = presence_again(u);
            put_unsent(l, u, &news, fake.news[u]);
        }
    }
}


static void
tick(void)
{
    unsigned  w, n, l;

    fake.now_ms += TICK_MS;

    for (w = 0; w < FAKE_WORKERS; w++) {

        if (workers[w].unlist_at != 0
            && workers[w].unlist_at <= fake.now_ms)
        {
            workers[w].unlist_at = 0;
            workers[w].listed = 0;
        }

        for (n = 0; n < 8; n++) {
            run_op(w);
        }

        refresh(w);
    }

    janitor();

    for (l = 0; l < LOGICS; l++) {
        logic_ticks(l);
    }

    suspects_late();
    deliver_due();
}

#endif
