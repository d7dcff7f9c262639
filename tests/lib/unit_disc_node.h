/*
 * unit_disc_node.h -- processes that hold a node number each and mint ids under
 * it, for tests that no id comes twice.
 *
 * im_disc_node.c and im_snowflake.c are the real ones; etcd is a table
 * (unit_etcd.h), the clock a variable.
 */

#ifndef UNIT_DISC_NODE_H
#define UNIT_DISC_NODE_H

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
static char      logged[600];


/* A process. */

static inline uint64_t
wall(void)
{
    return wall_ms;
}


static inline void
on_got(void *ctx, unsigned node, uint64_t floor_ms, uint64_t limit_ms)
{
    proc_t  *p = ctx;

    im_snowflake_start(&p->ids, node, floor_ms, limit_ms);
    p->minting = 1;
    p->got++;
}


static inline void
on_limit(void *ctx, uint64_t limit_ms)
{
    proc_t  *p = ctx;

    im_snowflake_extend(&p->ids, limit_ms);
}


static inline void
on_lost(void *ctx)
{
    proc_t  *p = ctx;

    p->minting = 0;
    p->lost++;
}


static inline uint64_t
on_minted(void *ctx)
{
    proc_t  *p = ctx;

    return im_snowflake_minted_ms(&p->ids);
}


static inline void
on_log(void *ctx, int level, const char *msg)
{
    (void) ctx;
    (void) level;

    snprintf(logged, sizeof(logged), "%s", msg);
}


static const im_disc_node_handler_t  handler = {
    .got = on_got, .limit = on_limit, .lost = on_lost, .minted_ms = on_minted
};


static inline void
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


static inline void
check(proc_t *p)
{
    caller = &p->call;
    im_disc_node_check(&p->d);
}


static inline void
settle(proc_t *p)
{
    check(p);

    while (answer(&p->call)) { /* another question may follow */ }
}


/* In order, or by SIGKILL: its key goes when its lease ends. */
static inline void
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


static inline int
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


static inline int
compare_ids(const void *a, const void *b)
{
    const uint64_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}


static inline void
assert_no_id_twice(void)
{
    size_t  i;

    qsort(given, given_n, sizeof(uint64_t), compare_ids);

    for (i = 1; i < given_n; i++) {
        assert_true(given[i] != given[i - 1]);
    }
}


static inline int
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


static inline int
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

#endif
