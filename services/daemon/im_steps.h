/*
 * im_steps.h -- a daemon starts step by step, and stops by the same steps
 * backwards.
 *
 * What a step starts may call into the steps before it, and into no later one:
 * so when a step stops, everything that could call into it has stopped already.
 * A daemon has one table of steps; the table is all there is to say about the
 * order (docs/internals/stopping.md).
 */

#ifndef IM_STEPS_H
#define IM_STEPS_H

#include <pthread.h>

#include "im_core.h"

typedef struct {
    const char    *name;
    /* IM_OK, IM_DONE (a signal asked to stop meanwhile) or IM_ERROR (logged).
     * NULL: nothing to start. */
    int          (*start)(void);
    /* Also of a start that failed half-way; must take that.  NULL: nothing to
     * stop. */
    void         (*stop)(void);
} im_step_t;

/*
 * Runs the starts in order until one of them is not IM_OK, else until a signal
 * asks to stop; then runs the stops of all that were started, and of the one
 * that failed, in reverse.  The table ends with name NULL.  Logs how `daemon`
 * ends.  The exit code: 0, or 1 if a start failed.
 *
 * When the stops together take longer than limit_ms, the process ends as it is
 * with exit code 1, and the log names the step.
 */
int im_steps_run(const im_step_t *table, const char *daemon,
    unsigned limit_ms);

/* For a stop that cannot finish: what comes next would free what is still in
 * use.  Logs and ends the process with exit code 1. */
void im_steps_give_up(const char *why) __attribute__((noreturn));


/* A thread that may not have been started: join takes that. */
typedef struct {
    pthread_t      id;
    int            started;
} im_thread_t;

int im_thread_start(im_thread_t *t, void *(*run)(void *arg), void *arg);
void im_thread_join(im_thread_t *t);

#endif
