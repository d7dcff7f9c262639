/*
 * im_clock.h -- the clocks of a daemon.
 */

#ifndef IM_CLOCK_H
#define IM_CLOCK_H

#include "im_core.h"

uint64_t im_now_ms(void);        /* since 1970 */
uint64_t im_mono_us(void);       /* monotonic */

#endif
