/*
 * logic_batch_may.c -- a step of a batch: who may send.
 *
 * It comes before a number is given, and never waits.  What is not known is
 * asked for by others (logic_asking.c), and the message waits for it outside
 * (logic_park.c), with those of its conversation behind it.  The steps that
 * come later and have to ask wait in the same way.
 */

#include <stdlib.h>

#include "im_clock.h"
#include "im_log.h"
#include "logic_asking.h"
#include "logic_batch_int.h"
#include "logic_decided.h"
#include "logic_outcome.h"
#include "logic_probes.h"
#include "logic_renew.h"


#define BATCH_ASK_MAX  4               /* answers for one message */


static int batch_may_one(logic_batch_t *b, logic_message_t *m,
    uint64_t now_us);
static int batch_ask(logic_batch_t *b, logic_message_t *m,
    logic_cache_e state, uint64_t now_us);
static void batch_deny(logic_batch_t *b, logic_message_t *m, const char *code,
    const char *text);


static im_log_seldom_t  batch_log_mysql;


/* Does the recipient exist, and accept messages of the sender; may the sender
 * write in the room? */
size_t
logic_batch_may(logic_batch_t *b, size_t n)
{
    size_t            i, k;
    uint64_t          now_us;
    logic_message_t  *m;

    now_us = im_mono_us();

    for (i = 0, k = 0; i < n; i++) {
        m = b->messages[i];

        if (batch_may_one(b, m, now_us) == IM_OK) {
            b->messages[k++] = m;
        }
    }

    return k;
}


/* Anything but IM_OK: it is not in the batch any more. */
static int
batch_may_one(logic_batch_t *b, logic_message_t *m, uint64_t now_us)
{
    int                  rc;
    logic_cache_e        state;
    logic_lookup_may_t   may;

    if (m->nobody) {
        logic_outcome_refuse(m, &b->answers, "no_such_user",
                             "the recipient does not exist");
        return IM_DONE;
    }

    state = logic_lookup_may(m, now_us, &may);
    rc = batch_ask(b, m, state, now_us);

    if (rc != IM_OK) {
        return rc;
    }

    if (state == LOGIC_CACHE_NONE) {
        logic_batch_unanswered(b, m);
        return IM_DONE;
    }

    if (may.code != NULL) {
        batch_deny(b, m, may.code, may.text);
        return IM_DONE;
    }

    m->removals = may.removals;

    return IM_OK;
}


/*
 * IM_AGAIN: it waits, for an answer or for messages before it.  IM_OK: there is
 * nothing to wait for, or no use in it: what is known decides, and may be
 * stale.
 */
static int
batch_ask(logic_batch_t *b, logic_message_t *m, logic_cache_e state,
    uint64_t now_us)
{
    int                   behind;
    logic_question_t     *q;
    logic_lookup_pair_t   pair;

    behind = logic_park_is_behind(b->park, m);

    if (state == LOGIC_CACHE_FRESH && !behind) {
        return IM_OK;
    }

    q = NULL;

    if (state == LOGIC_CACHE_DUE) {
        logic_lookup_pair(m, &pair);
        logic_renew(pair.from, pair.to, pair.room);

    } else if (state != LOGIC_CACHE_FRESH
               && logic_batch_may_wait(m, LOGIC_WANT_MAY))
    {
        q = logic_question_create(m, LOGIC_WANT_MAY,
                                  state == LOGIC_CACHE_NONE ? LOGIC_PARK_LONG
                                  : LOGIC_PARK_SHORT, now_us);
    }

    return (q != NULL || behind) ? logic_batch_park(b, m, q) : IM_OK;
}


int
logic_batch_may_wait(const logic_message_t *m, logic_want_e want)
{
    return !(m->unanswered & want) && m->answered < BATCH_ASK_MAX
           && !logic_probes_mysql_away();
}


int
logic_batch_park(logic_batch_t *b, logic_message_t *m, logic_question_t *q)
{
    logic_decided_leave(&m->phase);    /* it has no number, or not any more */

    if (logic_park_add(b->park, m, q) != IM_OK) {
        free(q);
        logic_outcome_refuse(m, &b->answers, "busy", "too many messages wait "
                             "for the database");
        return IM_DONE;
    }

    if (q != NULL) {
        logic_asking_add(q);
    }

    return IM_AGAIN;
}


void
logic_batch_unanswered(logic_batch_t *b, logic_message_t *m)
{
    char  error[200];

    logic_asking_error(error, sizeof(error));
    im_log_seldom(&batch_log_mysql, IM_LOG_WARN, "messages are refused, since "
                  "MySQL does not answer: %s", error);

    m->reply.shared = 1;
    logic_outcome_refuse(m, &b->answers, "unavailable", "the database does "
                         "not answer");
}


/* Refuses it, or puts it aside: it may be a repeat.  Who gives no cmid has no
 * promise beyond a second. */
static void
batch_deny(logic_batch_t *b, logic_message_t *m, const char *code,
    const char *text)
{
    if (m->seq.by != LOGIC_BY_CMID) {
        logic_outcome_refuse(m, &b->answers, code, text);
        return;
    }

    m->denied = code;
    m->denied_text = text;
    b->denied[b->n_denied++] = m;
}
