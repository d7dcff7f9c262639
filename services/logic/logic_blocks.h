/*
 * logic_blocks.h -- whose messages a user does not take.
 */

#ifndef LOGIC_BLOCKS_H
#define LOGIC_BLOCKS_H

#include "logic_pool.h"

/* Jobs of a pool. */
void logic_blocks_block(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_blocks_unblock(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);
void logic_blocks_list(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

typedef enum {
    LOGIC_BLOCKS_FREE = 0,
    LOGIC_BLOCKS_BLOCKED,
    LOGIC_BLOCKS_UNKNOWN           /* MySQL was not asked, or has not said */
} logic_blocks_answer_t;

typedef struct {
    uint64_t               to;
    uint64_t               from;
    logic_blocks_answer_t  answer;
} logic_blocks_item_t;

/* Any thread, with a connection of its own: asks only for what is not known.
 * IM_DONE: all was.  IM_ERROR: MySQL does not answer; what was known is
 * answered all the same. */
int logic_blocks_may_send(im_mysql_t *mysql, logic_blocks_item_t *items,
    size_t n);

/* One thread, each second: what other Logics have changed is forgotten. */
int logic_blocks_poll(im_redis_t *redis);

#endif
