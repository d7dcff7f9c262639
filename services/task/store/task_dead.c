/*
 * task_dead.c -- see task_dead.h.
 *
 * A dead letter is the record as it was, with two headers: `reason`, and
 * `from`, topic/partition/offset of the record.  Kafka has confirmed it before
 * the offset of its batch is stored; a crash in between writes it twice.
 *
 * Dead letters are rare, so the producer is made with the first one.
 */

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_timeouts.h"
#include "task_dead.h"


#define DEAD_HEADERS  2


typedef struct dead_letter_s  dead_letter_t;

struct dead_letter_s {
    dead_letter_t  *next;
    im_str_t        key;
    im_str_t        value;
    char            reason[256];
    char            from[160];
    int             sent;
    int             confirmed;
};


static im_kafka_producer_t *dead_open(void);
static void dead_send(dead_letter_t *d);
static void dead_on_report(void *ctx, void *opaque, int ok,
    const char *error);


static im_kafka_producer_t   *dead_producer;
static dead_letter_t         *dead_first;
static dead_letter_t        **dead_last = &dead_first;
static int                    dead_failing;
static im_log_seldom_t        dead_log;
static atomic_ullong          dead_count, dead_reused_count;


void
task_dead_add(const im_kafka_record_t *kafka, const char *reason)
{
    dead_letter_t  *d;

    atomic_fetch_add(&dead_count, 1);

    d = calloc(1, sizeof(dead_letter_t) + kafka->key.len + kafka->value.len);

    if (d == NULL) {
        /* nothing was committed: the next start has these records again */
        im_log(IM_LOG_ERR, "out of memory with a dead letter in hand");
        abort();
    }

    snprintf(d->reason, sizeof(d->reason), "%s", reason);
    snprintf(d->from, sizeof(d->from), "%s/%d/%" PRId64,
             task_conf.common.kafka_topic, kafka->partition, kafka->offset);

    im_log(IM_LOG_ERR, "dead letter: %s: %s", d->from, d->reason);

    d->key.data = (unsigned char *) (d + 1);
    d->key.len = kafka->key.len;
    d->value.data = d->key.data + kafka->key.len;
    d->value.len = kafka->value.len;

    if (kafka->key.len > 0) {
        memcpy(d->key.data, kafka->key.data, kafka->key.len);
    }

    if (kafka->value.len > 0) {
        memcpy(d->value.data, kafka->value.data, kafka->value.len);
    }

    *dead_last = d;
    dead_last = &d->next;
}


void
task_dead_reused(const im_kafka_record_t *kafka, const im_record_t *m,
    uint64_t taken_by)
{
    char  reason[256];

    atomic_fetch_add(&dead_reused_count, 1);

    snprintf(reason, sizeof(reason), "number given twice: conversation %"
             PRIu64 ":%" PRIu64 ", seq %" PRIu64 ", msg_id %" PRIu64
             ", taken by msg_id %" PRIu64, m->conv_a, m->conv_b, m->seq,
             m->msg_id, taken_by);

    task_dead_add(kafka, reason);
}


int
task_dead_flush(unsigned wait_ms)
{
    dead_letter_t  *d;

    if (dead_first == NULL) {
        return IM_OK;
    }

    if (dead_producer == NULL || im_kafka_fatal(dead_producer)) {
        im_kafka_producer_destroy(dead_producer, 0);
        dead_producer = dead_open();
    }

    if (dead_producer == NULL) {
        return IM_AGAIN;
    }

    for (d = dead_first; d != NULL; d = d->next) {
        if (!d->sent) {
            dead_send(d);
        }
    }

    im_kafka_poll(dead_producer, wait_ms, NULL);

    while (dead_first != NULL && dead_first->confirmed) {
        d = dead_first;
        dead_first = d->next;
        free(d);
    }

    if (dead_first != NULL) {
        return IM_AGAIN;
    }

    dead_last = &dead_first;

    return IM_OK;
}


static im_kafka_producer_t *
dead_open(void)
{
    im_kafka_producer_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.client_id = "im-task-dead";
    conf.delivery_ms = IM_KAFKA_DELIVERY_MS;
    conf.queue_max = task_conf.store_batch * 2;
    conf.report = dead_on_report;
    conf.log = im_log_lower;

    return im_kafka_producer_create(&conf);
}


static void
dead_send(dead_letter_t *d)
{
    im_kafka_message_t  m;
    im_kafka_header_t   headers[DEAD_HEADERS];

    memset(&m, 0, sizeof(m));
    m.key = d->key;
    m.value.data = malloc(d->value.len + 1);
    m.value.len = d->value.len;
    m.opaque = d;

    if (m.value.data == NULL) {
        return;
    }

    memcpy(m.value.data, d->value.data, d->value.len);

    headers[0].name = "reason";
    headers[0].value = d->reason;
    headers[1].name = "from";
    headers[1].value = d->from;

    im_kafka_produce_with(dead_producer, task_conf.dead_topic, 0, &m, headers,
                          DEAD_HEADERS);

    if (m.result == IM_OK) {
        d->sent = 1;

    } else {
        free(m.value.data);
    }
}


static void
dead_on_report(void *ctx, void *opaque, int ok, const char *error)
{
    dead_letter_t  *d = opaque;

    (void) ctx;

    if (ok) {
        d->confirmed = 1;
        dead_failing = 0;

    } else {
        d->sent = 0;
        dead_failing = 1;
        im_log_seldom(&dead_log, IM_LOG_ERR, "topic \"%s\" does not take a "
                      "dead letter, storing waits for it: %s",
                      task_conf.dead_topic, error);
    }
}


void
task_dead_forget(void)
{
    dead_letter_t  *d;

    /* its last reports still know the letters */

    im_kafka_producer_destroy(dead_producer, 0);
    dead_producer = NULL;

    while (dead_first != NULL) {
        d = dead_first;
        dead_first = d->next;
        free(d);
    }

    dead_last = &dead_first;
}


void
task_dead_stats(uint64_t *dead, uint64_t *reused)
{
    *dead = atomic_load(&dead_count);
    *reused = atomic_load(&dead_reused_count);
}


int
task_dead_is_failing(void)
{
    return dead_failing;
}
