/*
 * im_kafka_admin.c -- creating topics, for tools.
 *
 * Room: store.
 */

#include <stdio.h>
#include <string.h>

#include "im_kafka_int.h"


static int admin_create(rd_kafka_t *rk, const char *topic, int partitions,
    int replication, unsigned timeout_ms, char *error, size_t size);


int
im_kafka_topic_create(const char *brokers, const char *topic, int partitions,
    int replication, unsigned timeout_ms, char *error, size_t size)
{
    int               rc;
    rd_kafka_t       *rk;
    rd_kafka_conf_t  *conf;

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", brokers },
        { "client.id", "im-topics" },
        { "socket.connection.setup.timeout.ms",
          IM_TIMEOUT_STR(IM_KAFKA_CONNECT_MS) },
        { "reconnect.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MIN_MS) },
        { "reconnect.backoff.max.ms",
          IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MAX_MS) },
        { "log_level", "0" },
        { NULL, NULL }
    };

    conf = rd_kafka_conf_new();

    if (im_kafka_set(conf, settings, error, size) != IM_OK) {
        rd_kafka_conf_destroy(conf);
        return IM_ERROR;
    }

    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, size);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return IM_ERROR;
    }

    rc = admin_create(rk, topic, partitions, replication, timeout_ms, error,
                      size);
    rd_kafka_destroy(rk);

    return rc;
}


static int
admin_create(rd_kafka_t *rk, const char *topic, int partitions,
    int replication, unsigned timeout_ms, char *error, size_t size)
{
    int                             rc;
    size_t                          n;
    rd_kafka_queue_t               *queue;
    rd_kafka_event_t               *ev;
    rd_kafka_NewTopic_t            *nt;
    rd_kafka_resp_err_t             err;
    rd_kafka_AdminOptions_t        *options;
    const rd_kafka_topic_result_t **results;

    nt = rd_kafka_NewTopic_new(topic, partitions, replication, error, size);
    if (nt == NULL) {
        return IM_ERROR;
    }

    if (replication == 1
        && rd_kafka_NewTopic_set_config(nt, "flush.messages", "1")
           != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        snprintf(error, size, "flush.messages cannot be set");
        rd_kafka_NewTopic_destroy(nt);
        return IM_ERROR;
    }

    options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, (int) timeout_ms,
                                              error, size);

    queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &nt, 1, options, queue);
    ev = rd_kafka_queue_poll(queue, (int) timeout_ms + 1000);

    rc = IM_ERROR;

    if (ev == NULL) {
        snprintf(error, size, "no answer in %u ms", timeout_ms);

    } else if (rd_kafka_event_error(ev)) {
        snprintf(error, size, "%s", rd_kafka_event_error_string(ev));

    } else {
        results = rd_kafka_CreateTopics_result_topics(
                      rd_kafka_event_CreateTopics_result(ev), &n);
        err = (n == 1) ? rd_kafka_topic_result_error(results[0])
                       : RD_KAFKA_RESP_ERR_UNKNOWN;

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR
            || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        {
            rc = IM_OK;

        } else {
            snprintf(error, size, "%s", rd_kafka_err2str(err));
        }
    }

    if (ev != NULL) {
        rd_kafka_event_destroy(ev);
    }

    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(nt);

    return rc;
}
