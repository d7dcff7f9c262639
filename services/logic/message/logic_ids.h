/*
 * logic_ids.h -- msg_ids of this instance.  Any thread.
 */

#ifndef LOGIC_IDS_H
#define LOGIC_IDS_H

#include "logic_message.h"

/* The node number, -1 while none is held; floor and limit: im_disc.h. */
void logic_ids_set_node(int node, uint64_t floor_ms, uint64_t limit_ms);
void logic_ids_set_limit(uint64_t limit_ms);
uint64_t logic_ids_minted_ms(void);

/* Gives each message an id, and the time that is in it.  IM_OK, or why not:
 * no node number is held, or the clock has stepped (im_snowflake.h). */
int logic_ids_mint(logic_message_t **messages, size_t n);

#endif
