/*
 * unit_presence_workers.h -- the workers of unit_presence_world.h, with their
 * users and watchers.
 *
 * A worker carries out opens and closes in order, and knows what its
 * subscribers were notified of, as ngx_im_presence.c does.
 */

#ifndef UNIT_PRESENCE_WORKERS_H
#define UNIT_PRESENCE_WORKERS_H

#include "unit_presence.h"

#include "im_watch.h"

#define LOGICS     3
#define WATCHERS   4
#define OPS        1024            /* opens and closes of a worker, in a run */
#define WIRE       2048            /* events and answers under way */

typedef struct {
    unsigned      u;
    unsigned      conn;
    int           open;
} op_t;

typedef struct {
    int           used;
    int           alive;           /* the process */
    int           cut;             /* it reaches nobody, and nobody it */
    int           listed;          /* in etcd */
    uint64_t      unlist_at;       /* 0: not to be taken out */
    uint64_t      lost_at;         /* it hears that Redis has lost all */
    uint64_t      refresh_at;      /* all subscriptions are asked for */
    uint64_t      old_at;          /* until then no offline is believed */
    im_watch_t    watch[FAKE_USERS];
    op_t          ops[OPS];
    unsigned      n;
    unsigned      at;              /* the next one */
} worker_t;

typedef struct {
    int           at;              /* worker; -1: none */
    int           subscribed[FAKE_USERS];
    int           answered[FAKE_USERS];
    unsigned      online[FAKE_USERS];
} watcher_t;

/* By a link or as an answer; watcher: -1 if it is the worker's own question. */
typedef struct {
    int           used;
    int           event;
    int           young;
    int           watcher;
    unsigned      logic;
    unsigned      w;
    unsigned      u;
    unsigned      online;
    uint64_t      version;
    uint64_t      at;
} wire_t;


static uint64_t    random_state;
static int         is_quiet;
static worker_t    workers[FAKE_WORKERS];
static watcher_t   watchers[WATCHERS];
static int         users[FAKE_USERS][FAKE_CONNS];  /* 1 + worker: connected */
static unsigned    conns_n;
static wire_t      wire[WIRE];


static unsigned
chance(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return (unsigned) (random_state >> 33) % n;
}


/* One time of n, and never when it is quiet. */
static int
fails(unsigned n)
{
    return !is_quiet && chance(n) == 0;
}


static int
reaches(unsigned w)
{
    return workers[w].used && workers[w].alive && !workers[w].cut;
}


/* A worker that runs and is not cut off; -1: none. */
static int
some_worker(void)
{
    unsigned  i, w;

    w = chance(FAKE_WORKERS);

    for (i = 0; i < FAKE_WORKERS; i++) {
        if (reaches((w + i) % FAKE_WORKERS)) {
            return (int) ((w + i) % FAKE_WORKERS);
        }
    }

    return -1;
}


static int
new_worker(void)
{
    unsigned  w;

    for (w = 0; w < FAKE_WORKERS && workers[w].used; w++) { /* void */ }

    if (w == FAKE_WORKERS) {
        return -1;
    }

    workers[w].used = 1;
    workers[w].alive = 1;
    workers[w].listed = 1;

    return (int) w;
}


static void
put_op(unsigned w, unsigned u, unsigned conn, int open)
{
    worker_t  *k = &workers[w];

    assert_true(k->n < OPS);
    k->ops[k->n].u = u;
    k->ops[k->n].conn = conn;
    k->ops[k->n++].open = open;
}


static void
announce(unsigned w)
{
    unsigned  u, c;

    for (u = 0; u < FAKE_USERS; u++) {
        for (c = 0; c < conns_n; c++) {
            if (users[u][c] == 1 + (int) w) {
                put_op(w, u, c, 1);
            }
        }
    }
}


static void
user_connects(unsigned u)
{
    int  w;

    w = some_worker();

    if (w != -1 && conns_n < FAKE_CONNS) {
        users[u][conns_n] = 1 + w;
        put_op((unsigned) w, u, conns_n++, 1);
    }
}


static void
user_leaves(unsigned u)
{
    unsigned  c;

    for (c = 0; c < conns_n; c++) {
        if (users[u][c] != 0 && chance(3) != 0) {
            put_op((unsigned) users[u][c] - 1, u, c, 0);
            users[u][c] = 0;
        }
    }
}


static void
put_wire(const wire_t *one)
{
    unsigned  i;

    for (i = 0; i < WIRE && wire[i].used; i++) { /* void */ }

    assert_true(i < WIRE);
    wire[i] = *one;
    wire[i].used = 1;
    wire[i].at = fake.now_ms + chance(200);
}


static void
ask(unsigned w, unsigned u, int watcher, int young)
{
    wire_t  a = { .watcher = watcher, .w = w, .u = u, .young = young };

    a.logic = chance(LOGICS);
    a.online = presence_query(u, w, &a.version);
    put_wire(&a);
}


static void
watcher_subscribes(unsigned i, unsigned u)
{
    watcher_t  *k = &watchers[i];

    if (k->at == -1) {
        k->at = some_worker();
    }

    if (k->at != -1 && reaches((unsigned) k->at)) {
        k->subscribed[u] = 1;
        ask((unsigned) k->at, u, (int) i, 0);
    }
}


/* Its worker has ended: it connects to another one, and subscribes again. */
static void
watchers_move(unsigned w)
{
    unsigned  i, u;

    for (i = 0; i < WATCHERS; i++) {

        if (watchers[i].at != (int) w) {
            continue;
        }

        watchers[i].at = -1;
        memset(watchers[i].answered, 0, sizeof(watchers[i].answered));

        for (u = 0; u < FAKE_USERS; u++) {
            if (watchers[i].subscribed[u]) {
                watcher_subscribes(i, u);
            }
        }
    }
}


static int
has_topic(unsigned w, unsigned u)
{
    unsigned  i;

    for (i = 0; i < WATCHERS; i++) {
        if (watchers[i].at == (int) w && watchers[i].subscribed[u]) {
            return 1;
        }
    }

    memset(&workers[w].watch[u], 0, sizeof(im_watch_t));

    return 0;
}


static void
notify(unsigned w, unsigned u, unsigned online)
{
    unsigned  i;

    if (fails(20)) {
        im_watch_missed(&workers[w].watch[u]);     /* no memory */
        workers[w].refresh_at = fake.now_ms + 1000;
        return;
    }

    for (i = 0; i < WATCHERS; i++) {
        if (watchers[i].at == (int) w && watchers[i].subscribed[u]) {
            watchers[i].online[u] = online;
        }
    }
}


/* As ngx_im_presence.c has it. */
static void
deliver(const wire_t *m)
{
    int        rc;
    uint32_t   online;
    worker_t  *w = &workers[m->w];

    if (!reaches(m->w) || !has_topic(m->w, m->u)
        || (m->young && !m->online))
    {
        return;
    }

    online = m->online;

    if (m->watcher == -1) {
        rc = im_watch_event(&w->watch[m->u], m->version, online);

    } else {
        rc = im_watch_answer(&w->watch[m->u], m->version, &online);
    }

    if (m->watcher != -1 && watchers[m->watcher].at == (int) m->w) {
        watchers[m->watcher].answered[m->u] = 1;
        watchers[m->watcher].online[m->u] = online;
    }

    if (rc == IM_OK) {
        notify(m->w, m->u, online);
    }
}


static void
deliver_due(void)
{
    wire_t    m;
    unsigned  i, k;

    k = chance(WIRE);                  /* in no order */

    for (i = 0; i < WIRE; i++) {
        m = wire[(i + k) % WIRE];

        if (m.used && m.at <= fake.now_ms) {
            wire[(i + k) % WIRE].used = 0;
            deliver(&m);
        }
    }
}


static void
refresh(unsigned w)
{
    unsigned   u;
    worker_t  *k = &workers[w];

    if (!reaches(w)) {
        return;
    }

    if (k->lost_at != 0 && k->lost_at <= fake.now_ms) {
        k->lost_at = 0;
        k->old_at = fake.now_ms + 1000;
        k->refresh_at = fake.now_ms;
        announce(w);

        for (u = 0; u < FAKE_USERS; u++) {
            im_watch_reset(&k->watch[u]);
        }
    }

    if (k->refresh_at == 0 || k->refresh_at > fake.now_ms) {
        return;
    }

    for (u = 0; u < FAKE_USERS; u++) {
        if (has_topic(w, u)) {
            ask(w, u, -1, fake.now_ms < k->old_at);
        }
    }

    k->refresh_at = (fake.now_ms < k->old_at) ? k->old_at : 0;
}

#endif
