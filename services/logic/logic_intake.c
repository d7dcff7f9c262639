/*
 * logic_intake.c -- the trip of a message through Logic.
 *
 *   rpc thread --> queue of the shard --> batch of up to 512
 *                                           |  held up to 5 ms under load
 *                     recipients known? ----+   (logic_lookup.c)
 *                     in the room? ---------+   (logic_rooms_access.c)
 *                     one Redis script -----+   (logic_sequence.c)
 *                     Kafka, by partition --+   (logic_produce.c)
 *   report thread <-- delivery report, then ack to the sender
 *
 * A conversation belongs to one shard, so its order in Redis and Kafka is the
 * order of its queue.  Whatever fails is refused as retryable.
 *
 * A client that sends again gets the same numbers, as long as these may be
 * used.  With D = [kafka] delivery_ms: under a number that is younger than
 * 0.8 D the message is produced again, at most 0.2 D later, and Kafka has
 * taken it D later or never.  So a number older than 2 D (and two seconds, see
 * logic_settle.c) that is not stored,
 * once all that Kafka has is stored, never will be: it is void, and the message
 * gets a new one (logic_repeats.c).  In between nobody knows, and the client is
 * told to come again.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_crash.h"
#include "im_pace.h"
#include "im_snowflake.h"
#include "logic_intake.h"
#include "logic_lookup.h"
#include "logic_outcome.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_rooms_access.h"
#include "logic_settle.h"


#define INTAKE_FLUSH           128     /* messages: no more holding */
#define INTAKE_RATE_MIN        2000    /* messages a second, see im_pace.h */
#define INTAKE_RATE_FULL       25000

#define INTAKE_CONFLICT        "this cmid was used with another body"


typedef struct {
    pthread_t          id;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    logic_message_t   *first;
    logic_message_t  **last;
    size_t             n;
    atomic_int         touched;        /* has not been woken yet */
    int                stop;

    im_pace_t          pace;           /* the rest: shard thread */
    im_redis_t        *redis;
    logic_lookup_t    *lookup;
    logic_touched_t    answers;
    logic_message_t   *batch[LOGIC_SEQUENCE_MAX];
} intake_shard_t;


static void *intake_shard_thread(void *arg);
static size_t intake_take(intake_shard_t *s);
static void intake_hold(intake_shard_t *s);
static void intake_batch(intake_shard_t *s, size_t n);
static size_t intake_fold(intake_shard_t *s, size_t n);
static size_t intake_recipients(intake_shard_t *s, size_t n);
static size_t intake_blocks(intake_shard_t *s, size_t n);
static size_t intake_rooms(intake_shard_t *s, size_t n);
static size_t intake_ids(intake_shard_t *s, size_t n);
static size_t intake_numbers(intake_shard_t *s, size_t n);
static int intake_seed(intake_shard_t *s, size_t n);
static void intake_memory(void);
static int intake_fresh(void);
static size_t intake_repeats(intake_shard_t *s, size_t n);
static int intake_repeat(intake_shard_t *s, logic_message_t *m);


static intake_shard_t        *intake_shards;

static pthread_mutex_t        intake_id_lock = PTHREAD_MUTEX_INITIALIZER;
static im_snowflake_t         intake_ids_state;
static int                    intake_node = -1;

static im_dependency_t        intake_redis = { "redis", 0 };
static im_dependency_t        intake_mysql = { "mysql", 0 };



int
logic_intake_start(void)
{
    int              rc;
    unsigned         i;
    intake_shard_t  *s;

    rc = logic_produce_start();
    if (rc != IM_OK) {
        return rc;
    }

    intake_memory();

    intake_shards = calloc(logic_conf.shards, sizeof(intake_shard_t));
    if (intake_shards == NULL) {
        return IM_ERROR;
    }

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->wake, NULL);
        s->last = &s->first;
        s->redis = logic_redis_create();
        s->lookup = logic_lookup_create();
        im_pace_init(&s->pace, logic_conf.hold_max_us, INTAKE_RATE_MIN,
                     INTAKE_RATE_FULL);

        if (pthread_create(&s->id, NULL, intake_shard_thread, s) != 0) {
            return IM_ERROR;
        }
    }

    return logic_repeats_start(logic_conf.queue);
}


void
logic_intake_set_node(int node, uint64_t floor_ms, uint64_t limit_ms)
{
    pthread_mutex_lock(&intake_id_lock);

    if (node >= 0) {
        im_snowflake_start(&intake_ids_state, (unsigned) node, floor_ms,
                           limit_ms);
    }

    intake_node = node;

    pthread_mutex_unlock(&intake_id_lock);
}


void
logic_intake_set_limit(uint64_t limit_ms)
{
    pthread_mutex_lock(&intake_id_lock);
    im_snowflake_extend(&intake_ids_state, limit_ms);
    pthread_mutex_unlock(&intake_id_lock);
}


uint64_t
logic_intake_minted_ms(void)
{
    uint64_t  ms;

    pthread_mutex_lock(&intake_id_lock);
    ms = im_snowflake_minted_ms(&intake_ids_state);
    pthread_mutex_unlock(&intake_id_lock);

    return ms;
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

    if (s->n >= logic_conf.queue || s->stop) {
        pthread_mutex_unlock(&s->lock);
        logic_outcome_refuse(m, &touched, "busy", "too many messages wait");
        logic_reply_flush(&touched);
        return;
    }

    *s->last = m;
    s->last = &m->next;
    s->n++;

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
        *s->last = m;
        s->last = &m->next;
        s->n++;
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
            pthread_cond_signal(&s->wake);
            pthread_mutex_unlock(&s->lock);
        }
    }
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

        intake_batch(s, n);
        logic_reply_flush(&s->answers);
    }

    im_redis_destroy(s->redis);
    logic_lookup_destroy(s->lookup);

    return NULL;
}


/* Waits for messages; 0 when stopping and nothing is left. */
static size_t
intake_take(intake_shard_t *s)
{
    size_t  n;

    pthread_mutex_lock(&s->lock);

    while (s->first == NULL && !s->stop) {
        pthread_cond_wait(&s->wake, &s->lock);
    }

    if (s->first != NULL && !s->stop) {
        intake_hold(s);
    }

    for (n = 0; n < LOGIC_SEQUENCE_MAX && s->first != NULL; n++) {
        s->batch[n] = s->first;
        s->first = s->first->next;
        s->batch[n]->next = NULL;
    }

    if (s->first == NULL) {
        s->last = &s->first;
    }

    s->n -= n;

    pthread_mutex_unlock(&s->lock);

    im_pace_count(&s->pace, (unsigned) n, im_mono_us());

    return n;
}


/* Under the lock: waits for company, as long as the recent rate says. */
static void
intake_hold(intake_shard_t *s)
{
    unsigned         hold;
    uint64_t         now, until;
    struct timespec  ts;

    hold = im_pace_hold_us(&s->pace);
    until = s->first->queued_us + hold;

    while (hold > 0 && s->n < INTAKE_FLUSH && !s->stop) {
        now = im_mono_us();

        if (now >= until) {
            break;
        }

        pthread_mutex_unlock(&s->lock);

        ts.tv_sec = 0;
        ts.tv_nsec = (long) ((until - now > 500) ? 500000
                                                 : (until - now) * 1000);
        nanosleep(&ts, NULL);

        pthread_mutex_lock(&s->lock);
    }
}


/* Each step answers what ends in it and closes the gap. */
static void
intake_batch(intake_shard_t *s, size_t n)
{
    n = intake_fold(s, n);
    n = intake_recipients(s, n);
    n = intake_blocks(s, n);
    n = intake_rooms(s, n);
    n = intake_ids(s, n);
    n = intake_numbers(s, n);
    IM_CRASH_POINT("logic.numbered");
    n = intake_repeats(s, n);

    if (n > 0) {
        logic_produce(s->batch, n, &s->answers);
        IM_CRASH_POINT("logic.produced");
    }
}


/* Repeats of what is on its way or was confirmed lately.  Tracked first: what
 * is confirmed in between is remembered before it is untracked. */
static size_t
intake_fold(intake_shard_t *s, size_t n)
{
    int               rc;
    size_t            i, k;
    logic_message_t  *m;

    for (i = 0, k = 0; i < n; i++) {
        m = s->batch[i];

        if (m->seq.by == LOGIC_BY_NOTHING) {
            s->batch[k++] = m;
            continue;
        }

        rc = logic_message_track(m);

        if (rc == IM_BUSY) {
            continue;                  /* answered with the first */
        }

        if (rc == IM_OK) {
            rc = logic_outcome_recall(m);

            if (rc == IM_OK) {
                logic_outcome_accept(m, &s->answers, 1);
                continue;
            }

            if (rc == IM_DECLINED) {
                s->batch[k++] = m;
                continue;
            }
        }

        logic_outcome_refuse(m, &s->answers, "cmid_conflict", INTAKE_CONFLICT);
    }

    return k;
}


static size_t
intake_recipients(intake_shard_t *s, size_t n)
{
    int              rc;
    size_t           i, k, missing;
    uint64_t         uids[LOGIC_SEQUENCE_MAX];
    logic_message_t *m;

    missing = 0;

    for (i = 0; i < n; i++) {
        if (!logic_message_room(s->batch[i])
            && !logic_lookup_known(s->lookup, s->batch[i]->to))
        {
            uids[missing++] = s->batch[i]->to;
        }
    }

    if (missing == 0) {
        return n;
    }

    rc = logic_lookup_users(s->lookup, uids, missing);

    if (rc == IM_OK) {
        im_dependency_up(&intake_mysql);

    } else {
        im_dependency_down(&intake_mysql, logic_lookup_error(s->lookup));
    }

    for (i = 0, k = 0; i < n; i++) {
        m = s->batch[i];

        if (logic_message_room(m)
            || logic_lookup_known(s->lookup, m->to))
        {
            s->batch[k++] = m;

        } else if (rc == IM_OK) {
            logic_outcome_refuse(m, &s->answers, "no_such_user",
                                 "the recipient does not exist");

        } else {
            logic_outcome_refuse(m, &s->answers, "unavailable",
                                 "the recipient cannot be looked up");
        }
    }

    return k;
}


/* Do the recipients take messages of the senders? */
static size_t
intake_blocks(intake_shard_t *s, size_t n)
{
    int                   rc;
    size_t                i, k, direct;
    logic_message_t      *m;
    logic_blocks_item_t   items[LOGIC_SEQUENCE_MAX];

    direct = 0;

    for (i = 0; i < n; i++) {
        m = s->batch[i];

        if (!logic_message_room(m)) {
            items[direct].to = m->to;
            items[direct++].from = m->from;
        }
    }

    if (direct == 0) {
        return n;
    }

    rc = logic_lookup_blocks(s->lookup, items, direct);

    if (rc == IM_OK) {
        im_dependency_up(&intake_mysql);

    } else if (rc == IM_ERROR) {
        im_dependency_down(&intake_mysql, logic_lookup_error(s->lookup));
    }

    for (i = 0, k = 0, direct = 0; i < n; i++) {
        m = s->batch[i];

        if (logic_message_room(m)
            || items[direct++].answer == LOGIC_BLOCKS_FREE)
        {
            s->batch[k++] = m;

        } else if (items[direct - 1].answer == LOGIC_BLOCKS_BLOCKED) {
            logic_outcome_refuse(m, &s->answers, "blocked",
                                 "the recipient takes no messages of yours");

        } else {
            logic_outcome_refuse(m, &s->answers, "unavailable",
                                 "the recipient cannot be looked up");
        }
    }

    return k;
}


/* May the senders speak where they want to? */
static size_t
intake_rooms(intake_shard_t *s, size_t n)
{
    int                    rc;
    size_t                 i, k, rooms;
    logic_message_t       *m;
    logic_rooms_access_t   items[LOGIC_SEQUENCE_MAX];

    rooms = 0;

    for (i = 0; i < n; i++) {
        m = s->batch[i];

        if (logic_message_room(m)) {
            items[rooms].room = m->seq.conv.b;
            items[rooms].uid = m->from;
            items[rooms++].joined = m->joined;
        }
    }

    if (rooms == 0) {
        return n;
    }

    rc = logic_lookup_rooms(s->lookup, items, rooms);

    if (rc == IM_OK) {
        im_dependency_up(&intake_mysql);

    } else {
        im_dependency_down(&intake_mysql, logic_lookup_error(s->lookup));
    }

    for (i = 0, k = 0, rooms = 0; i < n; i++) {
        m = s->batch[i];

        if (!logic_message_room(m) || items[rooms++].code == NULL) {
            s->batch[k++] = m;
            continue;
        }

        logic_outcome_refuse(m, &s->answers, items[rooms - 1].code,
                             logic_rooms_access_text(items[rooms - 1].code));
    }

    return k;
}


static size_t
intake_ids(intake_shard_t *s, size_t n)
{
    int               rc;
    size_t            i;
    uint64_t          now;
    logic_message_t  *m;

    now = im_now_ms();

    pthread_mutex_lock(&intake_id_lock);

    rc = (intake_node >= 0) ? IM_OK : IM_ERROR;

    for (i = 0; i < n && rc == IM_OK; i++) {
        m = s->batch[i];
        rc = im_snowflake_next(&intake_ids_state, now, &m->seq.msg_id);
        m->time_ms = im_snowflake_time_ms(m->seq.msg_id);
    }

    pthread_mutex_unlock(&intake_id_lock);

    if (rc == IM_OK) {
        return n;
    }

    for (i = 0; i < n; i++) {
        logic_outcome_refuse(s->batch[i], &s->answers, "unavailable",
                             "no ids can be given at present");
    }

    return 0;
}


static size_t
intake_numbers(intake_shard_t *s, size_t n)
{
    int           rc;
    size_t        i;
    logic_seq_t  *seqs[LOGIC_SEQUENCE_MAX];

    if (n == 0) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        seqs[i] = &s->batch[i]->seq;
        s->batch[i]->numbered_us = im_mono_us();
    }

    rc = logic_sequence(s->redis, seqs, n);

    if (rc == IM_OK) {
        im_dependency_up(&intake_redis);
        rc = intake_seed(s, n);

    } else {
        im_dependency_down(&intake_redis, im_redis_error(s->redis));
    }

    if (rc == IM_OK) {
        return n;
    }

    for (i = 0; i < n; i++) {
        logic_outcome_refuse(s->batch[i], &s->answers, "unavailable",
                             "the message cannot be numbered");
    }

    return 0;
}


/*
 * Conversations that Redis does not know: their last seq is MySQL's.  When
 * Redis has lost its memory lately, numbers may have been given that MySQL does
 * not hold yet: those to come begin well above, and clients are told that the
 * range in between is void.
 */
static int
intake_seed(intake_shard_t *s, size_t n)
{
    int           rc, young;
    size_t        i, k;
    uint64_t      last;
    logic_seq_t  *q, *again[LOGIC_SEQUENCE_MAX];

    for (i = 0, k = 0; i < n; i++) {
        q = &s->batch[i]->seq;

        if (q->result != LOGIC_SEQ_UNSEEDED) {
            continue;
        }

        if (logic_lookup_last_seq(s->lookup, &q->conv, &last) != IM_OK) {
            im_dependency_down(&intake_mysql, logic_lookup_error(s->lookup));
            return IM_ERROR;
        }

        rc = logic_sequence_memory(s->redis, q->slot, intake_fresh, &young);

        if (rc == IM_AGAIN) {
            return IM_ERROR;
        }

        last += young ? LOGIC_SEQUENCE_SKIP : 0;

        if (rc == IM_OK && last > 0) {
            rc = logic_sequence_seed(s->redis, q, last);
        }

        if (rc != IM_OK) {
            im_dependency_down(&intake_redis, im_redis_error(s->redis));
            return IM_ERROR;
        }

        q->seeded = 1;
        again[k++] = q;
    }

    return (k == 0) ? IM_OK : logic_sequence(s->redis, again, k);
}


/* At the start, while Kafka is there to be asked. */
static void
intake_memory(void)
{
    int          young;
    unsigned     tag;
    im_redis_t  *redis;

    redis = logic_redis_create();

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        (void) logic_sequence_memory(redis, tag, intake_fresh, &young);
    }

    im_redis_destroy(redis);
}


/* Whether this Redis is new, and not one that has lost its memory: then the
 * message log is new, too. */
static int
intake_fresh(void)
{
    int  fresh;

    fresh = logic_settle_empty();

    im_log(IM_LOG_NOTICE, "redis: %s", fresh == 0
           ? "it has lost its memory: sequence numbers skip ahead"
           : fresh == 1 ? "it is used for the first time"
           : "whether it is new is not known, since Kafka does not answer");

    return fresh;
}


static size_t
intake_repeats(intake_shard_t *s, size_t n)
{
    size_t            i, k;
    logic_message_t  *m;

    for (i = 0, k = 0; i < n; i++) {
        m = s->batch[i];

        switch (m->seq.result) {

        case LOGIC_SEQ_CONFLICT:
            logic_outcome_refuse(m, &s->answers, "cmid_conflict",
                                 INTAKE_CONFLICT);
            break;

        case LOGIC_SEQ_REPEAT:
            if (intake_repeat(s, m) != IM_OK) {
                break;
            }

            /* fall through */

        default:
            s->batch[k++] = m;
            break;
        }
    }

    return k;
}


/* IM_OK: m is produced under its first numbers; else it is on its way. */
static int
intake_repeat(intake_shard_t *s, logic_message_t *m)
{
    uint64_t  msg_id;

    m->time_ms = im_snowflake_time_ms(m->seq.msg_id);

    if (logic_lookup_stored(s->lookup, &m->seq.conv, m->seq.seq, &msg_id)
        != IM_OK)
    {
        im_dependency_down(&intake_mysql, logic_lookup_error(s->lookup));
        logic_outcome_refuse(m, &s->answers, "unavailable",
                             "a repeat cannot be looked up");
        return IM_ERROR;
    }

    if (msg_id == m->seq.msg_id) {
        logic_outcome_accept(m, &s->answers, 1);
        return IM_DONE;
    }

    if (m->seq.age_ms * 5 < (uint64_t) logic_conf.kafka_delivery_ms * 4) {
        m->dup = 1;
        return IM_OK;
    }

    if (m->seq.age_ms < logic_void_after_ms()) {
        logic_outcome_refuse(m, &s->answers, "unavailable",
                             "the first try is not decided yet");
        return IM_ERROR;
    }

    logic_repeats_add(m, &s->answers);

    return IM_AGAIN;                   /* see logic_repeats.c */
}


void
logic_intake_stop(void)
{
    unsigned         i;
    intake_shard_t  *s;

    logic_repeats_stop();

    for (i = 0; i < logic_conf.shards; i++) {
        s = &intake_shards[i];

        pthread_mutex_lock(&s->lock);
        s->stop = 1;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);

        pthread_join(s->id, NULL);
    }

    logic_produce_stop();

    free(intake_shards);
}


void
logic_intake_stats(logic_intake_stats_t *stats)
{
    unsigned  i;

    logic_outcome_stats(stats);
    stats->waiting = 0;

    for (i = 0; i < logic_conf.shards; i++) {
        pthread_mutex_lock(&intake_shards[i].lock);
        stats->waiting += intake_shards[i].n;
        pthread_mutex_unlock(&intake_shards[i].lock);
    }
}


int
logic_intake_healthy(void)
{
    return !intake_redis.down && !intake_mysql.down && logic_produce_healthy();
}
