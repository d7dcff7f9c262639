/*
 * im_probe.h -- how the dependencies of a daemon are, whatever its traffic.
 *
 * Each dependency has a probe with a thread and a connection of its own, which
 * looks every 2 s (every 250 ms while it is away), with a deadline of 1 s.
 * "X is away" and "X is back" are logged here and nowhere else.
 *
 * A probe without a look gets its state from its owner: for what only the owner
 * knows, such as a batch that cannot be written.
 */

#ifndef IM_PROBE_H
#define IM_PROBE_H

#include <pthread.h>
#include <stdatomic.h>

#include "im_probe_state.h"

/*
 * One look.  IM_OK, or IM_ERROR and a sentence with what to do, if that is not
 * obvious.  It may block, for a few seconds at most.  Probe's thread.
 */
typedef int (*im_probe_look_pt)(void *ctx, char *error, size_t size);

typedef struct {
    const char          *name;         /* "redis" */
    im_probe_look_pt     look;         /* NULL: see im_probe_report() */
    void                *ctx;
    const char          *starting;     /* without a look: what is not yet */
    /* the rest is the probe's */
    im_probe_state_t     state;
    pthread_mutex_t      lock;
    pthread_cond_t       wake;
    pthread_t            id;
    atomic_int           up;
    _Atomic uint64_t     seen_us;      /* when the last good look began */
    _Atomic uint64_t     bad_us;       /* when the last look began, if it was
                                          bad; else 0 */
    atomic_uint          bad_n;        /* bad looks in a row */
    uint64_t             said_ms;      /* last line in the log */
    unsigned             kicked:1;
    unsigned             stopping:1;
    int                  running;      /* main thread */
} im_probe_t;

/* Static memory; main thread.  IM_OK: it looks, and is part of /readyz. */
int im_probe_start(im_probe_t *p);
/* Of all that were started; before what their looks use is freed. */
void im_probe_stop_all(void);
/* Waits until it is up; IM_DONE: a signal asks to stop.  Main thread. */
int im_probe_wait(im_probe_t *p);

/* The rest: any thread. */

int im_probe_is_up(im_probe_t *p);
/* Looks now instead of later. */
void im_probe_kick(im_probe_t *p);
/* Of a probe without a look; error: NULL when all is well. */
void im_probe_report(im_probe_t *p, const char *error);
/*
 * [{"name":...,"since_s":...,"error":...},...] of what is not up, at most size
 * bytes with the NUL; the number of these.
 */
unsigned im_probe_missing(char *json, size_t size);

#endif
