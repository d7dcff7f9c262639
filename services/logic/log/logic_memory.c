/*
 * logic_memory.c -- see logic_memory.h.
 *
 * The mark is a key like all others, and is lost with them.  Between reading
 * it and setting a counter Redis may lose its memory once more, so the counter
 * is set only where the mark is the same still: what was true of numbers before
 * the first loss need not be true before the second.
 */

#include <inttypes.h>
#include <stdio.h>

#include <hiredis.h>

#include "im_keys.h"
#include "im_log.h"
#include "logic_conf.h"
#include "logic_memory.h"
#include "logic_settle.h"
#include "logic_stores.h"


#define MEMORY_YOUNG_MS  (3600 * 1000)


static int memory_read(im_redis_t *redis, unsigned slot, int (*fresh)(void),
    logic_memory_t *memory);
static int memory_fresh(void);
static int memory_unknown(void);
static size_t memory_key(char *out, size_t size, unsigned slot);


/* KEYS: the mark.  ARGV: its value if there is none, or "" (only look).
 * Returns how long ago Redis began to remember, in ms (-1: there is no mark),
 * and the mark. */
static _Thread_local im_redis_script_t  memory_script = {
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local since = redis.call('GET', KEYS[1])\n"
    "if not since and ARGV[1] ~= '' then\n"
    "  since = (ARGV[1] == 'now') and string.format('%.0f', now) or '0'\n"
    "  redis.call('SET', KEYS[1], since)\n"
    "end\n"
    "return { since and now - since or -1, tonumber(since or 0) }\n",
    ""
};

/* KEYS: the counter, the mark.  ARGV: the last number, what the mark must be.
 * Returns 1 if the counter was set. */
static _Thread_local im_redis_script_t  memory_seed_script = {
    "if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end\n"
    "return redis.call('SET', KEYS[1], ARGV[1], 'NX') and 1 or 0\n",
    ""
};


int
logic_memory_read(im_redis_t *redis, unsigned slot, logic_memory_t *memory)
{
    return memory_read(redis, slot, memory_fresh, memory);
}


int
logic_memory_look(im_redis_t *redis, unsigned slot, logic_memory_t *memory)
{
    return memory_read(redis, slot, memory_unknown, memory);
}


void
logic_memory_remember(void)
{
    unsigned         tag;
    im_redis_t      *redis;
    logic_memory_t   memory;

    redis = logic_redis_create();
    if (redis == NULL) {
        return;
    }

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        (void) logic_memory_read(redis, tag, &memory);
    }

    im_redis_destroy(redis);
}


/* Where there is no mark fresh is called: 1 means that Redis is used for the
 * first time, 0 that it has lost its memory, -1 that this is not known. */
static int
memory_read(im_redis_t *redis, unsigned slot, int (*fresh)(void),
    logic_memory_t *memory)
{
    int          first;
    char         key[32];
    int64_t      age;
    im_str_t     argv[2] = { { 0, NULL }, im_str("") };
    redisReply  *reply;

    static const im_str_t  lost = im_str("now"), never = im_str("0");

    argv[0].data = (unsigned char *) key;
    argv[0].len = memory_key(key, sizeof(key), slot);

    for ( ;; ) {
        reply = im_redis_eval(redis, &memory_script, 1, 2, argv);

        if (reply == NULL) {
            return IM_ERROR;
        }

        age = -2;

        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
            && reply->element[0]->type == REDIS_REPLY_INTEGER
            && reply->element[1]->type == REDIS_REPLY_INTEGER)
        {
            age = reply->element[0]->integer;
            memory->mark = (uint64_t) reply->element[1]->integer;
        }

        im_redis_free(reply);

        if (age != -1 || argv[1].len != 0) {
            break;
        }

        first = fresh();
        if (first < 0) {
            return IM_AGAIN;
        }

        argv[1] = first ? never : lost;
    }

    memory->young = (age < MEMORY_YOUNG_MS);

    return (age >= 0) ? IM_OK : IM_ERROR;
}


/* Together with a Redis that is new the message log is new, too. */
static int
memory_fresh(void)
{
    int  fresh;

    fresh = logic_settle_empty();

    im_log(IM_LOG_NOTICE, "redis: %s", fresh == 0
           ? "it has lost its memory"
           : fresh == 1 ? "it is used for the first time"
           : "whether it is new is not known, since Kafka does not answer");

    return fresh;
}


static int
memory_unknown(void)
{
    return -1;
}


int
logic_memory_seed_append(im_redis_t *redis, const logic_seq_t *item,
    uint64_t last, uint64_t mark)
{
    int       n;
    char      key[LOGIC_SEQUENCE_KEY_MAX], at[32], value[24], expected[24];
    im_str_t  argv[4];

    argv[0].data = (unsigned char *) key;
    argv[0].len = logic_sequence_key(key, item);
    argv[1].data = (unsigned char *) at;
    argv[1].len = memory_key(at, sizeof(at), item->slot);

    n = snprintf(value, sizeof(value), "%" PRIu64, last);
    argv[2].data = (unsigned char *) value;
    argv[2].len = (size_t) n;

    n = snprintf(expected, sizeof(expected), "%" PRIu64, mark);
    argv[3].data = (unsigned char *) expected;
    argv[3].len = (size_t) n;

    return im_redis_eval_append(redis, &memory_seed_script, 2, 4, argv);
}


int
logic_memory_seed_reply(im_redis_t *redis, int *set)
{
    int          rc;
    redisReply  *reply;

    reply = im_redis_eval_reply(redis, &memory_seed_script);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = IM_OK;
    *set = 0;

    if (reply->type == REDIS_REPLY_INTEGER) {
        *set = (reply->integer == 1);

    } else {
        rc = (reply->type == REDIS_REPLY_ERROR
              && memory_seed_script.sha[0] == '\0') ? IM_AGAIN : IM_ERROR;
    }

    im_redis_free(reply);

    return rc;
}


static size_t
memory_key(char *out, size_t size, unsigned slot)
{
    return (size_t) snprintf(out, size, IM_KEY_MEMORY,
                             slot % logic_conf.common.redis_tags);
}
