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
 * A session cannot be changed, so the handle is made anew for another one
 * (im_kafka_session.c): after a loss while it is no member, which costs nothing
 * more, and minutes later in one rebalance.
 *
 * Room: store.  One thread for each consumer.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_kafka_int.h"


typedef rd_kafka_resp_err_t (*consumer_change_pt)(rd_kafka_t *rk,
    rd_kafka_topic_partition_list_t *list);


static int consumer_open(im_kafka_consumer_t *c, unsigned session_ms);
static void consumer_close(rd_kafka_t *rk, rd_kafka_queue_t *queue, int lost);
static void consumer_refused(im_kafka_consumer_t *c);
static void consumer_renew(im_kafka_consumer_t *c, unsigned session_ms);
static void consumer_on_lost(im_kafka_consumer_t *c, rd_kafka_t *rk,
    uint64_t now);
static rd_kafka_message_t *consumer_poll(im_kafka_consumer_t *c,
    unsigned wait_ms);
static void consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque);
static void consumer_assign(im_kafka_consumer_t *c, rd_kafka_t *rk,
    const rd_kafka_topic_partition_list_t *parts);
static int consumer_take(im_kafka_consumer_t *c, im_kafka_record_t *record,
    rd_kafka_message_t *m);
static void consumer_failed(im_kafka_consumer_t *c,
    const rd_kafka_message_t *m);
static void consumer_on_error(rd_kafka_t *rk, int err, const char *reason,
    void *opaque);
static void consumer_fetches(im_kafka_consumer_t *c, consumer_change_pt change,
    unsigned paused);
static void consumer_put_back(im_kafka_consumer_t *c);


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
    c->session.usual_ms = conf->session_ms;
    c->session.long_ms = (conf->poll_max_ms < IM_KAFKA_SESSION_SAFE_MS)
                         ? conf->session_ms : IM_KAFKA_SESSION_SAFE_MS;
    c->log.log = conf->log;
    c->log.ctx = conf->log_ctx;
    snprintf(c->name, sizeof(c->name), "consumer %s", conf->group);

    if (c->conf.brokers == NULL || c->conf.group == NULL
        || c->conf.client_id == NULL || c->topic == NULL
        || consumer_open(c, c->conf.session_ms) != IM_OK)
    {
        im_kafka_consumer_destroy(c);
        return NULL;
    }

    return c;
}


static int
consumer_open(im_kafka_consumer_t *c, unsigned session_ms)
{
    rd_kafka_t                *rk;
    im_kafka_consumer_conf_t   conf;

    conf = c->conf;
    conf.session_ms = session_ms;

    if (conf.poll_max_ms < session_ms) {
        conf.poll_max_ms = session_ms; /* the library wants it so */
    }

    rk = im_kafka_member_create(&conf, &c->log, consumer_rebalance,
                                consumer_on_error);
    if (rk == NULL) {
        return IM_ERROR;
    }

    c->rk = rk;
    c->queue = rd_kafka_queue_get_consumer(rk);
    c->session.now_ms = session_ms;
    c->session.polled_ms = im_kafka_now_ms();

    return IM_OK;
}


/* lost: it is no member, and waits for the end of its revocation. */
static void
consumer_close(rd_kafka_t *rk, rd_kafka_queue_t *queue, int lost)
{
    if (!lost) {
        rd_kafka_consumer_close(rk);
    }

    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy_flags(rk, lost ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE
                                    : 0);
}


void
im_kafka_consumer_destroy(im_kafka_consumer_t *c)
{
    if (c == NULL) {
        return;
    }

    c->closing = 1;

    if (c->rk != NULL) {
        consumer_close(c->rk, c->queue, c->lost);
    }

    free((char *) c->conf.brokers);
    free((char *) c->conf.group);
    free((char *) c->conf.client_id);
    free(c->topic);
    free(c->done.next);
    free(c);
}


/*
 * A broker of others allows no session as short as ours, unless its
 * group.min.session.timeout.ms says so.  The library can do nothing but ask
 * again, so the member begins anew with one that each broker allows.
 */
static void
consumer_refused(im_kafka_consumer_t *c)
{
    char  text[256];

    c->refused = 0;

    if (c->session.usual_ms < IM_KAFKA_SESSION_SAFE_MS && c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: the broker allows no session "
                 "of %u ms (group.min.session.timeout.ms), goes on with %d: "
                 "an instance that dies is replaced after that", c->name,
                 c->session.usual_ms, IM_KAFKA_SESSION_SAFE_MS);
        c->log.log(c->log.ctx, IM_LOG_WARN, text);
    }

    c->session.usual_ms = (c->session.usual_ms < IM_KAFKA_SESSION_SAFE_MS)
                          ? IM_KAFKA_SESSION_SAFE_MS : c->session.usual_ms;
}


/* The new one joins before the old one leaves, so that both are one rebalance.
 * What fails is logged, and the old handle goes on for a while. */
static void
consumer_renew(im_kafka_consumer_t *c, unsigned session_ms)
{
    char               text[160];
    unsigned           lost;
    rd_kafka_t        *rk;
    rd_kafka_queue_t  *queue;

    rk = c->rk;
    queue = c->queue;
    lost = c->lost;
    c->lost = 0;
    c->assigned = 0;

    if (c->conf.revoke != NULL) {
        c->conf.revoke(c->conf.ctx);   /* no record of it is held any more */
    }

    if (consumer_open(c, session_ms) != IM_OK) {
        c->session.long_until_ms = 0;
        c->again_ms = im_kafka_now_ms() + IM_KAFKA_RENEW_MS;

        if (lost) {
            rd_kafka_assign(rk, NULL);
        }

        return;
    }

    consumer_close(rk, queue, (int) lost);

    if (c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: its session is %u ms now",
                 c->name, session_ms);
        c->log.log(c->log.ctx, IM_LOG_NOTICE, text);
    }
}


/* On the consuming thread, inside a poll. */
static void
consumer_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    int                   lost;
    char                  text[96];
    uint64_t              now;
    im_kafka_log_t       *log = opaque;
    im_kafka_consumer_t  *c;

    c = (im_kafka_consumer_t *) ((char *) log
                                 - offsetof(im_kafka_consumer_t, log));
    now = im_kafka_now_ms();
    lost = 0;

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        consumer_assign(c, rk, parts);

    } else {
        c->revoked = 1;
        c->assigned = 0;

        if (c->conf.revoke != NULL) {
            c->conf.revoke(c->conf.ctx);
        }

        lost = rd_kafka_assignment_lost(rk);

        if (lost) {
            consumer_on_lost(c, rk, now);

        } else {
            rd_kafka_commit(rk, NULL, 0);
            rd_kafka_assign(rk, NULL);
        }
    }

    if (c->log.log != NULL) {
        snprintf(text, sizeof(text), "kafka %s: %d partitions of %.40s",
                 (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) ? "assigned"
                 : lost ? "lost" : "revoked",
                 parts->cnt, c->topic);
        c->log.log(c->log.ctx, IM_LOG_NOTICE, text);
    }
}


/*
 * The broker does not know us any more, or has been silent for a session; what
 * was stored cannot be committed.  Now: when the callback came.
 */
static void
consumer_on_lost(im_kafka_consumer_t *c, rd_kafka_t *rk, uint64_t now)
{
    if (c->closing || rk != c->rk) {
        rd_kafka_assign(rk, NULL);     /* it leaves */
        return;
    }

    im_kafka_session_lost(&c->session, now);

    if (im_kafka_session_ms(&c->session, im_kafka_now_ms())
        != c->session.now_ms)
    {
        c->lost = 1;                   /* im_kafka_consume makes it anew */

    } else {
        rd_kafka_assign(rk, NULL);
    }
}


static void
consumer_assign(im_kafka_consumer_t *c, rd_kafka_t *rk,
    const rd_kafka_topic_partition_list_t *parts)
{
    rd_kafka_topic_partition_list_t  *list;

    if (rk != c->rk) {
        rd_kafka_assign(rk, NULL);     /* it leaves */
        return;
    }

    /* where the struct lies differs by chance from process to process */

    im_kafka_session_assigned(&c->session, im_kafka_now_ms(),
                              (unsigned) ((uintptr_t) c >> 4));
    im_kafka_done_forget(&c->done);
    rd_kafka_assign(rk, parts);
    c->assigned = 1;
    atomic_store(&c->joined, 1);

    if (c->paused) {
        list = rd_kafka_topic_partition_list_copy(parts);
        rd_kafka_pause_partitions(rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
}


size_t
im_kafka_consume(im_kafka_consumer_t *c, im_kafka_record_t *records,
    size_t max, unsigned wait_ms)
{
    size_t               n;
    uint64_t             now;
    unsigned             session_ms;
    rd_kafka_message_t  *m;

    n = 0;

    if (c->refused) {
        consumer_refused(c);
    }

    now = im_kafka_now_ms();
    session_ms = im_kafka_session_ms(&c->session, now);

    if (c->lost
        || (session_ms != c->session.now_ms && now >= c->again_ms))
    {
        consumer_renew(c, session_ms);
    }

    while (n < max) {
        m = consumer_poll(c, n == 0 ? wait_ms : 0);

        if (m != NULL && c->lost) {
            rd_kafka_message_destroy(m);           /* its new owner reads it */
            break;
        }

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
     * assignment, which nobody else reads: it is not to be given up for it;
     * after a loss all of it is of the old one */
    c->revoked = c->lost;

    return n;
}


static rd_kafka_message_t *
consumer_poll(im_kafka_consumer_t *c, unsigned wait_ms)
{
    c->session.polled_ms = im_kafka_now_ms();

    return rd_kafka_consumer_poll(c->rk, (int) wait_ms);
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
    consumer_fetches(c, rd_kafka_pause_partitions, 1);
}


void
im_kafka_resume(im_kafka_consumer_t *c)
{
    consumer_fetches(c, rd_kafka_resume_partitions, 0);
}


static void
consumer_fetches(im_kafka_consumer_t *c, consumer_change_pt change,
    unsigned paused)
{
    rd_kafka_topic_partition_list_t  *list;

    if (c->paused == paused) {
        return;
    }

    c->paused = paused & 1;

    if (rd_kafka_assignment(c->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void) change(c->rk, list);
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
        m = consumer_poll(c, (unsigned) (until - now));

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

    if (c->lost
        || rd_kafka_assignment(c->rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        return;
    }

    for (i = 0; i < list->cnt; i++) {
        list->elems[i].offset = RD_KAFKA_OFFSET_INVALID;
    }

    c->revoked = 1;
    rd_kafka_commit(c->rk, NULL, 0);
    rd_kafka_assign(c->rk, NULL);
    consumer_assign(c, c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}
