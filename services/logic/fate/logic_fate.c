/*
 * logic_fate.c -- see logic_fate.h.
 *
 *   in its report ----> FENCE: nothing comes behind ----> STORED? --- yes: done
 *                              (logic_fence.h)               | no
 *   never handed over ------------------------------------> RELEASE (logic_
 *   no reply of Redis --> UNANSWERED: is there a number? --->  holds.h)
 *                                                            | nobody holds it
 *   a jump ----> JUMP: when the partition is exact --------> VOID: written
 *   void by age -------------------------------------------->
 *
 * Until it is written, a number counts as one that is on its way
 * (logic_decided.h), so that no conversation is begun below it after Redis has
 * lost its memory.
 *
 * What Redis does not know (any more) is left to the judgement by age: a
 * holder may have been forgotten.  The same if another im-logic is of an
 * earlier version, which does not say whom it gives numbers again.
 *
 * Nothing here is urgent for the sender, who was refused; it is for those who
 * wait above the gap.  A thread of its own, with its own connections.
 */

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_log.h"
#include "im_steps.h"
#include "logic_decided.h"
#include "logic_fate_int.h"
#include "logic_partitions.h"


#define FATE_MAX         65536     /* 14 MB */
#define FATE_ROUND_MS    5         /* at least, to take several together */


static void fate_add(logic_fate_e state, const logic_seq_t *seq,
    unsigned char *phase);
static int fate_put(logic_fate_e state, logic_fate_t *f);
static void *fate_thread(void *arg);
static int fate_wait(void);
static void fate_on_settled(logic_wait_t *w);


static im_thread_t          fate_id;
static pthread_mutex_t      fate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t       fate_wake = PTHREAD_COND_INITIALIZER;
static logic_fate_queue_t   fate_queue;
static int                  fate_open, fate_stopping;
static int                  fate_settles;     /* its wait is a list's */


int
logic_fate_create(void)
{
    pthread_mutex_lock(&fate_lock);
    logic_fate_queue_init(&fate_queue, FATE_MAX);
    fate_open = 1;
    pthread_mutex_unlock(&fate_lock);

    return IM_OK;
}


int
logic_fate_start(void)
{
    return (logic_fate_connect() == IM_OK)
           ? im_thread_start(&fate_id, fate_thread, NULL) : IM_ERROR;
}


void
logic_fate_refused(const logic_seq_t *seq, unsigned char *phase)
{
    fate_add(LOGIC_FATE_RELEASE, seq, phase);
}


void
logic_fate_failed(const logic_seq_t *seq, unsigned char *phase)
{
    fate_add(LOGIC_FATE_FENCE, seq, phase);
}


void
logic_fate_unanswered(const logic_seq_t *seq)
{
    if (seq->by != LOGIC_BY_NOTHING) {
        fate_add(LOGIC_FATE_UNANSWERED, seq, NULL);
    }
}


void
logic_fate_void(const logic_seq_t *seq, unsigned char *phase)
{
    fate_add(LOGIC_FATE_VOID, seq, phase);
}


void
logic_fate_jump(const logic_void_t *range, uint64_t mark)
{
    logic_fate_t  *f;

    f = calloc(1, sizeof(logic_fate_t));
    if (f == NULL) {
        return;
    }

    f->seq.conv = range->conv;
    f->seq.slot = im_slot_of_conv(&range->conv);
    f->seq.seq = range->from;
    f->to = range->to;
    f->mark = mark;

    if (fate_put(LOGIC_FATE_JUMP, f) != IM_OK) {
        free(f);
    }
}


/* phase is NULL where no number was given, so that nothing is on its way.  One
 * that nobody keeps in mind may be on its way until its time is over. */
static void
fate_add(logic_fate_e state, const logic_seq_t *seq, unsigned char *phase)
{
    logic_fate_t  *f;

    f = calloc(1, sizeof(logic_fate_t));

    if (f != NULL) {
        f->seq = *seq;
        f->to = seq->seq;

        if (state == LOGIC_FATE_FENCE) {
            logic_fence_ticket(seq->slot % logic_partitions(), &f->fence);
        }

        f->phase = (phase != NULL) ? *phase : 0;

        if (fate_put(state, f) == IM_OK) {
            if (phase != NULL) {
                *phase = 0;            /* f's, from here on */
            }

            return;
        }

        free(f);
    }

    if (state == LOGIC_FATE_FENCE) {
        logic_decided_forget();
    }
}


static int
fate_put(logic_fate_e state, logic_fate_t *f)
{
    int  rc;

    pthread_mutex_lock(&fate_lock);

    rc = fate_open ? logic_fate_queue_add(&fate_queue, state, f, im_mono_us())
                   : IM_BUSY;

    if (rc == IM_OK) {
        pthread_cond_signal(&fate_wake);
    }

    pthread_mutex_unlock(&fate_lock);

    if (rc != IM_OK) {
        im_warn_seldom("too many numbers of refused messages are not decided: "
                       "their gaps are judged by age");
    }

    return rc;
}


static void *
fate_thread(void *arg)
{
    (void) arg;

    while (fate_wait() == IM_OK) {
        logic_fate_do_fences();
        logic_fate_do_stored();
        logic_fate_do_unanswered();
        logic_fate_do_release();
        logic_fate_do_jumps();
        logic_fate_do_voids();
    }

    return NULL;
}


/* Until something is due.  IM_DONE: stopping, however many are due: MySQL and
 * Redis may be slow, and what is left is judged by age. */
static int
fate_wait(void)
{
    int              rc;
    uint64_t         due;
    struct timespec  round = { 0, FATE_ROUND_MS * 1000000 };

    nanosleep(&round, NULL);

    pthread_mutex_lock(&fate_lock);

    while (!fate_stopping) {
        due = logic_fate_queue_due(&fate_queue);

        if (due <= im_mono_us()) {
            break;
        }

        if (due == UINT64_MAX) {
            pthread_cond_wait(&fate_wake, &fate_lock);

        } else {
            (void) im_cond_wait_until(&fate_wake, &fate_lock, due);
        }
    }

    rc = fate_stopping ? IM_DONE : IM_OK;

    pthread_mutex_unlock(&fate_lock);

    return rc;
}


/* When it stops, w stays in the list, until logic_settle_stop() ends it. */
int
logic_fate_settle(logic_wait_t *w, unsigned timeout_ms)
{
    int  rc;

    w->until_us = im_cond_now_us() + (uint64_t) timeout_ms * 1000;
    w->done = fate_on_settled;
    fate_settles = 1;

    if (logic_settle_wait(w) != IM_AGAIN) {
        return IM_BUSY;
    }

    pthread_mutex_lock(&fate_lock);

    while (fate_settles && !fate_stopping) {
        pthread_cond_wait(&fate_wake, &fate_lock);
    }

    rc = fate_stopping ? IM_DONE : IM_OK;

    pthread_mutex_unlock(&fate_lock);

    return rc;
}


/* A thread of logic_settle.c. */
static void
fate_on_settled(logic_wait_t *w)
{
    (void) w;

    pthread_mutex_lock(&fate_lock);
    fate_settles = 0;
    pthread_cond_signal(&fate_wake);
    pthread_mutex_unlock(&fate_lock);
}


size_t
logic_fate_take(logic_fate_e state, logic_fate_t **out)
{
    size_t  n;

    pthread_mutex_lock(&fate_lock);
    n = logic_fate_queue_take(&fate_queue, state, im_mono_us(), out,
                              LOGIC_HOLDS_MAX);
    pthread_mutex_unlock(&fate_lock);

    return n;
}


void
logic_fate_next(logic_fate_e state, logic_fate_t *f)
{
    pthread_mutex_lock(&fate_lock);
    logic_fate_queue_next(&fate_queue, state, f, im_mono_us());
    pthread_mutex_unlock(&fate_lock);
}


void
logic_fate_later(logic_fate_e state, logic_fate_t *f)
{
    pthread_mutex_lock(&fate_lock);
    logic_fate_queue_later(&fate_queue, state, f, im_mono_us());
    pthread_mutex_unlock(&fate_lock);
}


void
logic_fate_drop(logic_fate_t *f)
{
    logic_decided_leave(&f->phase);

    pthread_mutex_lock(&fate_lock);
    logic_fate_queue_done(&fate_queue, f);
    pthread_mutex_unlock(&fate_lock);
}


void
logic_fate_stats(uint64_t *voids, uint64_t *waiting)
{
    *voids = logic_fate_found();

    pthread_mutex_lock(&fate_lock);
    *waiting = fate_queue.n;
    pthread_mutex_unlock(&fate_lock);
}


/* What is left is judged by age. */
void
logic_fate_stop(void)
{
    pthread_mutex_lock(&fate_lock);
    fate_stopping = 1;
    pthread_cond_signal(&fate_wake);
    pthread_mutex_unlock(&fate_lock);

    im_thread_join(&fate_id);

    logic_fate_disconnect();
}


void
logic_fate_destroy(void)
{
    int            i;
    logic_fate_t  *f;

    pthread_mutex_lock(&fate_lock);

    fate_open = 0;

    for (i = 0; i < LOGIC_FATE_STATES; i++) {
        while ((f = TAILQ_FIRST(&fate_queue.lists[i])) != NULL) {
            TAILQ_REMOVE(&fate_queue.lists[i], f, link);
            free(f);
        }
    }

    logic_fate_queue_init(&fate_queue, 0);

    pthread_mutex_unlock(&fate_lock);
}
