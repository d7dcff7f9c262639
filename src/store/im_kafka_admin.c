/*
 * im_kafka_admin.c -- creating topics, and how they are kept, for tools.
 *
 * Room: store.
 */

#include <stdio.h>
#include <string.h>

#include "im_kafka_int.h"


static rd_kafka_t *admin_open(const char *brokers, char *error, size_t size);
static int admin_create(rd_kafka_t *rk, const char *topic, int partitions,
    int replication, unsigned timeout_ms, char *error, size_t size);
static int admin_value(rd_kafka_event_t *ev, const char *name,
    const char *value);


int
im_kafka_topic_create(const char *brokers, const char *topic, int partitions,
    int replication, unsigned timeout_ms, char *error, size_t size)
{
    int          rc;
    rd_kafka_t  *rk;

    rk = admin_open(brokers, error, size);
    if (rk == NULL) {
        return IM_ERROR;
    }

    rc = admin_create(rk, topic, partitions, replication, timeout_ms, error,
                      size);
    rd_kafka_destroy(rk);

    return rc;
}


static rd_kafka_t *
admin_open(const char *brokers, char *error, size_t size)
{
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

    rk = (im_kafka_set(conf, settings, error, size) == IM_OK)
         ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, size) : NULL;

    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
    }

    return rk;
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


int
im_kafka_topic_syncs(const char *brokers, const char *topic,
    unsigned timeout_ms, char *error, size_t size)
{
    int                         rc;
    rd_kafka_t                 *rk;
    rd_kafka_queue_t           *queue;
    rd_kafka_event_t           *ev;
    rd_kafka_AdminOptions_t    *options;
    rd_kafka_ConfigResource_t  *resource;

    rk = admin_open(brokers, error, size);
    if (rk == NULL) {
        return IM_ERROR;
    }

    resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_request_timeout(options, (int) timeout_ms,
                                              error, size);

    queue = rd_kafka_queue_new(rk);
    rd_kafka_DescribeConfigs(rk, &resource, 1, options, queue);
    ev = rd_kafka_queue_poll(queue, (int) timeout_ms + 1000);

    rc = IM_ERROR;

    if (ev == NULL) {
        snprintf(error, size, "no answer in %u ms", timeout_ms);

    } else if (rd_kafka_event_error(ev)) {
        snprintf(error, size, "%s", rd_kafka_event_error_string(ev));

    } else {
        rc = admin_value(ev, "flush.messages", "1");
    }

    if (ev != NULL) {
        rd_kafka_event_destroy(ev);
    }

    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_destroy(rk);

    return rc;
}


/* IM_OK: the setting has this value. */
static int
admin_value(rd_kafka_event_t *ev, const char *name, const char *value)
{
    size_t                             i, n;
    const char                        *is;
    const rd_kafka_ConfigEntry_t     **entries;
    const rd_kafka_ConfigResource_t  **resources;

    resources = rd_kafka_DescribeConfigs_result_resources(
                    rd_kafka_event_DescribeConfigs_result(ev), &n);

    if (n != 1
        || rd_kafka_ConfigResource_error(resources[0])
           != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        return IM_DECLINED;
    }

    entries = rd_kafka_ConfigResource_configs(resources[0], &n);

    for (i = 0; i < n; i++) {
        is = rd_kafka_ConfigEntry_value(entries[i]);

        if (is != NULL && strcmp(is, value) == 0
            && strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
        {
            return IM_OK;
        }
    }

    return IM_DECLINED;
}
