/*
 * bench_rows.c -- messages into MySQL as im-task writes them, and pages of
 * history as im-logic reads them.
 *
 * The statements are those of task_store.c, task_conversations.c and
 * logic_history.c, which keep them to themselves.  A batch holds the newest
 * messages of many conversations, sorted by the primary key, as in life.
 * "moving": each of them moves its conversation in the lists of both users, as
 * the first two in ten seconds do.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_store.h"
#include "im_mysql.h"


#define COLUMNS        11
#define MOVE_COLUMNS   6
#define BATCH_MAX      1000
#define BODY           200
#define CONVERSATIONS  30000
#define INSERT_ROWS    200000
#define HISTORY_ROWS   3000000
#define PAGE           50
#define PAGES          20000
#define MSG_ID         250852103515316224ull


static im_mysql_t *rows_connect(const char *address, const char *user,
    const char *database);
static void rows_figure(im_mysql_t *mysql, size_t batch, const char *what,
    pid_t server);
static void rows_insert(im_mysql_t *mysql, size_t n);
static void rows_fill(size_t n);
static void rows_move(size_t n);
static void rows_done(im_mysql_t *mysql, int ok);
static void rows_page(im_mysql_t *mysql);
static int rows_on_row(void *ctx, const im_mysql_value_t *v);
static int rows_compare(const void *a, const void *b);


static const char  rows_insert_sql[] =
    "INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, time_ms,"
    " run_seq, nth, nth_a, cmid, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE msg_id = msg_id";

static const char  rows_move_sql[] =
    "INSERT INTO conversations (uid, conv_a, conv_b, last_id)"
    " VALUES (?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE hot = ?, last_id = GREATEST(last_id, ?)";

static const char  rows_page_sql[] =
    "SELECT seq, msg_id, sender, time_ms, body FROM messages "
    "WHERE conv_a = ? AND conv_b = ? AND seq < ? "
    "ORDER BY seq DESC LIMIT ?";

static uint32_t          rows_last[CONVERSATIONS];   /* seq of each */
static uint64_t          rows_id;
static im_mysql_value_t  rows_values[BATCH_MAX * COLUMNS];
static im_mysql_value_t  rows_moves[BATCH_MAX * 2 * MOVE_COLUMNS];
static int               rows_moving;
static unsigned char     rows_body[BODY];


int
bench_insert(const char *address, const char *user, const char *database,
    pid_t server)
{
    uint64_t     n;
    im_mysql_t  *mysql;

    mysql = rows_connect(address, user, database);

    for (n = 0; n < INSERT_ROWS / 10; n += 1000) {
        rows_insert(mysql, 1000);
    }

    rows_figure(mysql, 500, "insert", server);
    rows_figure(mysql, 1000, "insert", server);

    rows_moving = 1;
    rows_insert(mysql, 1000);
    rows_figure(mysql, 1000, "insert-moving", server);
    rows_moving = 0;

    im_mysql_destroy(mysql);

    return 0;
}


static void
rows_figure(im_mysql_t *mysql, size_t batch, const char *what, pid_t server)
{
    uint64_t      n;
    bench_span_t  span;

    bench_begin(&span, server);

    for (n = 0; n < INSERT_ROWS; n += batch) {
        rows_insert(mysql, batch);
    }

    bench_end(&span);
    bench_report(&span, what, (unsigned) batch, n);
}


int
bench_history(const char *address, const char *user, const char *database,
    pid_t server)
{
    uint64_t       n, *us;
    im_mysql_t    *mysql;
    bench_span_t   span;

    mysql = rows_connect(address, user, database);
    us = calloc(PAGES, sizeof(uint64_t));

    if (us == NULL) {
        return 1;
    }

    for (n = 0; n < HISTORY_ROWS; n += 1000) {
        rows_insert(mysql, 1000);
    }

    for (n = 0; n < PAGES / 10; n++) {
        rows_page(mysql);
    }

    bench_begin(&span, server);

    for (n = 0; n < PAGES; n++) {
        us[n] = bench_now_us();
        rows_page(mysql);
        us[n] = bench_now_us() - us[n];
    }

    bench_end(&span);
    bench_report(&span, "history", PAGE, PAGES);

    qsort(us, PAGES, sizeof(uint64_t), rows_compare);
    printf("{\"what\":\"history-page\",\"rows\":%d,\"p50_us\":%llu,"
           "\"p99_us\":%llu,\"max_us\":%llu}\n", HISTORY_ROWS,
           (unsigned long long) us[PAGES / 2],
           (unsigned long long) us[PAGES / 100 * 99],
           (unsigned long long) us[PAGES - 1]);

    free(us);
    im_mysql_destroy(mysql);

    return 0;
}


static im_mysql_t *
rows_connect(const char *address, const char *user, const char *database)
{
    size_t            i;
    im_mysql_t       *mysql;
    im_mysql_conf_t   conf;

    for (i = 0; i < BODY; i++) {
        rows_body[i] = (unsigned char) ('a' + i % 26);
    }

    memset(&conf, 0, sizeof(conf));
    conf.address = address;
    conf.user = user;
    conf.password = "";
    conf.database = database;
    conf.timeout_ms = 20000;
    mysql = im_mysql_create(&conf);

    if (mysql == NULL || im_mysql_ping(mysql) != IM_OK
        || im_mysql_run(mysql, "TRUNCATE TABLE messages", NULL, 0, NULL, 0,
                        NULL, NULL, NULL, NULL) != IM_OK
        || im_mysql_run(mysql, "TRUNCATE TABLE conversations", NULL, 0, NULL,
                        0, NULL, NULL, NULL, NULL) != IM_OK)
    {
        fprintf(stderr, "im-bench-store: mysql: %s\n",
                mysql ? im_mysql_error(mysql) : "out of memory");
        exit(1);
    }

    return mysql;
}


static void
rows_insert(im_mysql_t *mysql, size_t n)
{
    uint64_t  new_rows, changed;

    rows_fill(n);

    rows_done(mysql, im_mysql_begin(mysql) == IM_OK);
    rows_done(mysql, im_mysql_insert(mysql, rows_insert_sql, rows_values,
                                     COLUMNS, n, &new_rows) == IM_OK
                     && new_rows == n);

    if (rows_moving) {
        rows_move(n);
        rows_done(mysql, im_mysql_insert(mysql, rows_move_sql, rows_moves,
                                         MOVE_COLUMNS, n * 2, &changed)
                         == IM_OK);
    }

    rows_done(mysql, im_mysql_commit(mysql) == IM_OK);
}


static void
rows_done(im_mysql_t *mysql, int ok)
{
    if (!ok) {
        fprintf(stderr, "im-bench-store: insert: %s\n", im_mysql_error(mysql));
        exit(1);
    }
}


/* One message for each of n conversations that follow one another: the order
 * of the primary key needs no sorting then. */
static void
rows_fill(size_t n)
{
    size_t             i;
    uint64_t           conv;
    static char        cmid[BATCH_MAX][20];
    im_mysql_value_t  *v;

    conv = bench_roll(CONVERSATIONS - n * 8);
    v = rows_values;
    memset(v, 0, n * COLUMNS * sizeof(im_mysql_value_t));

    for (i = 0; i < n; i++) {
        conv += 1 + bench_roll(8);
        rows_id += 1 + bench_roll(1 << 22);

        v[0].u64 = conv;
        v[1].u64 = conv + CONVERSATIONS;
        v[2].u64 = ++rows_last[conv];
        v[3].u64 = MSG_ID + rows_id;
        v[4].u64 = conv;
        v[5].u64 = 1795497402084ull + (rows_id >> 22);
        v[6].u64 = 1;
        v[7].u64 = rows_last[conv];
        v[8].u64 = rows_last[conv];
        v[9].type = IM_MYSQL_STR;
        v[9].str.data = (unsigned char *) cmid[i];
        v[9].str.len = (size_t) snprintf(cmid[i], sizeof(cmid[i]), "%012llx-%u",
                                         (unsigned long long) conv,
                                         rows_last[conv] % 10000);
        v[10].type = IM_MYSQL_STR;
        v[10].str.data = rows_body;
        v[10].str.len = BODY;
        v += COLUMNS;
    }
}


/* Of the lower users first: in the order of the primary key, too. */
static void
rows_move(size_t n)
{
    size_t             i;
    im_mysql_value_t  *v, *m;

    memset(rows_moves, 0, n * 2 * MOVE_COLUMNS * sizeof(im_mysql_value_t));

    for (i = 0; i < n * 2; i++) {
        m = rows_values + (i % n) * COLUMNS;
        v = rows_moves + i * MOVE_COLUMNS;

        v[0].u64 = m[i / n].u64;
        v[1].u64 = m[0].u64;
        v[2].u64 = m[1].u64;
        v[3].u64 = m[3].u64;
        v[5].u64 = m[3].u64;
    }
}


/* Anywhere in a conversation that has a page at all. */
static void
rows_page(im_mysql_t *mysql)
{
    size_t            n;
    uint64_t          conv;
    im_mysql_value_t  v[4];

    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_STR
    };

    do {
        conv = bench_roll(CONVERSATIONS);
    } while (rows_last[conv] <= PAGE);

    memset(v, 0, sizeof(v));
    v[0].u64 = conv;
    v[1].u64 = conv + CONVERSATIONS;
    v[2].u64 = PAGE + 2 + bench_roll(rows_last[conv] - PAGE);
    v[3].u64 = PAGE + 1;
    n = 0;

    if (im_mysql_run(mysql, rows_page_sql, v, 4, columns, 5, rows_on_row, &n,
                     NULL, NULL) != IM_OK || n < PAGE)
    {
        fprintf(stderr, "im-bench-store: a page has %zu rows: %s\n", n,
                im_mysql_error(mysql));
        exit(1);
    }
}


static int
rows_on_row(void *ctx, const im_mysql_value_t *v)
{
    size_t  *n = ctx;

    *n += (v[4].str.len == BODY);

    return IM_OK;
}


static int
rows_compare(const void *a, const void *b)
{
    const uint64_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}
