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


static pthread_mutex_t     held_lock = PTHREAD_MUTEX_INITIALIZER;
static logic_question_t   *held_first;
static logic_question_t  **held_last = &held_first;


void
logic_held_start(void)
{
    logic_decided_register(held_serve);
}


void
logic_held_add(logic_question_t *q)
{
    q->next = NULL;

    pthread_mutex_lock(&held_lock);
    *held_last = q;
    held_last = &q->next;
    pthread_mutex_unlock(&held_lock);

    logic_decided_kick();
}


/* The thread of logic_decided.c.  Sends back those whose end is known, and
 * those that have waited long enough. */
static void
held_serve(void)
{
    uint64_t           now_us;
    logic_question_t  *q, *back, **last, **keep;

    now_us = im_mono_us();
    last = &back;

    pthread_mutex_lock(&held_lock);

    for (keep = &held_first; *keep != NULL; ) {
        q = *keep;
        q->seq.jump = held_is_late(q, now_us);

        if (!q->seq.jump && !held_is_known(&q->seq)) {
            keep = &q->next;
            continue;
        }

        *keep = q->next;
        *last = q;
        last = &q->next;
    }

    held_last = keep;
    *last = NULL;

    pthread_mutex_unlock(&held_lock);

    while (back != NULL) {
        q = back;
        back = q->next;
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
    logic_question_t  *q, *next;

    pthread_mutex_lock(&held_lock);
    q = held_first;
    held_first = NULL;
    held_last = &held_first;
    pthread_mutex_unlock(&held_lock);

    for (; q != NULL; q = next) {
        next = q->next;
        logic_park_done(q, IM_ERROR);
    }
}
