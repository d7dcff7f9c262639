/*
 * logic_fate_steps.c -- the questions of which a number's fate follows; see
 * logic_fate.c for their order.
 *
 * Each takes those that are due together, and asks once for all.  Who gets no
 * answer is asked for again a little later.
 */

#include <stdatomic.h>
#include <string.h>

#include "im_log.h"
#include "logic_ask.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_fate_int.h"
#include "logic_memory.h"
#include "logic_settle.h"
#include "logic_stores.h"


#define FATE_SETTLE_MS   200
#define FATE_UNANSWERED  9         /* tries, 1.1 s: a call may still come */
#define FATE_TAGS        64
#define FATE_NO_MARK     UINT64_MAX


static size_t fate_settled(logic_fate_t **all, size_t n);
static int fate_passed(logic_fate_t *f);
static int fate_ask(logic_fate_t **all, logic_ask_t *asks, size_t n);
static int fate_holds(logic_fate_t **all, logic_hold_t *holds, size_t n);
static size_t fate_exact(logic_fate_t **all, size_t n);
static int fate_ask_jumps(logic_fate_t **all, logic_ask_t *asks, size_t n);
static void fate_jump(logic_fate_t *f, const logic_ask_t *ask);


static im_redis_t        *fate_redis;
static im_mysql_t        *fate_mysql;
static logic_fate_log_t   fate_log;
static atomic_ulong       fate_found;


int
logic_fate_connect(void)
{
    fate_redis = logic_redis_create();
    fate_mysql = logic_mysql_create();

    return (fate_redis != NULL && fate_mysql != NULL) ? IM_OK : IM_ERROR;
}


void
logic_fate_disconnect(void)
{
    im_redis_destroy(fate_redis);
    im_mysql_destroy(fate_mysql);
    fate_redis = NULL;
    fate_mysql = NULL;
}


void
logic_fate_do_fences(void)
{
    int            rc;
    size_t         i, n;
    logic_fate_t  *all[LOGIC_FATE_BATCH];

    n = logic_fate_take(LOGIC_FATE_FENCE, all);

    for (i = 0; i < n; i++) {
        rc = logic_fence_passed(&all[i]->fence);

        if (rc == IM_OK) {
            logic_fate_next(LOGIC_FATE_STORED, all[i]);

        } else if (rc == IM_AGAIN) {
            logic_fate_later(LOGIC_FATE_FENCE, all[i]);

        } else {
            logic_decided_forget();
            logic_fate_drop(all[i]);
        }
    }
}


void
logic_fate_do_stored(void)
{
    size_t         i, n;
    logic_ask_t    asks[LOGIC_FATE_BATCH];
    logic_fate_t  *f, *all[LOGIC_FATE_BATCH];

    n = fate_settled(all, logic_fate_take(LOGIC_FATE_STORED, all));

    if (n == 0) {
        return;
    }

    if (fate_ask(all, asks, n) != IM_OK) {
        for (i = 0; i < n; i++) {
            logic_fate_later(LOGIC_FATE_STORED, all[i]);
        }

        return;
    }

    for (i = 0; i < n; i++) {
        f = asks[i].item;

        if (asks[i].found) {
            logic_fate_drop(f);

        } else {
            logic_fate_next(LOGIC_FATE_RELEASE, f);
        }
    }
}


/* Those whose partition has been stored up to now; one wait for all. */
static size_t
fate_settled(logic_fate_t **all, size_t n)
{
    int     rc;
    size_t  i, k;

    rc = IM_OK;

    for (i = 0; i < n; i++) {
        if (fate_passed(all[i]) != IM_OK) {
            rc = IM_AGAIN;
        }
    }

    if (rc == IM_AGAIN) {
        rc = logic_fate_settle(&fate_log.wait, FATE_SETTLE_MS);

        if (rc == IM_OK) {
            logic_fate_log_turn(&fate_log);
        }
    }

    for (i = 0, k = 0; i < n; i++) {
        if (rc == IM_OK && fate_passed(all[i]) == IM_OK) {
            all[k++] = all[i];

        } else {
            logic_fate_later(LOGIC_FATE_STORED, all[i]);
        }
    }

    return k;
}


static int
fate_passed(logic_fate_t *f)
{
    return logic_fate_log_passed(&fate_log, f->fence.partition, &f->turn);
}


static int
fate_ask(logic_fate_t **all, logic_ask_t *asks, size_t n)
{
    size_t  i;

#define FATE_PLACE  "(conv_a = ? AND conv_b = ? AND seq = ?)"
#define FATE_STORED(places)                                                   \
    "SELECT conv_a, conv_b, seq, msg_id FROM messages WHERE " places

    static const logic_ask_sql_t  sql = {
        FATE_STORED(LOGIC_ASK_8(FATE_PLACE, " OR ")),
        FATE_STORED(LOGIC_ASK_128(FATE_PLACE, " OR ")), 3, 1
    };

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = all[i]->seq.conv.a;
        asks[i].key[1] = all[i]->seq.conv.b;
        asks[i].key[2] = all[i]->seq.seq;
        asks[i].item = all[i];
    }

    return logic_ask(fate_mysql, &sql, asks, n);
}


/* If it has a number, that counts from before it is taken away. */
void
logic_fate_do_unanswered(void)
{
    int            rc;
    size_t         i, n;
    logic_hold_t   holds[LOGIC_FATE_BATCH];
    logic_fate_t  *all[LOGIC_FATE_BATCH];

    n = logic_fate_take(LOGIC_FATE_UNANSWERED, all);

    for (i = 0; i < n; i++) {
        logic_decided_enter(&all[i]->phase);
    }

    rc = fate_holds(all, holds, n);

    for (i = 0; i < n; i++) {

        if (rc == IM_OK && holds[i].result == LOGIC_HOLD_LAST) {
            all[i]->seq.seq = holds[i].seq;
            all[i]->to = holds[i].seq;
            logic_fate_next(LOGIC_FATE_VOID, all[i]);
            continue;
        }

        if (rc == IM_OK && (holds[i].result == LOGIC_HOLD_OTHERS
                            || all[i]->tries == FATE_UNANSWERED))
        {
            logic_fate_drop(all[i]);
            continue;
        }

        logic_decided_leave(&all[i]->phase);

        if (rc != IM_OK) {
            all[i]->tries = 0;         /* Redis is away */
        }

        logic_fate_later(LOGIC_FATE_UNANSWERED, all[i]);
    }
}


void
logic_fate_do_release(void)
{
    int            rc;
    size_t         i, n;
    logic_hold_t   holds[LOGIC_FATE_BATCH];
    logic_fate_t  *all[LOGIC_FATE_BATCH];

    n = logic_fate_take(LOGIC_FATE_RELEASE, all);
    rc = fate_holds(all, holds, n);

    for (i = 0; i < n; i++) {

        if (rc != IM_OK) {
            logic_fate_later(LOGIC_FATE_RELEASE, all[i]);

        } else if (holds[i].result == LOGIC_HOLD_LAST) {
            logic_fate_next(LOGIC_FATE_VOID, all[i]);

        } else {
            logic_fate_drop(all[i]);
        }
    }
}


/* Without a field there is no repeat: the first try is the last holder. */
static int
fate_holds(logic_fate_t **all, logic_hold_t *holds, size_t n)
{
    int           rc;
    size_t        i, k;
    logic_hold_t  asked[LOGIC_FATE_BATCH];

    for (i = 0, k = 0; i < n; i++) {
        holds[i].slot = all[i]->seq.slot;
        memcpy(holds[i].field, all[i]->seq.field, 16);
        holds[i].msg_id = all[i]->seq.msg_id;
        holds[i].id = all[i]->seq.hold_id;
        holds[i].seq = all[i]->seq.seq;
        holds[i].result = LOGIC_HOLD_LAST;

        if (logic_decided_is_mixed()) {
            holds[i].result = LOGIC_HOLD_UNKNOWN;

        } else if (all[i]->seq.by != LOGIC_BY_NOTHING) {
            asked[k++] = holds[i];
        }
    }

    if (k == 0) {
        return IM_OK;
    }

    rc = logic_holds_release(fate_redis, asked, k);

    if (rc != IM_OK) {
        return rc;
    }

    for (i = 0, k = 0; i < n; i++) {
        if (holds[i].result == LOGIC_HOLD_LAST
            && all[i]->seq.by != LOGIC_BY_NOTHING)
        {
            holds[i] = asked[k++];
        }
    }

    return IM_OK;
}


void
logic_fate_do_jumps(void)
{
    int            rc;
    size_t         i, n;
    logic_ask_t    asks[LOGIC_FATE_BATCH];
    logic_fate_t  *all[LOGIC_FATE_BATCH];

    n = fate_exact(all, logic_fate_take(LOGIC_FATE_JUMP, all));

    if (n == 0) {
        return;
    }

    rc = fate_ask_jumps(all, asks, n);

    for (i = 0; i < n; i++) {

        if (rc == IM_OK) {
            fate_jump(asks[i].item, &asks[i]);

        } else {
            logic_decided_leave(&all[i]->phase);
            logic_fate_later(LOGIC_FATE_JUMP, all[i]);
        }
    }
}


/*
 * Those of which it is known what was numbered before the loss.  If Redis has
 * lost its memory once more since, the counter that stands above the range is
 * gone with it.
 */
static size_t
fate_exact(logic_fate_t **all, size_t n)
{
    int               rc;
    char              asked[FATE_TAGS];
    size_t            i, k;
    unsigned          tag;
    logic_fate_t     *f;
    logic_memory_t    memory[FATE_TAGS];

    for (i = 0, k = 0; i < n; i++) {
        f = all[i];

        if (logic_decided_exact(&f->seq.conv, f->mark)) {
            logic_decided_enter(&f->phase);
            all[k++] = f;

        } else if (logic_decided_mark(f->seq.slot) == f->mark) {
            logic_fate_later(LOGIC_FATE_JUMP, f);

        } else {
            logic_fate_drop(f);
        }
    }

    memset(asked, 0, sizeof(asked));
    n = k;
    rc = IM_OK;

    for (i = 0, k = 0; i < n; i++) {
        f = all[i];
        tag = f->seq.slot % logic_conf.common.redis_tags;

        if (!asked[tag] && rc != IM_ERROR) {
            rc = logic_memory_look(fate_redis, tag, &memory[tag]);
            asked[tag] = 1;
            memory[tag].mark = (rc == IM_OK) ? memory[tag].mark : FATE_NO_MARK;
        }

        if (rc == IM_ERROR) {
            logic_decided_leave(&f->phase);
            logic_fate_later(LOGIC_FATE_JUMP, f);

        } else if (memory[tag].mark != f->mark) {
            logic_fate_drop(f);

        } else {
            all[k++] = f;
        }
    }

    return k;
}


/* The last message at or below the end of each range. */
static int
fate_ask_jumps(logic_fate_t **all, logic_ask_t *asks, size_t n)
{
    size_t  i;

#define FATE_RANGE                                                            \
    "SELECT CAST(? AS UNSIGNED) AS a, CAST(? AS UNSIGNED) AS b, "             \
    "CAST(? AS UNSIGNED) AS t"
#define FATE_LAST(ranges)                                                     \
    "SELECT k.a, k.b, k.t, (SELECT m.seq FROM messages m "                    \
    "WHERE m.conv_a = k.a AND m.conv_b = k.b AND m.seq <= k.t "               \
    "ORDER BY m.seq DESC LIMIT 1) FROM (" ranges ") k"

    static const logic_ask_sql_t  sql = {
        FATE_LAST(LOGIC_ASK_8(FATE_RANGE, " UNION ALL ")),
        FATE_LAST(LOGIC_ASK_128(FATE_RANGE, " UNION ALL ")), 3, 1
    };

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = all[i]->seq.conv.a;
        asks[i].key[1] = all[i]->seq.conv.b;
        asks[i].key[2] = all[i]->to;
        asks[i].item = all[i];
    }

    return logic_ask(fate_mysql, &sql, asks, n);
}


/* What was numbered before the loss, and has come, is the lower part of the
 * range. */
static void
fate_jump(logic_fate_t *f, const logic_ask_t *ask)
{
    if (ask->found && ask->values[0] >= f->seq.seq) {
        f->seq.seq = ask->values[0] + 1;
    }

    if (f->seq.seq <= f->to) {
        logic_fate_next(LOGIC_FATE_VOID, f);

    } else {
        logic_fate_drop(f);
    }
}


void
logic_fate_do_voids(void)
{
    int            rc;
    size_t         i, n;
    logic_void_t   voids[LOGIC_FATE_BATCH];
    logic_fate_t  *all[LOGIC_FATE_BATCH];

    n = logic_fate_take(LOGIC_FATE_VOID, all);

    if (n == 0) {
        return;
    }

    for (i = 0; i < n; i++) {
        voids[i].conv = all[i]->seq.conv;
        voids[i].from = all[i]->seq.seq;
        voids[i].to = all[i]->to;
    }

    rc = logic_voids_write(fate_mysql, voids, n);

    if (rc != IM_OK) {
        im_warn_seldom("void numbers are not written down yet: mysql: %s",
                       im_mysql_error(fate_mysql));
    }

    for (i = 0; i < n; i++) {

        if (rc == IM_OK) {
            atomic_fetch_add(&fate_found, 1);
            logic_fate_drop(all[i]);

        } else {
            logic_fate_later(LOGIC_FATE_VOID, all[i]);
        }
    }
}


uint64_t
logic_fate_found(void)
{
    return atomic_load(&fate_found);
}
