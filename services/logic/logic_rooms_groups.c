/*
 * logic_rooms_groups.c -- see logic_rooms_groups.h.
 *
 * MySQL has the truth, and a set in Redis must never be older than it: a
 * connection would be in a group that its user was removed from.  A change
 * first puts im:gx:{uid} there, for longer than any transaction may take, and
 * deletes the set; a script fills a set only where no such mark is.  So whoever
 * has read MySQL before the change cannot write after it, and nothing is to be
 * done once the transaction has ended, however it did.
 *
 * The row in `members` decides; that in `conversations` only finds it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "logic_page.h"
#include "logic_rooms_groups.h"
#include "logic_words.h"


#define GROUPS_QUERY       15
#define GROUPS_MARK_S      "30"
#define GROUPS_TTL_S       "3600"
#define GROUPS_ARGS        4000    /* of one script call */


typedef struct {
    uint64_t  uid;
    uint64_t  room;
} groups_row_t;

typedef struct {
    size_t          n;
    size_t          max;
    groups_row_t   *rows;
    int             failed;
} groups_t;


static int groups_read(logic_db_t *db, const uint64_t *uids, size_t n,
    groups_t *g);
static int groups_on_row(void *ctx, const im_mysql_value_t *v);
static int groups_fill(im_redis_t *redis, uint64_t uid,
    const groups_row_t *rows, size_t n, unsigned *asked);


static const char  groups_script[] =
    "if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end\n"
    "for i = 2, #ARGV, 1000 do\n"
    "  redis.call('SADD', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))\n"
    "end\n"
    "redis.call('EXPIRE', KEYS[1], ARGV[1])\n"
    "return 1\n";


size_t
logic_rooms_groups_key(char *key, size_t size, uint64_t uid)
{
    return (size_t) snprintf(key, size, "im:g:{%llu}",
                             (unsigned long long) uid);
}


int
logic_rooms_of_users(logic_db_t *db, const uint64_t *uids, size_t n,
    void (*on_group)(void *ctx, uint64_t uid, uint64_t room), void *ctx)
{
    int        rc;
    size_t     i, k, first, last, part;
    unsigned   asked;
    groups_t   g = { .n = 0 };

    rc = IM_OK;
    asked = 0;

    for (i = 0; i < n && rc == IM_OK; i += part) {
        part = (n - i < GROUPS_QUERY) ? n - i : GROUPS_QUERY;
        g.n = 0;
        rc = groups_read(db, uids + i, part, &g);

        /* rows come by user, as the primary key does */

        for (k = 0; k < part && rc == IM_OK; k++) {

            for (first = 0; first < g.n; first++) {
                if (g.rows[first].uid == uids[i + k]) {
                    break;
                }
            }

            for (last = first; last < g.n; last++) {
                if (g.rows[last].uid != uids[i + k]) {
                    break;
                }

                on_group(ctx, uids[i + k], g.rows[last].room);
            }

            rc = groups_fill(db->redis, uids[i + k], g.rows + first,
                             last - first, &asked);
        }
    }

    free(g.rows);

    /* also after a failure of MySQL: the next command's reply comes after */

    if (logic_words_done(db->redis, asked) != IM_OK) {
        rc = IM_ERROR;
    }

    return rc;
}


static int
groups_read(logic_db_t *db, const uint64_t *uids, size_t n, groups_t *g)
{
    size_t            i;
    im_mysql_value_t  v[GROUPS_QUERY];

    static const char             sql[] =
        "SELECT c.uid, c.conv_b FROM conversations c "
        "JOIN members m ON m.room = c.conv_b AND m.uid = c.uid "
        "AND m.role > 0 WHERE c.uid IN "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AND c.conv_a = 0 "
        "ORDER BY c.uid, c.conv_b";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(v, 0, sizeof(v));           /* nobody has uid 0 */

    for (i = 0; i < n; i++) {
        v[i].u64 = uids[i];
    }

    if (logic_page_run(db, sql, v, GROUPS_QUERY, columns, 2, groups_on_row, g)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return g->failed ? IM_ERROR : IM_OK;
}


static int
groups_on_row(void *ctx, const im_mysql_value_t *v)
{
    size_t         max;
    groups_t      *g = ctx;
    groups_row_t  *rows;

    if (g->n == g->max) {
        max = g->max ? g->max * 2 : 64;

        rows = realloc(g->rows, max * sizeof(groups_row_t));
        if (rows == NULL) {
            g->failed = 1;
            return IM_DONE;
        }

        g->rows = rows;
        g->max = max;
    }

    g->rows[g->n].uid = v[0].u64;
    g->rows[g->n++].room = v[1].u64;

    return IM_OK;
}


/* A user of more groups than one call takes is asked for each time. */
static int
groups_fill(im_redis_t *redis, uint64_t uid, const groups_row_t *rows,
    size_t n, unsigned *asked)
{
    int           rc;
    char          key[40], mark[40], *texts;
    size_t        i;
    im_str_t     *argv;

    static const im_str_t  words[6] = {
        im_str("EVAL"), im_str(groups_script), im_str("2"), { 0, NULL },
        { 0, NULL }, im_str(GROUPS_TTL_S)
    };

    if (n > GROUPS_ARGS) {
        return IM_OK;
    }

    argv = calloc(n + 7, sizeof(im_str_t));
    texts = malloc((n + 1) * 24);

    if (argv == NULL || texts == NULL) {
        free(argv);
        free(texts);
        return IM_ERROR;
    }

    memcpy(argv, words, sizeof(words));
    argv[3].data = (unsigned char *) key;
    argv[3].len = logic_rooms_groups_key(key, sizeof(key), uid);
    argv[4].data = (unsigned char *) mark;
    argv[4].len = (size_t) snprintf(mark, sizeof(mark), "im:gx:{%llu}",
                                    (unsigned long long) uid);

    for (i = 0; i < n || i == 0; i++) {
        argv[6 + i].data = (unsigned char *) texts + i * 24;
        argv[6 + i].len = (size_t) snprintf(texts + i * 24, 24, "%llu",
                                            n == 0 ? 0ULL
                                            : (unsigned long long)
                                              rows[i].room);
    }

    /* the script's text each time: one round trip for all users */

    rc = im_redis_append(redis, (int) (i + 6), argv);

    if (rc == IM_OK) {
        (*asked)++;
    }

    free(argv);
    free(texts);

    return rc;
}


int
logic_rooms_groups_touch(im_redis_t *redis, const uint64_t *uids, size_t n)
{
    char    key[40], mark[40];
    size_t  i;

    for (i = 0; i < n; i++) {
        (void) logic_rooms_groups_key(key, sizeof(key), uids[i]);
        snprintf(mark, sizeof(mark), "im:gx:{%llu}",
                 (unsigned long long) uids[i]);

        if (logic_words(redis, 5, "SET", mark, "1", "EX", GROUPS_MARK_S)
            != IM_OK
            || logic_words(redis, 2, "DEL", key) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return logic_words_done(redis, (unsigned) n * 2);
}
