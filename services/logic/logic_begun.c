/*
 * logic_begun.c -- see logic_begun.h.
 *
 * Redis holds im:begun:{uid}, the set of the others, for an hour: longer than
 * the store may be behind.  Most users have none, and their list costs one
 * look.  Who has some waits until the store group has reached the end that the
 * log had, and the set is emptied of what was in it: so each beginning is
 * waited for once.
 *
 * Waiting for the log without such a note was rejected: it takes up to a
 * commit's interval, 200 ms, of each client that connects.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "logic_begun.h"
#include "logic_settle.h"


#define BEGUN_LIFE        "3600"
#define BEGUN_FORGET_MAX  64         /* members of one SREM */


static int begun_note(im_redis_t *redis, uint64_t uid, uint64_t other);
static int begun_wait(uint64_t uid, const redisReply *others,
    uint64_t until_us);
static int begun_forget(im_redis_t *redis, uint64_t uid,
    const redisReply *others);
static size_t begun_key(char *out, size_t size, uint64_t uid);


int
logic_begun_append(im_redis_t *redis, const im_conv_t *conv, size_t *replies)
{
    if (conv->a == 0) {
        return IM_OK;                  /* members have a row already */
    }

    if (begun_note(redis, conv->a, conv->b) != IM_OK
        || begun_note(redis, conv->b, conv->a) != IM_OK)
    {
        return IM_ERROR;
    }

    *replies += 4;

    return IM_OK;
}


static int
begun_note(im_redis_t *redis, uint64_t uid, uint64_t other)
{
    int       n;
    char      key[48], value[24];
    im_str_t  add[3] = { im_str("SADD"), { 0, NULL }, { 0, NULL } };
    im_str_t  expire[3] = {
        im_str("EXPIRE"), { 0, NULL }, im_str(BEGUN_LIFE)
    };

    add[1].data = (unsigned char *) key;
    add[1].len = begun_key(key, sizeof(key), uid);
    expire[1] = add[1];

    n = snprintf(value, sizeof(value), "%" PRIu64, other);
    add[2].data = (unsigned char *) value;
    add[2].len = (size_t) n;

    return (im_redis_append(redis, 3, add) == IM_OK
            && im_redis_append(redis, 3, expire) == IM_OK)
           ? IM_OK : IM_ERROR;
}


int
logic_begun_settle(im_redis_t *redis, uint64_t uid, unsigned timeout_ms)
{
    int          rc;
    char         key[48];
    im_str_t     argv[2] = { im_str("SMEMBERS"), { 0, NULL } };
    redisReply  *reply;

    argv[1].data = (unsigned char *) key;
    argv[1].len = begun_key(key, sizeof(key), uid);

    if (im_redis_append(redis, 2, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_expect(redis, IM_REDIS_ARRAY);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = IM_OK;

    if (reply->elements > 0) {
        rc = begun_wait(uid, reply,
                        im_mono_us() + (uint64_t) timeout_ms * 1000);

        if (rc == IM_OK) {
            rc = begun_forget(redis, uid, reply);
        }
    }

    im_redis_free(reply);

    return rc;
}


/* Once for each partition. */
static int
begun_wait(uint64_t uid, const redisReply *others, uint64_t until_us)
{
    int        rc;
    char       asked[LOGIC_SETTLE_PARTITIONS] = { 0 };
    size_t     i;
    unsigned   p;
    uint64_t   now;
    im_conv_t  conv;

    for (i = 0; i < others->elements; i++) {
        conv = im_conv_direct(uid, strtoull(others->element[i]->str, NULL,
                                            10));
        p = logic_settle_partition(&conv);

        if (asked[p]) {
            continue;
        }

        asked[p] = 1;
        now = im_mono_us();

        rc = logic_settle(&conv, (now < until_us)
                                 ? (unsigned) ((until_us - now) / 1000) : 0);
        if (rc != IM_OK) {
            return rc;
        }
    }

    return IM_OK;
}


static int
begun_forget(im_redis_t *redis, uint64_t uid, const redisReply *others)
{
    char         key[48];
    size_t       i, n;
    im_str_t     argv[2 + BEGUN_FORGET_MAX] = { im_str("SREM") };
    long long    removed;

    argv[1].data = (unsigned char *) key;
    argv[1].len = begun_key(key, sizeof(key), uid);

    for (i = 0; i < others->elements; i += n) {

        for (n = 0; n < BEGUN_FORGET_MAX && i + n < others->elements; n++) {
            argv[2 + n].data = (unsigned char *) others->element[i + n]->str;
            argv[2 + n].len = others->element[i + n]->len;
        }

        if (im_redis_append(redis, (int) n + 2, argv) != IM_OK) {
            return IM_ERROR;
        }

        if (im_redis_expect_int(redis, &removed) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static size_t
begun_key(char *out, size_t size, uint64_t uid)
{
    return (size_t) snprintf(out, size, "im:begun:{%" PRIu64 "}", uid);
}
