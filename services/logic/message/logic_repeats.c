/*
 * logic_repeats.c -- see logic_repeats.h.
 *
 * The question takes until the store has caught up with Kafka, up to a second,
 * so it must not be asked on a shard's thread.  After an outage many come at
 * once: a batch waits once, for all its partitions.  While the store is behind,
 * each batch takes that second, so a message that has waited for too long in
 * the queue is refused: its client comes again.
 *
 * What is decided goes back through its shard: there the number is given and
 * the message is produced in the order of the conversation.
 *
 * A thread of its own, with its own connection to MySQL.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_fate.h"
#include "logic_intake.h"
#include "logic_lookup.h"
#include "logic_outcome.h"
#include "logic_repeats.h"
#include "logic_settle.h"


#define REPEATS_BATCH  LOGIC_SEQUENCE_MAX


static void *repeats_thread(void *arg);
static logic_message_t *repeats_take(void);
static void repeats_decide(logic_message_t *first);
static size_t repeats_in_time(logic_message_t *first, logic_message_t **all);
static int repeats_settle(logic_message_t **all, size_t n);
static void repeats_on_settled(logic_wait_t *w);
static size_t repeats_settled(logic_message_t **all, size_t n);
static void repeats_end(logic_message_t *m, int known);
static void repeats_void(logic_message_t *m);


static im_thread_t        repeats_id;
static pthread_mutex_t    repeats_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t     repeats_wake = PTHREAD_COND_INITIALIZER;
static logic_message_t   *repeats_first;
static logic_message_t  **repeats_last = &repeats_first;
static unsigned           repeats_n;
static unsigned           repeats_max;
static int                repeats_stopping;
static int                repeats_waits;      /* repeats_log is a list's */
static logic_wait_t       repeats_log;
static logic_lookup_t    *repeats_lookup;     /* the rest: our thread */
static logic_touched_t    repeats_answers;


int
logic_repeats_start(unsigned queue_max)
{
    repeats_max = queue_max;
    repeats_lookup = logic_lookup_create();

    return (repeats_lookup != NULL)
           ? im_thread_start(&repeats_id, repeats_thread, NULL) : IM_ERROR;
}


void
logic_repeats_add(logic_message_t *m, logic_touched_t *answers)
{
    int  full;

    m->next = NULL;

    pthread_mutex_lock(&repeats_lock);

    full = repeats_n >= repeats_max || repeats_stopping;

    if (!full) {
        *repeats_last = m;
        repeats_last = &m->next;
        repeats_n++;
        pthread_cond_signal(&repeats_wake);
    }

    pthread_mutex_unlock(&repeats_lock);

    if (full) {
        logic_outcome_refuse(m, answers, "busy", "too many repeats wait");
    }
}


static void *
repeats_thread(void *arg)
{
    logic_message_t  *m;

    (void) arg;

    for ( ;; ) {
        m = repeats_take();

        if (m == NULL) {
            break;
        }

        repeats_decide(m);
        logic_reply_flush(&repeats_answers);
    }

    return NULL;
}


/* Up to a batch of them; NULL when stopping and nothing is left. */
static logic_message_t *
repeats_take(void)
{
    unsigned           n;
    logic_message_t   *m, **last;

    pthread_mutex_lock(&repeats_lock);

    while (repeats_first == NULL && !repeats_stopping) {
        pthread_cond_wait(&repeats_wake, &repeats_lock);
    }

    m = repeats_first;
    last = &m;

    for (n = 0; n < REPEATS_BATCH && *last != NULL; n++) {
        last = &(*last)->next;
    }

    repeats_first = *last;
    *last = NULL;
    repeats_n -= n;

    if (repeats_first == NULL) {
        repeats_last = &repeats_first;
    }

    pthread_mutex_unlock(&repeats_lock);

    return m;
}


/* Settled first, then looked up, all together. */
static void
repeats_decide(logic_message_t *first)
{
    int               rc;
    size_t            i, n;
    logic_message_t  *all[REPEATS_BATCH];

    n = repeats_in_time(first, all);

    if (n == 0) {
        return;
    }

    if (repeats_settle(all, n) != IM_OK) {
        for (i = 0; i < n; i++) {
            repeats_end(all[i], 0);
        }

        return;
    }

    n = repeats_settled(all, n);
    rc = logic_lookup_stored(repeats_lookup, all, n);

    for (i = 0; i < n; i++) {
        repeats_end(all[i], rc == IM_OK);
    }
}


/* The others are refused; all of them, if it stops. */
static size_t
repeats_in_time(logic_message_t *first, logic_message_t **all)
{
    int               stopping;
    size_t            n;
    uint64_t          now_us;
    logic_message_t  *m, *next;

    pthread_mutex_lock(&repeats_lock);
    stopping = repeats_stopping;
    pthread_mutex_unlock(&repeats_lock);

    now_us = im_mono_us();

    for (m = first, n = 0; m != NULL; m = next) {
        next = m->next;

        if (!stopping
            && now_us - m->queued_us < (uint64_t) IM_REPEAT_QUEUE_MS * 1000)
        {
            all[n++] = m;

        } else {
            repeats_end(m, 0);
        }
    }

    return n;
}


/* IM_OK: see repeats_log.reached.  When it stops, the log stays in the list,
 * until logic_settle_stop() ends it. */
static int
repeats_settle(logic_message_t **all, size_t n)
{
    int     rc;
    size_t  i;

    memset(&repeats_log, 0, sizeof(repeats_log));
    repeats_log.until_us = im_cond_now_us()
                           + (uint64_t) IM_REPEAT_SETTLE_MS * 1000;
    repeats_log.done = repeats_on_settled;

    for (i = 0; i < n; i++) {
        repeats_log.partitions |= logic_settle_bit(&all[i]->seq.conv);
    }

    repeats_waits = 1;

    if (logic_settle_wait(&repeats_log) != IM_AGAIN) {
        return IM_BUSY;
    }

    pthread_mutex_lock(&repeats_lock);

    while (repeats_waits && !repeats_stopping) {
        pthread_cond_wait(&repeats_wake, &repeats_lock);
    }

    rc = repeats_stopping ? IM_DONE : IM_OK;

    pthread_mutex_unlock(&repeats_lock);

    return rc;
}


/* A thread of logic_settle.c. */
static void
repeats_on_settled(logic_wait_t *w)
{
    (void) w;

    pthread_mutex_lock(&repeats_lock);
    repeats_waits = 0;
    pthread_cond_signal(&repeats_wake);
    pthread_mutex_unlock(&repeats_lock);
}


/* Those whose partition is behind are refused. */
static size_t
repeats_settled(logic_message_t **all, size_t n)
{
    size_t            i, k;
    logic_message_t  *m;

    for (i = 0, k = 0; i < n; i++) {
        m = all[i];

        if (repeats_log.reached & logic_settle_bit(&m->seq.conv)) {
            all[k++] = m;

        } else {
            repeats_end(m, 0);
        }
    }

    return k;
}


static void
repeats_end(logic_message_t *m, int known)
{
    if (!known) {
        logic_outcome_refuse(m, &repeats_answers, "unavailable",
                             "whether the first try was stored is not known");

    } else if (m->stored == m->seq.msg_id) {
        logic_outcome_accept(m, &repeats_answers, 1);

    } else {
        repeats_void(m);
    }
}


static void
repeats_void(logic_message_t *m)
{
    if (m->stored == 0) {              /* else it is another message's */
        logic_fate_void(&m->seq, &m->phase);
    }

    if (m->denied != NULL) {
        logic_outcome_refuse(m, &repeats_answers, m->denied, m->denied_text);
        return;
    }

    m->seq.void_id = m->seq.msg_id;
    logic_intake_again(m);
}


void
logic_repeats_stop(void)
{
    pthread_mutex_lock(&repeats_lock);
    repeats_stopping = 1;
    pthread_cond_signal(&repeats_wake);
    pthread_mutex_unlock(&repeats_lock);

    im_thread_join(&repeats_id);

    logic_lookup_destroy(repeats_lookup);
    repeats_lookup = NULL;
}
