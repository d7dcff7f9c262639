/*
 * logic_sync.h -- what is above a client's cursors.
 */

#ifndef LOGIC_SYNC_H
#define LOGIC_SYNC_H

#include "logic_pool.h"

/* May wait for the store, IM_SYNC_WAIT_MS: a job of a pool of its own. */
void logic_sync_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
