/*
 * logic_main.c -- im-logic: start, what it serves, stop.
 *
 * Start: take the health port, wait for what is needed, listen, register in
 * etcd, take a node number.  Stop: mark ourselves as leaving, so that
 * nobody picks us; wait until what is under way is answered, 3 s at most;
 * finish the queues; flush Kafka; unregister.
 */

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "im_error.h"
#include "im_peers.h"
#include "im_snowflake.h"
#include "im_timeouts.h"
#include "logic.h"
#include "logic_alive.h"
#include "logic_blocks.h"
#include "logic_conversations.h"
#include "logic_devices.h"
#include "logic_history.h"
#include "logic_home.h"
#include "logic_intake.h"
#include "logic_janitor.h"
#include "logic_links.h"
#include "logic_presence.h"
#include "logic_repeats.h"
#include "logic_rooms.h"
#include "logic_rooms_access.h"
#include "logic_rooms_online.h"
#include "logic_sessions.h"
#include "logic_settle.h"
#include "logic_sync.h"
#include "logic_users.h"




static const char *main_check(void *conf);
static int main_wait_for_stores(void);
static int main_start(void);
static int main_serve(void);
static void main_stop(void);
static void main_on_register(void *ctx);
static void main_on_node(void *ctx, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms);
static void main_on_node_limit(void *ctx, uint64_t limit_ms);
static void main_on_node_lost(void *ctx);
static uint64_t main_minted_ms(void *ctx);
static void main_on_leave(void *ctx);
static unsigned main_queue_pct(void *ctx);
static void main_on_forget(void *ctx);
static void main_until(atomic_int *flag, int ms);
static void main_on_drained(void *ctx);
static int main_health(char *json, size_t size);

static void main_rpc_create(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_login(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_refresh(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_logout(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_password(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_presence(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_conversation_set(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_block(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_unblock(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_blocks(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_auth(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_find(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_send(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_history(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_sync(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_conversations(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_read(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_create(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_get(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_join(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_leave(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_members(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_add(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_remove(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_set(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_rpc_room_dismiss(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in);
static void main_send_checked(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in);


logic_conf_t  logic_conf;
im_jwt_key_t  logic_jwt_key;


#define KEY(section, key, type, field, value, min, max, doc)                  \
    { section, key, type, offsetof(logic_conf_t, field), value, min, max, doc }

static const im_conf_key_t  main_keys[] = {
    KEY("rpc", "listen", IM_CONF_STR, rpc_listen, "127.0.0.1:0", 0, 0,
        "of the gRPC server; port 0: the kernel chooses"),
    KEY("rpc", "advertise", IM_CONF_STR, rpc_advertise, "", 0, 0,
        "host that others dial; empty: that of listen"),
    KEY("logic", "shards", IM_CONF_UINT, shards, "1", 1, 64,
        "threads that number and produce messages"),
    KEY("logic", "queue", IM_CONF_UINT, queue, "65536", 256, 1048576,
        "messages that may wait in each shard, then busy"),
    KEY("logic", "hold_max_us", IM_CONF_UINT, hold_max_us, "5000", 0, 50000,
        "longest wait for a fuller batch, under load only; microseconds"),
    KEY("kafka", "delivery_ms", IM_CONF_UINT, kafka_delivery_ms,
        IM_TIMEOUT_STR(IM_KAFKA_DELIVERY_MS), 500, 60000,
        "a message that Kafka has not confirmed by then is refused"),
    KEY("kafka", "store_group", IM_CONF_STR, store_group, "im.store", 0, 0,
        "consumer group that im-task stores with: [store] group"),
    KEY("dedupe", "window_s", IM_CONF_UINT, dedupe_window_s, "300", 60,
        86400, "a repeat of a cmid is known at least this long; seconds"),
    KEY("dedupe", "body_window_ms", IM_CONF_UINT, body_window_ms, "1000", 0,
        60000, "without cmid, the same body within it is a repeat; 0: never"),
    KEY("auth", "jwt_key_file", IM_CONF_STR, jwt_key_file, NULL, 0, 0,
        "32 to 512 bytes, the same that nginx has"),
    KEY("auth", "access_ttl_s", IM_CONF_UINT, access_ttl_s, "900", 10, 86400,
        "life of an access token; seconds"),
    KEY("auth", "refresh_ttl_s", IM_CONF_UINT, refresh_ttl_s, "2592000", 60,
        31536000, "life of a refresh token; seconds"),
    KEY("auth", "argon2_memory_kib", IM_CONF_UINT, argon2_memory_kib,
        "19456", 8192, 1048576, "memory of a password hash; KiB"),
    KEY("auth", "argon2_ops", IM_CONF_UINT, argon2_ops, "2", 1, 16,
        "passes of a password hash"),
    KEY("auth", "threads", IM_CONF_UINT, auth_threads, "1", 1, 16,
        "passwords hashed at a time"),
    KEY("auth", "queue", IM_CONF_UINT, auth_queue, "64", 1, 4096,
        "log-ins and registrations that may wait, then busy"),
    KEY("query", "threads", IM_CONF_UINT, query_threads, "2", 1, 64,
        "threads for history, refresh and the like"),
    KEY("query", "queue", IM_CONF_UINT, query_queue, "1024", 1, 65536,
        "of these calls that may wait, then busy"),
    KEY("sync", "threads", IM_CONF_UINT, sync_threads, "4", 1, 64,
        "threads for sync, which may wait a second for the store"),
    KEY("sync", "queue", IM_CONF_UINT, sync_queue, "1024", 1, 65536,
        "of these calls that may wait, then busy"),
    KEY("rooms", "group_max", IM_CONF_UINT, rooms_group_max, "5000", 1,
        100000, "members of a group"),
    KEY("rooms", "live_max", IM_CONF_UINT, rooms_live_max, "100000", 1,
        1000000, "users at a time in a live room"),
    KEY("rooms", "user_groups_max", IM_CONF_UINT, rooms_user_groups_max,
        "1000", 1, 5000, "groups that one user may be in"),
    KEY("devices", "policy", IM_CONF_STR, devices_policy, "all", 0, 0,
        "of one user at a time: all, one_per_class or one"),
    KEY("devices", "max", IM_CONF_UINT, devices_max, "1000", 1, 10000,
        "connections of one user at a time"),
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};


static const im_rpc_handler_t  main_handlers[] = {
    { .name = "CreateUser", .unary = main_rpc_create },
    { .name = "Login", .unary = main_rpc_login },
    { .name = "Refresh", .unary = main_rpc_refresh },
    { .name = "Logout", .unary = main_rpc_logout },
    { .name = "Password", .unary = main_rpc_password },
    { .name = "Presence", .unary = main_rpc_presence },
    { .name = "ConversationSet", .unary = main_rpc_conversation_set },
    { .name = "Block", .unary = main_rpc_block },
    { .name = "Unblock", .unary = main_rpc_unblock },
    { .name = "Blocks", .unary = main_rpc_blocks },
    { .name = "Auth", .unary = main_rpc_auth },
    { .name = "FindUser", .unary = main_rpc_find },
    { .name = "Send", .unary = main_rpc_send },
    { .name = "History", .unary = main_rpc_history },
    { .name = "Sync", .unary = main_rpc_sync },
    { .name = "Conversations", .unary = main_rpc_conversations },
    { .name = "Read", .unary = main_rpc_read },
    { .name = "RoomCreate", .unary = main_rpc_room_create },
    { .name = "RoomGet", .unary = main_rpc_room_get },
    { .name = "RoomJoin", .unary = main_rpc_room_join },
    { .name = "RoomLeave", .unary = main_rpc_room_leave },
    { .name = "RoomMembers", .unary = main_rpc_room_members },
    { .name = "RoomAdd", .unary = main_rpc_room_add },
    { .name = "RoomRemove", .unary = main_rpc_room_remove },
    { .name = "RoomSet", .unary = main_rpc_room_set },
    { .name = "RoomDismiss", .unary = main_rpc_room_dismiss },
    { .name = "Exchange", .accept = logic_links_accept },
    { .name = NULL }
};


static const im_disc_node_handler_t  main_node_handler = {
    .got = main_on_node,
    .limit = main_on_node_limit,
    .lost = main_on_node_lost,
    .minted_ms = main_minted_ms
};


static im_rpc_handler_t    main_table[sizeof(main_handlers)
                                      / sizeof(main_handlers[0])];
static im_rpc_t           *main_rpc;
static im_rpc_server_t    *main_server;
static im_disc_t          *main_disc;
static logic_pool_t       *main_auth;
static logic_pool_t       *main_query;
static logic_pool_t       *main_sync;
static char                main_instance[160];
static char                main_address[200];
static atomic_int          main_node;
static atomic_int          main_forgotten;
static atomic_int          main_drained;


int
main(int argc, char **argv)
{
    int          rc, status;
    im_daemon_t  d;

    memset(&d, 0, sizeof(d));
    d.name = "im-logic";
    d.about = "decides: users, sessions, presence, numbers and acks";
    d.keys = main_keys;
    d.conf = &logic_conf;
    d.check = main_check;

    if (im_daemon_init(&d, argc, argv, &status) != IM_OK) {
        return status;
    }

    rc = main_start();

    if (rc == IM_OK) {
        im_daemon_wait();
        main_stop();

    } else {
        im_health_stop();
    }

    if (rc == IM_ERROR) {
        im_log(IM_LOG_ERR, "im-logic cannot start");
        return 1;
    }

    im_log(IM_LOG_NOTICE, "im-logic ends");

    return 0;
}


static const char *
main_check(void *conf)
{
    const char              *reason;
    static char              text[400];
    const logic_conf_t      *c = conf;
    logic_devices_policy_t   policy;

    if (strrchr(c->rpc_listen, ':') == NULL) {
        return "[rpc] listen: it is host:port";
    }

    if (strncmp(c->rpc_listen, "0.0.0.0:", 8) == 0
        && c->rpc_advertise[0] == '\0')
    {
        return "[rpc] listen on 0.0.0.0 needs [rpc] advertise";
    }

    if (logic_devices_policy(c->devices_policy, &policy) != IM_OK) {
        return "[devices] policy: it is all, one_per_class or one";
    }

    if (im_jwt_key_load(&logic_jwt_key, c->jwt_key_file, &reason) != IM_OK) {
        snprintf(text, sizeof(text), "[auth] jwt_key_file \"%.200s\": %s",
                 c->jwt_key_file, reason);
        return text;
    }

    return NULL;
}


static int
main_start(void)
{
    int  rc;

    if (sodium_init() < 0 || logic_users_init() != IM_OK) {
        im_log(IM_LOG_ERR, "libsodium cannot be initialised");
        return IM_ERROR;
    }

    atomic_store(&main_node, -1);
    im_instance_name(main_instance, sizeof(main_instance));

    if (im_health_start(&logic_conf.common) != IM_OK) {
        return IM_ERROR;
    }

    rc = main_wait_for_stores();
    if (rc != IM_OK) {
        return rc;
    }

    if (logic_settle_start() != IM_OK) {
        return IM_ERROR;
    }

    rc = logic_intake_start();
    if (rc != IM_OK) {
        return rc;
    }

    main_auth = logic_pool_create("auth", logic_conf.auth_threads,
                                  logic_conf.auth_queue);
    main_query = logic_pool_create("query", logic_conf.query_threads,
                                   logic_conf.query_queue);
    main_sync = logic_pool_create("sync", logic_conf.sync_threads,
                                  logic_conf.sync_queue);

    if (main_auth == NULL || main_query == NULL || main_sync == NULL
        || logic_presence_start(logic_conf.queue) != IM_OK
        || logic_janitor_start() != IM_OK
        || logic_rooms_online_start(logic_conf.queue) != IM_OK)
    {
        return IM_ERROR;
    }

    main_rpc = im_peers_rpc(&logic_conf.common);
    if (main_rpc == NULL || main_serve() != IM_OK) {
        return IM_ERROR;
    }

    main_disc = im_peers_disc(&logic_conf.common, main_rpc);

    if (main_disc == NULL
        || im_rpc_post(main_rpc, main_on_register, NULL) != IM_OK)
    {
        return IM_ERROR;
    }

    im_health_report(main_health);

    return IM_OK;
}


/* One clear line for each that is away, not a crash loop. */
static int
main_wait_for_stores(void)
{
    int                      rc;
    im_redis_t              *redis;
    im_mysql_t              *mysql;
    static im_dependency_t   r = { "redis", 0 }, m = { "mysql", 0 };

    redis = logic_redis_create();
    mysql = logic_mysql_create();

    rc = IM_OK;

    while (rc == IM_OK && im_redis_ping(redis) != IM_OK) {
        im_dependency_down(&r, im_redis_error(redis));
        rc = im_daemon_sleep(200) ? IM_DONE : IM_OK;
    }

    if (rc == IM_OK) {
        im_dependency_up(&r);
    }

    while (rc == IM_OK && im_mysql_ping(mysql) != IM_OK) {
        im_dependency_down(&m, im_mysql_error(mysql));
        rc = im_daemon_sleep(200) ? IM_DONE : IM_OK;
    }

    if (rc == IM_OK) {
        im_dependency_up(&m);
    }

    im_redis_destroy(redis);
    im_mysql_destroy(mysql);

    return rc;
}


static int
main_serve(void)
{
    int          host;
    unsigned     i;
    const char  *advertise;

    for (i = 0; main_handlers[i].name != NULL; i++) {
        main_table[i] = main_handlers[i];

        if (main_table[i].accept != NULL) {
            main_table[i].stream = logic_links_handler;
        }
    }

    main_server = im_rpc_serve(main_rpc, logic_conf.rpc_listen,
                               &im__logic__descriptor, main_table, NULL);
    if (main_server == NULL) {
        return IM_ERROR;
    }

    advertise = logic_conf.rpc_advertise;
    host = (int) strlen(advertise);

    if (host == 0) {
        advertise = logic_conf.rpc_listen;
        host = (int) (strrchr(advertise, ':') - advertise);
    }

    snprintf(main_address, sizeof(main_address), "%.*s:%u", host, advertise,
             im_rpc_server_port(main_server));

    im_log(IM_LOG_NOTICE, "%s serves at %s", main_instance, main_address);

    return IM_OK;
}


/* rpc thread */
static void
main_on_register(void *ctx)
{
    im_disc_self_t  self;

    (void) ctx;

    memset(&self, 0, sizeof(self));
    self.service = "logic";
    self.id = main_instance;
    self.address = main_address;
    self.queue = main_queue_pct;

    (void) logic_alive_start(main_disc);
    (void) logic_home_start(main_rpc, main_disc, main_instance);
    (void) im_disc_lease_node(main_disc, IM_SNOWFLAKE_NODES,
                              &main_node_handler, NULL);
    (void) im_disc_register(main_disc, &self);
}


static void
main_on_node(void *ctx, unsigned node, uint64_t floor_ms, uint64_t limit_ms)
{
    (void) ctx;

    atomic_store(&main_node, (int) node);
    logic_intake_set_node((int) node, floor_ms, limit_ms);
}


static void
main_on_node_limit(void *ctx, uint64_t limit_ms)
{
    (void) ctx;

    logic_intake_set_limit(limit_ms);
}


static void
main_on_node_lost(void *ctx)
{
    (void) ctx;

    im_log(IM_LOG_WARN, "the node number was lost: no ids until there is one");
    atomic_store(&main_node, -1);
    logic_intake_set_node(-1, 0, 0);
}


static uint64_t
main_minted_ms(void *ctx)
{
    (void) ctx;

    return logic_intake_minted_ms();
}


static void
main_stop(void)
{
    int                   ms;
    struct timespec       tick = { 0, 10000000 };
    logic_intake_stats_t  stats;

    if (im_rpc_post(main_rpc, main_on_leave, NULL) == IM_OK) {

        for (ms = 0; ms < IM_DRAIN_SEEN_MS + IM_DRAIN_MS; ms += 10) {
            nanosleep(&tick, NULL);
            logic_intake_stats(&stats);

            if (ms >= IM_DRAIN_SEEN_MS && stats.waiting == 0
                && logic_links_count() == 0)
            {
                break;                 /* the workers have closed theirs */
            }
        }
    }

    im_rpc_server_drain(main_server, IM_DRAIN_MS, main_on_drained, NULL);
    main_until(&main_drained, IM_DRAIN_MS + 500);

    logic_pool_destroy(main_auth);
    logic_pool_destroy(main_query);
    logic_pool_destroy(main_sync);
    logic_intake_stop();
    logic_settle_stop();
    logic_presence_stop();
    logic_janitor_stop();
    logic_rooms_online_stop();
    im_health_stop();

    if (im_rpc_post(main_rpc, main_on_forget, NULL) == IM_OK) {
        main_until(&main_forgotten, 2000);
    }

    im_rpc_destroy(main_rpc);
    logic_alive_stop();
    logic_rooms_access_clear();
}


static void
main_until(atomic_int *flag, int ms)
{
    struct timespec  ts = { 0, 10000000 };

    for (; ms > 0 && !atomic_load(flag); ms -= 10) {
        nanosleep(&ts, NULL);
    }
}


/* rpc thread */
static void
main_on_leave(void *ctx)
{
    (void) ctx;
    im_disc_drain(main_disc, "logic");
}


/* rpc thread */
static void
main_on_forget(void *ctx)
{
    (void) ctx;
    logic_home_stop();
    im_disc_destroy(main_disc);
    atomic_store(&main_forgotten, 1);
}


/* rpc thread */
static unsigned
main_queue_pct(void *ctx)
{
    uint64_t              pct;
    logic_intake_stats_t  s;

    (void) ctx;

    logic_intake_stats(&s);
    pct = s.waiting * 100 / ((uint64_t) logic_conf.queue * logic_conf.shards);

    return (pct < 100) ? (unsigned) pct : 100;
}


static void
main_on_drained(void *ctx)
{
    (void) ctx;
    atomic_store(&main_drained, 1);
}


static void
main_rpc_create(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_auth, logic_users_create, req, in);
}


static void
main_rpc_login(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_auth, logic_users_login, req, in);
}


static void
main_rpc_refresh(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_sessions_refresh, req, in);
}


static void
main_rpc_logout(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_sessions_logout, req, in);
}


static void
main_rpc_password(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_auth, logic_users_password, req, in);
}


static void
main_rpc_presence(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_presence_query, req, in);
}


static void
main_rpc_conversation_set(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_conversations_set, req, in);
}


static void
main_rpc_block(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_blocks_block, req, in);
}


static void
main_rpc_unblock(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_blocks_unblock, req, in);
}


static void
main_rpc_blocks(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_blocks_list, req, in);
}


static void
main_rpc_auth(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_sessions_auth, req, in);
}


static void
main_rpc_find(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_users_find, req, in);
}


static void
main_rpc_history(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_history_get, req, in);
}


static void
main_rpc_sync(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_sync, logic_sync_get, req, in);
}


static void
main_rpc_conversations(void *ctx, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_sync, logic_conversations_get, req, in);
}


static void
main_rpc_read(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_conversations_read, req, in);
}


static void
main_rpc_room_create(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_create, req, in);
}


static void
main_rpc_room_get(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_get, req, in);
}


static void
main_rpc_room_join(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_join, req, in);
}


static void
main_rpc_room_leave(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_leave, req, in);
}


static void
main_rpc_room_members(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_members, req, in);
}


static void
main_rpc_room_add(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_add, req, in);
}


static void
main_rpc_room_remove(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_remove, req, in);
}


static void
main_rpc_room_set(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_set, req, in);
}


static void
main_rpc_room_dismiss(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, logic_rooms_dismiss, req, in);
}


/* The session is checked first, in the pool; then it goes the way of all
 * messages, and the delivery report answers. */
static void
main_rpc_send(void *ctx, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) ctx;
    logic_pool_run(main_query, main_send_checked, req, in);
}


static void
main_send_checked(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    logic_reply_t            reply = { .req = req };
    Im__Deliver              d = IM__DELIVER__INIT;
    const Im__SendRequest   *r;

    r = (const Im__SendRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (r->cmid != NULL && strlen(r->cmid) > IM_CMID_MAX) {
        logic_fail(req, "bad_field", "field 'cmid' is longer than %d bytes",
                   IM_CMID_MAX);
        return;
    }

    if (r->body.len == 0 || r->body.len > IM_BODY_MAX) {
        logic_fail(req, "too_large", "field 'body' is 1 to %d bytes",
                   IM_BODY_MAX);
        return;
    }

    if (r->has_to == r->has_room) {
        logic_fail(req, r->has_to ? "bad_field" : "missing_field",
                   r->has_to ? "fields 'to' and 'room' exclude one another"
                             : "field 'to' or 'room' is required");
        return;
    }

    if (r->has_to && r->to == 0) {
        logic_fail(req, "no_such_user", "the recipient does not exist");
        return;
    }

    if (r->has_room && r->room == 0) {
        logic_fail(req, "no_such_room", "there is no such room");
        return;
    }

    d.from = r->caller->uid;
    d.to = r->to;
    d.room = r->room;
    d.cmid = (r->cmid != NULL) ? r->cmid : "";
    d.body = r->body;

    reply.req = req;
    logic_intake_add(&reply, &d);
    logic_intake_flush();
}


static int
main_health(char *json, size_t size)
{
    int                   etcd, node, stores;
    char                  peers[256];
    logic_intake_stats_t  s;

    logic_intake_stats(&s);
    im_peers_health(main_disc, peers, sizeof(peers));
    etcd = im_disc_ready(main_disc);
    node = atomic_load(&main_node);
    stores = logic_intake_healthy() && logic_presence_healthy()
             && logic_rooms_online_healthy();

    snprintf(json, size,
             "{\"instance\":\"%s\",\"etcd\":%s,\"node\":%d,\"stores\":%s,"
             "\"links\":%u,\"accepted\":%llu,\"repeated\":%llu,"
             "\"refused\":%llu,\"waiting\":%llu,\"voids\":%llu%s}\n",
             main_instance, etcd ? "true" : "false", node,
             stores ? "true" : "false", logic_links_count(),
             (unsigned long long) s.accepted,
             (unsigned long long) s.repeated,
             (unsigned long long) s.refused,
             (unsigned long long) s.waiting,
             (unsigned long long) logic_repeats_voids(), peers);

    return etcd && node >= 0 && stores;
}


im_redis_t *
logic_redis_create(void)
{
    im_redis_conf_t  conf;

    conf.address = logic_conf.common.redis_address;
    conf.password = logic_conf.common.redis_password;
    conf.timeout_ms = logic_conf.common.redis_timeout_ms;

    return im_redis_create(&conf);
}


im_mysql_t *
logic_mysql_create(void)
{
    im_mysql_conf_t  conf;

    conf.address = logic_conf.common.mysql_address;
    conf.user = logic_conf.common.mysql_user;
    conf.password = logic_conf.common.mysql_password;
    conf.database = logic_conf.common.mysql_database;
    conf.timeout_ms = logic_conf.common.mysql_timeout_ms;

    return im_mysql_create(&conf);
}


void
logic_fail(im_rpc_req_t *req, const char *code, const char *fmt, ...)
{
    int                n;
    char               text[400];
    va_list            args;
    const im_error_t  *e;

    e = im_error_find(code, strlen(code));
    n = snprintf(text, sizeof(text), "%s: ", e->code);

    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t) n, fmt, args);
    va_end(args);

    if (e->http >= 500) {
        im_log(IM_LOG_WARN, "a call fails, trace %s: %s",
               im_rpc_req_trace(req), text);
    }

    im_rpc_fail(req, e->grpc, text);
}
