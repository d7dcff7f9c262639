/*
 * im_snowflake.h -- 63-bit time-ordered ids: 41 bits of ms since 2025-01-01,
 * 10 bits of node, 12 bits of counter (Twitter's Snowflake, 2010).
 *
 * The clock is an argument.  A clock that steps back by up to 5 s is bridged
 * (ids run on at the last ms); by more, minting is refused.
 */

#ifndef IM_SNOWFLAKE_H
#define IM_SNOWFLAKE_H

#include "im_core.h"

#define IM_SNOWFLAKE_EPOCH_MS   1735689600000ULL
#define IM_SNOWFLAKE_NODES      1024
#define IM_SNOWFLAKE_BACK_MS    5000

typedef struct {
    uint64_t       last_ms;
    unsigned       node;
    unsigned       counter;
} im_snowflake_t;

void im_snowflake_init(im_snowflake_t *s, unsigned node);

/* IM_OK and *id; IM_AGAIN: the counter ran more than 50 ms ahead, try in a
 * ms; IM_ERROR: the clock stepped back too far. */
int im_snowflake_next(im_snowflake_t *s, uint64_t now_ms, uint64_t *id);

/* Milliseconds since 1970 of an id. */
uint64_t im_snowflake_time_ms(uint64_t id);

#endif
