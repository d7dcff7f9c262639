/*
 * logic.h -- im-logic: configuration and what its parts share.
 *
 *   rpc thread     takes calls and stream batches, hands them to queues
 *   shard threads  order, dedupe and produce messages        logic_intake.c,
 *                                                             logic_batch.c
 *   report thread  acks what Kafka has confirmed             logic_produce.c
 *   fate           numbers of what was refused               logic_fate.c
 *   decided        has Redis lost its memory?                logic_decided.c
 *   presence       opens and closes, who is told of them     logic_presence.c
 *   janitor        Redis's memory, what dead workers left    logic_janitor.c
 *   voids          writes void numbers down          logic_voids_writer.c
 *   rooms          who is online in rooms, and telling    logic_rooms_online.c
 *   trim           rows of live rooms are deleted           logic_rooms_trim.c
 *   questions      what shards must ask of MySQL           logic_asking.c
 *   pools          "auth" (password hashing), "query", "live" (Redis only),
 *                  "removed" (workers ask who was),
 *                  "sync" (waits for the store)            logic_pool.c
 */

#ifndef LOGIC_H
#define LOGIC_H

#include "im_check.h"
#include "im_clock.h"
#include "im_daemon.h"
#include "im_disc.h"
#include "im_health.h"
#include "im_instance.h"
#include "im_jwt.h"
#include "im_kafka.h"
#include "im_log.h"
#include "im_mysql.h"
#include "im_redis.h"
#include "im_rpc.h"
#include "logic.pb-c.h"
#include "logic_stores.h"

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
extern im_jwt_key_t  logic_jwt_key;

/* Fails a request with a code of im_error.h and a sentence. */
void logic_fail(im_rpc_req_t *req, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what all instances lack, and a probe has logged: no reason for
 * the caller to leave this one alone. */
void logic_fail_shared(im_rpc_req_t *req, const char *code,
    const char *text);

#endif
