/*
 * logic_conversations.h -- the list of a user's conversations, and how far
 * each was read.
 */

#ifndef LOGIC_CONVERSATIONS_H
#define LOGIC_CONVERSATIONS_H

#include "im_slot.h"
#include "logic_pool.h"

/*
 * The last number of a conversation that was given, as far as anybody knows;
 * wanted: one that a client has seen.  If it is higher, then it was never
 * given.  IM_OK, or the request has been answered.
 */
int logic_conversations_last(logic_db_t *db, im_rpc_req_t *req,
    const im_conv_t *conv, uint64_t wanted, uint64_t *last);

#endif
