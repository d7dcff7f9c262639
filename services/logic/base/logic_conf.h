/*
 * logic_conf.h -- configuration, as im_daemon_init wants it.
 */

#ifndef LOGIC_CONF_H
#define LOGIC_CONF_H

#include "im_conf.h"
#include "im_jwt.h"

typedef struct {
    im_daemon_conf_t   common;
    char              *rpc_listen;
    char              *rpc_advertise;
    unsigned           shards;
    unsigned           queue;
    unsigned           hold_max_us;
    unsigned           room_hold_max_us;
    unsigned           kafka_delivery_ms;
    char              *store_group;
    unsigned           dedupe_window_s;
    unsigned           body_window_ms;
    char              *jwt_key_file;
    unsigned           access_ttl_s;
    unsigned           refresh_ttl_s;
    unsigned           ticket_ttl_s;
    unsigned           argon2_memory_kib;
    unsigned           argon2_ops;
    unsigned           auth_threads;
    unsigned           auth_queue;
    unsigned           query_threads;
    unsigned           query_queue;
    unsigned           sync_threads;
    unsigned           sync_queue;
    char              *devices_policy;
    unsigned           devices_max;
    unsigned           rooms_group_max;
    unsigned           rooms_live_max;
    unsigned           rooms_live_keep_s;
    unsigned           rooms_user_groups_max;
} logic_conf_t;

extern logic_conf_t  logic_conf;
extern im_jwt_key_t  logic_jwt_key;     /* of the access tokens */

extern const im_conf_key_t  logic_conf_keys[];

/* NULL, or what is wrong; loads the key of the tokens. */
const char *logic_conf_check(void *conf);

#endif
