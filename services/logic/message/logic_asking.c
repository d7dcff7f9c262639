/*
 * logic_asking.c -- see logic_asking.h.
 *
 *   shards, park ---> urgent ---+---> thread, its own MySQL and Redis
 *                     others ---+---> thread, the same
 *
 * A thread takes up to 512 questions at once and asks each kind in a few
 * statements.  Urgent is what people wait for who talk already.  What has
 * nobody waiting for it any more is not asked.
 *
 * Which of the threads asks makes no difference: the order of a conversation is
 * kept where its messages are parked.  There are two, so that what can be
 * answered is not held by one slow statement.
 *
 * While MySQL is away (logic_probes.c) shards ask nothing.  The probe looks
 * every 250 ms, and its first good look ends this.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_log.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_asking.h"
#include "logic_held.h"
#include "logic_probes.h"
#include "logic_renew.h"
#include "logic_seed.h"
#include "logic_stores.h"


#define ASKING_THREADS      LOGIC_PROBES_ASKERS
#define ASKING_BATCH        LOGIC_SEQUENCE_MAX
#define ASKING_REFRESH_MAX  4096   /* that wait */
#define ASKING_ERROR_MAX    200


typedef struct {
    im_thread_t         thread;
    logic_lookup_t     *lookup;
    im_redis_t         *redis;
    size_t              n;
    logic_question_t   *questions[ASKING_BATCH];
} asking_thread_t;


static void asking_on_renew(uint64_t from, uint64_t to, uint64_t room);
static void asking_put(logic_questions_t *queue, logic_question_t *q);
static void *asking_run(void *arg);
static size_t asking_take(asking_thread_t *t);
static void asking_take_queue(asking_thread_t *t, logic_questions_t *queue);
static void asking_all(asking_thread_t *t, logic_want_e want);
static int asking_may(asking_thread_t *t, logic_question_t **q, size_t n);
static int asking_stored(asking_thread_t *t, logic_question_t **q, size_t n);
static int asking_seed(asking_thread_t *t, logic_question_t **q, size_t n);
static int asking_ended(asking_thread_t *t, int rc);


static pthread_mutex_t   asking_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    asking_wake = PTHREAD_COND_INITIALIZER;
static logic_questions_t asking_urgent = TAILQ_HEAD_INITIALIZER(asking_urgent);
static logic_questions_t asking_others = TAILQ_HEAD_INITIALIZER(asking_others);
static unsigned          asking_refreshes;
static int               asking_runs;
static char              asking_text[ASKING_ERROR_MAX];
static asking_thread_t   asking_threads[ASKING_THREADS];


int
logic_asking_start(void)
{
    unsigned          i;
    asking_thread_t  *t;

    asking_runs = 1;
    logic_held_start();
    logic_renew_register(asking_on_renew);

    for (i = 0; i < ASKING_THREADS; i++) {
        t = &asking_threads[i];
        t->lookup = logic_lookup_create();
        t->redis = logic_redis_create();

        if (t->lookup == NULL || t->redis == NULL
            || im_thread_start(&t->thread, asking_run, t) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


void
logic_asking_add(logic_question_t *q)
{
    int  runs;

    pthread_mutex_lock(&asking_lock);

    runs = asking_runs;

    if (runs) {
        asking_put(q->wait == LOGIC_PARK_SHORT ? &asking_urgent
                                               : &asking_others, q);
    }

    pthread_mutex_unlock(&asking_lock);

    if (!runs) {
        logic_park_done(q, IM_ERROR);
    }
}


/* Any thread.  Left out while MySQL is away, or when many wait. */
static void
asking_on_renew(uint64_t from, uint64_t to, uint64_t room)
{
    int                taken;
    logic_question_t  *q;

    if (logic_probes_mysql_away()) {
        return;
    }

    q = calloc(1, sizeof(logic_question_t));
    if (q == NULL) {
        return;
    }

    q->want = LOGIC_WANT_MAY;
    q->pair.from = from;
    q->pair.to = to;
    q->pair.room = room;

    pthread_mutex_lock(&asking_lock);

    taken = asking_runs && asking_refreshes < ASKING_REFRESH_MAX;

    if (taken) {
        asking_refreshes++;
        asking_put(&asking_others, q);
    }

    pthread_mutex_unlock(&asking_lock);

    if (!taken) {
        free(q);
    }
}


/* Under the lock. */
static void
asking_put(logic_questions_t *queue, logic_question_t *q)
{
    TAILQ_INSERT_TAIL(queue, q, link);
    pthread_cond_signal(&asking_wake);
}


void
logic_asking_error(char *text, size_t size)
{
    pthread_mutex_lock(&asking_lock);
    snprintf(text, size, "%s", asking_text);
    pthread_mutex_unlock(&asking_lock);
}


static void *
asking_run(void *arg)
{
    asking_thread_t  *t = arg;

    while (asking_take(t) > 0) {
        asking_all(t, LOGIC_WANT_MAY);
        asking_all(t, LOGIC_WANT_STORED);
        asking_all(t, LOGIC_WANT_SEED);
    }

    return NULL;
}


/* 0: stopping.  What waits then is freed by logic_asking_stop(). */
static size_t
asking_take(asking_thread_t *t)
{
    t->n = 0;

    pthread_mutex_lock(&asking_lock);

    while (asking_runs && TAILQ_EMPTY(&asking_urgent)
           && TAILQ_EMPTY(&asking_others))
    {
        pthread_cond_wait(&asking_wake, &asking_lock);
    }

    if (asking_runs) {
        asking_take_queue(t, &asking_urgent);
        asking_take_queue(t, &asking_others);
    }

    pthread_mutex_unlock(&asking_lock);

    return t->n;
}


static void
asking_take_queue(asking_thread_t *t, logic_questions_t *queue)
{
    logic_question_t  *q;

    while (t->n < ASKING_BATCH && (q = TAILQ_FIRST(queue)) != NULL) {
        TAILQ_REMOVE(queue, q, link);
        asking_refreshes -= (q->park == NULL);
        t->questions[t->n++] = q;
    }
}


/* The questions of a kind. */
static void
asking_all(asking_thread_t *t, logic_want_e want)
{
    int                rc;
    size_t             i, n;
    logic_question_t  *q, *all[ASKING_BATCH];

    for (i = 0, n = 0; i < t->n; i++) {
        q = t->questions[i];

        if (q == NULL || q->want != want) {
            continue;
        }

        t->questions[i] = NULL;        /* freed when it is done */

        if (atomic_load(&q->over)) {
            logic_park_done(q, IM_ERROR);
            continue;
        }

        all[n++] = q;
    }

    if (n == 0) {
        return;
    }

    rc = (want == LOGIC_WANT_MAY) ? asking_may(t, all, n)
         : (want == LOGIC_WANT_STORED) ? asking_stored(t, all, n)
         : asking_seed(t, all, n);

    for (i = 0; i < n; i++) {
        if (rc == IM_OK && want == LOGIC_WANT_SEED && all[i]->seq.waits) {
            logic_held_add(all[i]);    /* which has it asked once more */

        } else {
            logic_park_done(all[i], rc);
        }
    }
}


static int
asking_may(asking_thread_t *t, logic_question_t **q, size_t n)
{
    size_t                i;
    logic_lookup_pair_t  *pairs[ASKING_BATCH];

    for (i = 0; i < n; i++) {
        pairs[i] = &q[i]->pair;
    }

    logic_probes_mysql_asks((unsigned) (t - asking_threads));

    return asking_ended(t, logic_lookup_ask(t->lookup, pairs, n));
}


static int
asking_stored(asking_thread_t *t, logic_question_t **q, size_t n)
{
    int                rc;
    size_t             i;
    logic_ask_t        asks[ASKING_BATCH];
    logic_question_t  *one;

    memset(asks, 0, n * sizeof(logic_ask_t));

    for (i = 0; i < n; i++) {
        asks[i].key[0] = q[i]->seq.conv.a;
        asks[i].key[1] = q[i]->seq.conv.b;
        asks[i].key[2] = q[i]->seq.seq;
        asks[i].item = q[i];
    }

    logic_probes_mysql_asks((unsigned) (t - asking_threads));

    rc = asking_ended(t, logic_lookup_rows(t->lookup, asks, n));

    for (i = 0; i < n && rc == IM_OK; i++) {
        one = asks[i].item;
        one->stored = asks[i].found ? asks[i].values[0] : 0;
    }

    return rc;
}


/* Redis and Kafka are asked, too, so its time shows nothing of MySQL. */
static int
asking_seed(asking_thread_t *t, logic_question_t **q, size_t n)
{
    int           rc;
    size_t        i;
    logic_seq_t  *seqs[ASKING_BATCH];

    for (i = 0; i < n; i++) {
        seqs[i] = &q[i]->seq;
    }

    rc = logic_seed(t->redis, t->lookup, seqs, n);

    if (rc == IM_DECLINED) {
        (void) asking_ended(t, IM_ERROR);

    } else if (rc == IM_ERROR) {
        im_warn_seldom("conversations cannot begin: redis: %s",
                       im_redis_error(t->redis));
    }

    return rc;
}


/* What an answer, or none, shows of MySQL. */
static int
asking_ended(asking_thread_t *t, int rc)
{
    logic_probes_mysql_asked((unsigned) (t - asking_threads));

    if (rc == IM_OK) {
        logic_probes_mysql_answered();
        return rc;
    }

    pthread_mutex_lock(&asking_lock);
    snprintf(asking_text, sizeof(asking_text), "%s",
             logic_lookup_error(t->lookup));
    pthread_mutex_unlock(&asking_lock);

    logic_probes_mysql_failed();

    return rc;
}


void
logic_asking_stop(void)
{
    unsigned          i;
    asking_thread_t  *t;

    pthread_mutex_lock(&asking_lock);
    asking_runs = 0;
    pthread_cond_broadcast(&asking_wake);
    pthread_mutex_unlock(&asking_lock);

    for (i = 0; i < ASKING_THREADS; i++) {
        t = &asking_threads[i];

        im_thread_join(&t->thread);

        logic_lookup_destroy(t->lookup);
        im_redis_destroy(t->redis);
        t->lookup = NULL;
        t->redis = NULL;
    }

    /* nobody adds any more */

    logic_held_stop();

    t = &asking_threads[0];

    do {
        t->n = 0;
        asking_take_queue(t, &asking_urgent);
        asking_take_queue(t, &asking_others);

        for (i = 0; i < t->n; i++) {
            logic_park_done(t->questions[i], IM_ERROR);
        }

    } while (t->n > 0);
}
