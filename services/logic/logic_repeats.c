/*
 * logic_repeats.c -- see logic_repeats.h.
 *
 * The question takes until the store has caught up with Kafka, up to a second,
 * so it must not be asked on a shard's thread.  After an outage many come at
 * once: a batch asks once for each partition.
 *
 * What is decided goes back through its shard: there the number is given and
 * the message is produced in the order of the conversation.
 *
 * A thread of its own, with its own connection to MySQL.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "im_steps.h"
#include "logic_fate.h"
#include "logic_intake.h"
#include "logic_lookup.h"
#include "logic_outcome.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_settle.h"


#define REPEATS_BATCH       LOGIC_SEQUENCE_MAX
#define REPEATS_SETTLE_MS   1000
#define REPEATS_PARTITIONS  64


/* What is known of the partitions in one batch. */
typedef struct {
    char               asked[REPEATS_PARTITIONS];
    int                rc[REPEATS_PARTITIONS];
} repeats_settled_t;


static void *repeats_thread(void *arg);
static logic_message_t *repeats_take(void);
static void repeats_decide(logic_message_t *first);
static void repeats_end(logic_message_t *m, int known);
static void repeats_void(logic_message_t *m);
static int repeats_settle(const logic_message_t *m,
    repeats_settled_t *settled);


static im_thread_t        repeats_id;
static pthread_mutex_t    repeats_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t     repeats_wake = PTHREAD_COND_INITIALIZER;
static logic_message_t   *repeats_first;
static logic_message_t  **repeats_last = &repeats_first;
static unsigned           repeats_n;
static unsigned           repeats_max;
static int                repeats_stopping;
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
    int                 rc;
    size_t              i, n;
    logic_message_t    *m, *next, *all[REPEATS_BATCH];
    repeats_settled_t   settled;

    memset(&settled, 0, sizeof(settled));

    for (m = first, n = 0; m != NULL; m = next) {
        next = m->next;

        if (repeats_settle(m, &settled) == IM_OK) {
            all[n++] = m;

        } else {
            repeats_end(m, 0);
        }
    }

    rc = logic_lookup_stored(repeats_lookup, all, n);

    for (i = 0; i < n; i++) {
        repeats_end(all[i], rc == IM_OK);
    }
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
        logic_fate_void(m);
    }

    if (m->denied != NULL) {
        logic_outcome_refuse(m, &repeats_answers, m->denied, m->denied_text);
        return;
    }

    m->seq.void_id = m->seq.msg_id;
    logic_intake_again(m);
}


static int
repeats_settle(const logic_message_t *m, repeats_settled_t *settled)
{
    unsigned  p;

    p = m->seq.slot % logic_produce_partitions();

    if (!settled->asked[p]) {
        settled->asked[p] = 1;
        settled->rc[p] = logic_settle(&m->seq.conv, REPEATS_SETTLE_MS);
    }

    return settled->rc[p];
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
