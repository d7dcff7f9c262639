/*
 * logic_batch.c -- the steps of a batch: repeats, permission to send, numbers,
 * and the producer.
 *
 * A client that sends again gets the same numbers, as long as these may be
 * used.  With D = [kafka] delivery_ms: under a number that is younger than
 * 0.8 D the message is produced again, at most 0.2 D later, and Kafka has
 * taken it D later (and two seconds, see logic_settle.c) or never.  So a number
 * older than 2 D + 2 s that is not stored, once all that Kafka has is stored,
 * never will be: it is void, and the message gets a new one (logic_repeats.c).
 * In between nobody knows, and the refusal is retryable.
 *
 * Whether a young number is stored is asked first, to produce nothing in vain.
 * But not where a new message of its conversation is in the same batch: that
 * one has a higher number, and would go out while the repeat waits.
 *
 * What was accepted is acked for ever: so a message that is denied
 * (logic_batch_may.c) is looked for among the repeats, without a number for
 * what is not found.  This is rare, and may cost a call of Redis more.  The
 * same is done with all messages while Kafka is away.
 */

#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_crash.h"
#include "im_log.h"
#include "im_snowflake.h"
#include "logic_batch_int.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_fate.h"
#include "logic_ids.h"
#include "logic_outcome.h"
#include "logic_probes.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_settle.h"


#define BATCH_CONFLICT   "this cmid was used with another body"
#define BATCH_AWAY       "unavailable"
#define BATCH_AWAY_TEXT  "the message log is away"


static size_t batch_fold(logic_batch_t *b, size_t n);
static size_t batch_log(logic_batch_t *b, size_t n);
static void batch_denied(logic_batch_t *b);
static size_t batch_ids(logic_batch_t *b, size_t n);
static size_t batch_numbers(logic_batch_t *b, size_t n);
static void batch_seed(logic_batch_t *b, logic_message_t *m);
static size_t batch_repeats(logic_batch_t *b, size_t n);
static int batch_is_followed(const logic_batch_t *b, size_t i, size_t n);
static int batch_stored(logic_batch_t *b, logic_message_t *m);
static int batch_repeat(logic_batch_t *b, logic_message_t *m);
static int batch_again(logic_batch_t *b, logic_message_t *m,
    const char *text);
static int batch_is_young(const logic_message_t *m);
static void batch_failed_redis(logic_batch_t *b);


static im_log_seldom_t  batch_log_redis;


/* Each step answers what ends in it and closes the gap. */
void
logic_batch_run(logic_batch_t *b, size_t n)
{
    b->n_denied = 0;

    n = batch_fold(b, n);
    n = batch_log(b, n);
    n = logic_batch_may(b, n);
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
        m->denied = NULL;              /* of an earlier time, if any */

        if (m->seq.by == LOGIC_BY_NOTHING) {
            b->messages[k++] = m;
            continue;
        }

        rc = logic_message_track(m);

        if (rc == IM_BUSY) {
            continue;                  /* answered with the first */
        }

        if (rc == IM_ERROR) {
            logic_outcome_refuse(m, &b->answers, "busy", "too many repeats "
                                 "wait for the first try");
            continue;
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


static void
batch_denied(logic_batch_t *b)
{
    int               rc;
    size_t            i;
    logic_seq_t      *seqs[LOGIC_SEQUENCE_MAX];
    logic_message_t  *m;

    if (b->n_denied == 0) {
        return;
    }

    for (i = 0; i < b->n_denied; i++) {
        logic_decided_enter(&b->denied[i]->phase);     /* it may be void */
        seqs[i] = &b->denied[i]->seq;
    }

    rc = logic_sequence_look(b->redis, seqs, b->n_denied);

    if (rc != IM_OK) {
        batch_failed_redis(b);
    }

    for (i = 0; i < b->n_denied; i++) {
        m = b->denied[i];

        if (rc != IM_OK) {
            logic_outcome_refuse(m, &b->answers, "unavailable",
                                 "a repeat cannot be looked up");

        } else if (m->seq.result == LOGIC_SEQ_REPEAT) {
            (void) batch_repeat(b, m);     /* which answers it, or parks it */

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
        m->seq.seeded = m->seeded;
        m->seeded = 0;                 /* for this time only */
        m->numbered_us = im_mono_us();
        logic_decided_enter(&m->phase);
        seqs[i] = &m->seq;
    }

    rc = logic_sequence(b->redis, seqs, n);

    if (rc != IM_OK) {
        batch_failed_redis(b);
    }

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        if (rc != IM_OK) {
            logic_fate_unanswered(&m->seq);
            logic_outcome_refuse(m, &b->answers, "unavailable",
                                 "the message cannot be numbered");

        } else if (m->seq.result == LOGIC_SEQ_UNSEEDED) {
            batch_seed(b, m);

        } else {
            b->messages[k++] = m;
        }
    }

    return k;
}


/* Redis does not know the conversation.  Its first message has it begun; the
 * others of this batch come behind. */
static void
batch_seed(logic_batch_t *b, logic_message_t *m)
{
    logic_question_t  *q;

    if (logic_park_is_behind(b->park, m)) {
        (void) logic_batch_park(b, m, NULL);
        return;
    }

    if (!logic_batch_may_wait(m, LOGIC_WANT_SEED)) {
        logic_batch_unanswered(b, m);
        return;
    }

    q = logic_question_create(m, LOGIC_WANT_SEED, LOGIC_PARK_LONG,
                              im_mono_us());

    if (q == NULL) {
        logic_outcome_refuse(m, &b->answers, "busy", "out of memory");
        return;
    }

    (void) logic_batch_park(b, m, q);
}


static size_t
batch_repeats(logic_batch_t *b, size_t n)
{
    size_t            i, k;
    logic_message_t  *m;

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        switch (m->seq.result) {

        case LOGIC_SEQ_CONFLICT:
            logic_outcome_refuse(m, &b->answers, "cmid_conflict",
                                 BATCH_CONFLICT);
            break;

        case LOGIC_SEQ_REPEAT:
            if (m->stored_seq != m->seq.seq && batch_is_young(m)
                && batch_is_followed(b, i, n))
            {
                m->time_ms = im_snowflake_time_ms(m->seq.msg_id);
                m->dup = 1;

            } else if (batch_repeat(b, m) != IM_OK) {
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


/* 1: a new message of its conversation comes after message i. */
static int
batch_is_followed(const logic_batch_t *b, size_t i, size_t n)
{
    const im_conv_t  *conv;

    conv = &b->messages[i]->seq.conv;

    for (i++; i < n; i++) {
        if (b->messages[i]->seq.result == LOGIC_SEQ_NEW
            && memcmp(&b->messages[i]->seq.conv, conv, sizeof(im_conv_t)) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Does MySQL have it?  IM_OK: see m->stored; IM_AGAIN: it is asked for, and m
 * is not in the batch any more; IM_ERROR: nobody knows. */
static int
batch_stored(logic_batch_t *b, logic_message_t *m)
{
    logic_question_t  *q;

    if (m->stored_seq == m->seq.seq) {
        return IM_OK;                  /* numbers begin with 1 */
    }

    if (!logic_batch_may_wait(m, LOGIC_WANT_STORED)) {
        return IM_ERROR;
    }

    q = logic_question_create(m, LOGIC_WANT_STORED, LOGIC_PARK_SHORT,
                              im_mono_us());

    if (q == NULL) {
        return IM_ERROR;
    }

    if (batch_is_young(m)) {
        logic_fate_refused(&m->seq, &m->phase);    /* comes back as another */
    }

    (void) logic_batch_park(b, m, q);

    return IM_AGAIN;
}


/*
 * IM_OK: m, unless it is denied, is produced under its first numbers; else it
 * is on its way.  Nobody has to know whether it is stored where it may be
 * produced again: all that follows makes nothing of a second time.
 */
static int
batch_repeat(logic_batch_t *b, logic_message_t *m)
{
    int  rc;

    m->time_ms = im_snowflake_time_ms(m->seq.msg_id);

    rc = batch_stored(b, m);

    if (rc == IM_AGAIN) {
        return rc;
    }

    if (rc == IM_ERROR) {
        return batch_again(b, m, "a repeat cannot be looked up");
    }

    if (m->stored == m->seq.msg_id) {
        logic_outcome_accept(m, &b->answers, 1);
        return IM_DONE;
    }

    if (m->denied != NULL && strcmp(m->denied, BATCH_AWAY) == 0) {
        logic_outcome_refuse(m, &b->answers, m->denied, m->denied_text);
        return IM_ERROR;
    }

    if (m->seq.age_ms < logic_void_after_ms()) {
        return batch_again(b, m, "the first try is not decided yet");
    }

    logic_repeats_add(m, &b->answers);

    return IM_AGAIN;                   /* see logic_repeats.c */
}


/* IM_OK: it may be produced again; else it is refused. */
static int
batch_again(logic_batch_t *b, logic_message_t *m, const char *text)
{
    if (batch_is_young(m)) {
        m->dup = 1;
        return IM_OK;
    }

    logic_outcome_refuse(m, &b->answers, "unavailable", text);

    return IM_ERROR;
}


/* As the script of logic_sequence.c sees it: the repeat holds the number. */
static int
batch_is_young(const logic_message_t *m)
{
    return m->denied == NULL
           && m->seq.age_ms * 5 < (uint64_t) logic_conf.kafka_delivery_ms * 4;
}


static void
batch_failed_redis(logic_batch_t *b)
{
    im_log_seldom(&batch_log_redis, IM_LOG_WARN, "messages are refused, "
                  "since Redis fails: %s", im_redis_error(b->redis));
}
