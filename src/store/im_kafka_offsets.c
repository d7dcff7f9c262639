/*
 * im_kafka_offsets.c -- a topic's end, and how far a consumer group has come,
 * seen from outside.
 *
 * The handle carries the group's name and never subscribes, so it is no member
 * of the group: watching neither starts a rebalance nor is served by one.
 *
 * A caller who reads the end first and waits for the group to reach it knows
 * that all that had been appended before is done.  Therefore the end is asked
 * for anew each time, at the partition's leader, and it is the end of what is
 * appended, not of what a transaction has released.
 *
 * Both are asked of many partitions at a time: a watcher of 64 partitions costs
 * the broker as many requests as one of a single one.
 *
 * Room: store.  Any thread; a call waits for its own requests only.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_kafka_int.h"


struct im_kafka_offsets_s {
    rd_kafka_t      *rk;
    char            *topic;
    im_kafka_log_t   log;
};


static rd_kafka_t *offsets_open(const im_kafka_offsets_conf_t *conf,
    im_kafka_log_t *log);
static rd_kafka_topic_partition_list_t *offsets_list(im_kafka_offsets_t *o,
    uint64_t partitions, int64_t offset);
static int offsets_answer(rd_kafka_topic_partition_list_t *list,
    rd_kafka_resp_err_t err, int64_t *offsets);


im_kafka_offsets_t *
im_kafka_offsets_create(const im_kafka_offsets_conf_t *conf)
{
    im_kafka_offsets_t  *o;

    o = calloc(1, sizeof(im_kafka_offsets_t));
    if (o == NULL) {
        return NULL;
    }

    o->log.log = conf->log;
    o->log.ctx = conf->log_ctx;
    o->topic = strdup(conf->topic);

    if (o->topic != NULL) {
        o->rk = offsets_open(conf, &o->log);
    }

    if (o->rk == NULL) {
        im_kafka_offsets_destroy(o);
        return NULL;
    }

    return o;
}


static rd_kafka_t *
offsets_open(const im_kafka_offsets_conf_t *conf, im_kafka_log_t *log)
{
    char              error[256];
    rd_kafka_t       *rk;
    rd_kafka_conf_t  *rc;

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", conf->brokers },
        { "group.id", conf->group },
        { "client.id", conf->client_id },
        { "isolation.level", "read_uncommitted" },
        { "enable.auto.commit", "false" },
        { "enable.auto.offset.store", "false" },
        { "allow.auto.create.topics", "false" },
        { "socket.nagle.disable", "true" },
        { "socket.timeout.ms", IM_TIMEOUT_STR(IM_KAFKA_SOCKET_MS) },
        { "socket.connection.setup.timeout.ms",
          IM_TIMEOUT_STR(IM_KAFKA_CONNECT_MS) },
        { "reconnect.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MIN_MS) },
        { "reconnect.backoff.max.ms",
          IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MAX_MS) },
        { "topic.metadata.refresh.interval.ms",
          IM_TIMEOUT_STR(IM_KAFKA_METADATA_MS) },
        { "log.connection.close", "false" },
        { NULL, NULL }
    };

    rk = NULL;
    rc = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(rc, log);
    rd_kafka_conf_set_log_cb(rc, im_kafka_log_cb);

    if (im_kafka_set(rc, settings, error, sizeof(error)) == IM_OK) {
        rk = rd_kafka_new(RD_KAFKA_CONSUMER, rc, error, sizeof(error));
    }

    if (rk == NULL) {
        if (log->log != NULL) {
            log->log(log->ctx, IM_LOG_ERR, error);
        }

        rd_kafka_conf_destroy(rc);
    }

    return rk;
}


int
im_kafka_offsets_ends(im_kafka_offsets_t *o, uint64_t partitions,
    unsigned timeout_ms, int64_t *ends)
{
    rd_kafka_resp_err_t               err;
    rd_kafka_topic_partition_list_t  *list;

    /* the offset is the question: a time, of which -1 means the end */

    list = offsets_list(o, partitions, RD_KAFKA_OFFSET_END);
    err = rd_kafka_offsets_for_times(o->rk, list, (int) timeout_ms);

    return offsets_answer(list, err, ends);
}


int
im_kafka_offsets_commits(im_kafka_offsets_t *o, uint64_t partitions,
    unsigned timeout_ms, int64_t *commits)
{
    rd_kafka_resp_err_t               err;
    rd_kafka_topic_partition_list_t  *list;

    list = offsets_list(o, partitions, RD_KAFKA_OFFSET_INVALID);
    err = rd_kafka_committed(o->rk, list, (int) timeout_ms);

    return offsets_answer(list, err, commits);
}


static rd_kafka_topic_partition_list_t *
offsets_list(im_kafka_offsets_t *o, uint64_t partitions, int64_t offset)
{
    int                               p;
    rd_kafka_topic_partition_list_t  *list;

    list = rd_kafka_topic_partition_list_new(IM_KAFKA_OFFSETS_MAX);

    for (p = 0; p < IM_KAFKA_OFFSETS_MAX; p++) {
        if (partitions & (1ULL << p)) {
            rd_kafka_topic_partition_list_add(list, o->topic, p)->offset
                = offset;
        }
    }

    return list;
}


static int
offsets_answer(rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t err,
    int64_t *offsets)
{
    int                          i, known;
    rd_kafka_topic_partition_t  *p;

    known = 0;

    for (i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
        p = &list->elems[i];

        if (p->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            offsets[p->partition] = (p->offset >= 0) ? p->offset : -1;
            known = 1;

        } else {
            offsets[p->partition] = IM_KAFKA_OFFSETS_UNKNOWN;
        }
    }

    rd_kafka_topic_partition_list_destroy(list);

    return known ? IM_OK : IM_AGAIN;
}


void
im_kafka_offsets_destroy(im_kafka_offsets_t *o)
{
    if (o == NULL) {
        return;
    }

    if (o->rk != NULL) {
        rd_kafka_destroy(o->rk);
    }

    free(o->topic);
    free(o);
}
