/*
 * im_probe_state.h -- what a probe knows of one dependency.
 *
 *     starting --good--> up --bad, or no answer in time--> down
 *         |               ^                                 |
 *         +--bad--> down  +--------------- good ------------+
 *
 * Only a look at the dependency itself changes it, never the traffic.  A look
 * that takes longer than the deadline is a bad one at that moment, whatever it
 * brings later: a library may wait longer than its limit.
 *
 * Computes only: the clock is an argument, in milliseconds of any monotonic
 * origin, and the caller has the lock.
 */

#ifndef IM_PROBE_STATE_H
#define IM_PROBE_STATE_H

#include "im_core.h"

#define IM_PROBE_ERROR_MAX  256

typedef enum {
    IM_PROBE_STARTING = 0,
    IM_PROBE_UP,
    IM_PROBE_DOWN
} im_probe_verdict_t;

/* The change that one step has made, so that it is logged once. */
typedef enum {
    IM_PROBE_SAME = 0,
    IM_PROBE_WENT,             /* down, from up or at the first look */
    IM_PROBE_CAME,             /* up, from down */
    IM_PROBE_OTHER             /* down as before, for another reason */
} im_probe_change_t;

typedef struct {
    im_probe_verdict_t  verdict;
    unsigned            looking:1;
    unsigned            late:1;        /* the look under way is bad already */
    uint64_t            begun_ms;      /* of the look under way, or the last */
    uint64_t            since_ms;      /* of the verdict */
    uint64_t            was_ms;        /* how long the verdict before lasted */
    char                error[IM_PROBE_ERROR_MAX];     /* when not up */
} im_probe_state_t;

void im_probe_state_init(im_probe_state_t *s, uint64_t now_ms);
/* A look begins. */
void im_probe_state_begin(im_probe_state_t *s, uint64_t now_ms);
/* Time passes during a look. */
im_probe_change_t im_probe_state_wait(im_probe_state_t *s, uint64_t now_ms);
/* The process stood still for a while: that is no fault of the dependency. */
void im_probe_state_held(im_probe_state_t *s, uint64_t now_ms);
/* The look ends.  error: NULL if it was good. */
im_probe_change_t im_probe_state_end(im_probe_state_t *s, uint64_t now_ms,
    const char *error);
/* Pause until the next look. */
unsigned im_probe_state_pause_ms(const im_probe_state_t *s);

#endif
