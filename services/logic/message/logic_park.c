/*
 * logic_park.c -- see logic_park.h.
 *
 *   conversation --> message --> message --> message       in their order
 *                      |                       |
 *                   question                question       asked at once
 *
 * A message leaves when it is the first of its conversation and has no
 * question.  The order is that of a number which it gets when it is parked for
 * the first time: one that comes back and has to wait once more stands before
 * those that came after it.
 *
 * A question is not taken back from the thread that asks it, which may be held
 * by MySQL: it is marked as over, and freed when that thread is done with it.
 * Both happen under the shard's lock, so one of the two sides is the last.
 *
 * Waiting questions are in a list for each length of the wait, and so in the
 * order of their ends.
 */

#include <stdlib.h>
#include <string.h>

#include "im_timeouts.h"
#include "logic_park.h"


typedef struct park_conv_s  park_conv_t;

struct park_conv_s {
    im_conv_t          conv;
    logic_message_t   *first;      /* by park_no, never NULL */
    logic_message_t   *last;
    UT_hash_handle     hh;
};


static park_conv_t *park_find(const logic_park_t *p, const logic_message_t *m);
static park_conv_t *park_create(logic_park_t *p, const logic_message_t *m);
static void park_insert(park_conv_t *c, logic_message_t *m);
static void park_collect(logic_park_t *p);
static void park_end(logic_park_t *p, logic_question_t *q, int rc);
static void park_answer(logic_message_t *m, const logic_question_t *q);
static void park_release(logic_park_t *p, const logic_message_t *m);


static const uint64_t  park_wait_us[LOGIC_PARK_WAITS] = {
    [LOGIC_PARK_SHORT] = IM_ASK_STALE_MS * 1000,
    [LOGIC_PARK_LONG] = IM_ASK_MS * 1000
};


void
logic_park_init(logic_park_t *p, pthread_mutex_t *lock, pthread_cond_t *wake,
    size_t max)
{
    unsigned  i;

    memset(p, 0, sizeof(logic_park_t));

    p->lock = lock;
    p->wake = wake;
    p->max = max;
    p->ready_last = &p->ready;
    TAILQ_INIT(&p->done);

    for (i = 0; i < LOGIC_PARK_WAITS; i++) {
        TAILQ_INIT(&p->waiting[i]);
    }
}


logic_question_t *
logic_question_create(const logic_message_t *m, logic_want_e want,
    logic_park_wait_e wait, uint64_t now_us)
{
    logic_question_t  *q;

    q = calloc(1, sizeof(logic_question_t));
    if (q == NULL) {
        return NULL;
    }

    q->want = want;
    q->wait = wait;
    q->until_us = now_us + park_wait_us[wait];
    q->seq = m->seq;
    logic_lookup_pair(m, &q->pair);

    return q;
}


int
logic_park_is_behind(const logic_park_t *p, const logic_message_t *m)
{
    const park_conv_t  *c;

    if (p->convs == NULL) {
        return 0;                      /* as nearly always */
    }

    c = park_find(p, m);

    return c != NULL && (m->park_no == 0 || c->first->park_no < m->park_no);
}


int
logic_park_add(logic_park_t *p, logic_message_t *m, logic_question_t *q)
{
    park_conv_t  *c;

    if (atomic_load(&p->n) >= p->max) {
        return IM_BUSY;
    }

    if (m->park_no == 0) {
        m->park_no = ++p->last_no;
    }

    c = park_find(p, m);

    if (c == NULL) {
        c = park_create(p, m);
        if (c == NULL) {
            return IM_BUSY;
        }
    }

    park_insert(c, m);
    atomic_fetch_add(&p->n, 1);
    m->question = q;

    if (q != NULL) {
        q->park = p;
        q->m = m;
        TAILQ_INSERT_TAIL(&p->waiting[q->wait], q, waits);
    }

    return IM_OK;
}


static park_conv_t *
park_find(const logic_park_t *p, const logic_message_t *m)
{
    park_conv_t  *c;

    HASH_FIND(hh, p->convs, &m->seq.conv, sizeof(im_conv_t), c);

    return c;
}


static park_conv_t *
park_create(logic_park_t *p, const logic_message_t *m)
{
    park_conv_t  *c;

    c = calloc(1, sizeof(park_conv_t));
    if (c == NULL) {
        return NULL;
    }

    c->conv = m->seq.conv;
    HASH_ADD(hh, p->convs, conv, sizeof(im_conv_t), c);

    if (!im_hash_is_added(c)) {
        free(c);
        return NULL;
    }

    return c;
}


/* At the end, unless it comes back. */
static void
park_insert(park_conv_t *c, logic_message_t *m)
{
    logic_message_t  **at;

    at = (c->last != NULL && c->last->park_no < m->park_no) ? &c->last->next
                                                            : &c->first;

    while (*at != NULL && (*at)->park_no < m->park_no) {
        at = &(*at)->next;
    }

    m->next = *at;
    *at = m;

    if (m->next == NULL) {
        c->last = m;
    }
}


uint64_t
logic_park_due(const logic_park_t *p)
{
    unsigned                 i;
    uint64_t                 first;
    const logic_question_t  *q;

    if (!TAILQ_EMPTY(&p->done) || p->ready != NULL) {
        return 0;
    }

    first = LOGIC_PARK_NEVER;

    for (i = 0; i < LOGIC_PARK_WAITS; i++) {
        q = TAILQ_FIRST(&p->waiting[i]);

        if (q != NULL && q->until_us < first) {
            first = q->until_us;
        }
    }

    return first;
}


size_t
logic_park_expire(logic_park_t *p, uint64_t now_us)
{
    size_t             n;
    unsigned           i;
    logic_question_t  *q;

    park_collect(p);
    n = 0;

    for (i = 0; i < LOGIC_PARK_WAITS; i++) {

        while ((q = TAILQ_FIRST(&p->waiting[i])) != NULL
               && q->until_us <= now_us)
        {
            park_end(p, q, IM_ERROR);
            atomic_store(&q->over, 1);  /* freed by logic_park_done() */
            n++;
        }
    }

    return n;
}


size_t
logic_park_take(logic_park_t *p, logic_message_t **out, size_t max)
{
    size_t            n;
    logic_message_t  *m;

    park_collect(p);

    for (n = 0; n < max && p->ready != NULL; n++) {
        m = p->ready;
        p->ready = m->next;
        m->next = NULL;
        out[n] = m;
    }

    if (p->ready == NULL) {
        p->ready_last = &p->ready;
    }

    atomic_fetch_sub(&p->n, n);

    return n;
}


/* What was answered. */
static void
park_collect(logic_park_t *p)
{
    logic_question_t  *q;

    while ((q = TAILQ_FIRST(&p->done)) != NULL) {
        TAILQ_REMOVE(&p->done, q, link);
        park_end(p, q, q->rc);
        free(q);
    }
}


/* Its message does not wait for it any more. */
static void
park_end(logic_park_t *p, logic_question_t *q, int rc)
{
    logic_message_t  *m;

    TAILQ_REMOVE(&p->waiting[q->wait], q, waits);

    m = q->m;
    m->question = NULL;
    q->m = NULL;

    if (rc == IM_OK) {
        park_answer(m, q);

    } else {
        m->unanswered |= q->want;
    }

    park_release(p, m);
}


/* What may be sent is found where logic_lookup_may() looks. */
static void
park_answer(logic_message_t *m, const logic_question_t *q)
{
    m->answered++;

    switch (q->want) {

    case LOGIC_WANT_MAY:
        m->nobody = q->pair.nobody;
        break;

    case LOGIC_WANT_SEED:
        m->seeded = q->seq.seeded;
        break;

    case LOGIC_WANT_STORED:
        m->stored = q->stored;
        m->stored_seq = q->seq.seq;
        break;
    }
}


/* Those in front that wait for nothing. */
static void
park_release(logic_park_t *p, const logic_message_t *m)
{
    park_conv_t      *c;
    logic_message_t  *first;

    c = park_find(p, m);

    while (c->first != NULL && c->first->question == NULL) {
        first = c->first;
        c->first = first->next;

        first->next = NULL;
        *p->ready_last = first;
        p->ready_last = &first->next;
    }

    if (c->first == NULL) {
        HASH_DELETE(hh, p->convs, c);
        free(c);
    }
}


void
logic_park_done(logic_question_t *q, int rc)
{
    logic_park_t  *p;

    p = q->park;

    if (p == NULL) {
        free(q);
        return;
    }

    pthread_mutex_lock(p->lock);

    if (!atomic_load(&q->over)) {
        q->rc = rc;
        TAILQ_INSERT_HEAD(&p->done, q, link);
        q = NULL;
        pthread_cond_signal(p->wake);
    }

    pthread_mutex_unlock(p->lock);

    free(q);
}
