/*
 * task_push.c -- Kafka to the Connect instances.
 *
 * A batch of records is taken, the users in it are looked up in one pipeline,
 * and each record goes to the instances where one of its users is connected.
 * Up to PUSH_BATCHES batches are on their way at a time.  A batch is done when
 * every instance that got something of it has confirmed or is gone; then its
 * offsets are stored, in the order of the batches.  An instance that does not
 * confirm in time is not waited for: its clients see a gap in seq and ask for
 * the history.
 *
 * When a stream to a living instance breaks, all that was not confirmed is
 * sent again on the next stream, oldest first, before anything new.
 *
 * One thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "im_crash.h"
#include "task_push.h"
#include "task_route.h"


#define PUSH_BATCHES   8
#define PUSH_IDLE_MS   100
#define PUSH_RETRY_MS  200


/* A record, as far as routing needs it. */
typedef struct {
    uint64_t             users[2];
    unsigned             n_users;  /* 0: malformed, or nobody to tell */
    uint64_t             room;     /* instead of users; 0: none */
    uint64_t             from_conn;
    ProtobufCBinaryData  value;
} push_record_t;

typedef struct {
    im_kafka_record_t   *kafka;
    push_record_t       *records;
    size_t               n;
    task_routes_t        routes;
    task_mark_t         *marks;    /* one for each peer; each holds it */
    unsigned             n_marks;
    unsigned             marks_size;
    uint64_t             until_us;
} push_batch_t;

/* Recipients of one record on one instance. */
typedef struct {
    task_peer_t         *peer;
    uint64_t             uids[2];
    unsigned             n;
    uint64_t             room;     /* instead of uids: all who are in it */
} push_group_t;


static void *push_thread(void *arg);
static int push_take(void);
static int push_route(push_batch_t *b);
static void push_parse(push_record_t *r, const im_kafka_record_t *kafka);
static void push_send(push_batch_t *b, task_peer_t *only);
static unsigned push_groups(push_batch_t *b, const push_record_t *r,
    task_peer_t *only);
static void push_group_add(task_peer_t *peer, uint64_t uid, uint64_t room,
    unsigned *n);
static void push_item(push_batch_t *b, const push_record_t *r,
    const push_group_t *g, int again);
static task_mark_t *push_mark(push_batch_t *b, task_peer_t *peer);
static void push_repair(void);
static void push_settle(void);
static int push_settled(push_batch_t *b);
static void push_finish(push_batch_t *b);
static void push_on_revoke(void *ctx);
static int push_batch_init(push_batch_t *b);
static void push_batch_free(push_batch_t *b);


static pthread_t             push_id;
static atomic_int            push_stopping;
static im_kafka_consumer_t  *push_consumer;
static im_redis_t           *push_redis;
static im_dependency_t       push_dependency = { "redis", 0 };
static push_batch_t          push_ring[PUSH_BATCHES];
static unsigned              push_first, push_count;
static push_group_t         *push_group_list;
static unsigned              push_group_size;

static atomic_ullong         push_records, push_pushed, push_repeated,
                             push_dropped, push_unconfirmed;


int
task_push_start(void)
{
    unsigned                  i;
    im_redis_conf_t           redis;
    im_kafka_consumer_conf_t  conf;

    redis.address = task_conf.common.redis_address;
    redis.password = task_conf.common.redis_password;
    redis.timeout_ms = task_conf.common.redis_timeout_ms;
    push_redis = im_redis_create(&redis);

    for (i = 0; i < PUSH_BATCHES; i++) {
        if (push_batch_init(&push_ring[i]) != IM_OK) {
            return IM_ERROR;
        }
    }

    memset(&conf, 0, sizeof(conf));
    conf.brokers = task_conf.common.kafka_brokers;
    conf.group = task_conf.push_group;
    conf.topic = task_conf.common.kafka_topic;
    conf.client_id = "im-task-push";
    conf.session_ms = task_conf.session_ms;
    conf.poll_max_ms = task_conf.poll_max_ms;
    conf.log = im_log_lower;
    conf.revoke = push_on_revoke;

    push_consumer = im_kafka_consumer_create(&conf);

    if (push_redis == NULL || push_consumer == NULL
        || pthread_create(&push_id, NULL, push_thread, NULL) != 0)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


void
task_push_stop(void)
{
    unsigned  i;

    atomic_store(&push_stopping, 1);
    pthread_join(push_id, NULL);

    im_kafka_consumer_destroy(push_consumer);
    im_redis_destroy(push_redis);
    task_route_stop();

    for (i = 0; i < PUSH_BATCHES; i++) {
        push_batch_free(&push_ring[i]);
    }

    free(push_group_list);
}


void
task_push_stats(task_push_stats_t *stats)
{
    stats->records = atomic_load(&push_records);
    stats->pushed = atomic_load(&push_pushed);
    stats->repeated = atomic_load(&push_repeated);
    stats->dropped = atomic_load(&push_dropped);
    stats->unconfirmed = atomic_load(&push_unconfirmed);
}


int
task_push_healthy(void)
{
    return !push_dependency.down;
}


static void *
push_thread(void *arg)
{
    (void) arg;

    while (!atomic_load(&push_stopping)) {
        push_repair();
        push_settle();

        if (push_count == PUSH_BATCHES) {
            task_peer_wait(20);

        } else if (push_take() != IM_OK) {
            break;
        }
    }

    /* each batch has a deadline, so this ends */
    push_on_revoke(NULL);

    return NULL;
}


/* Takes a batch and sends it.  IM_DONE: stopped while Redis was away; the
 * records stay for whoever comes next, as they do when their partitions have
 * moved meanwhile. */
static int
push_take(void)
{
    int            rc;
    size_t         i;
    unsigned       wait;
    push_batch_t  *b;

    b = &push_ring[(push_first + push_count) % PUSH_BATCHES];
    wait = (push_count > 0) ? PUSH_IDLE_MS / 10 : PUSH_IDLE_MS;

    b->n = im_kafka_consume(push_consumer, b->kafka, task_conf.push_batch,
                            wait);
    if (b->n == 0) {
        return IM_OK;
    }

    atomic_fetch_add(&push_records, b->n);

    for (i = 0; i < b->n; i++) {
        push_parse(&b->records[i], &b->kafka[i]);
    }

    rc = push_route(b);
    im_kafka_resume(push_consumer);

    if (rc != IM_OK) {
        task_route_clear(&b->routes);
        im_kafka_batch_free(b->kafka, b->n);
        return (rc == IM_DECLINED) ? IM_OK : rc;
    }

    b->n_marks = 0;
    b->until_us = im_mono_us() + (uint64_t) task_conf.push_confirm_ms * 1000;
    push_count++;
    push_send(b, NULL);

    IM_CRASH_POINT("push.sent");

    return IM_OK;
}


static int
push_route(push_batch_t *b)
{
    size_t          i;
    unsigned        u;
    push_record_t  *r;

    b->routes.redis = push_redis;

    for (i = 0; i < b->n; i++) {
        r = &b->records[i];

        for (u = 0; u < r->n_users; u++) {
            if (task_route_add(&b->routes, r->users[u]) != IM_OK) {
                im_log(IM_LOG_ERR, "out of memory: a message is not pushed");
                r->n_users = u;
            }
        }

        if (r->room != 0
            && task_route_add_room(&b->routes, r->room) != IM_OK)
        {
            im_log(IM_LOG_ERR, "out of memory: a message is not pushed");
        }
    }

    while (task_route_resolve(&b->routes) != IM_OK) {
        im_dependency_down(&push_dependency, b->routes.error);

        if (atomic_load(&push_stopping)) {
            return IM_DONE;
        }

        im_kafka_pause(push_consumer);

        if (im_kafka_idle(push_consumer, PUSH_RETRY_MS) != IM_OK) {
            return IM_DECLINED;
        }
    }

    im_dependency_up(&push_dependency);

    return IM_OK;
}


static void
push_parse(push_record_t *r, const im_kafka_record_t *kafka)
{
    Im__Record  *m;

    memset(r, 0, sizeof(push_record_t));
    r->value.data = kafka->value.data;
    r->value.len = kafka->value.len;

    m = im__record__unpack(NULL, kafka->value.len, kafka->value.data);

    if (m == NULL) {
        im_log(IM_LOG_ERR, "partition %d, offset %lld: not a message",
               kafka->partition, (long long) kafka->offset);
        return;
    }

    if (m->conv_a != 0) {
        r->users[0] = m->conv_a;
        r->users[1] = m->conv_b;
        r->n_users = (m->conv_a == m->conv_b) ? 1 : 2;

    } else {
        r->room = m->conv_b;
    }

    r->from_conn = m->from_conn;

    im__record__free_unpacked(m, NULL);
}


/* only: NULL, or the one peer that gets the batch again. */
static void
push_send(push_batch_t *b, task_peer_t *only)
{
    size_t    i;
    unsigned  g, n;

    for (i = 0; i < b->n; i++) {
        n = push_groups(b, &b->records[i], only);

        for (g = 0; g < n; g++) {
            push_item(b, &b->records[i], &push_group_list[g], only != NULL);
        }
    }

    for (g = 0; g < b->n_marks; g++) {
        if (only == NULL || only == b->marks[g].peer) {
            task_peer_flush(b->marks[g].peer);
        }
    }
}


/* Who is told of a record, by instance: all connections of its users but the
 * one that has sent it. */
static unsigned
push_groups(push_batch_t *b, const push_record_t *r, task_peer_t *only)
{
    unsigned              u, i, n;
    const task_user_t    *user;
    const task_route_t   *route;

    n = 0;

    for (u = 0; u < r->n_users; u++) {
        user = task_route_find(&b->routes, r->users[u]);

        for (i = 0; user != NULL && i < user->n; i++) {
            route = &user->routes[i];

            if (route->conn != r->from_conn
                && (only == NULL || only == route->peer))
            {
                push_group_add(route->peer, user->uid, 0, &n);
            }
        }
    }

    /* one item for each instance, however many are in the room there; the
     * instance leaves the sender's connection out */

    user = (r->room != 0) ? task_route_find_room(&b->routes, r->room) : NULL;

    for (i = 0; user != NULL && i < user->n; i++) {
        if (only == NULL || only == user->routes[i].peer) {
            push_group_add(user->routes[i].peer, 0, r->room, &n);
        }
    }

    return n;
}


static void
push_group_add(task_peer_t *peer, uint64_t uid, uint64_t room, unsigned *n)
{
    unsigned       i;
    push_group_t  *g, *list;

    for (i = 0; i < *n; i++) {
        g = &push_group_list[i];

        if (g->peer == peer) {
            if (g->uids[g->n - 1] != uid) {
                g->uids[g->n++] = uid;
            }

            return;
        }
    }

    if (*n == push_group_size) {
        list = realloc(push_group_list,
                       (push_group_size + 16) * sizeof(push_group_t));
        if (list == NULL) {
            atomic_fetch_add(&push_dropped, 1);
            return;
        }

        push_group_list = list;
        push_group_size += 16;
    }

    g = &push_group_list[(*n)++];
    g->peer = peer;
    g->uids[0] = uid;
    g->n = (room == 0);
    g->room = room;
}


static void
push_item(push_batch_t *b, const push_record_t *r, const push_group_t *g,
    int again)
{
    int           rc;
    task_mark_t  *mark;
    Im__PushItem  item = IM__PUSH_ITEM__INIT;

    mark = push_mark(b, g->peer);
    if (mark == NULL) {
        atomic_fetch_add(&push_dropped, 1);
        return;
    }

    item.n_uids = g->n;
    item.uids = (uint64_t *) g->uids;
    item.room = g->room;
    item.record = r->value;

    rc = task_peer_send(g->peer, &item, task_conf.push_confirm_ms, mark);

    if (rc == IM_BUSY) {
        atomic_fetch_add(&push_dropped, 1);

    } else if (rc == IM_OK) {
        atomic_fetch_add(again ? &push_repeated : &push_pushed, 1);
    }
}


/* The mark of a peer in a batch; the first item sent fills it. */
static task_mark_t *
push_mark(push_batch_t *b, task_peer_t *peer)
{
    unsigned      i;
    task_mark_t  *marks;

    for (i = 0; i < b->n_marks; i++) {
        if (b->marks[i].peer == peer) {
            return &b->marks[i];
        }
    }

    if (b->n_marks == b->marks_size) {
        marks = realloc(b->marks, (b->marks_size + 16) * sizeof(task_mark_t));
        if (marks == NULL) {
            return NULL;
        }

        b->marks = marks;
        b->marks_size += 16;
    }

    task_peer_hold(peer);

    memset(&b->marks[i], 0, sizeof(task_mark_t));
    b->marks[i].peer = peer;
    b->n_marks++;

    return &b->marks[i];
}


/* First all streams are opened anew, then all batches follow in order: were it
 * done batch by batch, a stream that breaks again and opens again in between
 * would carry the second batch before the first. */
static void
push_repair(void)
{
    unsigned       i, m, broken;
    push_batch_t  *b;

    broken = 0;

    for (i = 0; i < push_count; i++) {
        b = &push_ring[(push_first + i) % PUSH_BATCHES];

        for (m = 0; m < b->n_marks; m++) {
            if (task_peer_state(&b->marks[m]) == TASK_PEER_BROKEN) {
                (void) task_peer_repair(b->marks[m].peer);
                broken = 1;
            }
        }
    }

    for (i = 0; broken && i < push_count; i++) {
        b = &push_ring[(push_first + i) % PUSH_BATCHES];

        for (m = 0; m < b->n_marks; m++) {
            if (task_peer_state(&b->marks[m]) == TASK_PEER_BROKEN) {
                push_send(b, b->marks[m].peer);
            }
        }
    }
}


static void
push_settle(void)
{
    push_batch_t  *b;

    while (push_count > 0) {
        b = &push_ring[push_first];

        if (!push_settled(b)) {
            return;
        }

        push_finish(b);
        push_first = (push_first + 1) % PUSH_BATCHES;
        push_count--;
    }
}


static int
push_settled(push_batch_t *b)
{
    int       late;
    unsigned  m, waits;

    waits = 0;

    for (m = 0; m < b->n_marks; m++) {
        if (task_peer_state(&b->marks[m]) != TASK_PEER_DONE) {
            waits++;
        }
    }

    if (waits == 0) {
        return 1;
    }

    late = im_mono_us() >= b->until_us;

    if (late) {
        im_log(IM_LOG_WARN, "%u connect instances did not confirm a batch in "
               "%u ms; their clients will ask for the history", waits,
               task_conf.push_confirm_ms);
        atomic_fetch_add(&push_unconfirmed, waits);
    }

    return late;
}


static void
push_finish(push_batch_t *b)
{
    size_t    i;
    unsigned  m;

    IM_CRASH_POINT("push.confirmed");

    /* within a batch a partition's records come in order, so the last one of
     * each is found where the next belongs to another partition or none */

    for (i = 0; i < b->n; i++) {
        if (i + 1 == b->n || b->kafka[i + 1].partition != b->kafka[i].partition)
        {
            (void) im_kafka_store(push_consumer, b->kafka[i].partition,
                                  b->kafka[i].offset);
        }
    }

    for (m = 0; m < b->n_marks; m++) {
        task_peer_release(b->marks[m].peer);
    }

    b->n_marks = 0;
    task_route_clear(&b->routes);
    im_kafka_batch_free(b->kafka, b->n);
}


static void
push_on_revoke(void *ctx)
{
    (void) ctx;

    while (push_count > 0) {
        push_repair();
        push_settle();

        if (push_count > 0) {
            task_peer_wait(10);
        }
    }
}


static int
push_batch_init(push_batch_t *b)
{
    b->kafka = calloc(task_conf.push_batch, sizeof(im_kafka_record_t));
    b->records = calloc(task_conf.push_batch, sizeof(push_record_t));

    return (b->kafka != NULL && b->records != NULL) ? IM_OK : IM_ERROR;
}


static void
push_batch_free(push_batch_t *b)
{
    free(b->kafka);
    free(b->records);
    free(b->marks);
}
