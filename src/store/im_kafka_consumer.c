/*
 * im_kafka_consumer.c -- a member of a consumer group.
 *
 * Offsets are stored by the caller when the work is done; the library commits
 * what was stored, a few times a second and at the end.
 *
 * Batches: librdkafka's batch call would wait for its full time-out to fill
 * the batch, which is the latency that a lone message must not see.  So the
 * first record is waited for, and the rest is taken only if it is there.  Who
 * may be late (fill_ms) lets the broker wait, which saves both sides requests.
 *
 * A member that does not poll for max.poll.interval.ms is put out of its
 * group, and each rebalance waits for it.  So who waits for a database pauses
 * the partitions and goes on polling (im_kafka_idle): records stay where they
 * are, the group is served.  Partitions that are revoked meanwhile take the
 * batch in hand with them: its new owner reads it again from the committed
 * offset, so it is neither stored here nor lost.
 *
 * Room: store.  One thread for each consumer.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_kafka_int.h"


struct im_kafka_consumer_s {
    rd_kafka_t        *rk;
    rd_kafka_queue_t  *queue;
    char              *topic;
    im_kafka_log_t     log;            /* its address is the opaque */
    char               name[96];
    im_kafka_consumer_conf_t  conf;    /* its strings are ours */
    int64_t           *done;           /* next offset by partition, -1: ? */
    int                n_done;
    unsigned           paused:1;
    unsigned           revoked:1;      /* since im_kafka_consume returned */
    unsigned           assigned:1;     /* at some time */
    unsigned           refused:1;      /* the session, by the broker */
};


static int consumer_open(im_kafka_consumer_t *c);
static void consumer_close(im_kafka_consumer_t *c);
static void consumer_free(im_kafka_consumer_t *c);
static void consumer_lengthen_session(im_kafka_consumer_t *c);
static void consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque);
static void consumer_assign(im_kafka_consumer_t *c,
    const rd_kafka_topic_partition_list_t *parts);
static int consumer_take(im_kafka_consumer_t *c, im_kafka_record_t *record,
    rd_kafka_message_t *m);
static void consumer_failed(im_kafka_consumer_t *c,
    const rd_kafka_message_t *m);
static void consumer_on_error(rd_kafka_t *rk, int err, const char *reason,
    void *opaque);
static void consumer_put_back(im_kafka_consumer_t *c);
static void consumer_set_done(im_kafka_consumer_t *c, int partition,
    int64_t next);
static int consumer_lag(im_kafka_consumer_t *c,
    const rd_kafka_topic_partition_t *p, unsigned timeout_ms, uint64_t *lag);


im_kafka_consumer_t *
im_kafka_consumer_create(const im_kafka_consumer_conf_t *conf)
{
    im_kafka_consumer_t  *c;

    c = calloc(1, sizeof(im_kafka_consumer_t));
    if (c == NULL) {
        return NULL;
    }

    c->conf = *conf;
    c->conf.brokers = strdup(conf->brokers);
    c->conf.group = strdup(conf->group);
    c->conf.client_id = strdup(conf->client_id);
    c->topic = strdup(conf->topic);
    c->conf.topic = c->topic;
    c->log.log = conf->log;
    c->log.ctx = conf->log_ctx;
    snprintf(c->name, sizeof(c->name), "consumer %s", conf->group);

    if (c->conf.brokers == NULL || c->conf.group == NULL
        || c->conf.client_id == NULL || c->topic == NULL
        || consumer_open(c) != IM_OK)
    {
        consumer_free(c);
        return NULL;
    }

    return c;
}


static int
consumer_open(im_kafka_consumer_t *c)
{
    c->rk = im_kafka_member_create(&c->conf, &c->log, consumer_rebalance,
                                   consumer_on_error);
    if (c->rk == NULL) {
        return IM_ERROR;
    }

    c->queue = rd_kafka_queue_get_consumer(c->rk);

    return IM_OK;
}


static void
consumer_close(im_kafka_consumer_t *c)
{
    if (c->rk == NULL) {
        return;
    }

    rd_kafka_consumer_close(c->rk);
    rd_kafka_queue_destroy(c->queue);
    rd_kafka_destroy(c->rk);
    c->rk = NULL;
}


static void
consumer_free(im_kafka_consumer_t *c)
{
    consumer_close(c);
    free((char *) c->conf.brokers);
    free((char *) c->conf.group);
    free((char *) c->conf.client_id);
    free(c->topic);
    free(c->done);
    free(c);
}


/*
 * A broker of others allows no session as short as ours, unless its
 * group.min.session.timeout.ms says so.  The library can do nothing but ask
 * again, so the member begins anew with one that each broker allows.  Only
 * before the first assignment: afterwards the caller may hold records of the
 * handle.
 */
static void
consumer_lengthen_session(im_kafka_consumer_t *c)
{
    char                 text[256];
    unsigned             asked;
    im_kafka_consumer_t  old;

    c->refused = 0;
    asked = c->conf.session_ms;

    if (c->assigned || asked >= IM_KAFKA_SESSION_SAFE_MS) {
        return;
    }

    old = *c;
    c->conf.session_ms = IM_KAFKA_SESSION_SAFE_MS;

    if (consumer_open(c) != IM_OK) {
        *c = old;                      /* logged; asked for again later */
        return;
    }

    consumer_close(&old);

    if (c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: the broker allows no session "
                 "of %u ms (group.min.session.timeout.ms), goes on with %d: "
                 "an instance that dies is replaced after that", c->name,
                 asked, IM_KAFKA_SESSION_SAFE_MS);
        c->log.log(c->log.ctx, IM_LOG_WARN, text);
    }
}


/* On the consuming thread, inside a poll. */
static void
consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    char                  text[96];
    im_kafka_log_t       *log = opaque;
    im_kafka_consumer_t  *c;

    c = (im_kafka_consumer_t *) ((char *) log
                                 - offsetof(im_kafka_consumer_t, log));

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        consumer_assign(c, parts);

    } else {
        c->revoked = 1;

        if (c->conf.revoke != NULL) {
            c->conf.revoke(c->conf.ctx);
        }

        rd_kafka_commit(rk, NULL, 0);
        rd_kafka_assign(rk, NULL);
    }

    if (c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: %d partitions of %.40s",
                 (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) ? "assigned"
                                                               : "revoked",
                 parts->cnt, c->topic);
        c->log.log(c->log.ctx, IM_LOG_NOTICE, text);
    }
}


static void
consumer_assign(im_kafka_consumer_t *c,
    const rd_kafka_topic_partition_list_t *parts)
{
    int                               i;
    rd_kafka_topic_partition_list_t  *list;

    c->assigned = 1;

    for (i = 0; i < c->n_done; i++) {
        c->done[i] = -1;
    }

    rd_kafka_assign(c->rk, parts);

    if (c->paused) {
        list = rd_kafka_topic_partition_list_copy(parts);
        rd_kafka_pause_partitions(c->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
}


size_t
im_kafka_consume(im_kafka_consumer_t *c, im_kafka_record_t *records,
    size_t max, unsigned wait_ms)
{
    size_t               n;
    rd_kafka_message_t  *m;

    n = 0;

    if (c->refused) {
        consumer_lengthen_session(c);
    }

    while (n < max) {
        m = rd_kafka_consumer_poll(c->rk, n == 0 ? (int) wait_ms : 0);

        if (m == NULL) {
            break;
        }

        if (consumer_take(c, &records[n], m) != IM_OK) {
            rd_kafka_message_destroy(m);

            if (n == 0) {
                break;                 /* an event, not a record */
            }

            continue;
        }

        n++;
    }

    /* after a revocation in here the batch may hold records of the new
     * assignment, which nobody else reads: it is not to be given up for it */
    c->revoked = 0;

    return n;
}


static int
consumer_take(im_kafka_consumer_t *c, im_kafka_record_t *record,
    rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        consumer_failed(c, m);
        return IM_DECLINED;
    }

    record->partition = m->partition;
    record->offset = m->offset;
    record->key.data = m->key;
    record->key.len = m->key_len;
    record->value.data = m->payload;
    record->value.len = m->len;
    record->handle = m;

    return IM_OK;
}


/* Of the group, the topic or a partition.  The library goes on by itself. */
static void
consumer_failed(im_kafka_consumer_t *c, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT) {
        c->refused = 1;
    }

    if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        im_kafka_log_error(&c->log, c->name, m->err,
                           rd_kafka_message_errstr(m));
    }
}


/* Of the connections, inside a poll. */
static void
consumer_on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    im_kafka_consumer_t  *c;

    (void) rk;

    c = (im_kafka_consumer_t *) ((char *) opaque
                                 - offsetof(im_kafka_consumer_t, log));
    im_kafka_log_error(&c->log, c->name, (rd_kafka_resp_err_t) err, reason);
}


void
im_kafka_batch_free(im_kafka_record_t *records, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        rd_kafka_message_destroy(records[i].handle);
    }
}


void
im_kafka_pause(im_kafka_consumer_t *c)
{
    rd_kafka_topic_partition_list_t  *list;

    if (c->paused) {
        return;
    }

    c->paused = 1;

    if (rd_kafka_assignment(c->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_pause_partitions(c->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
}


void
im_kafka_resume(im_kafka_consumer_t *c)
{
    rd_kafka_topic_partition_list_t  *list;

    if (!c->paused) {
        return;
    }

    c->paused = 0;

    if (rd_kafka_assignment(c->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_resume_partitions(c->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
}


int
im_kafka_idle(im_kafka_consumer_t *c, unsigned ms)
{
    uint64_t             now, until;
    rd_kafka_message_t  *m;

    now = im_kafka_now_ms();
    until = now + ms;

    while (now < until) {
        m = rd_kafka_consumer_poll(c->rk, (int) (until - now));

        if (m != NULL) {
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                consumer_put_back(c);

            } else {
                consumer_failed(c, m);
            }

            rd_kafka_message_destroy(m);
        }

        now = im_kafka_now_ms();
    }

    return c->revoked ? IM_DECLINED : IM_OK;
}


/* A record that nobody has asked for, which pausing should prevent: reading
 * begins again at the committed offsets, as after a rebalance. */
static void
consumer_put_back(im_kafka_consumer_t *c)
{
    int                               i;
    rd_kafka_topic_partition_list_t  *list;

    if (rd_kafka_assignment(c->rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }

    for (i = 0; i < list->cnt; i++) {
        list->elems[i].offset = RD_KAFKA_OFFSET_INVALID;
    }

    c->revoked = 1;
    rd_kafka_commit(c->rk, NULL, 0);
    rd_kafka_assign(c->rk, NULL);
    consumer_assign(c, list);
    rd_kafka_topic_partition_list_destroy(list);
}


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
        consumer_set_done(c, partition, offset + 1);
    }

    return rc;
}


/* Out of memory: the group's coordinator is asked instead. */
static void
consumer_set_done(im_kafka_consumer_t *c, int partition, int64_t next)
{
    int64_t  *done;

    if (partition >= c->n_done) {
        done = realloc(c->done, (size_t) (partition + 1) * sizeof(int64_t));
        if (done == NULL) {
            return;
        }

        c->done = done;

        while (c->n_done <= partition) {
            c->done[c->n_done++] = -1;
        }
    }

    c->done[partition] = next;
}


int
im_kafka_lag(im_kafka_consumer_t *c, unsigned timeout_ms, uint64_t *lag)
{
    int                               i, rc;
    rd_kafka_topic_partition_list_t  *list;

    *lag = 0;

    if (rd_kafka_assignment(c->rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return IM_AGAIN;
    }

    /* the first one without an answer ends it: one time-out, not one each */

    for (rc = IM_OK, i = 0; rc == IM_OK && i < list->cnt; i++) {
        rc = consumer_lag(c, &list->elems[i], timeout_ms, lag);
    }

    rd_kafka_topic_partition_list_destroy(list);

    return rc;
}


static int
consumer_lag(im_kafka_consumer_t *c, const rd_kafka_topic_partition_t *p,
    unsigned timeout_ms, uint64_t *lag)
{
    int64_t                           low, high, next;
    rd_kafka_resp_err_t               err;
    rd_kafka_topic_partition_list_t  *one;

    low = high = -1;

    /* known from the last fetch; a paused partition is not fetched */

    if (c->paused
        || rd_kafka_get_watermark_offsets(c->rk, p->topic, p->partition, &low,
                                          &high) != RD_KAFKA_RESP_ERR_NO_ERROR
        || high < 0)
    {
        err = rd_kafka_query_watermark_offsets(c->rk, p->topic, p->partition,
                                               &low, &high, (int) timeout_ms);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return IM_AGAIN;
        }
    }

    next = (p->partition < c->n_done) ? c->done[p->partition] : -1;

    if (next < 0) {
        one = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(one, p->topic, p->partition);
        err = rd_kafka_committed(c->rk, one, (int) timeout_ms);
        next = one->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(one);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return IM_AGAIN;
        }

        next = (next < 0) ? low : next;
        consumer_set_done(c, p->partition, next);
    }

    *lag += (high > next) ? (uint64_t) (high - next) : 0;

    return IM_OK;
}


void
im_kafka_commit_soon(im_kafka_consumer_t *c)
{
    (void) rd_kafka_commit(c->rk, NULL, 1);
}


void
im_kafka_consumer_destroy(im_kafka_consumer_t *c)
{
    if (c == NULL) {
        return;
    }

    consumer_free(c);
}


uint64_t
im_kafka_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
