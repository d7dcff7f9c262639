/*
 * logic_users.h -- accounts.  Functions are jobs of a pool (logic_pool.h).
 */

#ifndef LOGIC_USERS_H
#define LOGIC_USERS_H

#include "logic_db.h"

#define LOGIC_USERS_NAME_MAX  32

/* Makes the hash that unknown users are compared with. */
int logic_users_init(void);

void logic_users_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_login(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_password(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

/* logic_users_find.c */
void logic_users_find(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_lookup(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_users_me(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

/* 1: somebody may have this name. */
int logic_users_name_valid(const char *name);

#endif
