/*
 * bench_sequence.c -- dedupe and the next number, by logic_sequence(): CPU of
 * a message on both sides, and Redis's memory for an entry.
 *
 * All messages are new and carry a cmid: each is looked up in the dedupe hash,
 * numbered and remembered.  CONVERSATIONS of them get messages at random.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hiredis.h>

#include "bench_store.h"
#include "logic_conf.h"
#include "logic_sequence.h"


#define CONVERSATIONS  10000
#define MEASURE_US     3000000
#define WARM_UP        20000
#define ENTRIES        1000000


static im_redis_t *sequence_connect(const char *address);
static void sequence_batch(im_redis_t *redis, size_t n);
static uint64_t sequence_memory(im_redis_t *redis);


logic_conf_t        logic_conf;    /* of the daemon; its tags are asked for */

static logic_seq_t  sequence_items[LOGIC_SEQUENCE_MAX];


int
bench_sequence(const char *address, pid_t server)
{
    size_t         i;
    uint64_t       n, until;
    im_redis_t    *redis;
    bench_span_t   span;

    static const size_t  batches[] = { 1, 32, 128, 512 };

    redis = sequence_connect(address);

    for (n = 0; n < WARM_UP; n += 128) {
        sequence_batch(redis, 128);
    }

    for (i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        n = 0;
        bench_begin(&span, server);
        until = bench_now_us() + MEASURE_US;

        while (bench_now_us() < until) {
            sequence_batch(redis, batches[i]);
            n += batches[i];
        }

        bench_end(&span);
        bench_report(&span, "sequence", (unsigned) batches[i], n);
    }

    im_redis_destroy(redis);

    return 0;
}


/* The counters of the conversations are there before it is measured. */
int
bench_entries(const char *address)
{
    uint64_t     n, before, after;
    im_redis_t  *redis;

    redis = sequence_connect(address);

    for (n = 0; n < 10 * CONVERSATIONS; n += 500) {
        sequence_batch(redis, 500);
    }

    before = sequence_memory(redis);

    for (n = 0; n < ENTRIES; n += 500) {
        sequence_batch(redis, 500);
    }

    after = sequence_memory(redis);

    printf("{\"what\":\"entries\",\"n\":%d,\"bytes\":%.1f}\n", ENTRIES,
           (double) (after - before) / ENTRIES);

    im_redis_destroy(redis);

    return 0;
}


static im_redis_t *
sequence_connect(const char *address)
{
    im_redis_t       *redis;
    im_redis_conf_t   conf;

    logic_conf.common.redis_tags = 1;
    logic_conf.dedupe_window_s = 300;

    memset(&conf, 0, sizeof(conf));
    conf.address = address;
    conf.timeout_ms = 10000;
    redis = im_redis_create(&conf);

    if (redis == NULL || im_redis_ping(redis) != IM_OK) {
        fprintf(stderr, "im-bench-store: redis: %s\n",
                redis ? im_redis_error(redis) : "out of memory");
        exit(1);
    }

    return redis;
}


static void
sequence_batch(im_redis_t *redis, size_t n)
{
    size_t        i, k;
    uint64_t      v;
    logic_seq_t  *q, *items[LOGIC_SEQUENCE_MAX];

    for (i = 0; i < n; i++) {
        q = &sequence_items[i];
        memset(q, 0, sizeof(logic_seq_t));

        q->conv.a = bench_roll(CONVERSATIONS) + 1;
        q->conv.b = q->conv.a + CONVERSATIONS;
        q->slot = im_slot_of_conv(&q->conv);
        q->by = LOGIC_BY_CMID;
        q->seeded = 1;

        for (k = 0; k < sizeof(q->field); k += sizeof(v)) {
            v = bench_roll(UINT64_MAX);
            memcpy(q->field + k, &v, sizeof(v));
        }

        q->msg_id = bench_roll(UINT64_MAX);
        items[i] = q;
    }

    if (logic_sequence(redis, items, n) != IM_OK
        || items[0]->result != LOGIC_SEQ_NEW)
    {
        fprintf(stderr, "im-bench-store: a batch was not numbered: %s\n",
                im_redis_error(redis));
        exit(1);
    }
}


static uint64_t
sequence_memory(im_redis_t *redis)
{
    char        *p;
    uint64_t     bytes;
    im_str_t     argv[2] = { im_str("INFO"), im_str("memory") };
    redisReply  *reply;

    bytes = 0;

    if (im_redis_append(redis, 2, argv) == IM_OK) {
        reply = im_redis_reply(redis);

        if (reply != NULL && reply->str != NULL) {
            p = strstr(reply->str, "used_memory:");
            bytes = p ? strtoull(p + sizeof("used_memory:") - 1, NULL, 10) : 0;
        }

        im_redis_free(reply);
    }

    return bytes;
}
