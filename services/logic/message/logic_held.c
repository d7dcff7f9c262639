/*
 * logic_held.c -- see logic_held.h.
 *
 * There is one question for each conversation (logic_park.c), and only for some
 * tenths of a second after Redis has lost its memory; those whose messages do
 * not wait any more end when they are asked again.
 */

#include "im_clock.h"
#include "im_timeouts.h"
#include "logic_asking.h"
#include "logic_decided.h"
#include "logic_held.h"


static void held_serve(void);
static int held_is_known(const logic_seq_t *seq);
static int held_is_late(const logic_question_t *q, uint64_t now_us);


static pthread_mutex_t    held_lock = PTHREAD_MUTEX_INITIALIZER;
static logic_questions_t  held = TAILQ_HEAD_INITIALIZER(held);


void
logic_held_start(void)
{
    logic_decided_register(held_serve);
}


void
logic_held_add(logic_question_t *q)
{
    pthread_mutex_lock(&held_lock);
    TAILQ_INSERT_TAIL(&held, q, link);
    pthread_mutex_unlock(&held_lock);

    logic_decided_kick();
}


/* The thread of logic_decided.c.  Sends back those whose end is known, and
 * those that have waited long enough. */
static void
held_serve(void)
{
    uint64_t            now_us;
    logic_question_t   *q, *next;
    logic_questions_t   back;

    now_us = im_mono_us();
    TAILQ_INIT(&back);

    pthread_mutex_lock(&held_lock);

    for (q = TAILQ_FIRST(&held); q != NULL; q = next) {
        next = TAILQ_NEXT(q, link);
        q->seq.jump = held_is_late(q, now_us);

        if (q->seq.jump || held_is_known(&q->seq)) {
            TAILQ_REMOVE(&held, q, link);
            TAILQ_INSERT_TAIL(&back, q, link);
        }
    }

    pthread_mutex_unlock(&held_lock);

    while ((q = TAILQ_FIRST(&back)) != NULL) {
        TAILQ_REMOVE(&back, q, link);
        logic_asking_add(q);
    }
}


static int
held_is_known(const logic_seq_t *seq)
{
    return logic_decided_exact(&seq->conv, logic_decided_mark(seq->slot));
}


/* A message waits IM_ASK_MS for a question, so this is before its end. */
static int
held_is_late(const logic_question_t *q, uint64_t now_us)
{
    return now_us + (IM_ASK_MS - IM_DECIDED_WAIT_MS) * 1000 > q->until_us;
}


void
logic_held_stop(void)
{
    logic_question_t   *q;
    logic_questions_t   all;

    TAILQ_INIT(&all);

    pthread_mutex_lock(&held_lock);
    TAILQ_CONCAT(&all, &held, link);
    pthread_mutex_unlock(&held_lock);

    while ((q = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, q, link);
        logic_park_done(q, IM_ERROR);
    }
}
