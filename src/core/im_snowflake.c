/*
 * im_snowflake.c -- time-ordered ids that survive a clock that steps back.
 *
 * Room: core.
 */

#include "im_snowflake.h"


#define IM_SNOWFLAKE_AHEAD_MS  50
#define IM_SNOWFLAKE_COUNTERS  4096
#define IM_SNOWFLAKE_LAST_MS   (IM_SNOWFLAKE_EPOCH_MS + (1ULL << 41) - 1)


void
im_snowflake_start(im_snowflake_t *s, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms)
{
    /* the floor's ms counts as used up */

    s->last_ms = floor_ms;
    s->counter = IM_SNOWFLAKE_COUNTERS - 1;
    s->seen_ms = 0;
    s->node = node % IM_SNOWFLAKE_NODES;

    im_snowflake_extend(s, limit_ms);
}


void
im_snowflake_extend(im_snowflake_t *s, uint64_t limit_ms)
{
    s->limit_ms = (limit_ms < IM_SNOWFLAKE_LAST_MS) ? limit_ms
                                                    : IM_SNOWFLAKE_LAST_MS;
}


int
im_snowflake_next(im_snowflake_t *s, uint64_t now_ms, uint64_t *id)
{
    uint64_t  ms;
    unsigned  counter;

    if (now_ms <= IM_SNOWFLAKE_EPOCH_MS || now_ms > IM_SNOWFLAKE_LAST_MS
        || now_ms + IM_SNOWFLAKE_BACK_MS < s->last_ms)
    {
        return IM_ERROR;
    }

    if (now_ms > s->limit_ms) {
        return IM_DECLINED;
    }

    if (now_ms > s->seen_ms) {
        s->seen_ms = now_ms;
    }

    ms = s->last_ms;
    counter = s->counter + 1;

    if (now_ms > ms) {
        ms = now_ms;
        counter = 0;

    } else if (counter == IM_SNOWFLAKE_COUNTERS) {

        /* a full ms borrows from the next, but only a little ahead of what
         * the clock has shown: so a bridged step back has room, too */

        if (ms >= s->seen_ms + IM_SNOWFLAKE_AHEAD_MS) {
            return IM_AGAIN;
        }

        if (ms >= s->limit_ms) {
            return IM_DECLINED;
        }

        ms++;
        counter = 0;
    }

    s->last_ms = ms;
    s->counter = counter;

    *id = (ms - IM_SNOWFLAKE_EPOCH_MS) << 22 | (uint64_t) s->node << 12
          | counter;

    return IM_OK;
}


uint64_t
im_snowflake_minted_ms(const im_snowflake_t *s)
{
    return s->last_ms;
}


uint64_t
im_snowflake_time_ms(uint64_t id)
{
    return (id >> 22) + IM_SNOWFLAKE_EPOCH_MS;
}
