/*
 * im_kafka_member.c -- the librdkafka handle of a member of a consumer group.
 *
 * How soon the work of a dead member goes on: the broker notices after
 * session.timeout.ms without a heartbeat, and the others learn of it with the
 * answer to their next heartbeat.  So a member that dies is replaced after a
 * session and a heartbeat at most.
 *
 * Rejected: static members, cooperative rebalancing and the newer group
 * protocol; docs/internals/pushing.md says why.
 *
 * Room: store.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "im_kafka_int.h"


#define MEMBER_FILL_BYTES  "131072"    /* an answer that is large enough */
#define MEMBER_BEATS       3           /* of a session, at least */


static unsigned member_heartbeat_ms(const im_kafka_consumer_conf_t *conf);
static rd_kafka_t *member_new(const im_kafka_consumer_conf_t *conf,
    rd_kafka_conf_t *rc, char *error, size_t size);


rd_kafka_t *
im_kafka_member_create(const im_kafka_consumer_conf_t *conf,
    im_kafka_log_t *log, im_kafka_rebalance_pt rebalance,
    im_kafka_error_pt on_error)
{
    char                              error[256];
    rd_kafka_t                       *rk;
    rd_kafka_conf_t                  *rc;
    rd_kafka_topic_partition_list_t  *topics;

    rc = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(rc, log);
    rd_kafka_conf_set_log_cb(rc, im_kafka_log_cb);
    rd_kafka_conf_set_error_cb(rc, on_error);
    rd_kafka_conf_set_rebalance_cb(rc, rebalance);

    rk = member_new(conf, rc, error, sizeof(error));

    if (rk == NULL) {
        if (log->log != NULL) {
            log->log(log->ctx, IM_LOG_ERR, error);
        }

        rd_kafka_conf_destroy(rc);
        return NULL;
    }

    rd_kafka_poll_set_consumer(rk);

    topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, conf->topic,
                                      RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);

    return rk;
}


static rd_kafka_t *
member_new(const im_kafka_consumer_conf_t *conf, rd_kafka_conf_t *rc,
    char *error, size_t size)
{
    char  session[16], beat[16], poll[16], fill[16];

    snprintf(session, sizeof(session), "%u", conf->session_ms);
    snprintf(beat, sizeof(beat), "%u", member_heartbeat_ms(conf));
    snprintf(poll, sizeof(poll), "%u", conf->poll_max_ms);
    snprintf(fill, sizeof(fill), "%u", conf->fill_ms ? conf->fill_ms
                                       : IM_KAFKA_FETCH_WAIT_MS);

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", conf->brokers },
        { "group.id", conf->group },
        { "client.id", conf->client_id },
        { "session.timeout.ms", session },
        { "heartbeat.interval.ms", beat },
        { "max.poll.interval.ms", poll },
        { "enable.auto.offset.store", "false" },
        { "enable.auto.commit", "true" },
        { "auto.commit.interval.ms", IM_TIMEOUT_STR(IM_KAFKA_COMMIT_MS) },
        { "auto.offset.reset", "earliest" },
        { "fetch.wait.max.ms", fill },
        { "fetch.min.bytes", conf->fill_ms ? MEMBER_FILL_BYTES : "1" },
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

    return (im_kafka_set(rc, settings, error, size) == IM_OK)
           ? rd_kafka_new(RD_KAFKA_CONSUMER, rc, error, size) : NULL;
}


static unsigned
member_heartbeat_ms(const im_kafka_consumer_conf_t *conf)
{
    unsigned  most;

    most = conf->session_ms / MEMBER_BEATS;

    return (most < IM_KAFKA_HEARTBEAT_MS) ? most : IM_KAFKA_HEARTBEAT_MS;
}


uint64_t
im_kafka_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
