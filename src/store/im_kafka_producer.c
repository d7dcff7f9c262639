/*
 * im_kafka_producer.c -- idempotent producer with delivery reports in batches.
 *
 * linger is 0: whoever calls us has already let a batch grow.  A burst for one
 * partition is handed over in one call, so that it leaves in one request.
 * Delivery reports come as events, many at a time, so that acks can be written
 * once for each connection and not once for each message.
 *
 * Room: store.  produce: any thread; poll: one thread.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_kafka_int.h"
#include "im_tsan.h"


#define KAFKA_BURST_MAX  1024
#define KAFKA_TOPICS     4
#define PRODUCER_PURGE_MS  1000
#define PRODUCER_ERROR_MS  60000


struct im_kafka_producer_s {
    rd_kafka_t          *rk;
    rd_kafka_queue_t    *events;
    pthread_mutex_t      lock;                     /* of topics */
    rd_kafka_topic_t    *topics[KAFKA_TOPICS];
    im_kafka_report_pt   report;
    void                *report_ctx;
    im_kafka_log_t       log;
    char                 name[64];
};


static rd_kafka_topic_t *producer_topic(im_kafka_producer_t *p,
    const char *name);
static void producer_burst(rd_kafka_topic_t *topic, int partition,
    im_kafka_message_t *messages, size_t n);
static int producer_result(rd_kafka_resp_err_t err);
static void producer_reports(im_kafka_producer_t *p, rd_kafka_event_t *ev);
static void producer_drain(im_kafka_producer_t *p, unsigned timeout_ms);


int
im_kafka_set(rd_kafka_conf_t *conf, const im_kafka_setting_t *s, char *error,
    size_t size)
{
    for (; s->key != NULL; s++) {
        if (rd_kafka_conf_set(conf, s->key, s->value, error, size)
            != RD_KAFKA_CONF_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


void
im_kafka_log_cb(const rd_kafka_t *rk, int level, const char *fac,
    const char *buf)
{
    char             text[512];
    im_kafka_log_t  *log;

    log = rd_kafka_opaque(rk);

    if (log == NULL || log->log == NULL) {
        return;
    }

    /* lost connections; errors that follow from them, and all others, come
     * as events: im_kafka_log_error() */

    if (strcmp(fac, "FAIL") == 0 || strcmp(fac, "ERROR") == 0
        || strcmp(fac, "GETPID") == 0)
    {
        level = IM_LOG_DEBUG;
    }

    snprintf(text, sizeof(text), "kafka %s: %s", fac, buf);
    log->log(log->ctx, (level < IM_LOG_ERR) ? IM_LOG_ERR : level, text);
}


void
im_kafka_log_error(im_kafka_log_t *log, const char *what,
    rd_kafka_resp_err_t err, const char *text)
{
    char      line[512];
    uint64_t  now;

    /* these take turns while the broker is away */

    switch (err) {

    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
        err = RD_KAFKA_RESP_ERR__TRANSPORT;
        break;

    default:
        break;
    }

    now = im_kafka_now_ms();

    if (log->log == NULL
        || (log->error == (int) err
            && now - log->error_ms < PRODUCER_ERROR_MS))
    {
        return;
    }

    log->error = (int) err;
    log->error_ms = now;

    snprintf(line, sizeof(line), "kafka %s: %s: %s", what,
             rd_kafka_err2name(err), text);
    log->log(log->ctx, IM_LOG_WARN, line);
}


im_kafka_producer_t *
im_kafka_producer_create(const im_kafka_producer_conf_t *conf)
{
    char                  error[256], delivery[16], queue[16];
    rd_kafka_conf_t      *rc;
    im_kafka_producer_t  *p;

    snprintf(delivery, sizeof(delivery), "%u", conf->delivery_ms);
    snprintf(queue, sizeof(queue), "%u", conf->queue_max);

    const im_kafka_setting_t  settings[] = {
        { "bootstrap.servers", conf->brokers },
        { "client.id", conf->client_id },
        { "acks", "all" },
        { "enable.idempotence", "true" },
        { "linger.ms", "0" },
        { "max.in.flight.requests.per.connection", "2" },
        { "delivery.timeout.ms", delivery },
        { "queue.buffering.max.messages", queue },
        { "queue.buffering.max.kbytes", "1048576" },
        { "message.max.bytes", "1000000" },
        { "socket.nagle.disable", "true" },
        { "socket.timeout.ms", IM_TIMEOUT_STR(IM_KAFKA_SOCKET_MS) },
        { "socket.connection.setup.timeout.ms",
          IM_TIMEOUT_STR(IM_KAFKA_CONNECT_MS) },
        { "reconnect.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MIN_MS) },
        { "reconnect.backoff.max.ms",
          IM_TIMEOUT_STR(IM_KAFKA_BACKOFF_MAX_MS) },
        { "retry.backoff.ms", IM_TIMEOUT_STR(IM_KAFKA_RETRY_MS) },
        { "topic.metadata.refresh.interval.ms",
          IM_TIMEOUT_STR(IM_KAFKA_METADATA_MS) },
        { "log.connection.close", "false" },
        { NULL, NULL }
    };

    p = calloc(1, sizeof(im_kafka_producer_t));
    if (p == NULL) {
        return NULL;
    }

    p->report = conf->report;
    p->report_ctx = conf->report_ctx;
    p->log.log = conf->log;
    p->log.ctx = conf->log_ctx;
    snprintf(p->name, sizeof(p->name), "producer %s", conf->client_id);

    rc = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(rc, &p->log);
    rd_kafka_conf_set_log_cb(rc, im_kafka_log_cb);
    rd_kafka_conf_set_events(rc, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);

    if (im_kafka_set(rc, settings, error, sizeof(error)) == IM_OK) {
        p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rc, error, sizeof(error));
    }

    if (p->rk == NULL) {
        if (conf->log != NULL) {
            conf->log(conf->log_ctx, IM_LOG_ERR, error);
        }

        rd_kafka_conf_destroy(rc);
        free(p);
        return NULL;
    }

    pthread_mutex_init(&p->lock, NULL);
    p->events = rd_kafka_queue_get_main(p->rk);

    return p;
}


/* The few topics of a process are found by name and kept.  Any thread: several
 * may be the first at once, after a producer was replaced. */
static rd_kafka_topic_t *
producer_topic(im_kafka_producer_t *p, const char *name)
{
    unsigned           i;
    rd_kafka_topic_t  *topic;

    topic = NULL;

    pthread_mutex_lock(&p->lock);

    for (i = 0; i < KAFKA_TOPICS && topic == NULL; i++) {

        if (p->topics[i] == NULL) {
            /* NULL: ours.  A new configuration would mean the library's
             * defaults, among them 300 s to deliver */
            p->topics[i] = rd_kafka_topic_new(p->rk, name, NULL);
            topic = p->topics[i];
            break;
        }

        if (strcmp(rd_kafka_topic_name(p->topics[i]), name) == 0) {
            topic = p->topics[i];
        }
    }

    pthread_mutex_unlock(&p->lock);

    return topic;
}


unsigned
im_kafka_partitions(im_kafka_producer_t *p, const char *topic,
    unsigned timeout_ms)
{
    unsigned                         n;
    rd_kafka_topic_t                *t;
    const struct rd_kafka_metadata  *md;

    t = producer_topic(p, topic);

    if (t == NULL
        || rd_kafka_metadata(p->rk, 0, t, &md, (int) timeout_ms)
           != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
        return 0;
    }

    n = 0;

    if (md->topic_cnt == 1 && md->topics[0].err == 0) {
        n = (unsigned) md->topics[0].partition_cnt;
    }

    rd_kafka_metadata_destroy(md);

    return n;
}


void
im_kafka_produce(im_kafka_producer_t *p, const char *topic, int partition,
    im_kafka_message_t *messages, size_t n)
{
    size_t             i, part;
    rd_kafka_topic_t  *t;

    t = producer_topic(p, topic);

    for (i = 0; i < n; i += part) {
        part = (n - i < KAFKA_BURST_MAX) ? n - i : KAFKA_BURST_MAX;

        if (t == NULL) {
            messages[i].result = IM_ERROR;
            part = 1;
            continue;
        }

        producer_burst(t, partition, messages + i, part);
    }
}


static void
producer_burst(rd_kafka_topic_t *topic, int partition,
    im_kafka_message_t *messages, size_t n)
{
    size_t              i;
    rd_kafka_message_t  burst[KAFKA_BURST_MAX];

    memset(burst, 0, n * sizeof(rd_kafka_message_t));

    for (i = 0; i < n; i++) {
        burst[i].payload = messages[i].value.data;
        burst[i].len = messages[i].value.len;
        burst[i].key = messages[i].key.data;
        burst[i].key_len = messages[i].key.len;
        burst[i]._private = messages[i].opaque;
        im_tsan_give(messages[i].opaque);
    }

    rd_kafka_produce_batch(topic, partition, RD_KAFKA_MSG_F_FREE, burst,
                           (int) n);

    for (i = 0; i < n; i++) {
        messages[i].result = producer_result(burst[i].err);
    }
}


static int
producer_result(rd_kafka_resp_err_t err)
{
    switch (err) {

    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return IM_OK;

    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return IM_BUSY;

    default:
        return IM_ERROR;
    }
}


void
im_kafka_produce_with(im_kafka_producer_t *p, const char *topic,
    int partition, im_kafka_message_t *message,
    const im_kafka_header_t *headers, size_t n)
{
    size_t                i;
    rd_kafka_headers_t   *list;
    rd_kafka_resp_err_t   err;

    list = rd_kafka_headers_new(n);

    for (i = 0; i < n; i++) {
        (void) rd_kafka_header_add(list, headers[i].name, -1,
                                   headers[i].value, -1);
    }

    im_tsan_give(message->opaque);

    err = rd_kafka_producev(p->rk, RD_KAFKA_V_TOPIC(topic),
              RD_KAFKA_V_PARTITION(partition),
              RD_KAFKA_V_KEY(message->key.data, message->key.len),
              RD_KAFKA_V_VALUE(message->value.data, message->value.len),
              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE),
              RD_KAFKA_V_HEADERS(list),
              RD_KAFKA_V_OPAQUE(message->opaque), RD_KAFKA_V_END);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_headers_destroy(list);
    }

    message->result = producer_result(err);
}


size_t
im_kafka_poll(im_kafka_producer_t *p, unsigned timeout_ms,
    void (*batch_end)(void *ctx))
{
    size_t             n;
    rd_kafka_event_t  *ev;

    n = 0;

    for (ev = rd_kafka_queue_poll(p->events, (int) timeout_ms);
         ev != NULL;
         ev = rd_kafka_queue_poll(p->events, 0))
    {
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR) {
            n += rd_kafka_event_message_count(ev);
            producer_reports(p, ev);

            if (batch_end != NULL) {
                batch_end(p->report_ctx);
            }

        } else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR) {
            im_kafka_log_error(&p->log, p->name, rd_kafka_event_error(ev),
                               rd_kafka_event_error_string(ev));
        }

        rd_kafka_event_destroy(ev);
    }

    return n;
}


static void
producer_reports(im_kafka_producer_t *p, rd_kafka_event_t *ev)
{
    const rd_kafka_message_t  *m;

    while ((m = rd_kafka_event_message_next(ev)) != NULL) {
        if (p->report != NULL) {
            im_tsan_take(m->_private);
            p->report(p->report_ctx, m->_private,
                      m->err == RD_KAFKA_RESP_ERR_NO_ERROR,
                      rd_kafka_err2str(m->err));
        }
    }
}


int
im_kafka_fatal(im_kafka_producer_t *p)
{
    char  text[128];

    return rd_kafka_fatal_error(p->rk, text, sizeof(text))
           != RD_KAFKA_RESP_ERR_NO_ERROR;
}


/* Until every message has its report, or time is up. */
static void
producer_drain(im_kafka_producer_t *p, unsigned timeout_ms)
{
    uint64_t  until_ms;

    until_ms = im_kafka_now_ms() + timeout_ms;

    while (rd_kafka_outq_len(p->rk) > 0 && im_kafka_now_ms() < until_ms) {
        im_kafka_poll(p, 20, NULL);
    }
}


void
im_kafka_producer_destroy(im_kafka_producer_t *p, unsigned timeout_ms)
{
    unsigned  i;

    if (p == NULL) {
        return;
    }

    producer_drain(p, timeout_ms);

    /* what is left fails now, and is reported: its owner frees it then */

    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    producer_drain(p, PRODUCER_PURGE_MS);

    for (i = 0; i < KAFKA_TOPICS && p->topics[i] != NULL; i++) {
        rd_kafka_topic_destroy(p->topics[i]);
    }

    rd_kafka_queue_destroy(p->events);
    rd_kafka_destroy(p->rk);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
