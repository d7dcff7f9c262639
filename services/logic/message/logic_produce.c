/*
 * logic_produce.c -- see logic_produce.h.
 *
 * A message that librdkafka has taken belongs to its delivery report, which
 * comes on the report thread in any case: confirmed, failed or timed out.  What
 * becomes of the number of one that is refused here is found by logic_fate.c.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_crash.h"
#include "im_daemon.h"
#include "im_kafka.h"
#include "im_log.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_fate.h"
#include "logic_fence.h"
#include "logic_ids.h"
#include "logic_outcome.h"
#include "logic_partitions.h"
#include "logic_probes.h"
#include "logic_produce.h"


#define PRODUCE_PARTITIONS_MAX  64
#define PRODUCE_QUEUE           200000
#define PRODUCE_STOP_MS         1000


typedef struct {
    logic_message_t  m;                /* first: it is freed as a message */
    logic_fence_t    fence;
} produce_fence_t;


static int produce_has_topic(void *ctx);
static void produce_to(int partition, im_kafka_message_t *messages, size_t n,
    logic_touched_t *answers);
static void produce_give(int partition, im_kafka_message_t *messages, size_t n);
static int produce_fence(const logic_fence_t *fence);
static int produce_late(const logic_message_t *m);
static void *produce_report_thread(void *arg);
static void produce_on_report(void *ctx, void *opaque, int ok,
    const char *error);
static void produce_on_reports_end(void *ctx);
static im_kafka_producer_t *produce_create(void);
static void produce_replace(void);


static unsigned              produce_partitions;
static im_thread_t           produce_report;
static atomic_int            produce_report_stop;
static im_kafka_producer_t  *produce_kafka;
static pthread_rwlock_t      produce_lock = PTHREAD_RWLOCK_INITIALIZER;
static logic_touched_t       produce_acks;     /* report thread */
static int                   produce_confirmed, produce_failed;    /* too */
static im_log_seldom_t       produce_log;


int
logic_produce_start(void)
{
    int  rc;

    rc = logic_probes_wait_kafka();
    if (rc != IM_OK) {
        return rc;
    }

    produce_kafka = produce_create();
    if (produce_kafka == NULL) {
        return IM_ERROR;
    }

    rc = im_daemon_until(produce_has_topic, NULL, 0);
    if (rc != IM_OK) {
        return rc;
    }

    if (produce_partitions > PRODUCE_PARTITIONS_MAX) {
        im_log(IM_LOG_ERR, "kafka: topic \"%s\" has %u partitions, more than "
               "%d", logic_conf.common.kafka_topic, produce_partitions,
               PRODUCE_PARTITIONS_MAX);
        return IM_ERROR;
    }

    logic_partitions_set(produce_partitions);
    logic_fence_register(produce_fence);

    return im_thread_start(&produce_report, produce_report_thread, NULL);
}


static int
produce_has_topic(void *ctx)
{
    (void) ctx;

    produce_partitions = im_kafka_partitions(produce_kafka,
                                             logic_conf.common.kafka_topic,
                                             IM_KAFKA_OFFSETS_MS);

    return produce_partitions > 0;
}


void
logic_produce_stop(void)
{
    atomic_store(&produce_report_stop, 1);
    im_thread_join(&produce_report);

    im_kafka_producer_destroy(produce_kafka, PRODUCE_STOP_MS);
    produce_kafka = NULL;
    logic_reply_flush(&produce_acks);
}


void
logic_produce(logic_message_t **batch, size_t n, logic_touched_t *answers)
{
    size_t              i, k;
    unsigned            p;
    logic_message_t    *m;
    im_kafka_message_t  part[LOGIC_SEQUENCE_MAX];

    for (p = 0; p < produce_partitions; p++) {
        k = 0;

        for (i = 0; i < n; i++) {
            m = batch[i];

            if (m == NULL || m->seq.slot % produce_partitions != p) {
                continue;
            }

            batch[i] = NULL;        /* from here on the report's */

            if (produce_late(m)) {
                logic_fate_refused(&m->seq, &m->phase);
                logic_outcome_refuse(m, answers, "unavailable",
                                     "this Logic stood still");
                continue;
            }

            if (logic_message_pack(m, &part[k].value) != IM_OK) {
                logic_fate_refused(&m->seq, &m->phase);
                logic_outcome_refuse(m, answers, "unavailable",
                                     "out of memory");
                continue;
            }

            part[k].key.data = m->key;
            part[k].key.len = sizeof(m->key);
            part[k].opaque = m;
            part[k++].result = IM_ERROR;
        }

        if (k > 0) {
            produce_to((int) p, part, k, answers);
        }
    }
}


/* The process was stopped in between: by now the number may be void. */
static int
produce_late(const logic_message_t *m)
{
    return (im_mono_us() - m->numbered_us) * 5
           > (uint64_t) logic_conf.kafka_delivery_ms * 1000;
}


static void
produce_to(int partition, im_kafka_message_t *messages, size_t n,
    logic_touched_t *answers)
{
    size_t            i;
    logic_message_t  *m;

    produce_give(partition, messages, n);

    for (i = 0; i < n; i++) {
        if (messages[i].result != IM_OK) {
            free(messages[i].value.data);
            m = messages[i].opaque;
            logic_fate_refused(&m->seq, &m->phase);
            logic_outcome_refuse(m, answers, "unavailable",
                                 "the message log takes nothing");
        }
    }
}


static void
produce_give(int partition, im_kafka_message_t *messages, size_t n)
{
    pthread_rwlock_rdlock(&produce_lock);

    if (produce_kafka != NULL) {
        im_kafka_produce(produce_kafka, logic_conf.common.kafka_topic,
                         partition, messages, n);
    }

    pthread_rwlock_unlock(&produce_lock);
}


static int
produce_fence(const logic_fence_t *fence)
{
    logic_message_t     *m;
    produce_fence_t     *f;
    im_kafka_message_t   record;

    f = calloc(1, sizeof(produce_fence_t));
    if (f == NULL) {
        return IM_ERROR;
    }

    f->fence = *fence;
    m = &f->m;
    m->fence = 1;
    m->cmid = "";
    m->seq.conv = (im_conv_t) IM_CONV_FENCE;
    m->seq.slot = fence->partition;
    record.result = IM_ERROR;

    if (logic_ids_mint(&m, 1) == IM_OK) {
        m->seq.seq = m->seq.msg_id;    /* no other record has it */

        if (logic_message_pack(m, &record.value) == IM_OK) {
            record.key.data = m->key;
            record.key.len = sizeof(m->key);
            record.opaque = m;
            produce_give((int) fence->partition, &record, 1);
        }
    }

    if (record.result != IM_OK) {
        logic_message_free(m);
        return IM_ERROR;
    }

    return IM_OK;
}


static void *
produce_report_thread(void *arg)
{
    (void) arg;

    while (!atomic_load(&produce_report_stop)) {

        im_kafka_poll(produce_kafka, 50, produce_on_reports_end);

        if (im_kafka_fatal(produce_kafka)) {
            produce_replace();
        }
    }

    return NULL;
}


static void
produce_on_report(void *ctx, void *opaque, int ok, const char *error)
{
    logic_message_t  *m = opaque;

    (void) ctx;

    if (m->fence) {
        logic_fence_on_report(&((produce_fence_t *) opaque)->fence, ok);
        logic_message_free(m);
        return;
    }

    if (ok) {
        IM_CRASH_POINT("logic.confirmed");
        produce_confirmed = 1;
        logic_outcome_accept(m, &produce_acks, m->dup);

    } else {
        produce_failed = 1;
        im_log_seldom(&produce_log, IM_LOG_WARN, "a message was not confirmed "
                      "by Kafka, its sender is to try again: %s", error);
        logic_fate_failed(&m->seq, &m->phase);
        logic_outcome_refuse(m, &produce_acks, "unavailable",
                             "the message log did not confirm");
    }
}


static void
produce_on_reports_end(void *ctx)
{
    (void) ctx;

    if (produce_failed) {
        produce_failed = 0;
        logic_probes_kafka_failed();
    }

    if (produce_confirmed) {
        produce_confirmed = 0;
        logic_probes_kafka_confirmed();
    }

    logic_reply_flush(&produce_acks);
}


static im_kafka_producer_t *
produce_create(void)
{
    im_kafka_producer_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = logic_conf.common.kafka_brokers;
    conf.client_id = "im-logic";
    conf.delivery_ms = logic_conf.kafka_delivery_ms;
    conf.queue_max = PRODUCE_QUEUE;
    conf.report = produce_on_report;
    conf.log = im_log_lower;

    return im_kafka_producer_create(&conf);
}


/* An idempotent producer that has lost its place cannot be mended. */
static void
produce_replace(void)
{
    im_kafka_producer_t  *old;

    im_log(IM_LOG_ERR, "kafka: the producer has failed for good, a new one "
           "takes over");

    pthread_rwlock_wrlock(&produce_lock);
    old = produce_kafka;
    produce_kafka = NULL;
    pthread_rwlock_unlock(&produce_lock);

    im_kafka_producer_destroy(old, 0);
    logic_reply_flush(&produce_acks);
    logic_fence_on_replaced();

    pthread_rwlock_wrlock(&produce_lock);
    produce_kafka = produce_create();
    pthread_rwlock_unlock(&produce_lock);

    if (produce_kafka == NULL) {
        abort();                       /* it could be created before */
    }
}
