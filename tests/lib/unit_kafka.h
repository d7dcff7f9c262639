/*
 * unit_kafka.h -- the broker that librdkafka has for tests, records in it, and
 * a consumer.
 */

#ifndef UNIT_KAFKA_H
#define UNIT_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>

#include "unit.h"

#include "im_kafka.h"

#define TOPIC    "im.msg"
#define GROUP    "im.store"
#define WAIT_MS  20000
#define TAKE     16


#define SESSION_MS  3500    /* the mock holds a first join for 3 s */


static rd_kafka_mock_cluster_t  *cluster;
static unsigned                  revokes;
static rd_kafka_t               *producer;
static im_kafka_record_t         records[TAKE];


static inline int
setup(void **state)
{
    char              error[256];
    rd_kafka_conf_t  *conf;

    (void) state;

    revokes = 0;
    conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0);
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", NULL, 0);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    assert_non_null(producer);

    cluster = rd_kafka_handle_mock_cluster(producer);
    assert_non_null(cluster);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, TOPIC, 2, 1), 0);

    return 0;
}


static inline int
teardown(void **state)
{
    (void) state;

    rd_kafka_destroy(producer);

    return 0;
}


static inline void
produce(int partition, const char *value)
{
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC),
                         RD_KAFKA_V_PARTITION(partition),
                         RD_KAFKA_V_VALUE((void *) value, strlen(value)),
                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                         RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
}


static inline void
on_revoke(void *ctx)
{
    (void) ctx;

    revokes++;
}


static inline im_kafka_consumer_t *
join(void)
{
    im_kafka_consumer_t       *c;
    im_kafka_consumer_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.group = GROUP;
    conf.topic = TOPIC;
    conf.client_id = "test";
    conf.session_ms = SESSION_MS;
    conf.poll_max_ms = SESSION_MS;
    conf.revoke = on_revoke;
    c = im_kafka_consumer_create(&conf);
    assert_non_null(c);

    return c;
}


/* n records, in however many batches; kept until the next call. */
static inline void
take(im_kafka_consumer_t *c, size_t n)
{
    size_t    got;
    unsigned  i;

    got = 0;

    for (i = 0; i < 300 && got < n; i++) {
        got += im_kafka_consume(c, records + got, TAKE - got, 100);
    }

    assert_int_equal(got, n);
}

#endif
