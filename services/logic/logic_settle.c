/*
 * logic_settle.c -- see logic_settle.h.
 *
 * One handle for all threads: librdkafka takes calls from any.
 */

#include <string.h>
#include <time.h>

#include "logic_produce.h"
#include "logic_settle.h"


#define SETTLE_ASK_MS    500       /* one question to Kafka */
#define SETTLE_POLL_MS   20


static im_kafka_offsets_t  *settle_offsets;


int
logic_settle_start(void)
{
    im_kafka_offsets_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.brokers = logic_conf.common.kafka_brokers;
    conf.group = logic_conf.store_group;
    conf.topic = logic_conf.common.kafka_topic;
    conf.client_id = "im-logic-settle";
    conf.log = im_log_lower;

    settle_offsets = im_kafka_offsets_create(&conf);

    return (settle_offsets != NULL) ? IM_OK : IM_ERROR;
}


void
logic_settle_stop(void)
{
    im_kafka_offsets_destroy(settle_offsets);
    settle_offsets = NULL;
}


int
logic_settle(const im_conv_t *conv, unsigned timeout_ms)
{
    int              partition;
    int64_t          end, committed;
    uint64_t         until;
    struct timespec  ts = { 0, SETTLE_POLL_MS * 1000000L };

    until = im_mono_us() + (uint64_t) timeout_ms * 1000;
    partition = (int) (im_slot_of_conv(conv) % logic_produce_partitions());

    if (im_kafka_offsets_end(settle_offsets, partition, SETTLE_ASK_MS, &end)
        != IM_OK)
    {
        return IM_ERROR;
    }

    for ( ;; ) {
        if (im_kafka_offsets_committed(settle_offsets, partition,
                                       SETTLE_ASK_MS, &committed)
            != IM_OK)
        {
            return IM_ERROR;
        }

        if (end == 0 || committed >= end) {
            return IM_OK;
        }

        if (im_mono_us() >= until) {
            return IM_AGAIN;
        }

        nanosleep(&ts, NULL);
    }
}


int
logic_settle_empty(void)
{
    int       p;
    int64_t   end;

    for (p = 0; p < (int) logic_produce_partitions(); p++) {

        if (im_kafka_offsets_end(settle_offsets, p, SETTLE_ASK_MS, &end)
            != IM_OK)
        {
            return -1;
        }

        if (end != 0) {
            return 0;
        }
    }

    return 1;
}


uint64_t
logic_void_after_ms(void)
{
    return 2 * (uint64_t) logic_conf.kafka_delivery_ms;
}
