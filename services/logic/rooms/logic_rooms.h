/*
 * logic_rooms.h -- rooms: who is in them and who may do what.  Jobs of a pool,
 * at the room's home where there is a choice.
 */

#ifndef LOGIC_ROOMS_H
#define LOGIC_ROOMS_H

#include "logic_pool.h"

#define LOGIC_ROOM_GROUP   1       /* rooms.kind */
#define LOGIC_ROOM_LIVE    2

#define LOGIC_ROLE_NONE    0       /* members.role */
#define LOGIC_ROLE_MEMBER  1
#define LOGIC_ROLE_ADMIN   2
#define LOGIC_ROLE_OWNER   3

void logic_rooms_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_mine(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_join(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_leave(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_members(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_add(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_remove(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_set(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_dismiss(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_rooms_removed(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

#endif
