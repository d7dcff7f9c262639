/*
 * test_kafka_member.c -- how a consumer loses its partitions or keeps them, and
 * what it reads again, against the broker that librdkafka has for tests.
 */

#include <stdatomic.h>

#include "unit_kafka.h"
#include "unit_wait.h"


#define JOIN_GROUP  11      /* Kafka's numbers of the requests */
#define HEARTBEAT   12


static void
test_a_member_that_does_not_poll_loses_its_partitions(void **state)
{
    unsigned              i;
    im_kafka_consumer_t  *c;

    (void) state;

    produce(0, "a");
    c = join();
    take(c, 1);
    unit_pause(4500);
    im_kafka_batch_free(records, 1);

    for (i = 0; i < 200 && revokes == 0; i++) {
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

    for (m = 0, i = 0; i < 400 && (rc == IM_OK || m == 0); i++) {
        rc = im_kafka_idle(c, 50);
        m += im_kafka_consume(d, other + m, TAKE - m, 50);
    }

    assert_int_equal(rc, IM_DECLINED);
    assert_int_equal(m, 1);                /* its partition, once more */
    im_kafka_batch_free(other, m);
    im_kafka_batch_free(records, 2);

    im_kafka_resume(c);

    for (n = 0, i = 0; i < 400 && n == 0; i++) {
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


static atomic_int  lengthened;     /* librdkafka's threads log */


static void
on_log(void *ctx, int level, const char *text)
{
    (void) ctx;

    if (level == IM_LOG_WARN && strstr(text, "goes on with 6000") != NULL) {
        atomic_fetch_add(&lengthened, 1);
    }
}


/* As a broker does whose group.min.session.timeout.ms is above ours. */
static void
test_a_member_joins_a_broker_that_refuses_its_session(void **state)
{
    im_kafka_consumer_t       *c;
    im_kafka_consumer_conf_t   conf;

    (void) state;

    rd_kafka_mock_push_request_errors(cluster, JOIN_GROUP, 2,
                                  RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
                                  RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT);
    produce(0, "a");

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.group = GROUP;
    conf.topic = TOPIC;
    conf.client_id = "test";
    conf.session_ms = 1000;
    conf.poll_max_ms = 3000;           /* below the session that it gets */
    conf.log = on_log;
    c = im_kafka_consumer_create(&conf);
    assert_non_null(c);

    atomic_store(&lengthened, 0);
    take(c, 1);
    im_kafka_batch_free(records, 1);
    assert_int_equal(atomic_load(&lengthened), 1);

    im_kafka_consumer_destroy(c);
}


static atomic_int  renewed;


static void
on_renewed(void *ctx, int level, const char *text)
{
    (void) ctx;
    (void) level;

    if (strstr(text, "its session is 6000 ms now") != NULL) {
        atomic_fetch_add(&renewed, 1);
    }
}


/* As one that stood still for longer than its session, but not for long. */
static void
test_a_member_that_was_excluded_asks_for_a_longer_session(void **state)
{
    unsigned                   k;
    im_kafka_consumer_t       *c;
    im_kafka_consumer_conf_t   conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    conf.group = GROUP;
    conf.topic = TOPIC;
    conf.client_id = "test";
    conf.session_ms = SESSION_MS;
    conf.poll_max_ms = 20000;
    conf.log = on_renewed;
    conf.revoke = on_revoke;
    c = im_kafka_consumer_create(&conf);
    assert_non_null(c);
    atomic_store(&renewed, 0);

    produce(0, "a");
    take(c, 1);
    assert_int_equal(im_kafka_store(c, 0, 0), IM_OK);
    im_kafka_commit_soon(c);
    im_kafka_batch_free(records, 1);

    rd_kafka_mock_push_request_errors(cluster, HEARTBEAT, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);

    for (k = 0; k < 200 && revokes == 0; k++) {
        (void) im_kafka_idle(c, 50);
    }

    assert_true(revokes > 0);

    /* it goes on after what it has done, as another member */

    produce(0, "b");
    take(c, 1);
    assert_int_equal(records[0].offset, 1);
    im_kafka_batch_free(records, 1);
    assert_int_equal(atomic_load(&renewed), 1);

    im_kafka_consumer_destroy(c);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_a_member_that_does_not_poll_loses_its_partitions),
        T(test_a_member_that_is_paused_keeps_its_partitions),
        T(test_a_batch_whose_partitions_were_revoked_is_read_again),
        T(test_a_record_that_comes_uninvited_is_read_again),
        T(test_a_member_joins_a_broker_that_refuses_its_session),
        T(test_a_member_that_was_excluded_asks_for_a_longer_session),
    };

    return cmocka_run_group_tests_name("kafka_member", tests, NULL, NULL);
}
