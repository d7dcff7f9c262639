/*
 * logic_users.h -- accounts.  Functions are jobs of a pool (logic_pool.h).
 */

#ifndef LOGIC_USERS_H
#define LOGIC_USERS_H

#include "logic_pool.h"

/* Makes the hash that unknown users are compared with. */
int logic_users_init(void);

void logic_users_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_login(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_find(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_password(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
