/*
 * logic_tickets.h -- tickets for one WebSocket handshake.  Functions are jobs
 * of a pool.
 */

#ifndef LOGIC_TICKETS_H
#define LOGIC_TICKETS_H

#include "logic_db.h"

/* Ticket: makes one for the caller's session. */
void logic_tickets_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
/* Redeem: whose it is, once. */
void logic_tickets_redeem(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
