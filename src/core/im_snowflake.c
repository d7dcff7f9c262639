/*
 * im_snowflake.c -- time-ordered ids that survive a clock that steps back.
 *
 * Room: core.
 */

#include "im_snowflake.h"


#define IM_SNOWFLAKE_AHEAD_MS  50
#define IM_SNOWFLAKE_COUNTERS  4096


void
im_snowflake_init(im_snowflake_t *s, unsigned node)
{
    s->last_ms = 0;
    s->node = node % IM_SNOWFLAKE_NODES;
    s->counter = 0;
}


int
im_snowflake_next(im_snowflake_t *s, uint64_t now_ms, uint64_t *id)
{
    if (now_ms < IM_SNOWFLAKE_EPOCH_MS
        || now_ms + IM_SNOWFLAKE_BACK_MS < s->last_ms)
    {
        return IM_ERROR;
    }

    if (now_ms > s->last_ms) {
        s->last_ms = now_ms;
        s->counter = 0;

    } else if (++s->counter == IM_SNOWFLAKE_COUNTERS) {

        /* a full ms borrows from the next, but only a little ahead */

        if (s->last_ms >= now_ms + IM_SNOWFLAKE_AHEAD_MS) {
            s->counter--;
            return IM_AGAIN;
        }

        s->last_ms++;
        s->counter = 0;
    }

    *id = (s->last_ms - IM_SNOWFLAKE_EPOCH_MS) << 22
          | (uint64_t) s->node << 12 | s->counter;

    return IM_OK;
}


uint64_t
im_snowflake_time_ms(uint64_t id)
{
    return (id >> 22) + IM_SNOWFLAKE_EPOCH_MS;
}
