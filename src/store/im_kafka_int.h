/*
 * im_kafka_int.h -- what the files of im_kafka share: configuration of
 * librdkafka clients, and parts of a consumer.
 */

#ifndef IM_KAFKA_INT_H
#define IM_KAFKA_INT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

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

uint64_t im_kafka_now_ms(void);        /* monotonic; im_kafka_member.c */

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

/* The session of a member (im_kafka_session.c). */
typedef struct {
    unsigned     usual_ms;
    unsigned     long_ms;
    unsigned     now_ms;           /* of the handle there is */
    uint64_t     polled_ms;        /* when the last poll began */
    uint64_t     long_until_ms;
    unsigned     is_away:1;        /* lost, and not assigned since */
} im_kafka_session_t;

/* The one to ask for. */
unsigned im_kafka_session_ms(const im_kafka_session_t *s, uint64_t now_ms);
void im_kafka_session_lost(im_kafka_session_t *s, uint64_t now_ms);
void im_kafka_session_assigned(im_kafka_session_t *s, uint64_t now_ms,
    unsigned some);

/* What a member has done of its partitions (im_kafka_lag.c). */
typedef struct {
    int64_t     *next;             /* offset by partition, -1: not known */
    int          n;
} im_kafka_done_t;

void im_kafka_done_set(im_kafka_done_t *done, int partition, int64_t next);
void im_kafka_done_forget(im_kafka_done_t *done);
/* As im_kafka_lag(). */
int im_kafka_done_lag(im_kafka_done_t *done, rd_kafka_t *rk, int paused,
    unsigned timeout_ms, uint64_t *lag);

void im_kafka_log_cb(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf);

/* For im_kafka_consumer.c and im_kafka_done.c. */
struct im_kafka_consumer_s {
    rd_kafka_t        *rk;
    rd_kafka_queue_t  *queue;
    char              *topic;
    im_kafka_log_t     log;            /* its address is the opaque */
    char               name[96];
    im_kafka_consumer_conf_t  conf;    /* its strings are ours */
    im_kafka_done_t    done;
    im_kafka_session_t session;
    uint64_t           again_ms;       /* a renewal that failed, not before */
    atomic_int         joined;         /* assigned once */
    unsigned           paused:1;
    unsigned           revoked:1;      /* since im_kafka_consume returned */
    unsigned           lost:1;         /* this handle is not to join again */
    unsigned           refused:1;      /* the session, by the broker */
    unsigned           closing:1;
    unsigned           assigned:1;     /* partitions, or that it has none */
};

#endif
