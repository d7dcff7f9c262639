/*
 * im_kafka_probe.c -- does Kafka answer, and are the topics there?
 *
 * A handle of its own, that neither produces nor is a member of a group: what
 * it learns does not depend on the traffic.  It is a consumer, because a
 * producer's question would create a topic where the broker allows that.
 *
 * librdkafka's errors ("Local: Broker transport failure") do not say why; its
 * log lines do ("Connection refused", a wrong password).  The last of these is
 * kept for the error text.
 *
 * Room: store.  One thread; the library's threads only leave the reason.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_kafka_int.h"


#define PROBE_REASON_MAX  160


struct im_kafka_probe_s {
    rd_kafka_t        *rk;
    char              *brokers;
    pthread_mutex_t    lock;
    char               reason[PROBE_REASON_MAX];
};


static rd_kafka_t *probe_open(im_kafka_probe_t *p);
static void probe_on_log(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf);
static int probe_answered(const struct rd_kafka_metadata *md,
    const char *topic, unsigned *partitions, char *error, size_t size);
static int probe_partitions(const rd_kafka_metadata_topic_t *t, char *error,
    size_t size);
static void probe_failed(im_kafka_probe_t *p, rd_kafka_resp_err_t err,
    unsigned timeout_ms, char *error, size_t size);


im_kafka_probe_t *
im_kafka_probe_create(const char *brokers)
{
    im_kafka_probe_t  *p;

    p = calloc(1, sizeof(im_kafka_probe_t));
    if (p == NULL) {
        return NULL;
    }

    pthread_mutex_init(&p->lock, NULL);
    p->brokers = strdup(brokers);

    if (p->brokers != NULL) {
        p->rk = probe_open(p);
    }

    if (p->rk == NULL) {
        im_kafka_probe_destroy(p);
        return NULL;
    }

    return p;
}


static rd_kafka_t *
probe_open(im_kafka_probe_t *p)
{
    char              error[256];
    rd_kafka_t       *rk;
    rd_kafka_conf_t  *rc;

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", p->brokers },
        { "client.id", "im-probe" },
        { "allow.auto.create.topics", "false" },
        { "enable.auto.commit", "false" },
        { "socket.nagle.disable", "true" },
        { "socket.timeout.ms", IM_TIMEOUT_STR(IM_PROBE_DEADLINE_MS) },
        { "socket.connection.setup.timeout.ms",
          IM_TIMEOUT_STR(IM_PROBE_DEADLINE_MS) },
        { "api.version.request.timeout.ms",
          IM_TIMEOUT_STR(IM_PROBE_DEADLINE_MS) },
        { "reconnect.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MIN_MS) },
        { "reconnect.backoff.max.ms", IM_TIMEOUT_STR(IM_PROBE_BACKOFF_MS) },
        { "topic.metadata.refresh.interval.ms",
          IM_TIMEOUT_STR(IM_KAFKA_METADATA_MS) },
        { "log.connection.close", "false" },
        { NULL, NULL }
    };

    rc = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(rc, p);
    rd_kafka_conf_set_log_cb(rc, probe_on_log);

    if (im_kafka_set(rc, settings, error, sizeof(error)) != IM_OK) {
        rd_kafka_conf_destroy(rc);
        return NULL;
    }

    rk = rd_kafka_new(RD_KAFKA_CONSUMER, rc, error, sizeof(error));

    if (rk == NULL) {
        rd_kafka_conf_destroy(rc);
    }

    return rk;
}


/* The library's threads.  "[thrd:...]: host:port/id: reason (after ...)" */
static void
probe_on_log(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf)
{
    const char        *text;
    im_kafka_probe_t  *p;

    (void) level;

    if (strcmp(fac, "FAIL") != 0 && strcmp(fac, "ERROR") != 0) {
        return;
    }

    p = rd_kafka_opaque(rk);
    text = strstr(buf, "]: ");
    text = (text != NULL) ? text + 3 : buf;

    pthread_mutex_lock(&p->lock);

    /* "1/1 brokers are down" says less than the line before it */

    if (strcmp(fac, "FAIL") == 0 || p->reason[0] == '\0') {
        snprintf(p->reason, sizeof(p->reason), "%s", text);
    }

    pthread_mutex_unlock(&p->lock);
}


int
im_kafka_probe_topic(im_kafka_probe_t *p, const char *topic,
    unsigned timeout_ms, unsigned *partitions, char *error, size_t size)
{
    int                              rc;
    rd_kafka_topic_t                *t;
    rd_kafka_resp_err_t              err;
    const struct rd_kafka_metadata  *md;

    t = rd_kafka_topic_new(p->rk, topic, NULL);
    if (t == NULL) {
        snprintf(error, size, "topic \"%s\": %s", topic,
                 rd_kafka_err2str(rd_kafka_last_error()));
        return IM_AGAIN;
    }

    err = rd_kafka_metadata(p->rk, 0, t, &md, (int) timeout_ms);
    rd_kafka_topic_destroy(t);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        probe_failed(p, err, timeout_ms, error, size);
        return IM_AGAIN;
    }

    rc = probe_answered(md, topic, partitions, error, size);
    rd_kafka_metadata_destroy(md);

    pthread_mutex_lock(&p->lock);
    p->reason[0] = '\0';
    pthread_mutex_unlock(&p->lock);

    return rc;
}


static int
probe_answered(const struct rd_kafka_metadata *md, const char *topic,
    unsigned *partitions, char *error, size_t size)
{
    const rd_kafka_metadata_topic_t  *t;

    if (md->topic_cnt != 1) {
        snprintf(error, size, "no answer about topic \"%s\"", topic);
        return IM_AGAIN;
    }

    t = &md->topics[0];

    if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        || (t->err == RD_KAFKA_RESP_ERR_NO_ERROR && t->partition_cnt == 0))
    {
        snprintf(error, size, "topic \"%s\" does not exist", topic);
        return IM_DECLINED;
    }

    if (t->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(error, size, "topic \"%s\": %s", topic,
                 rd_kafka_err2str(t->err));
        return IM_AGAIN;
    }

    *partitions = (unsigned) t->partition_cnt;

    return probe_partitions(t, error, size);
}


/* A partition that has no leader takes nothing; the others do. */
static int
probe_partitions(const rd_kafka_metadata_topic_t *t, char *error, size_t size)
{
    int                                   i, without;
    const rd_kafka_metadata_partition_t  *p;

    without = 0;

    for (i = 0; i < t->partition_cnt; i++) {
        p = &t->partitions[i];

        if (p->leader < 0 && without++ == 0) {
            snprintf(error, size, "partition %d of topic \"%s\" has no "
                     "leader: %s", (int) p->id, t->topic,
                     rd_kafka_err2str(p->err));
        }
    }

    if (without == 0) {
        return IM_OK;
    }

    return (without < t->partition_cnt) ? IM_BUSY : IM_AGAIN;
}


static void
probe_failed(im_kafka_probe_t *p, rd_kafka_resp_err_t err,
    unsigned timeout_ms, char *error, size_t size)
{
    pthread_mutex_lock(&p->lock);

    if (p->reason[0] != '\0') {
        snprintf(error, size, "%s", p->reason);

    } else if (err == RD_KAFKA_RESP_ERR__TIMED_OUT
               || err == RD_KAFKA_RESP_ERR__TRANSPORT)
    {
        snprintf(error, size, "%s: no answer in %u ms", p->brokers,
                 timeout_ms);

    } else {
        snprintf(error, size, "%s: %s", p->brokers, rd_kafka_err2str(err));
    }

    pthread_mutex_unlock(&p->lock);
}


void
im_kafka_probe_destroy(im_kafka_probe_t *p)
{
    if (p == NULL) {
        return;
    }

    if (p->rk != NULL) {
        rd_kafka_destroy(p->rk);
    }

    pthread_mutex_destroy(&p->lock);
    free(p->brokers);
    free(p);
}
