/*
 * im_cond.h -- waiting for a condition with a deadline, by the monotonic clock.
 *
 * pthread_cond_timedwait() takes a time of day: when that steps back by an
 * hour, a wait of 20 ms lasts an hour.  A condition could be told another clock
 * when it is made, but a static initialiser cannot, and whoever forgets it
 * notices nothing.  So the clock is named with each wait, and there is no other
 * wait with a deadline than this one (a test looks).
 *
 * A header only, so that the rpc room and the services share it.
 */

#ifndef IM_COND_H
#define IM_COND_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "im_core.h"


static inline uint64_t
im_cond_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


/* until_us: of im_cond_now_us().  IM_AGAIN: it has passed.  IM_OK: woken,
 * perhaps for nothing, as conditions are. */
static inline int
im_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock,
    uint64_t until_us)
{
    struct timespec  ts;

    ts.tv_sec = (time_t) (until_us / 1000000);
    ts.tv_nsec = (long) (until_us % 1000000) * 1000;

    return (pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &ts)
            == ETIMEDOUT) ? IM_AGAIN : IM_OK;
}


static inline int
im_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms)
{
    return im_cond_wait_until(cond, lock, im_cond_now_us() + ms * 1000);
}

#endif
