/*
 * logic_batch.c -- the steps of a batch: who is known already, who may send,
 * which number, what of a repeat, and off to Kafka.
 *
 * A client that sends again gets the same numbers, as long as these may be
 * used.  With D = [kafka] delivery_ms: under a number that is younger than
 * 0.8 D the message is produced again, at most 0.2 D later, and Kafka has
 * taken it D later (and two seconds, see logic_settle.c) or never.  So a number
 * older than 2 D + 2 s that is not stored, once all that Kafka has is stored,
 * never will be: it is void, and the message gets a new one (logic_repeats.c).
 * In between nobody knows, and the client is told to come again.
 *
 * Who may not send (any more) is asked for before a number is given.  What was
 * accepted is acked for ever, though: so a message that is denied is looked for
 * among the repeats, without a number for what is not found.  This is rare, and
 * may cost a call of Redis more.  The same is done with all messages while
 * Kafka is away.
 */

#include <stdlib.h>
#include <string.h>

#include "im_crash.h"
#include "im_snowflake.h"
#include "logic_batch.h"
#include "logic_ids.h"
#include "logic_outcome.h"
#include "logic_probes.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_rooms_access.h"
#include "logic_seed.h"
#include "logic_settle.h"


#define BATCH_CONFLICT   "this cmid was used with another body"
#define BATCH_AWAY       "unavailable"
#define BATCH_AWAY_TEXT  "the message log is away"


static size_t batch_fold(logic_batch_t *b, size_t n);
static size_t batch_log(logic_batch_t *b, size_t n);
static size_t batch_recipients(logic_batch_t *b, size_t n);
static size_t batch_blocks(logic_batch_t *b, size_t n);
static size_t batch_rooms(logic_batch_t *b, size_t n);
static void batch_deny(logic_batch_t *b, logic_message_t *m, const char *code,
    const char *text);
static void batch_denied(logic_batch_t *b);
static size_t batch_ids(logic_batch_t *b, size_t n);
static size_t batch_numbers(logic_batch_t *b, size_t n);
static void batch_seed(logic_batch_t *b, size_t n);
static size_t batch_repeats(logic_batch_t *b, size_t n);
static int batch_stored(logic_batch_t *b, logic_message_t **messages,
    size_t n);
static int batch_repeat(logic_batch_t *b, logic_message_t *m, int asked);
static void batch_failed_redis(logic_batch_t *b);
static void batch_failed_mysql(logic_batch_t *b);


static im_log_seldom_t  batch_log_redis;
static im_log_seldom_t  batch_log_mysql;


/* Each step answers what ends in it and closes the gap. */
void
logic_batch_run(logic_batch_t *b, size_t n)
{
    b->n_denied = 0;

    n = batch_fold(b, n);
    n = batch_log(b, n);
    n = batch_recipients(b, n);
    n = batch_blocks(b, n);
    n = batch_rooms(b, n);
    batch_denied(b);
    n = batch_ids(b, n);
    n = batch_numbers(b, n);
    IM_CRASH_POINT("logic.numbered");
    n = batch_repeats(b, n);

    if (n > 0) {
        logic_produce(b->messages, n, &b->answers);
        IM_CRASH_POINT("logic.produced");
    }
}


/* Repeats of what is on its way or was confirmed lately.  Tracked first: what
 * is confirmed in between is remembered before it is untracked. */
static size_t
batch_fold(logic_batch_t *b, size_t n)
{
    int               rc;
    size_t            i, k;
    logic_message_t  *m;

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        if (m->seq.by == LOGIC_BY_NOTHING) {
            b->messages[k++] = m;
            continue;
        }

        rc = logic_message_track(m);

        if (rc == IM_BUSY) {
            continue;                  /* answered with the first */
        }

        if (rc == IM_OK) {
            rc = logic_outcome_recall(m);

            if (rc == IM_OK) {
                logic_outcome_accept(m, &b->answers, 1);
                continue;
            }

            if (rc == IM_DECLINED) {
                b->messages[k++] = m;
                continue;
            }
        }

        logic_outcome_refuse(m, &b->answers, "cmid_conflict", BATCH_CONFLICT);
    }

    return k;
}


/*
 * Kafka is known to be away: nothing is numbered, so that no number becomes
 * void, and the sender learns it at once and not after delivery_ms.  What may
 * be a repeat is looked for: a message that is stored is acked all the same.
 */
static size_t
batch_log(logic_batch_t *b, size_t n)
{
    size_t            i;
    logic_message_t  *m;

    if (n == 0 || !logic_probes_kafka_away()) {
        return n;
    }

    for (i = 0; i < n; i++) {
        m = b->messages[i];
        m->reply.shared = 1;

        if (m->seq.by != LOGIC_BY_CMID) {
            logic_outcome_refuse(m, &b->answers, BATCH_AWAY, BATCH_AWAY_TEXT);
            continue;
        }

        m->denied = BATCH_AWAY;
        m->denied_text = BATCH_AWAY_TEXT;
        b->denied[b->n_denied++] = m;
    }

    return 0;
}


static size_t
batch_recipients(logic_batch_t *b, size_t n)
{
    int                    rc;
    size_t                 i, k, direct;
    logic_message_t       *m;
    logic_lookup_user_t    users[LOGIC_SEQUENCE_MAX];

    direct = 0;

    for (i = 0; i < n; i++) {
        if (!logic_message_room(b->messages[i])) {
            users[direct++].uid = b->messages[i]->to;
        }
    }

    rc = logic_lookup_users(b->lookup, users, direct);

    if (rc == IM_ERROR) {
        batch_failed_mysql(b);
    }

    for (i = 0, k = 0, direct = 0; i < n; i++) {
        m = b->messages[i];

        if (logic_message_room(m)
            || users[direct++].answer == LOGIC_LOOKUP_EXISTS)
        {
            b->messages[k++] = m;

        } else if (users[direct - 1].answer == LOGIC_LOOKUP_NONE) {
            logic_outcome_refuse(m, &b->answers, "no_such_user",
                                 "the recipient does not exist");

        } else {
            logic_outcome_refuse(m, &b->answers, "unavailable",
                                 "the recipient cannot be looked up");
        }
    }

    return k;
}


/* Do the recipients take messages of the senders? */
static size_t
batch_blocks(logic_batch_t *b, size_t n)
{
    int                   rc;
    size_t                i, k, direct;
    logic_message_t      *m;
    logic_blocks_item_t   items[LOGIC_SEQUENCE_MAX];

    direct = 0;

    for (i = 0; i < n; i++) {
        m = b->messages[i];

        if (!logic_message_room(m)) {
            items[direct].to = m->to;
            items[direct++].from = m->from;
        }
    }

    if (direct == 0) {
        return n;
    }

    rc = logic_lookup_blocks(b->lookup, items, direct);

    if (rc == IM_ERROR) {
        batch_failed_mysql(b);
    }

    for (i = 0, k = 0, direct = 0; i < n; i++) {
        m = b->messages[i];

        if (logic_message_room(m)
            || items[direct++].answer == LOGIC_BLOCKS_FREE)
        {
            b->messages[k++] = m;

        } else if (items[direct - 1].answer == LOGIC_BLOCKS_BLOCKED) {
            batch_deny(b, m, "blocked",
                       "the recipient takes no messages of yours");

        } else {
            logic_outcome_refuse(m, &b->answers, "unavailable",
                                 "the recipient cannot be looked up");
        }
    }

    return k;
}


/* May the senders speak where they want to? */
static size_t
batch_rooms(logic_batch_t *b, size_t n)
{
    int                    rc;
    size_t                 i, k, rooms;
    logic_message_t       *m;
    logic_rooms_access_t   items[LOGIC_SEQUENCE_MAX];

    rooms = 0;

    for (i = 0; i < n; i++) {
        m = b->messages[i];

        if (logic_message_room(m)) {
            items[rooms].room = m->seq.conv.b;
            items[rooms].uid = m->from;
            items[rooms].by_frame = (m->reply.stream != NULL);
            items[rooms++].joined = m->joined;
        }
    }

    if (rooms == 0) {
        return n;
    }

    rc = logic_lookup_rooms(b->lookup, items, rooms);

    if (rc != IM_OK) {
        batch_failed_mysql(b);
    }

    for (i = 0, k = 0, rooms = 0; i < n; i++) {
        m = b->messages[i];

        if (!logic_message_room(m)) {
            b->messages[k++] = m;
            continue;
        }

        rooms++;

        if (items[rooms - 1].code == NULL) {
            m->removals = items[rooms - 1].removals;
            b->messages[k++] = m;
            continue;
        }

        batch_deny(b, m, items[rooms - 1].code,
                   logic_rooms_access_text(items[rooms - 1].code));
    }

    return k;
}


/* Refuses it, or puts it aside: it may be a repeat.  Who gives no cmid has no
 * promise beyond a second. */
static void
batch_deny(logic_batch_t *b, logic_message_t *m, const char *code,
    const char *text)
{
    if (m->seq.by != LOGIC_BY_CMID || strcmp(code, "unavailable") == 0) {
        logic_outcome_refuse(m, &b->answers, code, text);
        return;
    }

    m->denied = code;
    m->denied_text = text;
    b->denied[b->n_denied++] = m;
}


static void
batch_denied(logic_batch_t *b)
{
    int               rc, asked;
    size_t            i;
    logic_seq_t      *seqs[LOGIC_SEQUENCE_MAX];
    logic_message_t  *m;

    if (b->n_denied == 0) {
        return;
    }

    for (i = 0; i < b->n_denied; i++) {
        seqs[i] = &b->denied[i]->seq;
    }

    rc = logic_sequence_look(b->redis, seqs, b->n_denied);

    if (rc != IM_OK) {
        batch_failed_redis(b);
    }

    asked = (rc == IM_OK) ? batch_stored(b, b->denied, b->n_denied) : IM_ERROR;

    for (i = 0; i < b->n_denied; i++) {
        m = b->denied[i];

        if (rc != IM_OK) {
            logic_outcome_refuse(m, &b->answers, "unavailable",
                                 "a repeat cannot be looked up");

        } else if (m->seq.result == LOGIC_SEQ_REPEAT) {
            (void) batch_repeat(b, m, asked);  /* which answers it */

        } else if (m->seq.result == LOGIC_SEQ_CONFLICT) {
            logic_outcome_refuse(m, &b->answers, "cmid_conflict",
                                 BATCH_CONFLICT);

        } else {
            logic_outcome_refuse(m, &b->answers, m->denied, m->denied_text);
        }
    }
}


static size_t
batch_ids(logic_batch_t *b, size_t n)
{
    size_t  i;

    if (logic_ids_mint(b->messages, n) == IM_OK) {
        return n;
    }

    for (i = 0; i < n; i++) {
        logic_outcome_refuse(b->messages[i], &b->answers, "unavailable",
                             "no ids can be given at present");
    }

    return 0;
}


static size_t
batch_numbers(logic_batch_t *b, size_t n)
{
    int               rc;
    size_t            i, k;
    logic_seq_t      *seqs[LOGIC_SEQUENCE_MAX];
    logic_message_t  *m;

    if (n == 0) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        m = b->messages[i];
        m->seq.seeded = 0;             /* of an earlier time, if any */
        m->numbered_us = im_mono_us();
        seqs[i] = &m->seq;
    }

    rc = logic_sequence(b->redis, seqs, n);

    if (rc == IM_OK) {
        batch_seed(b, n);

    } else {
        batch_failed_redis(b);
    }

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        if (rc == IM_OK && m->seq.result != LOGIC_SEQ_UNSEEDED) {
            b->messages[k++] = m;
            continue;
        }

        logic_outcome_refuse(m, &b->answers, "unavailable",
                             "the message cannot be numbered");
    }

    return k;
}


/* Conversations that Redis does not know.  Without MySQL only these cannot go
 * on. */
static void
batch_seed(logic_batch_t *b, size_t n)
{
    int           rc;
    size_t        i, k;
    logic_seq_t  *unknown[LOGIC_SEQUENCE_MAX];

    for (i = 0, k = 0; i < n; i++) {
        if (b->messages[i]->seq.result == LOGIC_SEQ_UNSEEDED) {
            unknown[k++] = &b->messages[i]->seq;
        }
    }

    if (k == 0) {
        return;
    }

    rc = logic_seed(b->redis, b->lookup, unknown, k);

    if (rc == IM_DECLINED) {
        batch_failed_mysql(b);

    } else if (rc == IM_ERROR) {
        batch_failed_redis(b);
    }
}


static size_t
batch_repeats(logic_batch_t *b, size_t n)
{
    int               asked;
    size_t            i, k;
    logic_message_t  *m;

    asked = batch_stored(b, b->messages, n);

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        switch (m->seq.result) {

        case LOGIC_SEQ_CONFLICT:
            logic_outcome_refuse(m, &b->answers, "cmid_conflict",
                                 BATCH_CONFLICT);
            break;

        case LOGIC_SEQ_REPEAT:
            if (batch_repeat(b, m, asked) != IM_OK) {
                break;
            }

            /* fall through */

        default:
            b->messages[k++] = m;
            break;
        }
    }

    return k;
}


/* Which of the repeats MySQL holds. */
static int
batch_stored(logic_batch_t *b, logic_message_t **messages, size_t n)
{
    size_t            i, k;
    logic_message_t  *repeats[LOGIC_SEQUENCE_MAX];

    for (i = 0, k = 0; i < n; i++) {
        if (messages[i]->seq.result == LOGIC_SEQ_REPEAT) {
            repeats[k++] = messages[i];
        }
    }

    if (k == 0) {
        return IM_OK;
    }

    if (logic_lookup_stored(b->lookup, repeats, k) != IM_OK) {
        batch_failed_mysql(b);
        return IM_ERROR;
    }

    return IM_OK;
}


/* IM_OK: m, unless it is denied, is produced under its first numbers; else it
 * is on its way. */
static int
batch_repeat(logic_batch_t *b, logic_message_t *m, int asked)
{
    m->time_ms = im_snowflake_time_ms(m->seq.msg_id);

    if (asked != IM_OK) {
        logic_outcome_refuse(m, &b->answers, "unavailable",
                             "a repeat cannot be looked up");
        return IM_ERROR;
    }

    if (m->stored == m->seq.msg_id) {
        logic_outcome_accept(m, &b->answers, 1);
        return IM_DONE;
    }

    if (m->denied == NULL
        && m->seq.age_ms * 5 < (uint64_t) logic_conf.kafka_delivery_ms * 4)
    {
        m->dup = 1;
        return IM_OK;
    }

    if (m->denied != NULL && strcmp(m->denied, BATCH_AWAY) == 0) {
        logic_outcome_refuse(m, &b->answers, m->denied, m->denied_text);
        return IM_ERROR;
    }

    if (m->seq.age_ms < logic_void_after_ms()) {
        logic_outcome_refuse(m, &b->answers, "unavailable",
                             "the first try is not decided yet");
        return IM_ERROR;
    }

    logic_repeats_add(m, &b->answers);

    return IM_AGAIN;                   /* see logic_repeats.c */
}


static void
batch_failed_redis(logic_batch_t *b)
{
    im_log_seldom(&batch_log_redis, IM_LOG_WARN, "messages are refused, "
                  "since Redis fails: %s", im_redis_error(b->redis));
}


static void
batch_failed_mysql(logic_batch_t *b)
{
    im_log_seldom(&batch_log_mysql, IM_LOG_WARN, "messages are refused, "
                  "since MySQL fails: %s", logic_lookup_error(b->lookup));
}
