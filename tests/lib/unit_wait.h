/*
 * unit_wait.h -- how unit tests wait: for an event, with a deadline.
 *
 * No other file of the unit tests sleeps (tools/lint).
 */

#ifndef UNIT_WAIT_H
#define UNIT_WAIT_H

#include <time.h>

#include "unit.h"


/* Only where time itself is what is tested: a peer that is slow, a limit. */
static inline void
unit_pause_us(unsigned us)
{
    struct timespec  pause;

    pause.tv_sec = us / 1000000;
    pause.tv_nsec = us % 1000000 * 1000L;

    (void) nanosleep(&pause, NULL);
}


static inline void
unit_pause(unsigned ms)
{
    unit_pause_us(ms * 1000);
}


/* The condition comes true before so many looks, one each ms. */
#define UNIT_WITHIN(ms, condition)                                            \
    do {                                                                      \
        unsigned  looks_;                                                     \
        for (looks_ = 0; looks_ < (ms) && !(condition); looks_++) {           \
            unit_pause(1);                                                    \
        }                                                                     \
        assert_true(looks_ < (ms));                                           \
    } while (0)

#endif
