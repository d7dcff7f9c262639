/*
 * test_kafka.c -- watchers of a consumer group, a producer, and what is left to
 * do, against the broker that librdkafka has for tests.
 */

#include <pthread.h>

#include "unit_kafka.h"
#include "unit_wait.h"

#define AT_ONCE  8


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


static void
test_the_end_is_the_offset_of_the_next_record(void **state)
{
    int64_t              ends[IM_KAFKA_OFFSETS_MAX] = { 7, 7, 7 };
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_ends(o, 1, WAIT_MS, ends), IM_OK);
    assert_int_equal(ends[0], 0);
    assert_int_equal(ends[1], 7);          /* was not asked for */

    produce(0, "a");
    produce(0, "b");
    produce(1, "c");

    assert_int_equal(im_kafka_offsets_ends(o, 3, WAIT_MS, ends), IM_OK);
    assert_int_equal(ends[0], 2);
    assert_int_equal(ends[1], 1);
    assert_int_equal(ends[2], 7);

    im_kafka_offsets_destroy(o);
}


static void
test_a_group_is_watched_without_joining_it(void **state)
{
    int64_t               done[IM_KAFKA_OFFSETS_MAX];
    im_kafka_offsets_t   *o;
    im_kafka_consumer_t  *c;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_commits(o, 3, WAIT_MS, done), IM_OK);
    assert_int_equal(done[0], -1);
    assert_int_equal(done[1], -1);

    produce(0, "a");
    produce(0, "b");

    c = join();
    take(c, 2);
    assert_int_equal(im_kafka_offsets_commits(o, 3, WAIT_MS, done), IM_OK);
    assert_int_equal(done[0], -1);         /* taken is not done */

    assert_int_equal(im_kafka_store(c, 0, records[1].offset), IM_OK);
    im_kafka_commit_soon(c);
    UNIT_WITHIN(WAIT_MS,
                im_kafka_offsets_commits(o, 3, WAIT_MS, done) == IM_OK
                && done[0] == 2);
    assert_int_equal(done[1], -1);

    im_kafka_batch_free(records, 2);
    im_kafka_consumer_destroy(c);
    im_kafka_offsets_destroy(o);
}


static void
test_a_broker_that_is_away_is_told_within_the_time(void **state)
{
    int64_t              n[IM_KAFKA_OFFSETS_MAX];
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    rd_kafka_mock_broker_set_down(cluster, 1);

    assert_int_equal(im_kafka_offsets_ends(o, 1, 300, n), IM_AGAIN);
    assert_int_equal(im_kafka_offsets_commits(o, 1, 300, n), IM_AGAIN);

    rd_kafka_mock_broker_set_up(cluster, 1);
    assert_int_equal(im_kafka_offsets_ends(o, 1, WAIT_MS, n), IM_OK);
    assert_int_equal(im_kafka_offsets_commits(o, 1, WAIT_MS, n), IM_OK);

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

    for (i = 0, result = IM_AGAIN; i < 200 && result == IM_AGAIN; i++) {
        im_kafka_poll(p, 50, NULL);
    }

    assert_int_equal(result, IM_ERROR);

    rd_kafka_mock_broker_set_up(cluster, 1);
    im_kafka_producer_destroy(p, 0);
}


typedef struct {
    im_kafka_producer_t  *p;
    pthread_barrier_t     ready;
} at_once_t;


static void *
produce_one(void *arg)
{
    at_once_t           *a = arg;
    im_kafka_message_t   m;

    memset(&m, 0, sizeof(m));
    m.value.data = (unsigned char *) strdup("x");
    m.value.len = 1;
    m.opaque = a;

    (void) pthread_barrier_wait(&a->ready);
    im_kafka_produce(a->p, TOPIC, 0, &m, 1);
    assert_int_equal(m.result, IM_OK);

    return NULL;
}


static void
on_counted(void *ctx, void *opaque, int ok, const char *error)
{
    (void) opaque;
    (void) error;

    *(int *) ctx += ok;
}


/* As the shards do with a producer that has just replaced another. */
static void
test_threads_may_be_the_first_to_produce_at_once(void **state)
{
    int                        i, confirmed;
    at_once_t                  a;
    pthread_t                  ids[AT_ONCE];
    im_kafka_producer_conf_t   conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.client_id = "test";
    conf.delivery_ms = WAIT_MS;
    conf.queue_max = 100;
    conf.report = on_counted;
    conf.report_ctx = &confirmed;

    confirmed = 0;
    a.p = im_kafka_producer_create(&conf);
    assert_non_null(a.p);
    assert_int_equal(pthread_barrier_init(&a.ready, NULL, AT_ONCE), 0);

    for (i = 0; i < AT_ONCE; i++) {
        assert_int_equal(pthread_create(&ids[i], NULL, produce_one, &a), 0);
    }

    for (i = 0; i < AT_ONCE; i++) {
        pthread_join(ids[i], NULL);
    }

    im_kafka_producer_destroy(a.p, WAIT_MS);   /* ends with the last report */
    pthread_barrier_destroy(&a.ready);

    assert_int_equal(confirmed, AT_ONCE);
}


static void
test_of_a_partition_that_does_not_exist_nothing_is_known(void **state)
{
    int64_t              n[IM_KAFKA_OFFSETS_MAX];
    im_kafka_offsets_t  *o;

    (void) state;

    o = watch(TOPIC);
    assert_int_equal(im_kafka_offsets_ends(o, 1 << 7, WAIT_MS, n), IM_AGAIN);
    im_kafka_offsets_destroy(o);
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
    /* nobody knows yet which partitions are its own */
    assert_int_equal(im_kafka_lag(c, WAIT_MS, &lag), IM_AGAIN);
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
        T(test_threads_may_be_the_first_to_produce_at_once),
        T(test_of_a_partition_that_does_not_exist_nothing_is_known),
        T(test_lag_counts_what_is_not_done),
    };

    return cmocka_run_group_tests_name("kafka", tests, NULL, NULL);
}
