/*
 * logic_decided.c -- see logic_decided.h.
 *
 * When Redis loses its memory, each Logic has numbers in hand that were given
 * before.  Each posts in Redis, beside the mark that says since when Redis
 * remembers, as soon as all of its own are decided (logic_phases.h):
 *
 *     tick:  HSET im:decided:{tag} <instance> "<since> <now>"
 *            GET im:memory:{tag}, HGETALL im:decided:{tag}
 *
 *     loss --> its mark is set --> all have posted it --> the end of the
 *     partition is sampled --> the store has reached it --> exact
 *
 * What is posted is the mark, and not a time: no clock of ours or of Redis can
 * be wrong in it.  Redis forgets the posts together with the counters.
 *
 * An instance that does not post (it is dead, or frozen) is waited for until
 * what it may have had in hand is void by age, logic_void_after_ms() after the
 * loss.  One that is alive and cannot decide, because Kafka is away, is waited
 * for as long as that lasts.
 *
 * A thread of its own, with its own connection to Redis.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_keys.h"
#include "im_log.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_decided_peers.h"
#include "logic_exact.h"
#include "logic_memory.h"
#include "logic_partitions.h"
#include "logic_phases.h"
#include "logic_settle.h"
#include "logic_stores.h"


#define DECIDED_TAGS      64
#define DECIDED_BUSY_MS   10       /* between two ticks while somebody waits */
#define DECIDED_BUSY_US   2000000  /* so long after a loss, at most */
#define DECIDED_SLOW_US   3000000  /* then what is missing is logged */
#define DECIDED_UNKNOWN   UINT64_MAX


/* Of a hash tag of Redis. */
typedef struct {
    _Atomic uint64_t   since;      /* the mark; _UNKNOWN: not read yet */
    uint64_t           lost_us;    /* when we read it first */
    uint64_t           phase;      /* the last that may have older numbers */
    unsigned           own:1;      /* our numbers are decided */
    unsigned           all:1;      /* everybody's are */
    unsigned           is_seen:1;  /* we were there when it changed */
    unsigned           missing:1;
} decided_tag_t;

static void *decided_thread(void *arg);
static void decided_wait(void);
static int decided_tick(void);
static int decided_append(unsigned tag);
static void decided_read(unsigned tag, const redisReply *reply);
static void decided_learn(unsigned tag, uint64_t since);
static void decided_posts(unsigned tag, uint64_t now_ms,
    const redisReply *posts);
static int decided_peers(unsigned tag, uint64_t now_ms,
    const redisReply *posts);
static void decided_own(void);
static uint64_t decided_all(void);
static void decided_say(void);
static void decided_on_up(void *ctx, im_disc_instance_t *inst);
static void decided_on_down(void *ctx, im_disc_instance_t *inst);


/* KEYS: posts, the mark.  ARGV: instance, the mark that it has decided.
 * Returns the time, the mark (-1: there is none), and the posts; who has not
 * posted for a minute is removed. */
static im_redis_script_t  decided_script = {
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "redis.call('HSET', KEYS[1], ARGV[1],\n"
    "           ARGV[2] .. ' ' .. string.format('%.0f', now))\n"
    "local posts = redis.call('HGETALL', KEYS[1])\n"
    "for i = 1, #posts, 2 do\n"
    "  local at = tonumber(posts[i + 1]:match(' (%d+)$') or 0)\n"
    "  if now - at > 60000 then redis.call('HDEL', KEYS[1], posts[i]) end\n"
    "end\n"
    "return { now, tonumber(redis.call('GET', KEYS[2]) or -1), posts }\n",
    ""
};

static const im_disc_handler_t  decided_handler = {
    .up = decided_on_up,
    .down = decided_on_down
};

static im_thread_t           decided_id;
static pthread_mutex_t       decided_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t        decided_wake = PTHREAD_COND_INITIALIZER;
static int                   decided_stopping, decided_kicked;
static logic_peers_t         decided_table;       /* under the lock, too */
static atomic_int            decided_mixed;
static logic_phases_t        decided_phases;
static _Atomic uint64_t      decided_forgot_us;   /* until then */
static decided_tag_t         decided_tags[DECIDED_TAGS];
static const char           *decided_self;
static void                (*decided_on_tick)(void);
static im_redis_t           *decided_redis;       /* our thread */
static uint64_t              decided_lost_us;     /* the last loss of any */
static im_log_seldom_t       decided_log, decided_slow_log;


int
logic_decided_start(const char *self)
{
    unsigned  tag;

    for (tag = 0; tag < DECIDED_TAGS; tag++) {
        atomic_store(&decided_tags[tag].since, DECIDED_UNKNOWN);
    }

    decided_self = self;
    decided_redis = logic_redis_create();

    if (decided_redis == NULL) {
        return IM_ERROR;
    }

    return im_thread_start(&decided_id, decided_thread, NULL);
}


void
logic_decided_register(void (*on_tick)(void))
{
    decided_on_tick = on_tick;
}


int
logic_decided_watch(im_disc_t *disc)
{
    return im_disc_subscribe(disc, "logic", &decided_handler, NULL);
}


/* rpc thread */
static void
decided_on_up(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;

    pthread_mutex_lock(&decided_lock);
    logic_peers_up(&decided_table, inst->id, im_mono_us());
    pthread_mutex_unlock(&decided_lock);
}


/* rpc thread */
static void
decided_on_down(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;

    pthread_mutex_lock(&decided_lock);
    logic_peers_down(&decided_table, inst->id, im_mono_us());
    pthread_mutex_unlock(&decided_lock);
}


void
logic_decided_enter(unsigned char *phase)
{
    logic_phases_enter(&decided_phases, phase);
}


void
logic_decided_leave(unsigned char *phase)
{
    logic_phases_leave(&decided_phases, phase);
}


void
logic_decided_forget(void)
{
    atomic_store(&decided_forgot_us,
                 im_mono_us() + logic_void_after_ms() * 1000);
}


int
logic_decided_is_mixed(void)
{
    return atomic_load(&decided_mixed);
}


int
logic_decided_exact(const im_conv_t *conv, uint64_t since)
{
    unsigned  tag, p;

    tag = im_slot_of_conv(conv) % logic_conf.common.redis_tags;
    p = im_slot_of_conv(conv) % logic_partitions();

    return atomic_load(&decided_tags[tag].since) == since
           && logic_exact_is(p, tag);
}


uint64_t
logic_decided_mark(unsigned slot)
{
    return atomic_load(&decided_tags[slot % logic_conf.common.redis_tags]
                        .since);
}


void
logic_decided_kick(void)
{
    pthread_mutex_lock(&decided_lock);
    decided_kicked = 1;
    pthread_cond_signal(&decided_wake);
    pthread_mutex_unlock(&decided_lock);
}


static void *
decided_thread(void *arg)
{
    (void) arg;

    for ( ;; ) {
        pthread_mutex_lock(&decided_lock);

        if (decided_stopping) {
            pthread_mutex_unlock(&decided_lock);
            break;
        }

        pthread_mutex_unlock(&decided_lock);

        if (decided_tick() == IM_OK) {
            decided_own();
            logic_exact_settle(decided_all());
            decided_say();

        } else {
            im_log_seldom(&decided_log, IM_LOG_WARN, "redis: it does not say "
                          "whether it has lost its memory: %s",
                          im_redis_error(decided_redis));
        }

        if (decided_on_tick != NULL) {
            decided_on_tick();
        }

        decided_wait();
    }

    return NULL;
}


/* A loss is over in some tenths of a second, if all instances are there. */
static void
decided_wait(void)
{
    int       open;
    unsigned  tag;
    uint64_t  now, until_us;

    now = im_mono_us();
    open = 0;

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        open |= !decided_tags[tag].all;
    }

    open = open && now - decided_lost_us < DECIDED_BUSY_US;
    until_us = now + (open ? DECIDED_BUSY_MS : IM_DECIDED_TICK_MS) * 1000;

    pthread_mutex_lock(&decided_lock);

    while (!decided_stopping && !decided_kicked
           && im_cond_wait_until(&decided_wake, &decided_lock, until_us)
              == IM_OK)
    {
        /* void */
    }

    decided_kicked = 0;

    pthread_mutex_unlock(&decided_lock);
}


static int
decided_tick(void)
{
    int              rc;
    unsigned         tag;
    redisReply      *reply;
    logic_memory_t   memory;

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        if (decided_append(tag) != IM_OK) {
            return IM_ERROR;
        }
    }

    rc = IM_OK;

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        reply = im_redis_eval_reply(decided_redis, &decided_script);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3
            && reply->element[0]->type == REDIS_REPLY_INTEGER
            && reply->element[1]->type == REDIS_REPLY_INTEGER
            && reply->element[2]->type == REDIS_REPLY_ARRAY)
        {
            decided_read(tag, reply);

        } else if (decided_script.sha[0] != '\0') {
            (void) im_redis_is(decided_redis, reply, IM_REDIS_ARRAY);
            rc = IM_ERROR;
        }

        im_redis_free(reply);
    }

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        if (decided_tags[tag].missing) {
            /* notes the mark; the next tick reads it */

            decided_tags[tag].missing = 0;
            (void) logic_memory_read(decided_redis, tag, &memory);
            decided_lost_us = im_mono_us();
        }
    }

    return rc;
}


static int
decided_append(unsigned tag)
{
    int             n;
    char            posts[32], mark[32], since[24];
    decided_tag_t  *t;
    im_str_t        argv[4];

    t = &decided_tags[tag];

    n = snprintf(posts, sizeof(posts), IM_KEY_DECIDED, tag);
    argv[0] = (im_str_t) { (size_t) n, (unsigned char *) posts };
    n = snprintf(mark, sizeof(mark), IM_KEY_MEMORY, tag);
    argv[1] = (im_str_t) { (size_t) n, (unsigned char *) mark };

    argv[2].data = (unsigned char *) decided_self;
    argv[2].len = strlen(decided_self);

    n = t->own ? snprintf(since, sizeof(since), "%" PRIu64,
                          atomic_load(&t->since))
               : snprintf(since, sizeof(since), "-");
    argv[3] = (im_str_t) { (size_t) n, (unsigned char *) since };

    return im_redis_eval_append(decided_redis, &decided_script, 2, 4, argv);
}


static void
decided_read(unsigned tag, const redisReply *reply)
{
    uint64_t  now_ms;

    now_ms = (uint64_t) reply->element[0]->integer;

    if (reply->element[1]->integer < 0) {
        decided_tags[tag].missing = 1;
        return;
    }

    decided_learn(tag, (uint64_t) reply->element[1]->integer);
    decided_posts(tag, now_ms, reply->element[2]);
}


/* Nobody may take for exact what was so before the loss: first that goes, then
 * the mark changes. */
static void
decided_learn(unsigned tag, uint64_t since)
{
    uint64_t        before;
    decided_tag_t  *t;

    t = &decided_tags[tag];
    before = atomic_load(&t->since);

    if (before == since) {
        return;
    }

    logic_exact_forget(tag);

    decided_lost_us = im_mono_us();
    t->lost_us = decided_lost_us;
    t->is_seen = (before != DECIDED_UNKNOWN);
    t->phase = logic_phases_now(&decided_phases);
    t->own = 0;
    t->all = 0;

    atomic_store(&t->since, since);
}


static void
decided_posts(unsigned tag, uint64_t now_ms, const redisReply *posts)
{
    int             waits;
    decided_tag_t  *t;

    t = &decided_tags[tag];

    pthread_mutex_lock(&decided_lock);

    waits = decided_peers(tag, now_ms, posts);
    atomic_store(&decided_mixed,
                 logic_peers_is_mixed(&decided_table, im_mono_us()));

    pthread_mutex_unlock(&decided_lock);

    if (!waits) {
        t->all = t->own;
    }
}


/* Under the lock.  1: somebody is waited for. */
static int
decided_peers(unsigned tag, uint64_t now_ms, const redisReply *posts)
{
    int             late, waits;
    size_t          i;
    uint64_t        now, since, age_ms;
    logic_peer_t   *peer;
    decided_tag_t  *t;

    t = &decided_tags[tag];
    now = im_mono_us();
    since = atomic_load(&t->since);
    age_ms = logic_void_after_ms();

    /* what was in hand when Redis lost its memory is void by age */

    late = t->is_seen ? (now - t->lost_us) / 1000 > age_ms
                      : now_ms > since + age_ms;

    waits = 0;
    logic_peers_unmark(&decided_table);

    for (i = 0; i + 1 < posts->elements; i += 2) {
        if (posts->element[i]->type == REDIS_REPLY_STRING
            && posts->element[i + 1]->type == REDIS_REPLY_STRING)
        {
            waits |= logic_peers_post(&decided_table, posts->element[i]->str,
                                      posts->element[i + 1]->str, since,
                                      now_ms, now);
        }
    }

    /* when our own name has come back from etcd, so have all others */

    peer = logic_peers_find(&decided_table, decided_self);

    if (!late && (peer == NULL || peer->up_us == 0
                  || logic_peers_waits(&decided_table, t->lost_us,
                                       age_ms * 1000)))
    {
        waits = 1;
    }

    logic_peers_prune(&decided_table, now);

    return waits;
}


/* Our own numbers from before the loss. */
static void
decided_own(void)
{
    unsigned        tag;
    decided_tag_t  *t;

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        t = &decided_tags[tag];

        if (!t->own && atomic_load(&t->since) != DECIDED_UNKNOWN
            && im_mono_us() > atomic_load(&decided_forgot_us)
            && logic_phases_ended(&decided_phases, t->phase) == IM_OK)
        {
            t->own = 1;
        }
    }
}


/* Tags of which everybody's numbers are decided. */
static uint64_t
decided_all(void)
{
    unsigned  tag;
    uint64_t  tags;

    for (tag = 0, tags = 0; tag < logic_conf.common.redis_tags; tag++) {
        tags |= (uint64_t) decided_tags[tag].all << tag;
    }

    return tags;
}


/* Until it is over numbers jump, and gaps are judged by their age. */
static void
decided_say(void)
{
    unsigned        tag;
    uint64_t        now;
    const char     *what;
    decided_tag_t  *t;

    now = im_mono_us();

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        t = &decided_tags[tag];

        if (!t->is_seen || now - t->lost_us < DECIDED_SLOW_US
            || (t->all && logic_exact_all(tag)))
        {
            continue;
        }

        what = !t->own ? "messages of this im-logic are under way"
               : !t->all ? "another im-logic has not decided its messages"
               : "im-task has not stored all of the log";

        im_log_seldom(&decided_slow_log, IM_LOG_WARN, "redis lost its memory "
                      "%.1f s ago, and the last numbers of some conversations "
                      "are not known yet: %s",
                      (double) (now - t->lost_us) / 1e6, what);
    }
}


void
logic_decided_stop(void)
{
    pthread_mutex_lock(&decided_lock);
    decided_stopping = 1;
    pthread_cond_signal(&decided_wake);
    pthread_mutex_unlock(&decided_lock);

    im_thread_join(&decided_id);

    im_redis_destroy(decided_redis);
    decided_redis = NULL;
}


void
logic_decided_clear(void)
{
    logic_peers_clear(&decided_table);
}
