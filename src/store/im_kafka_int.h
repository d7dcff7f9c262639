/*
 * im_kafka_int.h -- configuration of librdkafka clients, shared by producer,
 * consumer and admin.
 */

#ifndef IM_KAFKA_INT_H
#define IM_KAFKA_INT_H

#include <librdkafka/rdkafka.h>

#include "im_kafka.h"
#include "im_timeouts.h"

typedef struct {
    const char  *key;
    const char  *value;
} im_kafka_setting_t;

/* Sets a list that ends with key NULL; IM_ERROR and the reason in error. */
int im_kafka_set(rd_kafka_conf_t *conf, const im_kafka_setting_t *settings,
    char *error, size_t size);

/* librdkafka's log lines to an im_log_pt.  The rest belongs to the thread that
 * polls: the last error that was logged, and when. */
typedef struct {
    im_log_pt    log;
    void        *ctx;
    int          error;
    uint64_t     error_ms;
} im_kafka_log_t;

uint64_t im_kafka_now_ms(void);        /* monotonic; im_kafka_consumer.c */

/* An error of a handle, from its poll: logged when it differs from the last
 * one, or a minute later.  what: "consumer im.push". */
void im_kafka_log_error(im_kafka_log_t *log, const char *what,
    rd_kafka_resp_err_t err, const char *text);

/* A handle that has joined conf's group, with log as its opaque; NULL on an
 * error, which is logged.  im_kafka_member.c */
typedef void (*im_kafka_rebalance_pt)(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque);
typedef void (*im_kafka_error_pt)(rd_kafka_t *rk, int err, const char *reason,
    void *opaque);
rd_kafka_t *im_kafka_member_create(const im_kafka_consumer_conf_t *conf,
    im_kafka_log_t *log, im_kafka_rebalance_pt rebalance,
    im_kafka_error_pt error);

void im_kafka_log_cb(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf);

#endif
