/*
 * logic_rpcs.h -- the functions of the RPCs, by the table of im_logic_rpcs.h.
 *
 * Each is a job of a pool (logic_db.h): it may block, and ends in one answer.
 * The file that defines one includes this.
 */

#ifndef LOGIC_RPCS_H
#define LOGIC_RPCS_H

#include "im_logic_rpcs.h"
#include "logic_db.h"

#define LOGIC_RPCS_PROTOTYPE(method, member, request, reply, pool, at, again, \
                             session, callers, ms, kib, function)             \
    void function(logic_db_t *db, im_rpc_req_t *req,                          \
                  const ProtobufCMessage *in);

IM_LOGIC_RPCS(LOGIC_RPCS_PROTOTYPE)

#endif
