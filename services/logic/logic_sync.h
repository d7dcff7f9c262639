/*
 * logic_sync.h -- what is above a client's cursors.
 */

#ifndef LOGIC_SYNC_H
#define LOGIC_SYNC_H

#include "logic_pool.h"

/* Waits for the store, 1.5 s in all: a job of a pool of its own. */
void logic_sync_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
