/*
 * logic_rooms_groups.c -- see logic_rooms_groups.h.
 *
 * MySQL decides, and Redis must never have an older list: a connection would be
 * in a group that its user was removed from.  A text is written only where
 * there is none (SET NX), and a change first puts a mark in its place, for
 * longer than any transaction may take.  So a Logic that read MySQL before the
 * change cannot write after it, and nothing is to be done once the transaction
 * has ended, however it did.
 *
 *     "12 345 6789"    the groups
 *     "0"              in none
 *     "x..."           being changed: MySQL is asked, and nothing written
 *
 * Once a change is committed, the Logic that made it writes what MySQL has now,
 * if its own mark still stands (each change has one of its own).  So the groups
 * of a user who reconnects right after a change are known even if MySQL has
 * gone away since.
 *
 * A text, not a set: one plain command writes it, whole or not at all.  A set
 * and a mark beside it took a script for each user, which was a third of what
 * the first log-in of a user cost Redis.
 *
 * The row in `members` decides; that in `conversations` only finds it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>
#include <sodium.h>

#include "im_clock.h"
#include "im_keys.h"
#include "logic_args.h"
#include "logic_db.h"
#include "logic_rooms_groups.h"


#define GROUPS_FEW         8
#define GROUPS_MANY        64
#define GROUPS_FRESH_US    10000000    /* less than LOGIC_ROOMS_MARK_S */
#define GROUPS_TTL_S       "3600"
#define GROUPS_MAX         4000    /* in one text */


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


static int groups_all(logic_db_t *db, const uint64_t *uids, size_t n,
    const char *mark, void (*on_group)(void *ctx, uint64_t uid, uint64_t room),
    void *ctx);
static int groups_read(logic_db_t *db, const uint64_t *uids, size_t n,
    groups_t *g);
static int groups_on_row(void *ctx, const im_mysql_value_t *v);
static void groups_ignore(void *ctx, uint64_t uid, uint64_t room);
static int groups_fill(im_redis_t *redis, uint64_t uid, const char *mark,
    const groups_row_t *rows, size_t n, unsigned *asked);


int
logic_rooms_of_users(logic_db_t *db, const uint64_t *uids, size_t n,
    void (*on_group)(void *ctx, uint64_t uid, uint64_t room), void *ctx)
{
    return groups_all(db, uids, n, NULL, on_group, ctx);
}


/* mark: where it stands, NULL: where nothing does, the answer is written. */
static int
groups_all(logic_db_t *db, const uint64_t *uids, size_t n, const char *mark,
    void (*on_group)(void *ctx, uint64_t uid, uint64_t room), void *ctx)
{
    int        rc;
    size_t     i, k, first, last, part;
    unsigned   asked;
    uint64_t   read_us;
    groups_t   g = { .n = 0 };

    rc = IM_OK;

    for (i = 0; i < n && rc == IM_OK; i += part) {
        part = (n - i < GROUPS_MANY) ? n - i : GROUPS_MANY;
        g.n = 0;
        asked = 0;
        read_us = im_mono_us();
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

            /* what was read long ago must not outlive the mark of a change */

            if (im_mono_us() - read_us < GROUPS_FRESH_US) {
                rc = groups_fill(db->redis, uids[i + k], mark,
                                 g.rows + first, last - first, &asked);
            }
        }

        if (logic_args_done(db->redis, asked) != IM_OK) {
            rc = IM_ERROR;
        }
    }

    free(g.rows);

    return rc;
}


#define GROUPS_SELECT(marks)                                                  \
    "SELECT c.uid, c.conv_b FROM conversations c "                            \
    "JOIN members m ON m.room = c.conv_b AND m.uid = c.uid AND m.role > 0 "   \
    "WHERE c.uid IN (" marks ") AND c.conv_a = 0 ORDER BY c.uid, c.conv_b"

#define GROUPS_8  "?, ?, ?, ?, ?, ?, ?, ?"

static int
groups_read(logic_db_t *db, const uint64_t *uids, size_t n, groups_t *g)
{
    int               few;
    size_t            i;
    im_mysql_value_t  v[GROUPS_MANY];

    static const char             sql_few[] = GROUPS_SELECT(GROUPS_8);
    static const char             sql_many[] = GROUPS_SELECT(
        GROUPS_8 ", " GROUPS_8 ", " GROUPS_8 ", " GROUPS_8 ", "
        GROUPS_8 ", " GROUPS_8 ", " GROUPS_8 ", " GROUPS_8);
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(v, 0, sizeof(v));           /* nobody has uid 0 */

    for (i = 0; i < n; i++) {
        v[i].u64 = uids[i];
    }

    few = (n <= GROUPS_FEW);

    if (logic_db_run(db, few ? sql_few : sql_many, v,
                       few ? GROUPS_FEW : GROUPS_MANY, columns, 2,
                       groups_on_row, g)
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


/* A user of more groups than a text holds is asked for each time. */
static int
groups_fill(im_redis_t *redis, uint64_t uid, const char *mark,
    const groups_row_t *rows, size_t n, unsigned *asked)
{
    int     rc;
    char    key[IM_KEY_MAX], none[] = "0", *text, *p;
    size_t  i;

    if (n > GROUPS_MAX) {
        return IM_OK;
    }

    text = (n == 0) ? none : malloc(n * IM_KEYS_NUMBER_MAX + 1);
    if (text == NULL) {
        return IM_ERROR;
    }

    for (p = text, i = 0; i < n; i++) {
        p = im_keys_number_write(text, p, rows[i].room);
    }

    snprintf(key, sizeof(key), IM_KEY_GROUPS, uid);

    rc = (mark == NULL)
         ? logic_args(redis, 6, "SET", key, text, "NX", "EX", GROUPS_TTL_S)
         : logic_rooms_refill(redis, key, mark, text, GROUPS_TTL_S);

    if (rc == IM_OK) {
        (*asked)++;
    }

    if (n > 0) {
        free(text);
    }

    return rc;
}


int
logic_rooms_groups_touch(im_redis_t *redis, const uint64_t *uids, size_t n,
    const char *mark)
{
    char    key[IM_KEY_MAX];
    size_t  i;

    for (i = 0; i < n; i++) {
        snprintf(key, sizeof(key), IM_KEY_GROUPS, uids[i]);

        if (logic_args(redis, 5, "SET", key, mark, "EX", LOGIC_ROOMS_MARK_S)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return logic_args_done(redis, (unsigned) n);
}


int
logic_rooms_groups_refill(logic_db_t *db, const uint64_t *uids, size_t n,
    const char *mark)
{
    return groups_all(db, uids, n, mark, groups_ignore, NULL);
}


static void
groups_ignore(void *ctx, uint64_t uid, uint64_t room)
{
    (void) ctx;
    (void) uid;
    (void) room;
}


void
logic_rooms_mark(char *mark)
{
    uint64_t  nonce;

    randombytes_buf(&nonce, sizeof(nonce));
    (void) snprintf(mark, LOGIC_ROOMS_MARK, IM_KEY_MARK, nonce);
}


int
logic_rooms_refill(im_redis_t *redis, const char *key, const char *mark,
    const char *text, const char *ttl_s)
{
    static const char  script[] =
        "if redis.call('GET', KEYS[1]) == ARGV[1] then "
        "redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end "
        "return 1";

    return logic_args(redis, 7, "EVAL", script, "1", key, mark, text, ttl_s);
}
