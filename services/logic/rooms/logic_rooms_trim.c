/*
 * logic_rooms_trim.c -- see logic_rooms_trim.h.
 *
 * Nobody reads the messages of a live room without history, but their rows are
 * needed for a while: a repeat is acked, or its number called void, by whether
 * the row is there (logic_batch.c).  Redis forgets a number two windows of
 * [dedupe] after it was given; so a row goes when its number is older than
 * [rooms] live_keep_s, which must be longer.
 *
 *   walk over `rooms` --> highest seq --> im:rk:{room}  "seq, when it was seen"
 *                                             |  live_keep_s later
 *                                             v
 *                         rows below that seq are deleted, 500 numbers at a
 *                         time, and void numbers; the highest one now is noted
 *
 * The note has a number and the latest time when it can have been given, by
 * Redis's clock, by which the age of a repeat is measured, too.  Rejected: the
 * time in the row.  It is that of a Logic's clock, and needs an index or a
 * scan.  So a row lives for one to two times live_keep_s.
 *
 * The row that was noted is never deleted, only those below.  The newest one of
 * a room stays therefore, and a Redis that has lost the room's counter begins
 * above it.
 *
 * The table of messages is touched by its primary key alone: its two ends in a
 * room, and ranges of 500 numbers, each a transaction of its own with a pause
 * after it.  Inserts come above them and do not wait.  Where numbers are
 * missing (a Redis that lost its memory skips a million) the lowest row is
 * asked for again.
 *
 * A room that is given history by an operator keeps what is there; one whose
 * history is taken away loses it with the next walks.
 *
 * The owner of a name does it, on a thread of its own.  Two at a time, while
 * owners change, do no harm.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_keys.h"
#include "im_log.h"
#include "im_steps.h"
#include "logic_args.h"
#include "logic_owner.h"
#include "logic_rooms.h"
#include "logic_rooms_trim.h"
#include "logic_stores.h"


#define TRIM_TICK_MS    1000
#define TRIM_FIRST_MS   5000
#define TRIM_EVERY_MS   600000
#define TRIM_LEAST_MS   10000
#define TRIM_ROOMS      500        /* looked at in one statement */
#define TRIM_ROWS       500        /* numbers whose rows go in one statement */
#define TRIM_PAUSE_MS   5
#define TRIM_MARGIN_S   60         /* over two windows: a repeat on its way */


/* A portion of `rooms`. */
typedef struct {
    uint64_t    last;              /* room */
    size_t      seen;
    size_t      n;
    uint64_t    rooms[TRIM_ROOMS]; /* those that may be trimmed */
} trim_page_t;

/* Of the rows of a room, or of its note. */
typedef struct {
    int         known;
    uint64_t    low;
    uint64_t    high;
} trim_ends_t;

typedef struct {
    int         known;
    uint64_t    seq;
    uint64_t    at_ms;
} trim_note_t;


static void *trim_thread(void *arg);
static int trim_wait(uint64_t ms);
static unsigned trim_every_ms(void);
static int trim_walk(void);
static int trim_page(trim_page_t *page);
static int trim_on_room(void *ctx, const im_mysql_value_t *v);
static int trim_room(uint64_t room);
static int trim_ends(uint64_t room, uint64_t from, trim_ends_t *ends);
static int trim_on_ends(void *ctx, const im_mysql_value_t *v);
static int trim_rows(uint64_t room, uint64_t from, uint64_t end);
static int trim_voids(uint64_t room, uint64_t end);
static int trim_note(uint64_t room, trim_note_t *note, uint64_t *now_ms);
static int trim_put_note(uint64_t room, uint64_t seq, uint64_t now_ms);
static int trim_run(const char *sql, const im_mysql_value_t *v, size_t n,
    size_t columns, int (*row)(void *ctx, const im_mysql_value_t *v),
    void *ctx, uint64_t *affected);


static im_thread_t       trim_id;
static pthread_mutex_t   trim_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    trim_wake = PTHREAD_COND_INITIALIZER;
static int               trim_stopping;

static im_redis_t       *trim_redis;           /* the rest: the thread's own */
static im_mysql_t       *trim_mysql;
static uint64_t          trim_deleted;
static im_log_seldom_t   trim_log;


const char *
logic_rooms_trim_check(const logic_conf_t *conf)
{
    static char  text[160];

    if (conf->rooms_live_keep_s == 0
        || conf->rooms_live_keep_s
           >= 2 * conf->dedupe_window_s + TRIM_MARGIN_S)
    {
        return NULL;
    }

    snprintf(text, sizeof(text), "[rooms] live_keep_s: it is 0, or %u (twice "
             "[dedupe] window_s, and %d) at least",
             2 * conf->dedupe_window_s + TRIM_MARGIN_S, TRIM_MARGIN_S);

    return text;
}


int
logic_rooms_trim_start(void)
{
    if (logic_conf.rooms_live_keep_s == 0) {
        return IM_OK;
    }

    trim_redis = logic_redis_create();
    trim_mysql = logic_mysql_create();

    return (trim_redis != NULL && trim_mysql != NULL)
           ? im_thread_start(&trim_id, trim_thread, NULL) : IM_ERROR;
}


static void *
trim_thread(void *arg)
{
    int       rc;
    uint64_t  due_us;

    (void) arg;

    due_us = im_mono_us() + TRIM_FIRST_MS * 1000;

    while (!trim_wait(TRIM_TICK_MS)) {

        if (im_mono_us() < due_us
            || !logic_is_owner(logic_owner_slot_of("trim")))
        {
            continue;
        }

        trim_deleted = 0;
        rc = trim_walk();
        due_us = im_mono_us() + (uint64_t) trim_every_ms() * 1000;

        if (trim_deleted > 0) {
            im_log(IM_LOG_INFO, "live rooms: %" PRIu64 " rows were deleted",
                   trim_deleted);
        }

        if (rc == IM_ERROR) {
            im_log_seldom(&trim_log, IM_LOG_WARN, "live rooms cannot be "
                          "trimmed, it is tried again: redis: %s; mysql: %s",
                          im_redis_error(trim_redis),
                          im_mysql_error(trim_mysql));
        }
    }

    return NULL;
}


/* A row that is due waits for up to a twelfth of its life more. */
static unsigned
trim_every_ms(void)
{
    uint64_t  ms;

    ms = (uint64_t) logic_conf.rooms_live_keep_s * 1000 / 12;

    if (ms < TRIM_LEAST_MS) {
        return TRIM_LEAST_MS;
    }

    return (ms < TRIM_EVERY_MS) ? (unsigned) ms : TRIM_EVERY_MS;
}


/* 1: stop. */
static int
trim_wait(uint64_t ms)
{
    int       rc, stop;
    uint64_t  until_us;

    rc = IM_OK;
    until_us = im_mono_us() + ms * 1000;

    pthread_mutex_lock(&trim_lock);

    while (!trim_stopping && rc == IM_OK) {
        rc = im_cond_wait_until(&trim_wake, &trim_lock, until_us);
    }

    stop = trim_stopping;

    pthread_mutex_unlock(&trim_lock);

    return stop;
}


/* IM_OK, IM_ERROR, or IM_DONE: we stop, or are not the owner any more. */
static int
trim_walk(void)
{
    int           rc;
    size_t        i;
    unsigned      bad;
    trim_page_t   page;

    bad = 0;
    page.last = 0;

    do {
        rc = trim_page(&page);

        for (i = 0; rc == IM_OK && i < page.n; i++) {
            rc = trim_room(page.rooms[i]);

            /* it may be the room's own trouble; two are MySQL's */

            bad = (rc == IM_ERROR) ? bad + 1 : 0;
            rc = (rc == IM_ERROR && bad < 2) ? IM_OK : rc;
        }

        if (rc == IM_OK && (trim_wait(TRIM_PAUSE_MS)
                            || !logic_is_owner(logic_owner_slot_of("trim"))))
        {
            rc = IM_DONE;
        }

    } while (rc == IM_OK && page.seen == TRIM_ROOMS);

    return rc;
}


/* By the key, all kinds: a statement that looks for live ones might have to
 * pass any number of groups. */
static int
trim_page(trim_page_t *page)
{
    im_mysql_value_t  v[1];

    static const char  sql[] =
        "SELECT room, kind, history FROM rooms WHERE room > ? "
        "ORDER BY room LIMIT 500";

    memset(v, 0, sizeof(v));
    v[0].u64 = page->last;
    page->seen = 0;
    page->n = 0;

    return trim_run(sql, v, 1, 3, trim_on_room, page, NULL);
}


static int
trim_on_room(void *ctx, const im_mysql_value_t *v)
{
    trim_page_t  *page = ctx;

    page->last = v[0].u64;
    page->seen++;

    if (v[1].u64 == LOGIC_ROOM_LIVE && v[2].u64 == 0
        && page->n < TRIM_ROOMS)
    {
        page->rooms[page->n++] = v[0].u64;
    }

    return IM_OK;
}


static int
trim_room(uint64_t room)
{
    int           rc, is_due;
    uint64_t      now_ms, keep_ms;
    trim_ends_t   ends;
    trim_note_t   note;

    rc = trim_ends(room, 0, &ends);

    if (rc != IM_OK || !ends.known || ends.low == ends.high) {
        return rc;                     /* the newest one stays */
    }

    if (trim_note(room, &note, &now_ms) != IM_OK) {
        return IM_ERROR;
    }

    keep_ms = (uint64_t) logic_conf.rooms_live_keep_s * 1000;

    if (note.known && note.at_ms <= now_ms) {

        if (now_ms - note.at_ms < keep_ms) {
            return IM_OK;
        }

        /* a note that is above all rows is not of these rows */

        is_due = (note.seq <= ends.high);
        rc = is_due ? trim_rows(room, ends.low, note.seq) : IM_OK;

        if (rc == IM_OK && is_due) {
            rc = trim_voids(room, note.seq);
        }
    }

    return (rc == IM_OK) ? trim_put_note(room, ends.high, now_ms) : rc;
}


/* From a number on. */
static int
trim_ends(uint64_t room, uint64_t from, trim_ends_t *ends)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT MIN(seq), MAX(seq) FROM messages "
        "WHERE conv_a = 0 AND conv_b = ? AND seq >= ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = room;
    v[1].u64 = from;
    ends->known = 0;

    return trim_run(sql, v, 2, 2, trim_on_ends, ends, NULL);
}


static int
trim_on_ends(void *ctx, const im_mysql_value_t *v)
{
    trim_ends_t  *ends = ctx;

    ends->known = !v[0].null && !v[1].null;
    ends->low = v[0].u64;
    ends->high = v[1].u64;

    return IM_OK;
}


/* Rows from this number on and below end, where one is. */
static int
trim_rows(uint64_t room, uint64_t from, uint64_t end)
{
    int               rc;
    uint64_t          n;
    trim_ends_t       ends;
    im_mysql_value_t  v[3];

    static const char  sql[] =
        "DELETE FROM messages WHERE conv_a = 0 AND conv_b = ? "
        "AND seq >= ? AND seq < ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = room;

    while (from < end) {
        v[1].u64 = from;
        v[2].u64 = (end - from < TRIM_ROWS) ? end : from + TRIM_ROWS;

        rc = trim_run(sql, v, 3, 0, NULL, NULL, &n);

        if (rc != IM_OK) {
            return rc;
        }

        trim_deleted += n;
        from = v[2].u64;

        if (trim_wait(TRIM_PAUSE_MS)) {
            return IM_DONE;
        }

        if (n > 0 || from == end) {
            continue;
        }

        rc = trim_ends(room, from, &ends);     /* a gap */

        if (rc != IM_OK || !ends.known) {
            return rc;
        }

        from = ends.low;
    }

    return IM_OK;
}


/* The row above them stays, so a counter that is lost does not begin below
 * them, and nobody reads this part of the room. */
static int
trim_voids(uint64_t room, uint64_t end)
{
    int               rc;
    uint64_t          n;
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "DELETE FROM voids WHERE conv_a = 0 AND conv_b = ? AND to_seq < ? "
        "ORDER BY to_seq LIMIT 500";

    memset(v, 0, sizeof(v));
    v[0].u64 = room;
    v[1].u64 = end;

    do {
        rc = trim_run(sql, v, 2, 0, NULL, NULL, &n);

        if (rc == IM_OK && n > 0 && trim_wait(TRIM_PAUSE_MS)) {
            rc = IM_DONE;
        }

    } while (rc == IM_OK && n > 0);

    return rc;
}


static int
trim_note(uint64_t room, trim_note_t *note, uint64_t *now_ms)
{
    int          rc;
    char         key[IM_KEY_MAX];
    redisReply  *reply;

    snprintf(key, sizeof(key), IM_KEY_KEPT, room);
    memset(note, 0, sizeof(trim_note_t));

    if (logic_args(trim_redis, 2, "GET", key) != IM_OK
        || logic_args(trim_redis, 1, "TIME") != IM_OK)
    {
        return IM_ERROR;
    }

    reply = im_redis_expect(trim_redis, IM_REDIS_STR | IM_REDIS_NIL);
    if (reply == NULL) {
        return IM_ERROR;
    }

    note->known = (reply->type == REDIS_REPLY_STRING
                   && im_keys_pair_read(reply->str, &note->seq, &note->at_ms)
                      == IM_OK);
    im_redis_free(reply);

    reply = im_redis_expect(trim_redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = (reply->elements == 2) ? IM_OK : IM_ERROR;

    if (rc == IM_OK) {
        *now_ms = strtoull(reply->element[0]->str, NULL, 10) * 1000
                  + strtoull(reply->element[1]->str, NULL, 10) / 1000;
    }

    im_redis_free(reply);

    return rc;
}


/* It ends by itself if nobody comes for it: a room that was dismissed. */
static int
trim_put_note(uint64_t room, uint64_t seq, uint64_t now_ms)
{
    char  key[IM_KEY_MAX], value[IM_KEYS_PAIR_MAX], life[24];

    snprintf(key, sizeof(key), IM_KEY_KEPT, room);
    im_keys_pair_write(value, seq, now_ms);
    snprintf(life, sizeof(life), "%" PRIu64,
             (uint64_t) logic_conf.rooms_live_keep_s * 3);

    if (logic_args(trim_redis, 5, "SET", key, value, "EX", life) != IM_OK) {
        return IM_ERROR;
    }

    return logic_args_done(trim_redis, 1);
}


/* Once more when the connection was lost: each of them may be repeated. */
static int
trim_run(const char *sql, const im_mysql_value_t *v, size_t n,
    size_t n_columns, int (*row)(void *ctx, const im_mysql_value_t *v),
    void *ctx, uint64_t *affected)
{
    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_U64, IM_MYSQL_U64
    };

    return logic_mysql_run(trim_mysql, sql, v, n, columns, n_columns, row, ctx,
                           affected);
}


void
logic_rooms_trim_stop(void)
{
    pthread_mutex_lock(&trim_lock);
    trim_stopping = 1;
    pthread_cond_signal(&trim_wake);
    pthread_mutex_unlock(&trim_lock);

    im_thread_join(&trim_id);

    im_redis_destroy(trim_redis);
    im_mysql_destroy(trim_mysql);
    trim_redis = NULL;
    trim_mysql = NULL;
}
