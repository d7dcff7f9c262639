/*
 * logic_sequence.c -- one script call for a batch.
 *
 * Repeats are found in two bucketed hashes (this bucket of 300 s and the one
 * before), which cost half of what a key for each message would, in memory and
 * in time, and expire as a whole.  The bucket is named by our clock, since a
 * script must not read one.
 *
 * The same cmid twice in one call would get two numbers; the caller folds
 * those first (logic_intake.c).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "logic_sequence.h"


#define SEQUENCE_BUCKET_S  300
#define SEQUENCE_KEY_MAX   80


static int sequence_tag(im_redis_t *redis, logic_seq_t **items, size_t n,
    unsigned tag, uint64_t bucket);
static int sequence_take(logic_seq_t *item, const redisReply *r);
static size_t sequence_key(char *out, const logic_seq_t *item);
static unsigned sequence_tag_of(const logic_seq_t *item);
static void sequence_put64(unsigned char *p, uint64_t v);
static uint64_t sequence_get64(const unsigned char *p);


/*
 * KEYS: this bucket, the one before, then the counter of each message.
 * ARGV: n fields ("" without cmid), n msg_ids, n flags "1" = may begin at 1.
 * Returns for each message: its number, or 16 bytes of the first try, or 0.
 */
static _Thread_local im_redis_script_t  sequence_script = {
    "local n = #KEYS - 2\n"
    "local out, fields, at, set = {}, {}, {}, {}\n"
    "for i = 1, n do\n"
    "  out[i] = false\n"
    "  if ARGV[i] ~= '' then\n"
    "    fields[#fields + 1] = ARGV[i]\n"
    "    at[#at + 1] = i\n"
    "  end\n"
    "end\n"
    "if #fields > 0 then\n"
    "  local a = redis.call('HMGET', KEYS[1], unpack(fields))\n"
    "  local b = redis.call('HMGET', KEYS[2], unpack(fields))\n"
    "  for j = 1, #fields do out[at[j]] = a[j] or b[j] end\n"
    "end\n"
    "for i = 1, n do\n"
    "  if not out[i] then\n"
    "    local v = redis.call('INCR', KEYS[i + 2])\n"
    "    if v == 1 and ARGV[2 * n + i] ~= '1' then\n"
    "      redis.call('DEL', KEYS[i + 2])\n"
    "      out[i] = 0\n"
    "    else\n"
    "      out[i] = v\n"
    "      if ARGV[i] ~= '' then\n"
    "        set[#set + 1] = ARGV[i]\n"
    "        set[#set + 1] = ARGV[n + i] .. struct.pack('<I8', v)\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "if #set > 0 then\n"
    "  redis.call('HSET', KEYS[1], unpack(set))\n"
    "  redis.call('EXPIRE', KEYS[1], 660)\n"
    "end\n"
    "return out\n",
    ""
};


int
logic_sequence(im_redis_t *redis, logic_seq_t **items, size_t n,
    uint64_t now_ms)
{
    size_t        i, m;
    unsigned      tag;
    uint64_t      bucket;
    logic_seq_t  *part[LOGIC_SEQUENCE_MAX];

    bucket = now_ms / 1000 / SEQUENCE_BUCKET_S;

    if (logic_conf.common.redis_tags == 1) {
        return sequence_tag(redis, items, n, 0, bucket);
    }

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        m = 0;

        for (i = 0; i < n; i++) {
            if (sequence_tag_of(items[i]) == tag) {
                part[m++] = items[i];
            }
        }

        if (m > 0 && sequence_tag(redis, part, m, tag, bucket) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
sequence_tag(im_redis_t *redis, logic_seq_t **items, size_t n, unsigned tag,
    uint64_t bucket)
{
    int             rc;
    char            keys[LOGIC_SEQUENCE_MAX][SEQUENCE_KEY_MAX], b[2][64];
    size_t          i;
    im_str_t        argv[2 + 4 * LOGIC_SEQUENCE_MAX];
    redisReply     *reply;
    unsigned char   ids[LOGIC_SEQUENCE_MAX][8];

    for (i = 0; i < 2; i++) {
        argv[i].data = (unsigned char *) b[i];
        argv[i].len = (size_t) snprintf(b[i], sizeof(b[i]), "im:d:{%u}:%llu",
                                        tag,
                                        (unsigned long long) (bucket - i));
    }

    for (i = 0; i < n; i++) {
        argv[2 + i].data = (unsigned char *) keys[i];
        argv[2 + i].len = sequence_key(keys[i], items[i]);

        argv[2 + n + i].data = items[i]->field;
        argv[2 + n + i].len = items[i]->keyed ? 16 : 0;

        sequence_put64(ids[i], items[i]->msg_id);
        argv[2 + 2 * n + i].data = ids[i];
        argv[2 + 2 * n + i].len = 8;

        argv[2 + 3 * n + i].data =
            (unsigned char *) (items[i]->seeded ? "1" : "0");
        argv[2 + 3 * n + i].len = 1;
    }

    reply = im_redis_eval(redis, &sequence_script, (int) n + 2,
                          (int) (2 + 4 * n), argv);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = (reply->type == REDIS_REPLY_ARRAY && reply->elements == n)
         ? IM_OK : IM_ERROR;

    for (i = 0; i < n && rc == IM_OK; i++) {
        rc = sequence_take(items[i], reply->element[i]);
    }

    im_redis_free(reply);

    return rc;
}


static int
sequence_take(logic_seq_t *item, const redisReply *r)
{
    if (r->type == REDIS_REPLY_INTEGER) {
        item->seq = (uint64_t) r->integer;
        item->result = (r->integer == 0) ? LOGIC_SEQ_UNSEEDED : LOGIC_SEQ_NEW;
        return IM_OK;
    }

    if (r->type == REDIS_REPLY_STRING && r->len == 16) {
        item->msg_id = sequence_get64((unsigned char *) r->str);
        item->seq = sequence_get64((unsigned char *) r->str + 8);
        item->result = LOGIC_SEQ_REPEAT;
        return IM_OK;
    }

    return IM_ERROR;
}


int
logic_sequence_seed(im_redis_t *redis, const logic_seq_t *item, uint64_t last)
{
    int          n;
    char         key[SEQUENCE_KEY_MAX], value[24];
    im_str_t     argv[4] = {
        im_str("SET"), { 0, NULL }, { 0, NULL }, im_str("NX")
    };
    redisReply  *reply;

    argv[1].data = (unsigned char *) key;
    argv[1].len = sequence_key(key, item);

    n = snprintf(value, sizeof(value), "%llu", (unsigned long long) last);
    argv[2].data = (unsigned char *) value;
    argv[2].len = (size_t) n;

    if (im_redis_append(redis, 4, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_reply(redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    n = (reply->type == REDIS_REPLY_ERROR) ? IM_ERROR : IM_OK;
    im_redis_free(reply);

    return n;
}


int
logic_sequence_heads(im_redis_t *redis, const im_conv_t *convs, size_t n,
    uint64_t *heads)
{
    int           rc;
    char          key[SEQUENCE_KEY_MAX];
    size_t        i;
    im_str_t      argv[2] = { im_str("GET"), { 0, NULL } };
    logic_seq_t   item;
    redisReply   *reply;

    for (i = 0; i < n; i++) {
        item.conv = convs[i];
        item.slot = im_slot_of_conv(&convs[i]);
        argv[1].data = (unsigned char *) key;
        argv[1].len = sequence_key(key, &item);

        if (im_redis_append(redis, 2, argv) != IM_OK) {
            return IM_ERROR;
        }
    }

    rc = IM_OK;

    for (i = 0; i < n; i++) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        heads[i] = 0;

        if (reply->type == REDIS_REPLY_STRING) {
            heads[i] = strtoull(reply->str, NULL, 10);

        } else if (reply->type != REDIS_REPLY_NIL) {
            rc = IM_ERROR;
        }

        im_redis_free(reply);
    }

    return rc;
}


static size_t
sequence_key(char *out, const logic_seq_t *item)
{
    return (size_t) snprintf(out, SEQUENCE_KEY_MAX, "im:s:{%u}:%llu:%llu",
                             sequence_tag_of(item),
                             (unsigned long long) item->conv.a,
                             (unsigned long long) item->conv.b);
}


static unsigned
sequence_tag_of(const logic_seq_t *item)
{
    return item->slot % logic_conf.common.redis_tags;
}


static void
sequence_put64(unsigned char *p, uint64_t v)
{
    int  i;

    for (i = 0; i < 8; i++) {
        p[i] = (unsigned char) (v >> (8 * i));
    }
}


static uint64_t
sequence_get64(const unsigned char *p)
{
    int       i;
    uint64_t  v;

    v = 0;

    for (i = 7; i >= 0; i--) {
        v = v << 8 | p[i];
    }

    return v;
}
