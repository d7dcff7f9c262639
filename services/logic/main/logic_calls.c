/*
 * logic_calls.c -- see logic_calls.h.
 *
 * The rpc thread only hands a call to a pool: "auth" for what hashes passwords,
 * "sync" for what may wait a second for the store, "live" for what asks Redis
 * only, "query" for all else.  So a MySQL that stands still holds up neither
 * messages that are sent by HTTP nor clients that connect again.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "im_check.h"
#include "im_error.h"
#include "logic_blocks.h"
#include "logic_calls.h"
#include "logic_conf.h"
#include "logic_conversations.h"
#include "logic_fail.h"
#include "logic_history.h"
#include "logic_intake.h"
#include "logic_links.h"
#include "logic_presence.h"
#include "logic_probes.h"
#include "logic_refresh.h"
#include "logic_rooms.h"
#include "logic_sessions.h"
#include "logic_sync.h"
#include "logic_tickets.h"
#include "logic_users.h"


enum {
    CALLS_AUTH, CALLS_LIVE, CALLS_QUERY, CALLS_REMOVED, CALLS_SYNC, CALLS_POOLS
};


static void calls_run(unsigned pool, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void calls_send(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);


static logic_pool_t  *calls_pools[CALLS_POOLS];


#define CALL(name, pool, job)                                                 \
    static void                                                               \
    name(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)            \
    {                                                                         \
        (void) ctx;                                                           \
        calls_run(pool, job, req, in);                                        \
    }

CALL(calls_create, CALLS_AUTH, logic_users_create)
CALL(calls_login, CALLS_AUTH, logic_users_login)
CALL(calls_refresh, CALLS_QUERY, logic_refresh_use)
CALL(calls_logout, CALLS_QUERY, logic_sessions_logout)
CALL(calls_password, CALLS_AUTH, logic_users_password)
CALL(calls_presence, CALLS_LIVE, logic_presence_query)
CALL(calls_conversation_set, CALLS_QUERY, logic_conversations_set)
CALL(calls_block, CALLS_QUERY, logic_blocks_block)
CALL(calls_unblock, CALLS_QUERY, logic_blocks_unblock)
CALL(calls_blocks, CALLS_QUERY, logic_blocks_list)
CALL(calls_auth, CALLS_LIVE, logic_sessions_auth)
CALL(calls_ticket, CALLS_LIVE, logic_tickets_create)
CALL(calls_redeem, CALLS_LIVE, logic_tickets_redeem)
CALL(calls_find, CALLS_QUERY, logic_users_find)
CALL(calls_lookup, CALLS_QUERY, logic_users_lookup)
CALL(calls_me, CALLS_QUERY, logic_users_me)
CALL(calls_send_message, CALLS_LIVE, calls_send)
CALL(calls_history, CALLS_QUERY, logic_history_get)
CALL(calls_sync, CALLS_SYNC, logic_sync_get)
CALL(calls_conversations, CALLS_SYNC, logic_conversations_get)
CALL(calls_read, CALLS_QUERY, logic_conversations_read)
CALL(calls_room_create, CALLS_QUERY, logic_rooms_create)
CALL(calls_rooms, CALLS_QUERY, logic_rooms_mine)
CALL(calls_room_get, CALLS_QUERY, logic_rooms_get)
CALL(calls_room_join, CALLS_QUERY, logic_rooms_join)
CALL(calls_room_leave, CALLS_QUERY, logic_rooms_leave)
CALL(calls_room_members, CALLS_QUERY, logic_rooms_members)
CALL(calls_room_add, CALLS_QUERY, logic_rooms_add)
CALL(calls_room_remove, CALLS_QUERY, logic_rooms_remove)
CALL(calls_room_set, CALLS_QUERY, logic_rooms_set)
CALL(calls_room_dismiss, CALLS_QUERY, logic_rooms_dismiss)
CALL(calls_room_removed, CALLS_REMOVED, logic_rooms_removed)


/* All of them are for nginx; Task has no business here. */
#define NGINX(method, fn)                                                     \
    { .name = method, .roles = IM_RPC_NGINX, .unary = fn }

static const im_rpc_handler_t  calls_handlers[] = {
    NGINX("CreateUser", calls_create),
    NGINX("Login", calls_login),
    NGINX("Refresh", calls_refresh),
    NGINX("Logout", calls_logout),
    NGINX("Password", calls_password),
    NGINX("Presence", calls_presence),
    NGINX("ConversationSet", calls_conversation_set),
    NGINX("Block", calls_block),
    NGINX("Unblock", calls_unblock),
    NGINX("Blocks", calls_blocks),
    NGINX("Auth", calls_auth),
    NGINX("Ticket", calls_ticket),
    NGINX("Redeem", calls_redeem),
    NGINX("FindUser", calls_find),
    NGINX("LookupUsers", calls_lookup),
    NGINX("Me", calls_me),
    NGINX("Send", calls_send_message),
    NGINX("History", calls_history),
    NGINX("Sync", calls_sync),
    NGINX("Conversations", calls_conversations),
    NGINX("Read", calls_read),
    NGINX("RoomCreate", calls_room_create),
    NGINX("Rooms", calls_rooms),
    NGINX("RoomGet", calls_room_get),
    NGINX("RoomJoin", calls_room_join),
    NGINX("RoomLeave", calls_room_leave),
    NGINX("RoomMembers", calls_room_members),
    NGINX("RoomAdd", calls_room_add),
    NGINX("RoomRemove", calls_room_remove),
    NGINX("RoomSet", calls_room_set),
    NGINX("RoomDismiss", calls_room_dismiss),
    NGINX("RoomRemoved", calls_room_removed),
    { .name = "Exchange", .roles = IM_RPC_NGINX,
      .accept = logic_links_accept },
    { .name = NULL }
};

static im_rpc_handler_t  calls_table[sizeof(calls_handlers)
                                     / sizeof(calls_handlers[0])];


int
logic_calls_create(void)
{
    calls_pools[CALLS_AUTH] = logic_pool_create("auth",
                                                logic_conf.auth_threads,
                                                logic_conf.auth_queue);
    calls_pools[CALLS_LIVE] = logic_pool_create("live",
                                                logic_conf.query_threads,
                                                logic_conf.query_queue);
    calls_pools[CALLS_QUERY] = logic_pool_create("query",
                                                 logic_conf.query_threads,
                                                 logic_conf.query_queue);
    calls_pools[CALLS_REMOVED] = logic_pool_create("removed",
                                                   logic_conf.query_threads,
                                                   logic_conf.query_queue);
    calls_pools[CALLS_SYNC] = logic_pool_create("sync",
                                                logic_conf.sync_threads,
                                                logic_conf.sync_queue);

    return (calls_pools[CALLS_AUTH] != NULL
            && calls_pools[CALLS_LIVE] != NULL
            && calls_pools[CALLS_QUERY] != NULL
            && calls_pools[CALLS_REMOVED] != NULL
            && calls_pools[CALLS_SYNC] != NULL)
           ? IM_OK : IM_ERROR;
}


void
logic_calls_destroy(void)
{
    unsigned  i;

    for (i = 0; i < CALLS_POOLS; i++) {
        logic_pool_destroy(calls_pools[i]);
        calls_pools[i] = NULL;
    }
}


int
logic_calls_start(void)
{
    unsigned  i;

    for (i = 0; i < CALLS_POOLS; i++) {
        if (logic_pool_start(calls_pools[i]) != IM_OK) {
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
 * answered for seconds: the caller is told at once, and its breaker stays
 * closed, so that all goes on when MySQL is back. */
static void
calls_run(unsigned pool, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    im_json_err_t  err;

    /* the worker has checked this, too, unless it is older; the request was
     * unpacked for this call alone: an id that is 0 is taken out of it */

    if (im_check((ProtobufCMessage *) in, &err) != IM_OK) {
        logic_fail(req, err.code, "%s", err.text);
        return;
    }

    if (pool != CALLS_LIVE && pool != CALLS_REMOVED
        && logic_probes_mysql_gone())
    {
        logic_fail_shared(req, "unavailable", "the database does not answer");
        return;
    }

    logic_pool_run(calls_pools[pool], job, req, in);
}


/* The session is checked first, in the pool; then it goes the way of all
 * messages, and the delivery report answers. */
static void
calls_send(logic_db_t *db, im_rpc_req_t *req,
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
    unsigned  i;

    for (i = 0; i < CALLS_POOLS; i++) {
        logic_pool_stop(calls_pools[i]);
    }
}
