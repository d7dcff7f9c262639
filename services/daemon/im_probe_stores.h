/*
 * im_probe_stores.h -- the looks of the probes: what "it works" means for
 * Redis, MySQL and Kafka.
 */

#ifndef IM_PROBE_STORES_H
#define IM_PROBE_STORES_H

#include "im_conf.h"
#include "im_kafka.h"
#include "im_mysql.h"
#include "im_probe.h"
#include "im_redis.h"

/* Statements that fail if a table or a column is not there, or must not be
 * written: SELECT of one number, or another one without rows.  Literals; the
 * list ends with NULL. */
typedef const char  *im_probe_sql_t;

typedef struct {
    im_probe_t               probe;
    const im_daemon_conf_t  *conf;
    im_redis_t              *redis;
} im_probe_redis_t;

typedef struct {
    im_probe_t               probe;
    im_probe_t               schema;       /* whether it is ours */
    const im_daemon_conf_t  *conf;
    const im_probe_sql_t    *sql;
    im_mysql_t              *mysql;
} im_probe_mysql_t;

typedef struct {
    im_probe_t               probe;
    const im_daemon_conf_t  *conf;
    const char              *dead_topic;   /* NULL: not needed */
    im_kafka_probe_t        *kafka;
    atomic_int               partial;      /* some partitions have a leader */
} im_probe_kafka_t;

/* Static memory, the fields above set as far as they are the caller's.
 * IM_ERROR: out of memory or threads. */
int im_probe_redis_start(im_probe_redis_t *r);
int im_probe_mysql_start(im_probe_mysql_t *m);
int im_probe_kafka_start(im_probe_kafka_t *k);

/* Waits until it works and has our schema, as im_probe_wait() does. */
int im_probe_mysql_wait(im_probe_mysql_t *m);

/* One look of the probe: ctx is an im_probe_redis_t with conf and redis. */
int im_probe_redis_look(void *ctx, char *error, size_t size);

/* After im_probe_stop_all(); each may not have been started. */
void im_probe_redis_free(im_probe_redis_t *r);
void im_probe_mysql_free(im_probe_mysql_t *m);
void im_probe_kafka_free(im_probe_kafka_t *k);

#endif
