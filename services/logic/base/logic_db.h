/*
 * logic_db.h -- what a job may use, and how it asks MySQL.
 */

#ifndef LOGIC_DB_H
#define LOGIC_DB_H

#include "im_mysql.h"
#include "im_redis.h"
#include "im_rpc.h"

typedef struct logic_pool_s    logic_pool_t;

/* What a job may use; its thread's own. */
typedef struct {
    im_mysql_t    *mysql;
    im_redis_t    *redis;
    logic_pool_t  *pool;
} logic_db_t;

/* Must end in one im_rpc_reply or im_rpc_fail, or be parked. */
typedef void (*logic_job_pt)(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);

/* One of several calls that a job answers together. */
typedef struct {
    im_rpc_req_t            *req;
    const ProtobufCMessage  *in;
} logic_call_t;

#define LOGIC_CALLS_MAX  16

/* A job for n calls, 1 to LOGIC_CALLS_MAX.  calls may be written to. */
typedef void (*logic_jobs_pt)(logic_db_t *db, logic_call_t *calls, size_t n);

/* logic_mysql_run() with its connection. */
int logic_db_run(logic_db_t *db, const char *sql,
    const im_mysql_value_t *v, size_t n, const im_mysql_type_t *columns,
    size_t n_columns, int (*row)(void *ctx, const im_mysql_value_t *v),
    void *ctx);

/* A statement with one number in one row; *value is 0 without it. */
int logic_db_number(logic_db_t *db, const char *sql,
    const im_mysql_value_t *v, size_t n, uint64_t *value);
/* Highest seq of a conversation that is stored, 0: none. */
int logic_db_head(logic_db_t *db, uint64_t conv_a, uint64_t conv_b,
    uint64_t *head);
/* *known: there is such a user. */
int logic_db_user(logic_db_t *db, uint64_t uid, uint64_t *known);

/* Runs a step in a transaction, which is tried 3 times while the step or the
 * commit ends in IM_AGAIN: it may have taken effect before.  IM_OK,
 * IM_ERROR. */
int logic_db_transact(logic_db_t *db, int (*step)(logic_db_t *db, void *ctx),
    void *ctx);

/* Answers "unavailable" and logs why. */
void logic_db_failed(logic_db_t *db, im_rpc_req_t *req);

#endif
