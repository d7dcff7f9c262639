/*
 * logic_pool.h -- a few threads for calls that block.
 */

#ifndef LOGIC_POOL_H
#define LOGIC_POOL_H

#include "logic.h"

typedef struct logic_pool_s  logic_pool_t;

/* What a job may use; its thread's own. */
typedef struct {
    im_mysql_t  *mysql;
    im_redis_t  *redis;
} logic_db_t;

/* Must end in one im_rpc_reply or im_rpc_fail. */
typedef void (*logic_job_pt)(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

logic_pool_t *logic_pool_create(const char *name, unsigned threads,
    unsigned queue_max);
int logic_pool_start(logic_pool_t *pool);
/* Any thread, from create to destroy.  A full queue answers "busy" at once, a
 * pool that was stopped "unavailable". */
void logic_pool_run(logic_pool_t *pool, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in);
/* Ends the jobs that run, refuses those that wait, joins. */
void logic_pool_stop(logic_pool_t *pool);
/* When nobody calls any more; takes NULL. */
void logic_pool_destroy(logic_pool_t *pool);

#endif
