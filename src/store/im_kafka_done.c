/*
 * im_kafka_done.c -- what a consumer has done of its partitions.
 *
 * Room: store.
 */

#include "im_kafka_int.h"


int
im_kafka_store(im_kafka_consumer_t *c, int partition, int64_t offset)
{
    int                               rc;
    rd_kafka_topic_partition_list_t  *list;

    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, c->topic, partition)->offset =
        offset + 1;

    /* refused when the partition has just been taken away: another member
     * does this work again, and it is safe to do twice */
    rc = (rd_kafka_offsets_store(c->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR)
         ? IM_OK : IM_DECLINED;

    rd_kafka_topic_partition_list_destroy(list);

    if (rc == IM_OK) {
        im_kafka_done_set(&c->done, partition, offset + 1);
    }

    return rc;
}


int
im_kafka_has_joined(im_kafka_consumer_t *c)
{
    return atomic_load(&c->joined);
}


int
im_kafka_lag(im_kafka_consumer_t *c, unsigned timeout_ms, uint64_t *lag)
{
    return c->assigned                 /* else nobody knows what will be ours */
           ? im_kafka_done_lag(&c->done, c->rk, c->paused, timeout_ms, lag)
           : IM_AGAIN;
}


void
im_kafka_commit_soon(im_kafka_consumer_t *c)
{
    (void) rd_kafka_commit(c->rk, NULL, 1);
}
