/*
 * logic_settle.c -- waits until the store has caught up with the log.
 *
 * A row that is not in MySQL may still be on its way: appended, but not yet
 * inserted.  The end of the partition is sampled; once the committed offset of
 * the store group has reached it, all that was appended before the sample is
 * in MySQL, since the group commits after the database did.
 *
 * A mark of the store's own in Redis or MySQL was rejected: the committed
 * offset is the truth that a restart of Task begins from, and nobody has to
 * keep a copy of it right.
 *
 * One handle for all threads; librdkafka serves them side by side.
 */

#include <pthread.h>
#include <time.h>

#include "im_timeouts.h"
#include "logic_produce.h"
#include "logic_settle.h"


/* librdkafka looks once a second for what has timed out; and as much again. */
#define SETTLE_SLACK_MS  2000

static int settle_answered(int rc);


static im_kafka_offsets_t  *settle_offsets;
static im_log_seldom_t      settle_log;


int
logic_settle_start(void)
{
    im_kafka_offsets_conf_t  conf = {
        .brokers = logic_conf.common.kafka_brokers,
        .group = logic_conf.store_group,
        .topic = logic_conf.common.kafka_topic,
        .client_id = "im-logic-settle",
        .log = im_log_lower
    };

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
    int              rc;
    uint64_t         until_us;
    logic_settle_t   mark;
    struct timespec  pause = { 0, IM_SETTLE_POLL_MS * 1000000 };

    until_us = im_mono_us() + (uint64_t) timeout_ms * 1000;

    if (logic_settle_mark(logic_settle_partition(conv), &mark) != IM_OK) {
        return IM_ERROR;
    }

    for ( ;; ) {
        rc = logic_settle_reached(&mark);

        if (rc != IM_AGAIN
            || im_mono_us() + IM_SETTLE_POLL_MS * 1000 > until_us)
        {
            return rc;
        }

        nanosleep(&pause, NULL);
    }
}


int
logic_settle_mark(unsigned partition, logic_settle_t *mark)
{
    mark->partition = partition;

    return settle_answered(im_kafka_offsets_end(settle_offsets,
                                                (int) partition,
                                                IM_SETTLE_ASK_MS,
                                                &mark->end));
}


int
logic_settle_reached(const logic_settle_t *mark)
{
    int64_t  committed;

    if (mark->end == 0) {
        return IM_OK;                  /* nothing ever was */
    }

    if (settle_answered(im_kafka_offsets_committed(settle_offsets,
                                                   (int) mark->partition,
                                                   IM_SETTLE_ASK_MS,
                                                   &committed))
        != IM_OK)
    {
        return IM_ERROR;
    }

    return (committed >= mark->end) ? IM_OK : IM_AGAIN;
}


static int
settle_answered(int rc)
{
    if (rc == IM_OK) {
        return IM_OK;
    }

    im_log_seldom(&settle_log, IM_LOG_WARN, "kafka: no answer about topic "
                  "\"%s\" and group \"%s\" in %d ms: what is not stored yet "
                  "is not known", logic_conf.common.kafka_topic,
                  logic_conf.store_group, IM_SETTLE_ASK_MS);

    return IM_ERROR;
}


int
logic_settle_empty(void)
{
    int       p;
    int64_t   end;

    for (p = 0; p < (int) logic_produce_partitions(); p++) {

        if (settle_answered(im_kafka_offsets_end(settle_offsets, p,
                                                 IM_SETTLE_ASK_MS, &end))
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


unsigned
logic_settle_partition(const im_conv_t *conv)
{
    return im_slot_of_conv(conv) % logic_produce_partitions();
}


uint64_t
logic_void_after_ms(void)
{
    return 2 * (uint64_t) logic_conf.kafka_delivery_ms + SETTLE_SLACK_MS;
}
