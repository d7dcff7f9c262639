/*
 * im_snowflake.h -- 63-bit time-ordered ids: 41 bits of ms since 2025-01-01,
 * 10 bits of node, 12 bits of counter (Twitter's Snowflake, 2010).
 *
 * The clock is an argument.  A clock that steps back by up to 5 s is bridged
 * (ids continue at the last ms); after a larger step minting is refused.
 *
 * Two bounds come from the lease of the node number (src/disc/im_disc_node.c)
 * and outlive this process: no id is minted up to the floor, because earlier
 * holders may have used it, nor above the limit, which is the floor of the next
 * holder.
 */

#ifndef IM_SNOWFLAKE_H
#define IM_SNOWFLAKE_H

#include "im_core.h"

#define IM_SNOWFLAKE_EPOCH_MS   1735689600000ULL
#define IM_SNOWFLAKE_NODES      1024
#define IM_SNOWFLAKE_BACK_MS    5000

typedef struct {
    uint64_t       last_ms;     /* of the last id */
    uint64_t       seen_ms;     /* the latest time of the clock */
    uint64_t       limit_ms;
    unsigned       node;
    unsigned       counter;
} im_snowflake_t;

/* A node number was taken: ids in (floor_ms, limit_ms]. */
void im_snowflake_start(im_snowflake_t *s, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms);
void im_snowflake_extend(im_snowflake_t *s, uint64_t limit_ms);

/* IM_OK and *id; IM_AGAIN: the counter ran more than 50 ms ahead, try in a
 * ms; IM_DECLINED: above the limit, until it is extended; IM_ERROR: the clock
 * stepped back too far, or is out of all bounds. */
int im_snowflake_next(im_snowflake_t *s, uint64_t now_ms, uint64_t *id);

/* No id of this node number was given after this ms. */
uint64_t im_snowflake_minted_ms(const im_snowflake_t *s);

/* Milliseconds since 1970 of an id. */
uint64_t im_snowflake_time_ms(uint64_t id);

#endif
