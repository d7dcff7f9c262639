/*
 * im_steps.c -- see im_steps.h.
 *
 * Each step undoes its own half-done start: a start that failed knows best what
 * there is, and its stop looks at that anyway, since destroy() takes NULL.
 * Rejected: starts that clean up by themselves, which is the same code twice,
 * and the second copy never runs.
 *
 * The limit is watched by a thread of its own, because a stop that hangs is
 * most likely joining another thread or inside a library.
 *
 * Main thread, but for the watch.
 */

#include <string.h>
#include <unistd.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_daemon.h"
#include "im_log.h"
#include "im_steps.h"


static int steps_start(const im_step_t *table, unsigned *n);
static void steps_stop(const im_step_t *table, unsigned n, unsigned limit_ms);
static void steps_now(const char *name);
static void *steps_watch(void *arg);


static pthread_mutex_t   steps_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    steps_wake = PTHREAD_COND_INITIALIZER;
static const char       *steps_name;       /* stops now; NULL: all have */
static uint64_t          steps_until_us;
static unsigned          steps_limit_ms;


int
im_steps_run(const im_step_t *table, const char *daemon, unsigned limit_ms)
{
    int       rc;
    unsigned  n;

    rc = steps_start(table, &n);

    if (rc == IM_OK) {
        im_daemon_wait();
    }

    steps_stop(table, n, limit_ms);

    if (rc == IM_ERROR) {
        im_log(IM_LOG_ERR, "%s cannot start", daemon);
        return 1;
    }

    im_log(IM_LOG_NOTICE, "%s ends", daemon);

    return 0;
}


/* n: of those to be stopped. */
static int
steps_start(const im_step_t *table, unsigned *n)
{
    int  rc;

    for (*n = 0; table[*n].name != NULL; (*n)++) {

        if (table[*n].start == NULL) {
            continue;
        }

        rc = table[*n].start();

        if (rc == IM_OK) {
            im_log(IM_LOG_DEBUG, "start: %s", table[*n].name);
            continue;
        }

        if (rc == IM_ERROR) {
            im_log(IM_LOG_ERR, "the start failed: %s", table[*n].name);
        }

        (*n)++;                        /* it may have begun */

        return rc;
    }

    return IM_OK;
}


static void
steps_stop(const im_step_t *table, unsigned n, unsigned limit_ms)
{
    im_thread_t  watch;

    memset(&watch, 0, sizeof(watch));

    steps_limit_ms = limit_ms;
    steps_until_us = im_cond_now_us() + (uint64_t) limit_ms * 1000;
    steps_name = "";

    (void) im_thread_start(&watch, steps_watch, NULL);

    while (n-- > 0) {
        if (table[n].stop != NULL) {
            im_log(IM_LOG_DEBUG, "stop: %s", table[n].name);
            steps_now(table[n].name);
            table[n].stop();
        }
    }

    steps_now(NULL);
    im_thread_join(&watch);
}


static void
steps_now(const char *name)
{
    pthread_mutex_lock(&steps_lock);
    steps_name = name;
    pthread_cond_signal(&steps_wake);
    pthread_mutex_unlock(&steps_lock);
}


static void *
steps_watch(void *arg)
{
    int          rc;
    const char  *name;

    (void) arg;

    rc = IM_OK;

    pthread_mutex_lock(&steps_lock);

    while (steps_name != NULL && rc == IM_OK) {
        rc = im_cond_wait_until(&steps_wake, &steps_lock, steps_until_us);
    }

    name = steps_name;

    pthread_mutex_unlock(&steps_lock);

    if (name != NULL) {
        im_log(IM_LOG_ERR, "the stop took more than %u ms: %s",
               steps_limit_ms, name);
        _exit(1);
    }

    return NULL;
}


void
im_steps_give_up(const char *why)
{
    im_log(IM_LOG_ERR, "the stop cannot be finished: %s", why);
    _exit(1);
}


int
im_thread_start(im_thread_t *t, void *(*run)(void *arg), void *arg)
{
    t->started = (pthread_create(&t->id, NULL, run, arg) == 0);

    if (!t->started) {
        im_log(IM_LOG_ERR, "a thread cannot be started");
    }

    return t->started ? IM_OK : IM_ERROR;
}


void
im_thread_join(im_thread_t *t)
{
    if (t->started) {
        pthread_join(t->id, NULL);
        t->started = 0;
    }
}
