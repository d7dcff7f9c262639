/*
 * im_kafka_consumer.c -- a member of a consumer group, and topic creation.
 *
 * Offsets are stored by the caller when the work is done; the library commits
 * what was stored, a few times a second and at the end.
 *
 * Batches: librdkafka's batch call would wait for its full time-out to fill
 * the batch, which is the latency that a lone message must not see.  So the
 * first record is waited for, and the rest is taken only if it is there.
 *
 * Room: store.  One thread for each consumer.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_kafka_int.h"


struct im_kafka_consumer_s {
    rd_kafka_t        *rk;
    rd_kafka_queue_t  *queue;
    char              *topic;
    im_kafka_log_t     log;            /* first: it is the opaque */
    void             (*revoke)(void *ctx);
    void              *ctx;
};


static void consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque);
static int consumer_take(im_kafka_record_t *record, rd_kafka_message_t *m);
static uint64_t consumer_now_ms(void);


im_kafka_consumer_t *
im_kafka_consumer_create(const im_kafka_consumer_conf_t *conf)
{
    char                              error[256], session[16];
    rd_kafka_conf_t                  *rc;
    im_kafka_consumer_t              *c;
    rd_kafka_topic_partition_list_t  *topics;

    snprintf(session, sizeof(session), "%u", conf->session_ms);

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", conf->brokers },
        { "group.id", conf->group },
        { "client.id", conf->client_id },
        { "session.timeout.ms", session },
        { "heartbeat.interval.ms",
          IM_TIMEOUT_STR(IM_KAFKA_HEARTBEAT_MS) },
        { "max.poll.interval.ms", IM_TIMEOUT_STR(IM_KAFKA_POLL_MAX_MS) },
        { "enable.auto.offset.store", "false" },
        { "enable.auto.commit", "true" },
        { "auto.commit.interval.ms", IM_TIMEOUT_STR(IM_KAFKA_COMMIT_MS) },
        { "auto.offset.reset", "earliest" },
        { "fetch.wait.max.ms", IM_TIMEOUT_STR(IM_KAFKA_FETCH_WAIT_MS) },
        { "fetch.error.backoff.ms",
          IM_TIMEOUT_STR(IM_KAFKA_FETCH_BACKOFF_MS) },
        { "queued.min.messages", "100000" },
        { "socket.nagle.disable", "true" },
        { "socket.timeout.ms", IM_TIMEOUT_STR(IM_KAFKA_SOCKET_MS) },
        { "socket.connection.setup.timeout.ms",
          IM_TIMEOUT_STR(IM_KAFKA_CONNECT_MS) },
        { "reconnect.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MIN_MS) },
        { "reconnect.backoff.max.ms",
          IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MAX_MS) },
        { "topic.metadata.refresh.interval.ms",
          IM_TIMEOUT_STR(IM_KAFKA_METADATA_MS) },
        { "allow.auto.create.topics", "false" },
        { "log.connection.close", "false" },
        { NULL, NULL }
    };

    c = calloc(1, sizeof(im_kafka_consumer_t));
    if (c == NULL) {
        return NULL;
    }

    c->log.log = conf->log;
    c->log.ctx = conf->log_ctx;
    c->revoke = conf->revoke;
    c->ctx = conf->ctx;
    c->topic = strdup(conf->topic);

    rc = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(rc, &c->log);
    rd_kafka_conf_set_log_cb(rc, im_kafka_log_cb);
    rd_kafka_conf_set_rebalance_cb(rc, consumer_rebalance);

    if (im_kafka_set(rc, settings, error, sizeof(error)) == IM_OK) {
        c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, rc, error, sizeof(error));
    }

    if (c->rk == NULL) {
        if (conf->log != NULL) {
            conf->log(conf->log_ctx, IM_LOG_ERR, error);
        }

        rd_kafka_conf_destroy(rc);
        free(c->topic);
        free(c);
        return NULL;
    }

    rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);

    topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, conf->topic,
                                      RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(c->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);

    return c;
}


/* On the consuming thread, inside a poll. */
static void
consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    char                  text[96];
    im_kafka_log_t       *log = opaque;
    im_kafka_consumer_t  *c;

    c = (im_kafka_consumer_t *) ((char *) log
                                 - offsetof(im_kafka_consumer_t, log));

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        rd_kafka_assign(rk, parts);

    } else {
        if (c->revoke != NULL) {
            c->revoke(c->ctx);
        }

        rd_kafka_commit(rk, NULL, 0);
        rd_kafka_assign(rk, NULL);
    }

    if (c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: %d partitions of %.40s",
                 (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) ? "assigned"
                                                               : "revoked",
                 parts->cnt, c->topic);
        c->log.log(c->log.ctx, IM_LOG_NOTICE, text);
    }
}


size_t
im_kafka_consume(im_kafka_consumer_t *c, im_kafka_record_t *records,
    size_t max, unsigned wait_ms, unsigned fill_ms)
{
    int                  left;
    size_t               n;
    uint64_t             until, now;
    rd_kafka_message_t  *m;

    n = 0;
    left = (int) wait_ms;
    until = 0;

    while (n < max) {
        m = rd_kafka_consumer_poll(c->rk, left);

        if (m == NULL) {
            break;
        }

        if (consumer_take(&records[n], m) != IM_OK) {
            rd_kafka_message_destroy(m);

            if (n == 0) {
                break;                 /* an event, not a record */
            }

            continue;
        }

        n++;

        if (until == 0) {
            until = consumer_now_ms() + fill_ms;
        }

        left = 0;

        if (fill_ms != 0) {
            now = consumer_now_ms();
            left = (until > now) ? (int) (until - now) : 0;
        }
    }

    return n;
}


static int
consumer_take(im_kafka_record_t *record, rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return IM_DECLINED;
    }

    record->partition = m->partition;
    record->offset = m->offset;
    record->key.data = m->key;
    record->key.len = m->key_len;
    record->value.data = m->payload;
    record->value.len = m->len;
    record->handle = m;

    return IM_OK;
}


void
im_kafka_batch_free(im_kafka_record_t *records, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        rd_kafka_message_destroy(records[i].handle);
    }
}


int
im_kafka_store(im_kafka_consumer_t *c, int partition, int64_t offset)
{
    int                               rc;
    rd_kafka_topic_partition_list_t  *list;

    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, c->topic, partition)->offset =
        offset + 1;

    /* refused when the partition has just been taken away: another member
     * does this work again, and it is safe to do twice */
    rc = (rd_kafka_offsets_store(c->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR)
         ? IM_OK : IM_DECLINED;

    rd_kafka_topic_partition_list_destroy(list);

    return rc;
}


int
im_kafka_commit(im_kafka_consumer_t *c)
{
    rd_kafka_resp_err_t  err;

    err = rd_kafka_commit(c->rk, NULL, 0);

    return (err == RD_KAFKA_RESP_ERR_NO_ERROR
            || err == RD_KAFKA_RESP_ERR__NO_OFFSET) ? IM_OK : IM_ERROR;
}


void
im_kafka_consumer_destroy(im_kafka_consumer_t *c)
{
    if (c == NULL) {
        return;
    }

    rd_kafka_consumer_close(c->rk);
    rd_kafka_queue_destroy(c->queue);
    rd_kafka_destroy(c->rk);
    free(c->topic);
    free(c);
}


static uint64_t
consumer_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
