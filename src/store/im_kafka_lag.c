/*
 * im_kafka_lag.c -- how many records of its partitions a member has not done.
 *
 * The next offset of each partition is kept as it is stored, so that nobody
 * has to be asked for it.  Out of memory: the group's coordinator is asked
 * instead.
 *
 * Room: store.  One thread for each consumer.
 */

#include <stdlib.h>

#include "im_kafka_int.h"


static int lag_of(im_kafka_done_t *done, rd_kafka_t *rk, int paused,
    const rd_kafka_topic_partition_t *p, unsigned timeout_ms, uint64_t *lag);


void
im_kafka_done_set(im_kafka_done_t *done, int partition, int64_t next)
{
    int64_t  *all;

    if (partition >= done->n) {
        all = realloc(done->next, (size_t) (partition + 1) * sizeof(int64_t));
        if (all == NULL) {
            return;
        }

        done->next = all;

        while (done->n <= partition) {
            done->next[done->n++] = -1;
        }
    }

    done->next[partition] = next;
}


void
im_kafka_done_forget(im_kafka_done_t *done)
{
    int  i;

    for (i = 0; i < done->n; i++) {
        done->next[i] = -1;
    }
}


int
im_kafka_done_lag(im_kafka_done_t *done, rd_kafka_t *rk, int paused,
    unsigned timeout_ms, uint64_t *lag)
{
    int                               i, rc;
    rd_kafka_topic_partition_list_t  *list;

    *lag = 0;

    if (rd_kafka_assignment(rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return IM_AGAIN;
    }

    /* the first one without an answer ends it: one time-out, not one each */

    for (rc = IM_OK, i = 0; rc == IM_OK && i < list->cnt; i++) {
        rc = lag_of(done, rk, paused, &list->elems[i], timeout_ms, lag);
    }

    rd_kafka_topic_partition_list_destroy(list);

    return rc;
}


static int
lag_of(im_kafka_done_t *done, rd_kafka_t *rk, int paused,
    const rd_kafka_topic_partition_t *p, unsigned timeout_ms, uint64_t *lag)
{
    int64_t                           low, high, next;
    rd_kafka_resp_err_t               err;
    rd_kafka_topic_partition_list_t  *one;

    low = high = -1;

    /* known from the last fetch; a paused partition is not fetched */

    if (paused
        || rd_kafka_get_watermark_offsets(rk, p->topic, p->partition, &low,
                                          &high) != RD_KAFKA_RESP_ERR_NO_ERROR
        || high < 0)
    {
        err = rd_kafka_query_watermark_offsets(rk, p->topic, p->partition,
                                               &low, &high, (int) timeout_ms);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return IM_AGAIN;
        }
    }

    next = (p->partition < done->n) ? done->next[p->partition] : -1;

    if (next < 0) {
        one = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(one, p->topic, p->partition);
        err = rd_kafka_committed(rk, one, (int) timeout_ms);
        next = one->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(one);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return IM_AGAIN;
        }

        next = (next < 0) ? low : next;
        im_kafka_done_set(done, p->partition, next);
    }

    *lag += (high > next) ? (uint64_t) (high - next) : 0;

    return IM_OK;
}
