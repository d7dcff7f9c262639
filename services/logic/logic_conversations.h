/*
 * logic_conversations.h -- the list of a user's conversations, and how far
 * each was read.
 */

#ifndef LOGIC_CONVERSATIONS_H
#define LOGIC_CONVERSATIONS_H

#include "logic_pool.h"

void logic_conversations_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_conversations_set(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_conversations_read(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
