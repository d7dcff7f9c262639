/*
 * task_dead.c -- see task_dead.h.
 *
 * Dead letters are rare, so the producer is made with the first one.
 */

#include <stdlib.h>
#include <string.h>

#include "im_timeouts.h"
#include "task_dead.h"


#define DEAD_POLL_MS      100


typedef struct dead_letter_s  dead_letter_t;

struct dead_letter_s {
    dead_letter_t  *next;
    im_str_t        key;
    im_str_t        value;
    int             sent;
    int             confirmed;
};


static void dead_send(dead_letter_t *d);
static void dead_on_report(void *ctx, void *opaque, int ok,
    const char *error);


static im_kafka_producer_t  *dead_producer;
static dead_letter_t        *dead_first;
static im_dependency_t       dead_dependency = { "dead letter topic", 0 };


void
task_dead_add(const im_kafka_record_t *kafka)
{
    dead_letter_t  *d;

    d = calloc(1, sizeof(dead_letter_t) + kafka->key.len + kafka->value.len);

    if (d == NULL) {
        /* nothing was committed: the next start has these records again */
        im_log(IM_LOG_ERR, "out of memory with a dead letter in hand");
        abort();
    }

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

    d->next = dead_first;
    dead_first = d;
}


int
task_dead_flush(atomic_int *stopping)
{
    dead_letter_t             *d;
    im_kafka_producer_conf_t   conf;

    while (dead_first != NULL) {

        if (dead_producer == NULL || im_kafka_fatal(dead_producer)) {
            im_kafka_producer_destroy(dead_producer, 0);

            memset(&conf, 0, sizeof(conf));
            conf.brokers = task_conf.common.kafka_brokers;
            conf.client_id = "im-task-dead";
            conf.delivery_ms = IM_KAFKA_DELIVERY_MS;
            conf.queue_max = task_conf.store_batch * 2;
            conf.report = dead_on_report;
            conf.log = im_log_lower;
            dead_producer = im_kafka_producer_create(&conf);
        }

        for (d = dead_first; d != NULL; d = d->next) {
            if (!d->sent && dead_producer != NULL) {
                dead_send(d);
            }
        }

        if (dead_producer != NULL) {
            im_kafka_poll(dead_producer, DEAD_POLL_MS, NULL);
        }

        while (dead_first != NULL && dead_first->confirmed) {
            d = dead_first;
            dead_first = d->next;
            free(d);
        }

        if (dead_first != NULL && atomic_load(stopping)
            && dead_dependency.down)
        {
            return IM_DONE;
        }
    }

    return IM_OK;
}


static void
dead_send(dead_letter_t *d)
{
    im_kafka_message_t  m;

    memset(&m, 0, sizeof(m));
    m.key = d->key;
    m.value.data = malloc(d->value.len + 1);
    m.value.len = d->value.len;
    m.opaque = d;

    if (m.value.data == NULL) {
        return;
    }

    memcpy(m.value.data, d->value.data, d->value.len);
    im_kafka_produce(dead_producer, task_conf.dead_topic, 0, &m, 1);

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
        im_dependency_up(&dead_dependency);

    } else {
        d->sent = 0;
        im_dependency_down(&dead_dependency, error);
    }
}


void
task_dead_stop(void)
{
    dead_letter_t  *d;

    im_kafka_producer_destroy(dead_producer, 0);

    while (dead_first != NULL) {
        d = dead_first;
        dead_first = d->next;
        free(d);
    }
}


int
task_dead_healthy(void)
{
    return !dead_dependency.down;
}
