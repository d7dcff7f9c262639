/*
 * im_logic_rpcs.h -- every RPC of im.Logic, one row each.
 *
 * A new RPC is three edits: `rpc` and messages in proto/logic.proto, a row
 * here, and the function in a folder of services/logic.  Made from the rows:
 *
 *   src/core/im_logic_rpcs.c          what callers must know, checked against
 *                                     the schema while it is compiled
 *   src/nginx/base/ngx_im_method.c    whom to call, how long, whether again
 *   services/logic/base/logic_rpcs.h  prototypes of the functions
 *   services/logic/main/logic_calls.c the server, and its pools
 *   docs/internals/rpcs.md            for people (make docs)
 *
 * An rpc without a row, a row without an rpc, or with other messages, does not
 * compile; a row without its function does not link.
 *
 * Options in the schema were rejected: protoc-c drops them.
 *
 * Room: core.
 */

#ifndef IM_LOGIC_RPCS_H
#define IM_LOGIC_RPCS_H

#include "im_core.h"
#include "im_timeouts.h"


/*
 * Pools of threads of Logic.  A MySQL that stands still must hold up neither
 * messages that are sent by HTTP nor clients that connect again, so what needs
 * it has pools of its own.
 *
 *   POOL(pool, name, conf, breaker, stores)
 *
 * conf     the section of logic.conf with its `threads` and `queue`
 * breaker  of nginx: what fails together counts together
 * stores   MYSQL: refused at once while MySQL does not answer; REDIS: not
 */
#define IM_LOGIC_POOLS(POOL)                                                  \
    POOL(AUTH, auth, auth, PASSWORD, MYSQL)        /* hashes passwords */     \
    POOL(LIVE, live, query, LIVE, REDIS)           /* Redis and Kafka */      \
    POOL(QUERY, query, query, STORED, MYSQL)                                  \
    POOL(REMOVED, removed, query, REMOVED, REDIS)  /* MySQL, else Redis */    \
    POOL(SYNC, sync, sync, STORED, MYSQL)          /* may wait for rows */

/*
 *   RPC(method, member, request, reply,
 *       pool, at, again, session, callers,
 *       ms, kib, function)
 *
 * method   as in proto/logic.proto
 * member   the same, as protoc-c writes it
 * request, reply  messages of the package im
 * pool     of IM_LOGIC_POOLS
 * at       ANY_ONE: any instance, the less loaded of two.  OWNER: of the room
 *          or conversation, which decides and has it in its cache
 * again    REPEAT: a second run does no harm, so a call whose instance died on
 *          it is sent to another one; if the request has a `cmid`, that
 *          decides.  A second Login makes a session that nobody uses; a second
 *          Refresh within 10 s gets the answer of the first.  ONCE: never
 * session  SESSION: the request has a `caller`, filled from the token and
 *          checked by the function.  ANYBODY: it has none
 * callers  API: by HTTP (im_api).  FRAME: a question of a client's (see
 *          im_client_query.c).  WORKER: nginx asks for itself.  All of them
 *          have nginx's certificate; Task has no business here
 * ms       deadline, unless im_api_timeout sets another one; 0: the caller has
 *          one, what is left of a handshake
 * kib      largest packed request; a longer one is refused as too_large before
 *          it is unpacked
 * function a logic_job_pt
 */
#define IM_LOGIC_RPCS(RPC)                                                    \
    RPC(CreateUser, create_user, RegisterRequest, RegisterReply,              \
        AUTH, ANY_ONE, ONCE, ANYBODY, API,                                    \
        IM_LOGIC_CALL_MS, 96, logic_users_create)                             \
    RPC(Login, login, LoginRequest, TokenReply,                               \
        AUTH, ANY_ONE, REPEAT, ANYBODY, API,                                  \
        IM_LOGIC_CALL_MS, 96, logic_users_login)                              \
    RPC(Refresh, refresh, RefreshRequest, TokenReply,                         \
        QUERY, ANY_ONE, REPEAT, ANYBODY, API,                                 \
        IM_LOGIC_CALL_MS, 96, logic_refresh_use)                              \
    RPC(Logout, logout, LogoutRequest, LogoutReply,                           \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 16, logic_sessions_logout)                          \
    RPC(Auth, auth, AuthRequest, AuthReply,                                   \
        LIVE, ANY_ONE, REPEAT, SESSION, API,                                  \
        IM_LOGIC_CALL_MS, 16, logic_sessions_auth)                            \
    RPC(Ticket, ticket, TicketRequest, TicketReply,                           \
        LIVE, ANY_ONE, REPEAT, SESSION, API,                                  \
        IM_LOGIC_CALL_MS, 16, logic_tickets_create)                           \
    RPC(Redeem, redeem, RedeemRequest, RedeemReply,                           \
        LIVE, ANY_ONE, ONCE, ANYBODY, WORKER,                                 \
        0, 96, logic_tickets_redeem)                                          \
    RPC(FindUser, find_user, FindUserRequest, User,                           \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 96, logic_users_find)                               \
    RPC(LookupUsers, lookup_users, LookupUsersRequest, LookupUsersReply,      \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 96, logic_users_lookup)                             \
    RPC(Me, me, MeRequest, MeReply,                                           \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 16, logic_users_me)                                 \
    RPC(Password, password, PasswordRequest, PasswordReply,                   \
        AUTH, ANY_ONE, REPEAT, SESSION, API,                                  \
        IM_LOGIC_CALL_MS, 96, logic_users_password)                           \
    RPC(Send, send, SendRequest, SendReply,                                   \
        LIVE, OWNER, ONCE, SESSION, API,                                      \
        IM_LOGIC_CALL_MS, 96, logic_calls_send)                               \
    RPC(History, history, HistoryRequest, HistoryReply,                       \
        QUERY, ANY_ONE, REPEAT, SESSION, API | FRAME,                         \
        IM_LOGIC_CALL_MS, 16, logic_history_get)                              \
    RPC(Sync, sync, SyncRequest, SyncReply,                                   \
        SYNC, ANY_ONE, REPEAT, SESSION, API | FRAME,                          \
        IM_LOGIC_CALL_MS, 16, logic_sync_get)                                 \
    RPC(Conversations, conversations, ConversationsRequest,                   \
        ConversationsReply,                                                   \
        SYNC, ANY_ONE, REPEAT, SESSION, API | FRAME,                          \
        IM_LOGIC_CALL_MS, 16, logic_conversations_get)                        \
    RPC(ConversationSet, conversation_set, ConversationSetRequest,            \
        ConversationSetReply,                                                 \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 16, logic_conversations_set)                        \
    RPC(Read, read, ReadRequest, ReadReply,                                   \
        QUERY, ANY_ONE, REPEAT, SESSION, API | FRAME,                         \
        IM_LOGIC_CALL_MS, 16, logic_conversations_read)                       \
    RPC(Block, block, BlockRequest, BlockReply,                               \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_blocks_block)                             \
    RPC(Unblock, unblock, UnblockRequest, UnblockReply,                       \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_blocks_unblock)                           \
    RPC(Blocks, blocks, BlocksRequest, BlocksReply,                           \
        QUERY, ANY_ONE, REPEAT, SESSION, API,                                 \
        IM_LOGIC_CALL_MS, 16, logic_blocks_list)                              \
    RPC(Presence, presence, PresenceRequest, PresenceReply,                   \
        LIVE, ANY_ONE, REPEAT, SESSION, API | FRAME | WORKER,                 \
        IM_LOGIC_CALL_MS, 16, logic_presence_query)                           \
    RPC(RoomCreate, room_create, RoomCreateRequest, Room,                     \
        QUERY, ANY_ONE, ONCE, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 96, logic_rooms_create)                             \
    RPC(Rooms, rooms, RoomsRequest, RoomsReply,                               \
        QUERY, ANY_ONE, REPEAT, SESSION, API | FRAME,                         \
        IM_LOGIC_CALL_MS, 16, logic_rooms_mine)                               \
    RPC(RoomGet, room_get, RoomGetRequest, Room,                              \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_rooms_get)                                \
    RPC(RoomJoin, room_join, RoomJoinRequest, RoomJoinReply,                  \
        QUERY, OWNER, REPEAT, SESSION, API | FRAME,                           \
        IM_LOGIC_CALL_MS, 16, logic_rooms_join)                               \
    RPC(RoomLeave, room_leave, RoomLeaveRequest, RoomLeaveReply,              \
        QUERY, OWNER, REPEAT, SESSION, API | FRAME,                           \
        IM_LOGIC_CALL_MS, 16, logic_rooms_leave)                              \
    RPC(RoomMembers, room_members, RoomMembersRequest, RoomMembersReply,      \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_rooms_members)                            \
    RPC(RoomAdd, room_add, RoomAddRequest, RoomAddReply,                      \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_rooms_add)                                \
    RPC(RoomRemove, room_remove, RoomRemoveRequest, RoomRemoveReply,          \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_rooms_remove)                             \
    RPC(RoomSet, room_set, RoomSetRequest, RoomSetReply,                      \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 96, logic_rooms_set)                                \
    RPC(RoomDismiss, room_dismiss, RoomDismissRequest, RoomDismissReply,      \
        QUERY, OWNER, REPEAT, SESSION, API,                                   \
        IM_LOGIC_CALL_MS, 16, logic_rooms_dismiss)                            \
    RPC(RoomRemoved, room_removed, RoomRemovedRequest, RoomRemovedReply,      \
        REMOVED, OWNER, REPEAT, ANYBODY, WORKER,                              \
        IM_LOGIC_CALL_MS, 16, logic_rooms_removed)

/* It has no row: one stream of each worker, by which messages go. */
#define IM_LOGIC_STREAM  "Exchange"


#define IM_LOGIC_POOL_(pool, ...)  IM_LOGIC_##pool,

enum {
    IM_LOGIC_POOLS(IM_LOGIC_POOL_)
    IM_LOGIC_POOLS_N
};

/* What fails together, each with its own breakers. */
enum {
    IM_LOGIC_FAILS_STORED, IM_LOGIC_FAILS_PASSWORD, IM_LOGIC_FAILS_LIVE,
    IM_LOGIC_FAILS_REMOVED, IM_LOGIC_FAILS_N
};

#define IM_LOGIC_API     1
#define IM_LOGIC_FRAME   2
#define IM_LOGIC_WORKER  4

typedef struct {
    const char  *name;                 /* NULL after the last */
    unsigned     pool;                 /* IM_LOGIC_... */
    unsigned     breaker;              /* IM_LOGIC_FAILS_... */
    unsigned     callers;              /* IM_LOGIC_API | ... */
    unsigned     deadline_ms;          /* or 0 */
    size_t       request_max;          /* bytes */
    unsigned     owner:1;
    unsigned     repeat:1;
    unsigned     session:1;
} im_logic_rpc_t;

extern const im_logic_rpc_t  im_logic_rpcs[];

/* NULL: there is none, or it is a stream. */
const im_logic_rpc_t *im_logic_rpc_find(const char *name);

#endif
