/*
 * logic_blocks.h -- whose messages a user does not take.
 */

#ifndef LOGIC_BLOCKS_H
#define LOGIC_BLOCKS_H

#include "logic_cache.h"
#include "logic_db.h"

typedef struct {
    uint64_t               to;
    uint64_t               from;
    unsigned               blocked:1;  /* `to` takes no messages of `from` */
} logic_blocks_item_t;

/* Any thread; never waits. */
logic_cache_e logic_blocks_known(logic_blocks_item_t *item, uint64_t now_us);
/* Asks MySQL for what is not known or stale of up to LOGIC_ASK_MAX pairs;
 * logic_blocks_known() has the answers.  IM_ERROR: it does not answer. */
int logic_blocks_ask(im_mysql_t *mysql, const logic_blocks_item_t *items,
    size_t n);

/* One thread, each second: what other Logics have changed is forgotten. */
int logic_blocks_poll(im_redis_t *redis);

#endif
