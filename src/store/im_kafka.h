/*
 * im_kafka.h -- librdkafka, with every time-out set and batches end to end.
 */

#ifndef IM_KAFKA_H
#define IM_KAFKA_H

#include "im_core.h"

typedef struct im_kafka_producer_s  im_kafka_producer_t;
typedef struct im_kafka_consumer_s  im_kafka_consumer_t;
typedef struct im_kafka_offsets_s   im_kafka_offsets_t;
typedef struct im_kafka_probe_s     im_kafka_probe_t;

/* Delivery reports of one poll; on the thread that polls. */
typedef void (*im_kafka_report_pt)(void *ctx, void *opaque, int ok,
    const char *error);

typedef struct {
    const char        *brokers;           /* "host:port,..." */
    const char        *client_id;
    unsigned           delivery_ms;       /* time to confirm, else failed */
    unsigned           queue_max;         /* messages waiting, then BUSY */
    im_kafka_report_pt report;
    void              *report_ctx;
    im_log_pt          log;
    void              *log_ctx;
} im_kafka_producer_conf_t;

/* Idempotent, acks=all, linger 0. */
im_kafka_producer_t *im_kafka_producer_create(
    const im_kafka_producer_conf_t *conf);

typedef struct {
    im_str_t       key;        /* copied */
    im_str_t       value;      /* malloc'ed; belongs to Kafka on IM_OK */
    void          *opaque;
    int            result;     /* out: IM_OK, IM_BUSY, IM_ERROR */
} im_kafka_message_t;

/* Partitions of a topic, 0 if it cannot be learned within timeout_ms. */
unsigned im_kafka_partitions(im_kafka_producer_t *p, const char *topic,
    unsigned timeout_ms);
/* Hands over n messages for one partition; any thread. */
void im_kafka_produce(im_kafka_producer_t *p, const char *topic, int partition,
    im_kafka_message_t *messages, size_t n);
typedef struct {
    const char    *name;
    const char    *value;
} im_kafka_header_t;

/* One message with headers, which are copied. */
void im_kafka_produce_with(im_kafka_producer_t *p, const char *topic,
    int partition, im_kafka_message_t *message,
    const im_kafka_header_t *headers, size_t n);
/* Serves delivery reports: waits up to timeout_ms for the first.  Returns the
 * number served.  batch_end (may be NULL) is called after each served event
 * with report_ctx.  One thread. */
size_t im_kafka_poll(im_kafka_producer_t *p, unsigned timeout_ms,
    void (*batch_end)(void *ctx));
/* 1 after a fatal error: the producer must be replaced. */
int im_kafka_fatal(im_kafka_producer_t *p);
/* Waits up to timeout_ms for reports of what is pending; then drops. */
void im_kafka_producer_destroy(im_kafka_producer_t *p, unsigned timeout_ms);


typedef struct {
    const char    *brokers;
    const char    *group;
    const char    *topic;
    const char    *client_id;
    /* Longer where the broker wants that, and for some minutes after a loss
     * that a longer one would have prevented. */
    unsigned       session_ms;
    unsigned       poll_max_ms;    /* longer without a poll: excluded */
    /* 0: records come at once.  Else the broker may delay its answer for up to
     * this time, unless it grows large: a request costs more than a record. */
    unsigned       fill_ms;
    im_log_pt      log;
    void          *log_ctx;
    /* The partitions of this member are about to change: finish and store
     * the batches in hand, and free their records.  On the consuming thread.
     * NULL: no record is held when im_kafka_consume is called. */
    void         (*revoke)(void *ctx);
    void          *ctx;
} im_kafka_consumer_conf_t;

typedef struct {
    int            partition;
    int64_t        offset;
    im_str_t       key;
    im_str_t       value;      /* valid until im_kafka_batch_free */
    void          *handle;
} im_kafka_record_t;

im_kafka_consumer_t *im_kafka_consumer_create(
    const im_kafka_consumer_conf_t *conf);
/*
 * Waits up to wait_ms for a first record, then takes all that are there, up to
 * max.
 * Returns the number, 0 on time-out.  One thread.
 */
size_t im_kafka_consume(im_kafka_consumer_t *c, im_kafka_record_t *records,
    size_t max, unsigned wait_ms);
void im_kafka_batch_free(im_kafka_record_t *records, size_t n);
/*
 * For a consumer whose database is away: between pause and resume no record
 * comes; im_kafka_idle takes ms and serves the group meanwhile.  IM_OK;
 * IM_DECLINED: partitions were revoked since im_kafka_consume returned.  Their
 * new owner reads its batch again, so it must be dropped.
 */
void im_kafka_pause(im_kafka_consumer_t *c);
void im_kafka_resume(im_kafka_consumer_t *c);
int im_kafka_idle(im_kafka_consumer_t *c, unsigned ms);
/* All records of a partition up to and including offset are done. */
int im_kafka_store(im_kafka_consumer_t *c, int partition, int64_t offset);
/* 1: the group has said once which partitions are ours.  Any thread. */
int im_kafka_has_joined(im_kafka_consumer_t *c);
/* Records of the own partitions that are not done.  Mostly without a request to
 * the broker; else each one has timeout_ms.  IM_AGAIN: it does not answer, or
 * the group has not said yet which are ours. */
int im_kafka_lag(im_kafka_consumer_t *c, unsigned timeout_ms, uint64_t *lag);
/* Begins to commit what was stored, and does not wait. */
void im_kafka_commit_soon(im_kafka_consumer_t *c);
void im_kafka_consumer_destroy(im_kafka_consumer_t *c);


typedef struct {
    const char    *brokers;
    const char    *group;          /* watched, never joined */
    const char    *topic;
    const char    *client_id;
    im_log_pt      log;
    void          *log_ctx;
} im_kafka_offsets_conf_t;

/* Connects in the background. */
im_kafka_offsets_t *im_kafka_offsets_create(
    const im_kafka_offsets_conf_t *conf);
/*
 * ends[p]: the offset that the next record of partition p will get, from its
 * leader.  commits[p]: the group has done all below it; -1: nothing yet.
 * IM_KAFKA_OFFSETS_UNKNOWN: there is no such partition, or the broker does not
 * tell.  Only for those of partitions 0 to 63 whose bit is set.
 *
 * Any thread; waits up to timeout_ms.  IM_OK: some are known.  IM_AGAIN: no
 * answer in time, nothing is changed; for the ends one partition without a
 * leader is enough for that.
 */
#define IM_KAFKA_OFFSETS_MAX      64
#define IM_KAFKA_OFFSETS_UNKNOWN  (-2)

int im_kafka_offsets_ends(im_kafka_offsets_t *o, uint64_t partitions,
    unsigned timeout_ms, int64_t *ends);
int im_kafka_offsets_commits(im_kafka_offsets_t *o, uint64_t partitions,
    unsigned timeout_ms, int64_t *commits);
/* No call may be running. */
void im_kafka_offsets_destroy(im_kafka_offsets_t *o);

/* One thread; connects in the background. */
im_kafka_probe_t *im_kafka_probe_create(const char *brokers);
/*
 * Asks for a topic, and waits up to timeout_ms.  IM_OK: *partitions, each with
 * a leader; IM_DECLINED: there is no such topic; IM_AGAIN: no answer, or an
 * unusable one.  error holds the reason.
 */
int im_kafka_probe_topic(im_kafka_probe_t *p, const char *topic,
    unsigned timeout_ms, unsigned *partitions, char *error, size_t size);
void im_kafka_probe_destroy(im_kafka_probe_t *p);

/*
 * Admin, for tools: creates a topic; IM_OK also if it exists already.  Of a
 * topic that lies on one broker only (replication 1) that broker syncs each
 * write to disk before it acknowledges it.
 */
int im_kafka_topic_create(const char *brokers, const char *topic,
    int partitions, int replication, unsigned timeout_ms, char *error,
    size_t error_size);
/* IM_OK: each write of the topic is synced to disk (flush.messages=1);
 * IM_DECLINED: no; IM_ERROR: no answer. */
int im_kafka_topic_syncs(const char *brokers, const char *topic,
    unsigned timeout_ms, char *error, size_t error_size);

#endif
