/*
 * im_log.h -- the log of a daemon: one line for an event, to stderr.
 */

#ifndef IM_LOG_H
#define IM_LOG_H

#include <stdatomic.h>

#include "im_core.h"

/* IM_ERROR: no such level. */
int im_log_set_level(const char *name);

void im_log(int level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void im_log_lower(void *ctx, int level, const char *msg);   /* im_log_pt */

/* For lines that traffic repeats: one in ten seconds for each place, with the
 * number of those that were left out.  Zero at first; any thread. */
typedef struct {
    _Atomic uint64_t  next_us;
    atomic_uint       left_out;
} im_log_seldom_t;

void im_log_seldom(im_log_seldom_t *s, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define im_warn_seldom(...)                                                   \
    do {                                                                      \
        static im_log_seldom_t  im_seldom;                                    \
        im_log_seldom(&im_seldom, IM_LOG_WARN, __VA_ARGS__);                  \
    } while (0)

#endif
