/*
 * logic_lookup.h -- what a shard asks MySQL: does this user exist, may he speak
 * in this room, where did a conversation end, was this message stored.  One
 * shard thread each.
 */

#ifndef LOGIC_LOOKUP_H
#define LOGIC_LOOKUP_H

#include "im_slot.h"
#include "logic.h"
#include "logic_blocks.h"
#include "logic_rooms_access.h"

typedef struct logic_lookup_s  logic_lookup_t;

logic_lookup_t *logic_lookup_create(void);
void logic_lookup_destroy(logic_lookup_t *l);

/* 1 known, 0 not known (ask logic_lookup_users), for a cached answer. */
int logic_lookup_known(logic_lookup_t *l, uint64_t uid);
/* Asks for n uids; those that exist are known afterwards.  IM_ERROR: MySQL
 * does not answer. */
int logic_lookup_users(logic_lookup_t *l, const uint64_t *uids, size_t n);

/* logic_blocks_may_send() with this connection. */
int logic_lookup_blocks(logic_lookup_t *l, logic_blocks_item_t *items,
    size_t n);
/* logic_rooms_may_send() with this connection. */
int logic_lookup_rooms(logic_lookup_t *l, logic_rooms_access_t *items,
    size_t n);

int logic_lookup_last_seq(logic_lookup_t *l, const im_conv_t *conv,
    uint64_t *last);
/* *msg_id of what is stored there; 0: nothing. */
int logic_lookup_stored(logic_lookup_t *l, const im_conv_t *conv,
    uint64_t seq, uint64_t *msg_id);

const char *logic_lookup_error(logic_lookup_t *l);

#endif
