/*
 * logic_intake.c -- the trip of a message through Logic.
 *
 *   rpc thread --> lanes of the shard --> batch of up to 512
 *                                           |  held under load
 *                     may it be sent? ------+   (logic_lookup.c), else parked
 *                     one Redis script -----+   (logic_sequence.c)
 *                     Kafka, by partition --+   (logic_produce.c)
 *   report thread <-- delivery report, then ack to the sender
 *
 * What must be asked of MySQL waits beside this (logic_park.c), and comes back
 * before what has arrived since.
 *
 * A conversation belongs to one lane of one shard, so its order in Redis and
 * Kafka is the order of its queue.  Whatever fails is refused as retryable.
 *
 * Messages to rooms have a lane of their own, which is held longer: what leaves
 * here together arrives together, so that the workers write several messages of
 * a room to each of its members at once.  That is where the CPU goes.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_pace.h"
#include "im_steps.h"
#include "logic_batch.h"
#include "logic_conf.h"
#include "logic_intake.h"
#include "logic_memory.h"
#include "logic_outcome.h"
#include "logic_probes.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_stores.h"


#define INTAKE_FLUSH           128     /* messages: no more holding */
#define INTAKE_ROOM_LANES      4
#define INTAKE_LANES           (1 + INTAKE_ROOM_LANES)
#define INTAKE_NEVER           UINT64_MAX


typedef struct {
    logic_message_t   *first;
    logic_message_t  **last;
    size_t             n;
    im_pace_t         *pace;
} intake_lane_t;

typedef struct {
    im_thread_t        thread;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    intake_lane_t      lanes[INTAKE_LANES];
    im_pace_t          user_pace;
    im_pace_t          room_pace;      /* of its lanes together */
    unsigned           turn;           /* the lane that is served first */
    uint64_t           until_us;       /* so long the thread sleeps */
    atomic_int         touched;        /* has not been woken yet */
    int                stop;
    logic_park_t       park;
    logic_batch_t      batch;          /* shard thread */
} intake_shard_t;


static void intake_shard_init(intake_shard_t *s);
static int intake_shard_start(intake_shard_t *s);
static void intake_queue(intake_shard_t *s, logic_message_t *m);
static size_t intake_waiting(const intake_shard_t *s);
static void *intake_shard_thread(void *arg);
static size_t intake_take(intake_shard_t *s);
static void intake_wait(intake_shard_t *s);
static size_t intake_take_parked(intake_shard_t *s);
static void intake_refuse_parked(intake_shard_t *s);
static void intake_take_lane(intake_shard_t *s, intake_lane_t *lane,
    size_t *n);
static uint64_t intake_due(const intake_shard_t *s);
static uint64_t intake_lane_due(const intake_lane_t *lane);
static void intake_sleep(intake_shard_t *s, uint64_t until_us);


static intake_shard_t  *intake_shards;


int
logic_intake_create(void)
{
    unsigned  i;

    intake_shards = calloc(logic_conf.shards, sizeof(intake_shard_t));
    if (intake_shards == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < logic_conf.shards; i++) {
        intake_shard_init(&intake_shards[i]);
    }

    return IM_OK;
}


static void
intake_shard_init(intake_shard_t *s)
{
    unsigned  i;

    pthread_cond_init(&s->wake, NULL);
    pthread_mutex_init(&s->lock, NULL);

    logic_park_init(&s->park, &s->lock, &s->wake, logic_conf.queue / 2 + 1);
    s->batch.park = &s->park;

    im_pace_init(&s->user_pace, logic_conf.hold_max_us);
    im_pace_init(&s->room_pace, logic_conf.room_hold_max_us);

    for (i = 0; i < INTAKE_LANES; i++) {
        s->lanes[i].last = &s->lanes[i].first;
        s->lanes[i].pace = i ? &s->room_pace : &s->user_pace;
    }
}


int
logic_intake_start(void)
{
    unsigned  i;

    logic_memory_remember();

    for (i = 0; i < logic_conf.shards; i++) {
        if (intake_shard_start(&intake_shards[i]) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
intake_shard_start(intake_shard_t *s)
{
    s->batch.redis = logic_redis_create();

    return (s->batch.redis != NULL)
           ? im_thread_start(&s->thread, intake_shard_thread, s) : IM_ERROR;
}


void
logic_intake_add(logic_reply_t *reply, const Im__Deliver *d)
{
    logic_message_t  *m;
    intake_shard_t   *s;
    logic_touched_t   touched = { .n = 0 };

    m = NULL;

    if (d->body.len != 0 && d->body.len <= IM_BODY_MAX
        && (d->to != 0) != (d->room != 0) && d->from != 0
        && strlen(d->cmid) <= IM_CMID_MAX)
    {
        m = logic_message_create(d);
    }

    if (m == NULL) {
        logic_reply_error(reply, &touched, d->cmid, "bad_request",
                          "the message is not well formed");
        logic_reply_flush(&touched);
        return;
    }

    m->reply = *reply;
    m->queued_us = im_mono_us();

    s = &intake_shards[m->seq.slot % logic_conf.shards];

    pthread_mutex_lock(&s->lock);

    if (intake_waiting(s) >= logic_conf.queue || s->stop) {
        pthread_mutex_unlock(&s->lock);
        logic_outcome_refuse(m, &touched, "busy", "too many messages wait");
        logic_reply_flush(&touched);
        return;
    }

    intake_queue(s, m);

    pthread_mutex_unlock(&s->lock);

    atomic_store(&s->touched, 1);
}


void
logic_intake_again(logic_message_t *m)
{
    int               stop;
    intake_shard_t   *s;
    logic_touched_t   touched = { .n = 0 };

    s = &intake_shards[m->seq.slot % logic_conf.shards];

    pthread_mutex_lock(&s->lock);

    stop = s->stop;

    if (!stop) {
        m->next = NULL;
        intake_queue(s, m);
        pthread_cond_signal(&s->wake);
    }

    pthread_mutex_unlock(&s->lock);

    if (stop) {
        logic_outcome_refuse(m, &touched, "unavailable", "Logic stops");
        logic_reply_flush(&touched);
    }
}


void
logic_intake_flush(void)
{
    unsigned         i;
    intake_shard_t  *s;

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        if (atomic_exchange(&s->touched, 0)) {
            pthread_mutex_lock(&s->lock);

            if (intake_due(s) < s->until_us) {
                pthread_cond_signal(&s->wake);
            }

            pthread_mutex_unlock(&s->lock);
        }
    }
}


/* Under the lock, as all that follows but the thread itself. */
static void
intake_queue(intake_shard_t *s, logic_message_t *m)
{
    unsigned        n;
    intake_lane_t  *lane;

    /* slots that share a shard differ in what is left of them */

    n = logic_message_room(m)
        ? 1 + m->seq.slot / logic_conf.shards % INTAKE_ROOM_LANES : 0;
    lane = &s->lanes[n];

    *lane->last = m;
    lane->last = &m->next;
    lane->n++;
}


static size_t
intake_waiting(const intake_shard_t *s)
{
    unsigned  i;
    size_t    n;

    n = atomic_load(&s->park.n);

    for (i = 0; i < INTAKE_LANES; i++) {
        n += s->lanes[i].n;
    }

    return n;
}


static void *
intake_shard_thread(void *arg)
{
    size_t           n;
    intake_shard_t  *s = arg;

    for ( ;; ) {
        n = intake_take(s);

        if (n == 0) {
            break;
        }

        logic_batch_run(&s->batch, n);
        logic_reply_flush(&s->batch.answers);
    }

    intake_refuse_parked(s);

    return NULL;
}


/* Waits for messages; 0 when stopping and nothing is left. */
static size_t
intake_take(intake_shard_t *s)
{
    size_t    n;
    unsigned  i;

    pthread_mutex_lock(&s->lock);

    do {
        intake_wait(s);

        n = intake_take_parked(s);

        /* when one fills the batch, the next begins with the one behind it */

        for (i = 0; i < INTAKE_LANES && n < LOGIC_SEQUENCE_MAX; i++) {
            intake_take_lane(s, &s->lanes[(s->turn + i) % INTAKE_LANES], &n);
        }

        s->turn = (s->turn + i) % INTAKE_LANES;

    } while (n == 0 && !s->stop);

    pthread_mutex_unlock(&s->lock);

    return n;
}


static void
intake_wait(intake_shard_t *s)
{
    uint64_t  due, parked;

    while (!s->stop) {
        due = intake_due(s);
        parked = logic_park_due(&s->park);
        due = (parked < due) ? parked : due;

        if (due <= im_mono_us()) {
            break;
        }

        intake_sleep(s, due);
    }
}


/* They are older than all in the lanes. */
static size_t
intake_take_parked(intake_shard_t *s)
{
    if (atomic_load(&s->park.n) == 0) {
        return 0;
    }

    if (logic_park_expire(&s->park, im_mono_us()) > 0) {
        logic_probes_mysql_failed();
    }

    return logic_park_take(&s->park, s->batch.messages, LOGIC_SEQUENCE_MAX);
}


/* Nobody will answer. */
static void
intake_refuse_parked(intake_shard_t *s)
{
    size_t            i, n;
    logic_message_t  *m;

    do {
        pthread_mutex_lock(&s->lock);

        (void) logic_park_expire(&s->park, LOGIC_PARK_NEVER);
        n = logic_park_take(&s->park, s->batch.messages, LOGIC_SEQUENCE_MAX);

        pthread_mutex_unlock(&s->lock);

        for (i = 0; i < n; i++) {
            m = s->batch.messages[i];
            logic_outcome_refuse(m, &s->batch.answers, "unavailable",
                                 "Logic stops");
        }

    } while (n > 0);

    logic_reply_flush(&s->batch.answers);
}


static void
intake_take_lane(intake_shard_t *s, intake_lane_t *lane, size_t *n)
{
    size_t            taken;
    uint64_t          now;
    logic_message_t  *m;

    now = im_mono_us();

    if (!s->stop && intake_lane_due(lane) > now) {
        return;
    }

    for (taken = 0; *n < LOGIC_SEQUENCE_MAX && lane->first != NULL; taken++) {
        m = lane->first;
        lane->first = m->next;
        m->next = NULL;
        s->batch.messages[(*n)++] = m;
    }

    if (lane->first == NULL) {
        lane->last = &lane->first;
    }

    lane->n -= taken;
    im_pace_count(lane->pace, (unsigned) taken, now);
}


static uint64_t
intake_due(const intake_shard_t *s)
{
    unsigned  i;
    uint64_t  due, first;

    first = INTAKE_NEVER;

    for (i = 0; i < INTAKE_LANES; i++) {
        due = intake_lane_due(&s->lanes[i]);
        first = (due < first) ? due : first;
    }

    return first;
}


/* When a lane has waited for company as long as its recent rate is worth. */
static uint64_t
intake_lane_due(const intake_lane_t *lane)
{
    uint64_t  since;

    if (lane->first == NULL) {
        return INTAKE_NEVER;
    }

    since = lane->first->queued_us;

    return (lane->n >= INTAKE_FLUSH)
           ? 0 : since + im_pace_hold_us(lane->pace, since);
}


static void
intake_sleep(intake_shard_t *s, uint64_t until_us)
{
    s->until_us = until_us;

    if (until_us == INTAKE_NEVER) {
        pthread_cond_wait(&s->wake, &s->lock);

    } else {
        (void) im_cond_wait_until(&s->wake, &s->lock, until_us);
    }

    s->until_us = 0;                   /* it looks for itself */
}


void
logic_intake_stop(void)
{
    unsigned         i;
    intake_shard_t  *s;

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        pthread_mutex_lock(&s->lock);
        s->stop = 1;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
    }

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        im_thread_join(&s->thread);

        im_redis_destroy(s->batch.redis);
        s->batch.redis = NULL;
    }
}


void
logic_intake_destroy(void)
{
    unsigned  i;

    for (i = 0; intake_shards != NULL && i < logic_conf.shards; i++) {
        pthread_cond_destroy(&intake_shards[i].wake);
        pthread_mutex_destroy(&intake_shards[i].lock);
    }

    free(intake_shards);
    intake_shards = NULL;
}


void
logic_intake_stats(logic_intake_stats_t *stats)
{
    unsigned  i;

    logic_outcome_stats(stats);
    stats->waiting = 0;

    for (i = 0; i < logic_conf.shards; i++) {
        pthread_mutex_lock(&intake_shards[i].lock);
        stats->waiting += intake_waiting(&intake_shards[i]);
        pthread_mutex_unlock(&intake_shards[i].lock);
    }
}
