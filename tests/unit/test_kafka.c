/*
 * test_kafka.c -- consumers and watchers of consumer groups, against the
 * broker that librdkafka has for tests.
 */

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <time.h>

#include "unit.h"

#include "im_kafka.h"

#define TOPIC    "im.msg"
#define GROUP    "im.store"
#define WAIT_MS  5000
#define TAKE     16


#define SESSION_MS  3500    /* the mock holds a first join for 3 s */


static rd_kafka_mock_cluster_t  *cluster;
static unsigned                  revokes;
static rd_kafka_t               *producer;
static im_kafka_record_t         records[TAKE];


static int
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


static int
teardown(void **state)
{
    (void) state;

    rd_kafka_destroy(producer);

    return 0;
}


static void
produce(int partition, const char *value)
{
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC),
                         RD_KAFKA_V_PARTITION(partition),
                         RD_KAFKA_V_VALUE((void *) value, strlen(value)),
                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                         RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
}


static void
on_revoke(void *ctx)
{
    (void) ctx;

    revokes++;
}


static im_kafka_consumer_t *
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


static im_kafka_offsets_t *
watch(const char *topic)
{
    im_kafka_offsets_t       *o;
    im_kafka_offsets_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.group = GROUP;
    conf.topic = topic;
    conf.client_id = "test";
    o = im_kafka_offsets_create(&conf);
    assert_non_null(o);

    return o;
}


/* n records, in however many batches; kept until the next call. */
static void
take(im_kafka_consumer_t *c, size_t n)
{
    size_t    got;
    unsigned  i;

    got = 0;

    for (i = 0; i < 100 && got < n; i++) {
        got += im_kafka_consume(c, records + got, TAKE - got, 100);
    }

    assert_int_equal(got, n);
}


static void
test_the_end_is_the_offset_of_the_next_record(void **state)
{
    int64_t              end;
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_end(o, 0, WAIT_MS, &end), IM_OK);
    assert_int_equal(end, 0);

    produce(0, "a");
    produce(0, "b");
    produce(1, "c");

    assert_int_equal(im_kafka_offsets_end(o, 0, WAIT_MS, &end), IM_OK);
    assert_int_equal(end, 2);
    assert_int_equal(im_kafka_offsets_end(o, 1, WAIT_MS, &end), IM_OK);
    assert_int_equal(end, 1);

    im_kafka_offsets_destroy(o);
}


static void
test_a_group_is_watched_without_joining_it(void **state)
{
    int64_t               committed;
    im_kafka_offsets_t   *o;
    im_kafka_consumer_t  *c;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_committed(o, 0, WAIT_MS, &committed),
                     IM_OK);
    assert_int_equal(committed, -1);

    produce(0, "a");
    produce(0, "b");

    c = join();
    take(c, 2);
    assert_int_equal(im_kafka_offsets_committed(o, 0, WAIT_MS, &committed),
                     IM_OK);
    assert_int_equal(committed, -1);       /* taken is not done */

    assert_int_equal(im_kafka_store(c, 0, records[1].offset), IM_OK);
    assert_int_equal(im_kafka_commit(c), IM_OK);
    assert_int_equal(im_kafka_offsets_committed(o, 0, WAIT_MS, &committed),
                     IM_OK);
    assert_int_equal(committed, 2);
    assert_int_equal(im_kafka_offsets_committed(o, 1, WAIT_MS, &committed),
                     IM_OK);
    assert_int_equal(committed, -1);

    im_kafka_batch_free(records, 2);
    im_kafka_consumer_destroy(c);
    im_kafka_offsets_destroy(o);
}


static void
test_a_broker_that_is_away_is_told_within_the_time(void **state)
{
    int64_t              n;
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    rd_kafka_mock_broker_set_down(cluster, 1);

    assert_int_equal(im_kafka_offsets_end(o, 0, 300, &n), IM_AGAIN);
    assert_int_equal(im_kafka_offsets_committed(o, 0, 300, &n), IM_AGAIN);

    rd_kafka_mock_broker_set_up(cluster, 1);
    assert_int_equal(im_kafka_offsets_end(o, 0, WAIT_MS, &n), IM_OK);
    assert_int_equal(im_kafka_offsets_committed(o, 0, WAIT_MS, &n), IM_OK);

    im_kafka_offsets_destroy(o);
}


static void
on_report(void *ctx, void *opaque, int ok, const char *error)
{
    (void) opaque;
    (void) error;

    *(int *) ctx = ok ? IM_OK : IM_ERROR;
}


/* That a number is void rests on it: what is not there by then never comes. */
static void
test_a_message_that_cannot_be_delivered_fails_in_time(void **state)
{
    int                        result;
    unsigned                   i;
    im_kafka_message_t         m;
    im_kafka_producer_t       *p;
    im_kafka_producer_conf_t   conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.client_id = "test";
    conf.delivery_ms = 1000;
    conf.queue_max = 10;
    conf.report = on_report;
    conf.report_ctx = &result;

    p = im_kafka_producer_create(&conf);
    assert_non_null(p);
    assert_int_not_equal(im_kafka_partitions(p, TOPIC, WAIT_MS), 0);

    rd_kafka_mock_broker_set_down(cluster, 1);

    memset(&m, 0, sizeof(m));
    m.value.data = (unsigned char *) strdup("x");
    m.value.len = 1;
    im_kafka_produce(p, TOPIC, 0, &m, 1);
    assert_int_equal(m.result, IM_OK);

    for (i = 0, result = IM_AGAIN; i < 60 && result == IM_AGAIN; i++) {
        im_kafka_poll(p, 50, NULL);
    }

    assert_int_equal(result, IM_ERROR);

    rd_kafka_mock_broker_set_up(cluster, 1);
    im_kafka_producer_destroy(p, 0);
}


static void
test_a_partition_that_does_not_exist_is_an_error(void **state)
{
    int64_t              n;
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_end(o, 7, 1000, &n), IM_ERROR);
    im_kafka_offsets_destroy(o);
}


static void
test_a_member_that_does_not_poll_loses_its_partitions(void **state)
{
    unsigned              i;
    struct timespec       pause = { 4, 500000000 };
    im_kafka_consumer_t  *c;

    (void) state;

    produce(0, "a");
    c = join();
    take(c, 1);
    nanosleep(&pause, NULL);
    im_kafka_batch_free(records, 1);

    for (i = 0; i < 50 && revokes == 0; i++) {
        (void) im_kafka_idle(c, 50);
    }

    assert_int_equal(revokes, 1);

    im_kafka_consumer_destroy(c);
}


static void
test_a_member_that_is_paused_keeps_its_partitions(void **state)
{
    im_kafka_consumer_t  *c;

    (void) state;

    produce(0, "a");
    c = join();
    take(c, 1);
    produce(0, "b");
    produce(1, "c");

    im_kafka_pause(c);
    assert_int_equal(im_kafka_idle(c, 5000), IM_OK);
    assert_int_equal(revokes, 0);

    assert_int_equal(im_kafka_store(c, 0, records[0].offset), IM_OK);
    im_kafka_batch_free(records, 1);

    im_kafka_resume(c);
    take(c, 2);
    im_kafka_batch_free(records, 2);

    im_kafka_consumer_destroy(c);
}


static void
test_a_batch_whose_partitions_were_revoked_is_read_again(void **state)
{
    int                   rc;
    size_t                n, m;
    unsigned              i;
    im_kafka_record_t     other[TAKE];
    im_kafka_consumer_t  *c, *d;

    (void) state;

    produce(0, "a");
    produce(1, "b");
    c = join();
    take(c, 2);
    im_kafka_pause(c);

    d = join();
    rc = IM_OK;

    for (m = 0, i = 0; i < 100 && (rc == IM_OK || m == 0); i++) {
        rc = im_kafka_idle(c, 50);
        m += im_kafka_consume(d, other + m, TAKE - m, 50);
    }

    assert_int_equal(rc, IM_DECLINED);
    assert_int_equal(m, 1);                /* its partition, once more */
    im_kafka_batch_free(other, m);
    im_kafka_batch_free(records, 2);

    im_kafka_resume(c);

    for (n = 0, i = 0; i < 100 && n == 0; i++) {
        n = im_kafka_consume(c, records, TAKE, 50);
        m = im_kafka_consume(d, other, TAKE, 50);
        assert_int_equal(m, 0);
    }

    assert_int_equal(n, 1);                /* and the one that was kept */
    im_kafka_batch_free(records, n);

    im_kafka_consumer_destroy(d);
    im_kafka_consumer_destroy(c);
}


static void
test_a_record_that_comes_uninvited_is_read_again(void **state)
{
    unsigned              i;
    im_kafka_consumer_t  *c;

    (void) state;

    c = join();
    produce(0, "a");
    produce(0, "b");

    for (i = 0; i < 400; i++) {
        if (im_kafka_idle(c, 50) == IM_DECLINED) {
            break;
        }
    }

    assert_true(i < 400);
    take(c, 2);
    assert_int_equal(records[0].offset, 0);
    assert_int_equal(records[1].offset, 1);
    im_kafka_batch_free(records, 2);

    im_kafka_consumer_destroy(c);
}


static void
test_lag_counts_what_is_not_done(void **state)
{
    uint64_t              lag;
    im_kafka_consumer_t  *c;

    (void) state;

    produce(0, "a");
    produce(0, "b");
    produce(1, "c");
    c = join();
    take(c, 3);
    assert_int_equal(im_kafka_lag(c, WAIT_MS, &lag), IM_OK);
    assert_int_equal(lag, 3);

    assert_int_equal(im_kafka_store(c, 0, 0), IM_OK);
    assert_int_equal(im_kafka_lag(c, WAIT_MS, &lag), IM_OK);
    assert_int_equal(lag, 2);

    im_kafka_pause(c);
    produce(0, "d");                       /* it is not fetched */
    assert_int_equal(im_kafka_lag(c, WAIT_MS, &lag), IM_OK);
    assert_int_equal(lag, 3);

    im_kafka_batch_free(records, 3);
    im_kafka_consumer_destroy(c);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_the_end_is_the_offset_of_the_next_record),
        T(test_a_group_is_watched_without_joining_it),
        T(test_a_broker_that_is_away_is_told_within_the_time),
        T(test_a_message_that_cannot_be_delivered_fails_in_time),
        T(test_a_partition_that_does_not_exist_is_an_error),
        T(test_a_member_that_does_not_poll_loses_its_partitions),
        T(test_a_member_that_is_paused_keeps_its_partitions),
        T(test_a_batch_whose_partitions_were_revoked_is_read_again),
        T(test_a_record_that_comes_uninvited_is_read_again),
        T(test_lag_counts_what_is_not_done),
    };

    return cmocka_run_group_tests_name("kafka", tests, NULL, NULL);
}
