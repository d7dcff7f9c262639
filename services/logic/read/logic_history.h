/*
 * logic_history.h -- pages of a conversation.
 */

#ifndef LOGIC_HISTORY_H
#define LOGIC_HISTORY_H

#include "logic_pool.h"

void logic_history_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
