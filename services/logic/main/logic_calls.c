/*
 * logic_calls.c -- see logic_calls.h.
 *
 * The rpc thread only hands a call to a pool.  Which one, and all else that is
 * known of a call, is in the table of im_logic_rpcs.h; here it becomes the
 * table of the server.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "im_check.h"
#include "im_error.h"
#include "logic_calls.h"
#include "logic_conf.h"
#include "logic_fail.h"
#include "logic_intake.h"
#include "logic_links.h"
#include "logic_pool.h"
#include "logic_probes.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


typedef struct {
    const char    *name;
    unsigned      *threads;            /* of logic_conf */
    unsigned      *queue;
    unsigned       mysql:1;            /* nothing can be done without it */
    logic_pool_t  *pool;
} calls_pool_t;


static void calls_run(calls_pool_t *p, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in);


enum { REDIS, MYSQL };

#define CALLS_POOL(pool_, name_, conf, breaker, stores)                       \
    [IM_LOGIC_##pool_] = { .name = #name_,                                    \
                           .threads = &logic_conf.conf##_threads,             \
                           .queue = &logic_conf.conf##_queue,                 \
                           .mysql = stores == MYSQL },

static calls_pool_t  calls_pools[IM_LOGIC_POOLS_N] = {
    IM_LOGIC_POOLS(CALLS_POOL)
};


#define CALLS_UNARY(method, member, request, reply, pool, at, again, session, \
                    callers, ms, kib, function)                               \
    static void                                                               \
    calls_##member(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)  \
    {                                                                         \
        (void) ctx;                                                           \
        calls_run(&calls_pools[IM_LOGIC_##pool], function, req, in);          \
    }

IM_LOGIC_RPCS(CALLS_UNARY)


/* All of them are for nginx; Task has no business here. */
#define CALLS_HANDLER(method, member, request, reply, pool, at, again,        \
                      session, callers, ms, kib, function)                    \
    { .name = #method, .roles = IM_RPC_NGINX, .request_max = kib * 1024,      \
      .unary = calls_##member },

static const im_rpc_handler_t  calls_handlers[] = {
    IM_LOGIC_RPCS(CALLS_HANDLER)
    { .name = IM_LOGIC_STREAM, .roles = IM_RPC_NGINX,
      .accept = logic_links_accept },
    { .name = NULL }
};

static im_rpc_handler_t  calls_table[sizeof(calls_handlers)
                                     / sizeof(calls_handlers[0])];


int
logic_calls_create(void)
{
    calls_pool_t  *p;

    for (p = calls_pools; p < calls_pools + IM_LOGIC_POOLS_N; p++) {
        p->pool = logic_pool_create(p->name, *p->threads, *p->queue);

        if (p->pool == NULL) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


void
logic_calls_destroy(void)
{
    calls_pool_t  *p;

    for (p = calls_pools; p < calls_pools + IM_LOGIC_POOLS_N; p++) {
        logic_pool_destroy(p->pool);
        p->pool = NULL;
    }
}


int
logic_calls_start(void)
{
    calls_pool_t  *p;

    for (p = calls_pools; p < calls_pools + IM_LOGIC_POOLS_N; p++) {
        if (logic_pool_start(p->pool) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


im_rpc_server_t *
logic_calls_serve(im_rpc_t *rpc)
{
    unsigned  i;

    for (i = 0; calls_handlers[i].name != NULL; i++) {
        calls_table[i] = calls_handlers[i];

        if (calls_table[i].accept != NULL) {
            calls_table[i].stream = logic_links_handler;
        }
    }

    return im_rpc_serve(rpc, logic_conf.rpc_listen, &im__logic__descriptor,
                        calls_table, NULL);
}


/* Where nothing can be done without MySQL, nobody waits for one that has not
 * answered for seconds: the caller gets a refusal at once, and its breaker
 * stays closed, so that all goes on when MySQL is back. */
static void
calls_run(calls_pool_t *p, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    im_json_err_t  err;

    /* the worker has checked this, too, unless it is older; the request was
     * unpacked for this call alone: an id that is 0 is taken out of it */

    if (im_check((ProtobufCMessage *) in, &err) != IM_OK) {
        logic_fail(req, err.code, "%s", err.text);
        return;
    }

    if (p->mysql && logic_probes_mysql_gone()) {
        logic_fail_shared(req, "unavailable", "the database does not answer");
        return;
    }

    logic_pool_run(p->pool, job, req, in);
}


/* The session is checked first, in the pool; then it goes the way of all
 * messages, and the delivery report answers. */
void
logic_calls_send(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    logic_reply_t            reply = { .req = req };
    Im__Deliver              d = IM__DELIVER__INIT;
    const Im__SendRequest   *r;

    r = (const Im__SendRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    d.from = r->caller->uid;
    d.to = r->has_to ? r->to : 0;
    d.room = r->has_room ? r->room : 0;
    d.cmid = (r->cmid != NULL) ? r->cmid : "";
    d.body = r->body;

    reply.req = req;
    logic_intake_add(&reply, &d);
    logic_intake_flush();
}


void
logic_calls_stop(void)
{
    calls_pool_t  *p;

    for (p = calls_pools; p < calls_pools + IM_LOGIC_POOLS_N; p++) {
        logic_pool_stop(p->pool);
    }
}
