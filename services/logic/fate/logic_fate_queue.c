/*
 * logic_fate_queue.c -- see logic_fate_queue.h.
 *
 * A list for each state.  Those that wait stand behind those that came later
 * and are due earlier, so a list is gone through as a whole: it is long only
 * while something is away, and then it is looked at six times a second: a
 * message above such a number waits one pause longer.
 */

#include <stdlib.h>

#include "logic_fate_queue.h"


#define FATE_DOUBLED  3            /* times: 20 ms to 80 ms */


void
logic_fate_queue_init(logic_fate_queue_t *q, size_t max)
{
    int  i;

    q->n = 0;
    q->max = max;

    for (i = 0; i < LOGIC_FATE_STATES; i++) {
        TAILQ_INIT(&q->lists[i]);
    }
}


int
logic_fate_queue_add(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us)
{
    if (q->n >= q->max) {
        return IM_BUSY;
    }

    q->n++;
    logic_fate_queue_next(q, state, f, now_us);

    return IM_OK;
}


void
logic_fate_queue_next(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us)
{
    f->tries = 0;
    f->due_us = now_us;
    TAILQ_INSERT_TAIL(&q->lists[state], f, link);
}


void
logic_fate_queue_later(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us)
{
    uint64_t  ms;

    ms = LOGIC_FATE_PAUSE_MAX_MS;

    if (f->tries < FATE_DOUBLED) {
        ms = (uint64_t) LOGIC_FATE_PAUSE_MS << f->tries;
    }

    f->tries++;
    f->due_us = now_us + ms * 1000;
    TAILQ_INSERT_TAIL(&q->lists[state], f, link);
}


size_t
logic_fate_queue_take(logic_fate_queue_t *q, logic_fate_e state,
    uint64_t now_us, logic_fate_t **out, size_t max)
{
    size_t         n;
    logic_fate_t  *f, *next;

    n = 0;

    for (f = TAILQ_FIRST(&q->lists[state]); f != NULL && n < max; f = next) {
        next = TAILQ_NEXT(f, link);

        if (f->due_us <= now_us) {
            TAILQ_REMOVE(&q->lists[state], f, link);
            out[n++] = f;
        }
    }

    return n;
}


void
logic_fate_queue_done(logic_fate_queue_t *q, logic_fate_t *f)
{
    q->n--;
    free(f);
}


uint64_t
logic_fate_queue_due(const logic_fate_queue_t *q)
{
    int            i;
    uint64_t       due;
    logic_fate_t  *f;

    due = UINT64_MAX;

    for (i = 0; i < LOGIC_FATE_STATES; i++) {
        TAILQ_FOREACH(f, &q->lists[i], link) {
            due = (f->due_us < due) ? f->due_us : due;
        }
    }

    return due;
}
