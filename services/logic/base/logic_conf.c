/*
 * logic_conf.c -- the keys of logic.conf.
 */

#include <stddef.h>

#include "im_timeouts.h"
#include "logic_conf.h"


logic_conf_t  logic_conf;
im_jwt_key_t  logic_jwt_key;


#define KEY(section, key, type, field, value, min, max, doc)                  \
    { section, key, type, offsetof(logic_conf_t, field), value, min, max, doc }

const im_conf_key_t  logic_conf_keys[] = {
    KEY("rpc", "listen", IM_CONF_STR, rpc_listen, "127.0.0.1:0", 0, 0,
        "address of the gRPC server; port 0: the kernel chooses"),
    KEY("rpc", "advertise", IM_CONF_STR, rpc_advertise, "", 0, 0,
        "host that nginx dials; empty: that of listen"),
    KEY("logic", "shards", IM_CONF_UINT, shards, "1", 1, 64,
        "threads that number and produce messages"),
    KEY("logic", "queue", IM_CONF_UINT, queue, "65536", 256, 1048576,
        "messages that may wait in each shard; beyond it clients get busy"),
    KEY("logic", "hold_max_us", IM_CONF_UINT, hold_max_us, "5000", 0, 50000,
        "longest wait for a fuller batch, under load only"),
    KEY("logic", "room_hold_max_us", IM_CONF_UINT, room_hold_max_us,
        "30000", 0, 100000,
        "the same for messages to rooms, which are written together"),
    KEY("kafka", "delivery_ms", IM_CONF_UINT, kafka_delivery_ms,
        IM_TIMEOUT_STR(IM_KAFKA_DELIVERY_MS), 500, 60000,
        "a message that Kafka has not confirmed by then is refused as "
        "retryable; the same in all instances"),
    KEY("kafka", "store_group", IM_CONF_STR, store_group, "im.store", 0, 0,
        "consumer group that im-task stores with: its [store] group"),
    KEY("dedupe", "window_s", IM_CONF_UINT, dedupe_window_s, "300", 60, 86400,
        "a repeat of a cmid is recognised at least this long, at most twice "
        "as long; the same in all instances"),
    KEY("dedupe", "body_window_ms", IM_CONF_UINT, body_window_ms,
        "1000", 0, 60000,
        "without a cmid, the same body within this time is a repeat; "
        "0: never"),
    KEY("auth", "jwt_key_file", IM_CONF_STR, jwt_key_file, NULL, 0, 0,
        "key of the access tokens, 32 to 512 bytes, the same as in nginx"),
    KEY("auth", "access_ttl_s", IM_CONF_UINT, access_ttl_s, "900", 10, 86400,
        "life of an access token"),
    KEY("auth", "refresh_ttl_s", IM_CONF_UINT, refresh_ttl_s,
        "2592000", 60, 31536000,
        "life of a refresh token"),
    KEY("auth", "ticket_ttl_s", IM_CONF_UINT, ticket_ttl_s, "30", 1, 300,
        "life of a ticket for one WebSocket handshake"),
    KEY("auth", "argon2_memory_kib", IM_CONF_UINT, argon2_memory_kib,
        "19456", 8192, 1048576,
        "memory of a password hash (argon2id); after an increase, each "
        "log-in renews its user's hash"),
    KEY("auth", "argon2_ops", IM_CONF_UINT, argon2_ops, "2", 1, 16,
        "passes of a password hash"),
    KEY("auth", "threads", IM_CONF_UINT, auth_threads, "1", 1, 16,
        "passwords hashed at a time"),
    KEY("auth", "queue", IM_CONF_UINT, auth_queue, "64", 1, 4096,
        "log-ins and registrations that may wait; beyond it clients get busy"),
    KEY("query", "threads", IM_CONF_UINT, query_threads, "2", 1, 64,
        "threads for history, refresh and other calls that read MySQL"),
    KEY("query", "queue", IM_CONF_UINT, query_queue, "1024", 1, 65536,
        "of these calls that may wait; beyond it clients get busy"),
    KEY("sync", "threads", IM_CONF_UINT, sync_threads, "4", 1, 64,
        "threads for sync and the list of conversations"),
    KEY("sync", "queue", IM_CONF_UINT, sync_queue, "8192", 1, 65536,
        "of these calls that may wait, for a thread or for the store; beyond "
        "it clients get busy"),
    KEY("rooms", "group_max", IM_CONF_UINT, rooms_group_max, "5000", 1, 100000,
        "members of a group"),
    KEY("rooms", "live_max", IM_CONF_UINT, rooms_live_max,
        "100000", 1, 1000000,
        "users in a live room at a time"),
    KEY("rooms", "live_keep_s", IM_CONF_UINT, rooms_live_keep_s,
        "3600", 0, 31536000,
        "rows of a live room without history are deleted after this long; "
        "0: never, else 60 and twice [dedupe] window_s at least; the same "
        "in all instances"),
    KEY("rooms", "user_groups_max", IM_CONF_UINT, rooms_user_groups_max,
        "1000", 1, 5000,
        "groups that one user may be in"),
    KEY("devices", "policy", IM_CONF_STR, devices_policy, "all", 0, 0,
        "which connections of one user stay: all, one_per_class (the newest "
        "of each device class) or one (the newest)"),
    KEY("devices", "max", IM_CONF_UINT, devices_max, "1000", 1, 10000,
        "connections of one user at a time"),
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};
