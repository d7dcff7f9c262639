/*
 * logic_voids.c -- the table `voids`: ranges, how they are written and read.
 *
 * Whoever learns that a number is void writes it down, so that nobody has to
 * prove it again.  Each range is true for ever and by itself: two that overlap
 * do not contradict each other, a range that is written twice changes nothing,
 * and no writer has to know of the others.  Therefore there is no transaction
 * here, and no order.
 *
 * The key ends with to_seq, not with from_seq: a range has no message in it, so
 * all that matter to a page between two stored numbers end between them, and
 * are one range of the primary key.
 *
 * A row for each number of a burst of refusals would make a page expensive, so
 * what is written together is merged before.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_voids.h"


#define VOIDS_TRIES   2
#define VOIDS_PARAMS  5


typedef struct {
    im_conv_t        conv;
    logic_void_t    *voids;
    size_t           n;
    size_t           max;
} voids_read_t;


static int voids_compare(const void *a, const void *b);
static int voids_on_row(void *ctx, const im_mysql_value_t *v);


int
logic_voids_write(im_mysql_t *mysql, logic_void_t *voids, size_t n)
{
    int                rc, tries;
    size_t             i;
    uint64_t           affected;
    im_mysql_value_t  *values, *v;

    static const char  sql[] =
        "INSERT INTO voids (conv_a, conv_b, from_seq, to_seq) "
        "VALUES (?, ?, ?, ?) "
        "ON DUPLICATE KEY UPDATE from_seq = LEAST(from_seq, ?)";

    n = logic_voids_merge(voids, n);

    if (n == 0) {
        return IM_OK;
    }

    values = calloc(n * VOIDS_PARAMS, sizeof(im_mysql_value_t));
    if (values == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < n; i++) {
        v = values + i * VOIDS_PARAMS;
        v[0].u64 = voids[i].conv.a;
        v[1].u64 = voids[i].conv.b;
        v[2].u64 = voids[i].from;
        v[3].u64 = voids[i].to;
        v[4].u64 = voids[i].from;
    }

    rc = IM_AGAIN;

    for (tries = 0; tries < VOIDS_TRIES && rc == IM_AGAIN; tries++) {
        rc = im_mysql_insert(mysql, sql, values, VOIDS_PARAMS, n, &affected);
    }

    free(values);

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


int
logic_voids_read(im_mysql_t *mysql, const im_conv_t *conv, uint64_t cursor,
    uint64_t top, logic_void_t *voids, size_t max, size_t *n)
{
    int                rc, tries;
    voids_read_t       all;
    im_mysql_value_t   v[5];

    static const char             sql[] =
        "SELECT from_seq, to_seq FROM voids "
        "WHERE conv_a = ? AND conv_b = ? AND to_seq > ? AND to_seq <= ? "
        "ORDER BY to_seq LIMIT ?";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(v, 0, sizeof(v));
    v[0].u64 = conv->a;
    v[1].u64 = conv->b;
    v[2].u64 = cursor;
    v[3].u64 = top;
    v[4].u64 = max;

    rc = IM_AGAIN;
    *n = 0;

    for (tries = 0; tries < VOIDS_TRIES && rc == IM_AGAIN; tries++) {
        all = (voids_read_t) { *conv, voids, 0, max };
        rc = im_mysql_run(mysql, sql, v, 5, columns, 2, voids_on_row, &all,
                          NULL, NULL);
    }

    if (rc != IM_OK) {
        return IM_ERROR;
    }

    *n = logic_voids_merge(voids, all.n);

    return IM_OK;
}


static int
voids_on_row(void *ctx, const im_mysql_value_t *v)
{
    logic_void_t  *range;
    voids_read_t  *all = ctx;

    if (all->n == all->max) {
        return IM_DONE;
    }

    range = &all->voids[all->n++];
    range->conv = all->conv;
    range->from = v[0].u64;
    range->to = v[1].u64;

    return IM_OK;
}


void
logic_voids_floor(logic_void_t *v, const im_conv_t *conv, uint64_t last)
{
    v->conv = *conv;
    v->from = last + 1;
    v->to = last;
}


size_t
logic_voids_merge(logic_void_t *voids, size_t n)
{
    size_t         i, kept;
    logic_void_t  *last;

    if (n == 0) {
        return 0;
    }

    qsort(voids, n, sizeof(logic_void_t), voids_compare);

    kept = 1;

    for (i = 1; i < n; i++) {
        last = &voids[kept - 1];

        if (voids[i].conv.a != last->conv.a || voids[i].conv.b != last->conv.b
            || voids[i].from > last->to + 1)
        {
            voids[kept++] = voids[i];

        } else if (voids[i].to > last->to) {
            last->to = voids[i].to;
        }
    }

    return kept;
}


static int
voids_compare(const void *a, const void *b)
{
    const logic_void_t  *x = a, *y = b;

    if (x->conv.a != y->conv.a) {
        return (x->conv.a < y->conv.a) ? -1 : 1;
    }

    if (x->conv.b != y->conv.b) {
        return (x->conv.b < y->conv.b) ? -1 : 1;
    }

    return (x->from < y->from) ? -1 : (x->from > y->from);
}


uint64_t
logic_voids_reach(const logic_void_t *voids, size_t n, uint64_t from)
{
    size_t  low, high, middle;

    /* the first range that ends at `from` or above it */

    for (low = 0, high = n; low < high; /* void */) {
        middle = low + (high - low) / 2;

        if (voids[middle].to < from) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return (low < n && voids[low].from <= from) ? voids[low].to : from - 1;
}
