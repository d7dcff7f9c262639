/*
 * logic_ask.c -- see logic_ask.h.
 *
 * A prepared statement has a fixed number of parameters, so there are two of
 * each kind: a few keys, which is what a batch of people who talk already asks
 * for now and then, and many.  What is left over is filled up with zeros: in
 * MySQL they are one more point of the index.
 *
 * Statements of pairs say "(a = ? AND b = ?) OR ...": a list of rows, "(a, b)
 * IN ((?, ?), ...)", is searched by the index in MySQL, and by reading the
 * whole table in MariaDB.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_ask.h"
#include "logic_stores.h"


typedef struct {
    const logic_ask_sql_t  *sql;
    logic_ask_t            *asks;
    size_t                  n;
} ask_all_t;


static int ask_compare(const void *a, const void *b);
static size_t ask_next(const ask_all_t *all, size_t *i, size_t n_keys,
    im_mysql_value_t *v);
static int ask_run(im_mysql_t *mysql, const char *text,
    const im_mysql_value_t *v, size_t n, ask_all_t *all);
static int ask_on_row(void *ctx, const im_mysql_value_t *v);


int
logic_ask(im_mysql_t *mysql, const logic_ask_sql_t *sql, logic_ask_t *asks,
    size_t n)
{
    size_t             i, k, n_keys;
    ask_all_t          all = { sql, asks, n };
    const char        *text;
    im_mysql_value_t   v[LOGIC_ASK_MANY * LOGIC_ASK_KEY];

    qsort(asks, n, sizeof(logic_ask_t), ask_compare);

    for (i = 0; i < n; i++) {
        asks[i].found = 0;
    }

    for (i = 0; i < n; ) {
        n_keys = (n - i <= LOGIC_ASK_FEW) ? LOGIC_ASK_FEW : LOGIC_ASK_MANY;
        text = (n_keys == LOGIC_ASK_FEW) ? sql->few : sql->many;

        k = ask_next(&all, &i, n_keys, v);

        if (ask_run(mysql, text, v, k, &all) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
ask_compare(const void *a, const void *b)
{
    size_t              i;
    const logic_ask_t  *x = a, *y = b;

    for (i = 0; i < LOGIC_ASK_KEY; i++) {
        if (x->key[i] != y->key[i]) {
            return (x->key[i] < y->key[i]) ? -1 : 1;
        }
    }

    return 0;
}


/* The parameters of the next statement: different keys from i on. */
static size_t
ask_next(const ask_all_t *all, size_t *i, size_t n_keys, im_mysql_value_t *v)
{
    size_t  k, part, n;

    n = n_keys * all->sql->n_key;
    memset(v, 0, n * sizeof(im_mysql_value_t));

    for (k = 0; *i < all->n; (*i)++) {

        if (k > 0 && ask_compare(&all->asks[*i], &all->asks[*i - 1]) == 0) {
            continue;
        }

        if (k == n) {
            break;
        }

        for (part = 0; part < all->sql->n_key; part++) {
            v[k++].u64 = all->asks[*i].key[part];
        }
    }

    return n;
}


static int
ask_run(im_mysql_t *mysql, const char *text, const im_mysql_value_t *v,
    size_t n, ask_all_t *all)
{
    static const im_mysql_type_t  columns[LOGIC_ASK_KEY + LOGIC_ASK_VALUES];

    _Static_assert(IM_MYSQL_U64 == 0, "columns are numbers");

    return logic_mysql_run(mysql, text, v, n, columns,
                           all->sql->n_key + all->sql->n_values, ask_on_row,
                           all, NULL);
}


/* May be called twice for a row, when a statement is tried again. */
static int
ask_on_row(void *ctx, const im_mysql_value_t *v)
{
    size_t        i, n_key, n_values;
    ask_all_t    *all = ctx;
    logic_ask_t   row, *a;

    n_key = all->sql->n_key;
    n_values = all->sql->n_values;
    memset(&row, 0, sizeof(row));

    for (i = 0; i < n_key; i++) {
        row.key[i] = v[i].u64;
    }

    for (i = 0; i < n_values; i++) {
        if (v[n_key + i].null) {
            return IM_OK;
        }

        row.values[i] = v[n_key + i].u64;
    }

    a = bsearch(&row, all->asks, all->n, sizeof(logic_ask_t), ask_compare);

    if (a == NULL) {
        return IM_OK;                  /* of the zeros */
    }

    while (a > all->asks && ask_compare(a - 1, &row) == 0) {
        a--;
    }

    for (/* void */; a < all->asks + all->n && ask_compare(a, &row) == 0; a++) {
        memcpy(a->values, row.values, sizeof(row.values));
        a->found = 1;
    }

    return IM_OK;
}
