/*
 * logic_sequence.c -- one script call for a batch (and each hash tag, in one
 * pipeline).
 *
 * Repeats are found in two bucketed hashes (this bucket of [dedupe] window_s
 * and the one before), which cost half of what a key for each message would,
 * in memory and in time, and expire as a whole.  All time in here is that of
 * Redis: another Logic's clock may differ from ours, and ours may be set back.
 * So the script names the buckets itself; it is given their prefix as a key,
 * which has the hash tag of all the others.
 *
 * An entry is 30 bytes, little-endian: msg_id 8, digest of the body 8, time in
 * ms since 1970 6, seq 8.  Two bytes more would cost 16 (jemalloc's classes).
 *
 * The same field twice in one call would get two numbers; the caller folds
 * those first (logic_batch.c).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "logic_conf.h"
#include "logic_sequence.h"


#define SEQUENCE_ENTRY      30
#define SEQUENCE_SEEDED     1
#define SEQUENCE_BODY       2
#define SEQUENCE_VOID       4
#define SEQUENCE_TAGS       64


typedef struct sequence_call_s  sequence_call_t;

/* One call: n messages of one tag. */
struct sequence_call_s {
    im_redis_script_t  *script;
    int               (*append)(sequence_call_t *c);
    im_redis_t         *redis;
    logic_seq_t       **items;
    size_t              n;
    unsigned            tag;
    int                 done;
};


static int sequence_tags(const sequence_call_t *all);
static size_t sequence_of_tag(const sequence_call_t *all, unsigned tag,
    logic_seq_t **part);
static int sequence_calls(sequence_call_t *calls, size_t n);
static int sequence_reply(sequence_call_t *c, const redisReply *reply);
static int sequence_append(sequence_call_t *c);
static int sequence_append_look(sequence_call_t *c);
static int sequence_take(logic_seq_t *item, const redisReply *r,
    uint64_t now_ms);
static void sequence_arg(im_str_t *arg, void *data, size_t len);
static unsigned sequence_tag_of(const logic_seq_t *item);
static uint64_t sequence_get(const unsigned char *p, int n);


/*
 * KEYS: prefix of the buckets, then the counter of each message.
 * ARGV: n fields ("" without); n times msg_id, digest and, of a void one,
 * msg_id of the first try; n flags; length of a bucket in s, window of bodies
 * in ms; four times the time that Kafka has for a message, in ms.  Returns for
 * each message: its number, or the entry of the first try, or 0; then the time.
 * Who may produce under the number of a first try is noted: logic_holds.c.
 */
static _Thread_local im_redis_script_t  sequence_script = {
    "local n = #KEYS - 1\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local bucket = math.floor(t[1] / ARGV[3 * n + 1])\n"
    "local this = KEYS[1] .. string.format('%.0f', bucket)\n"
    "local before = KEYS[1] .. string.format('%.0f', bucket - 1)\n"
    "local window = tonumber(ARGV[3 * n + 2])\n"
    "local young = tonumber(ARGV[3 * n + 3])\n"
    "local out, fields, at, set = {}, {}, {}, {}\n"
    "for i = 1, n do\n"
    "  out[i] = false\n"
    "  if ARGV[i] ~= '' then\n"
    "    fields[#fields + 1] = ARGV[i]\n"
    "    at[#at + 1] = i\n"
    "  end\n"
    "end\n"
    "if #fields > 0 then\n"
    "  local a = redis.call('HMGET', this, unpack(fields))\n"
    "  local b = redis.call('HMGET', before, unpack(fields))\n"
    "  for j = 1, #fields do\n"
    "    local i, e = at[j], a[j] or b[j]\n"
    "    local flags = tonumber(ARGV[2 * n + i])\n"
    "    if e and flags >= 2 then\n"
    "      if flags >= 4 then\n"
    "        if e:sub(1, 8) == ARGV[n + i]:sub(17, 24) then e = false end\n"
    "      elseif now - struct.unpack('<I6', e, 17) > window then\n"
    "        e = false\n"
    "      end\n"
    "    end\n"
    "    out[i] = e\n"
    "    if e and e:sub(9, 16) == ARGV[n + i]:sub(9, 16)\n"
    "       and (now - struct.unpack('<I6', e, 17)) * 5 < young\n"
    "    then\n"
    "      local key, first = a[j] and this or before, e:sub(1, 8)\n"
    "      local held = redis.call('HGET', key, 'h' .. first) or first\n"
    "      redis.call('HSET', key, 'h' .. first,\n"
    "                 held .. ARGV[n + i]:sub(1, 8))\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local time = struct.pack('<I6', now)\n"
    "for i = 1, n do\n"
    "  if not out[i] then\n"
    "    local v = redis.call('INCR', KEYS[i + 1])\n"
    "    if v == 1 and tonumber(ARGV[2 * n + i]) % 2 == 0 then\n"
    "      redis.call('DEL', KEYS[i + 1])\n"
    "      out[i] = 0\n"
    "    else\n"
    "      out[i] = v\n"
    "      if ARGV[i] ~= '' then\n"
    "        set[#set + 1] = ARGV[i]\n"
    "        set[#set + 1] = ARGV[n + i]:sub(1, 16) .. time\n"
    "                        .. struct.pack('<I8', v)\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "if #set > 0 then\n"
    "  redis.call('HSET', this, unpack(set))\n"
    "  redis.call('EXPIRE', this, 2 * ARGV[3 * n + 1] + 60)\n"
    "end\n"
    "out[n + 1] = now\n"
    "return out\n",
    ""
};


/* KEYS: prefix of the buckets.  ARGV: n fields; length of a bucket in s.
 * Returns for each the entry of the first try, or nothing; then the time. */
static _Thread_local im_redis_script_t  sequence_look_script = {
    "local n = #ARGV - 1\n"
    "local t = redis.call('TIME')\n"
    "local bucket = math.floor(t[1] / ARGV[n + 1])\n"
    "local this = KEYS[1] .. string.format('%.0f', bucket)\n"
    "local before = KEYS[1] .. string.format('%.0f', bucket - 1)\n"
    "local a = redis.call('HMGET', this, unpack(ARGV, 1, n))\n"
    "local b = redis.call('HMGET', before, unpack(ARGV, 1, n))\n"
    "for i = 1, n do a[i] = a[i] or b[i] end\n"
    "a[n + 1] = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "return a\n",
    ""
};


int
logic_sequence(im_redis_t *redis, logic_seq_t **items, size_t n)
{
    sequence_call_t  c = {
        &sequence_script, sequence_append, redis, items, n, 0, 0
    };

    return sequence_tags(&c);
}


int
logic_sequence_look(im_redis_t *redis, logic_seq_t **items, size_t n)
{
    sequence_call_t  c = {
        &sequence_look_script, sequence_append_look, redis, items, n, 0, 0
    };

    return sequence_tags(&c);
}


/* A call for each tag, all in one pipeline. */
static int
sequence_tags(const sequence_call_t *all)
{
    int               rc, tries;
    size_t            n, at;
    unsigned          tag;
    logic_seq_t      *parts[LOGIC_SEQUENCE_MAX];
    sequence_call_t  *c, calls[SEQUENCE_TAGS];

    n = 0;
    at = 0;

    for (tag = 0; tag < logic_conf.common.redis_tags; tag++) {
        c = &calls[n];
        *c = *all;
        c->tag = tag;
        c->items = &parts[at];
        c->n = sequence_of_tag(all, tag, c->items);
        at += c->n;
        n += (c->n > 0);
    }

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = sequence_calls(calls, n);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


static size_t
sequence_of_tag(const sequence_call_t *all, unsigned tag, logic_seq_t **part)
{
    size_t  i, n;

    for (i = 0, n = 0; i < all->n; i++) {
        if (sequence_tag_of(all->items[i]) == tag) {
            part[n++] = all->items[i];
        }
    }

    return n;
}


/* IM_AGAIN: Redis does not know the script (any more); what is done is done. */
static int
sequence_calls(sequence_call_t *calls, size_t n)
{
    int          rc, one;
    size_t       i;
    redisReply  *reply;

    for (i = 0; i < n; i++) {
        if (!calls[i].done && calls[i].append(&calls[i]) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0, rc = IM_OK; i < n; i++) {

        if (calls[i].done) {
            continue;
        }

        reply = im_redis_eval_reply(calls[i].redis, calls[i].script);
        if (reply == NULL) {
            return IM_ERROR;
        }

        one = sequence_reply(&calls[i], reply);
        calls[i].done = (one == IM_OK);
        rc = (one == IM_OK || rc == IM_ERROR) ? rc : one;
        im_redis_free(reply);
    }

    return rc;
}


static int
sequence_reply(sequence_call_t *c, const redisReply *reply)
{
    int       rc;
    size_t    i;
    uint64_t  now;

    if (reply->type == REDIS_REPLY_ERROR && c->script->sha[0] == '\0') {
        return IM_AGAIN;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != c->n + 1
        || reply->element[c->n]->type != REDIS_REPLY_INTEGER)
    {
        return IM_ERROR;
    }

    now = (uint64_t) reply->element[c->n]->integer;

    for (i = 0, rc = IM_OK; i < c->n && rc == IM_OK; i++) {
        rc = sequence_take(c->items[i], reply->element[i], now);
    }

    return rc;
}


static int
sequence_append(sequence_call_t *c)
{
    int             len;
    char            keys[LOGIC_SEQUENCE_MAX][LOGIC_SEQUENCE_KEY_MAX];
    char            prefix[32];
    char            flags[LOGIC_SEQUENCE_MAX], length[16], window[16];
    char            young[16];
    size_t          i, n;
    im_str_t        argv[4 + 4 * LOGIC_SEQUENCE_MAX];
    logic_seq_t    *item;
    unsigned char   ids[LOGIC_SEQUENCE_MAX][24];

    n = c->n;

    len = snprintf(prefix, sizeof(prefix), IM_KEY_DEDUPE, c->tag);
    sequence_arg(&argv[0], prefix, (size_t) len);

    for (i = 0; i < n; i++) {
        item = c->items[i];
        item->hold_id = item->msg_id;

        sequence_arg(&argv[1 + i], keys[i], logic_sequence_key(keys[i], item));
        sequence_arg(&argv[1 + n + i], item->field,
                     (item->by == LOGIC_BY_NOTHING) ? 0 : 16);

        im_put64(ids[i], item->msg_id);
        memcpy(ids[i] + 8, item->digest, 8);
        im_put64(ids[i] + 16, item->void_id);
        sequence_arg(&argv[1 + 2 * n + i], ids[i], item->void_id ? 24 : 16);

        flags[i] = (char) ('0' + (item->seeded ? SEQUENCE_SEEDED : 0)
                           + (item->by == LOGIC_BY_BODY ? SEQUENCE_BODY : 0)
                           + (item->void_id != 0 ? SEQUENCE_VOID : 0));
        sequence_arg(&argv[1 + 3 * n + i], &flags[i], 1);
    }

    len = snprintf(length, sizeof(length), "%u", logic_conf.dedupe_window_s);
    sequence_arg(&argv[1 + 4 * n], length, (size_t) len);

    len = snprintf(window, sizeof(window), "%u", logic_conf.body_window_ms);
    sequence_arg(&argv[2 + 4 * n], window, (size_t) len);

    len = snprintf(young, sizeof(young), "%llu",
                   (unsigned long long) logic_conf.kafka_delivery_ms * 4);
    sequence_arg(&argv[3 + 4 * n], young, (size_t) len);

    return im_redis_eval_append(c->redis, c->script, (int) n + 1,
                                (int) (4 + 4 * n), argv);
}


static int
sequence_append_look(sequence_call_t *c)
{
    int       len;
    char      prefix[32], length[16];
    size_t    i;
    im_str_t  argv[2 + LOGIC_SEQUENCE_MAX];

    len = snprintf(prefix, sizeof(prefix), IM_KEY_DEDUPE, c->tag);
    sequence_arg(&argv[0], prefix, (size_t) len);

    for (i = 0; i < c->n; i++) {
        sequence_arg(&argv[1 + i], c->items[i]->field, 16);
    }

    len = snprintf(length, sizeof(length), "%u", logic_conf.dedupe_window_s);
    sequence_arg(&argv[1 + c->n], length, (size_t) len);

    return im_redis_eval_append(c->redis, c->script, 1, (int) (2 + c->n),
                                argv);
}


static int
sequence_take(logic_seq_t *item, const redisReply *r, uint64_t now_ms)
{
    uint64_t              since;
    const unsigned char  *p;

    if (r->type == REDIS_REPLY_INTEGER) {
        item->seq = (uint64_t) r->integer;
        item->age_ms = 0;
        item->result = (r->integer == 0) ? LOGIC_SEQ_UNSEEDED : LOGIC_SEQ_NEW;
        return IM_OK;
    }

    if (r->type == REDIS_REPLY_NIL) {
        item->result = LOGIC_SEQ_NEW;
        return IM_OK;
    }

    if (r->type != REDIS_REPLY_STRING || r->len != SEQUENCE_ENTRY) {
        return IM_ERROR;
    }

    p = (const unsigned char *) r->str;

    if (memcmp(p + 8, item->digest, 8) != 0) {
        item->result = LOGIC_SEQ_CONFLICT;
        return IM_OK;
    }

    since = sequence_get(p + 16, 6);
    item->msg_id = sequence_get(p, 8);
    item->seq = sequence_get(p + 22, 8);
    item->age_ms = (now_ms > since) ? now_ms - since : 0;
    item->result = LOGIC_SEQ_REPEAT;

    return IM_OK;
}


static void
sequence_arg(im_str_t *arg, void *data, size_t len)
{
    arg->data = data;
    arg->len = len;
}


int
logic_sequence_heads(im_redis_t *redis, const im_conv_t *convs, size_t n,
    uint64_t *heads)
{
    if (logic_sequence_heads_append(redis, convs, n) != IM_OK) {
        return IM_ERROR;
    }

    return logic_sequence_heads_reply(redis, n, heads);
}


int
logic_sequence_heads_append(im_redis_t *redis, const im_conv_t *convs,
    size_t n)
{
    char         key[LOGIC_SEQUENCE_KEY_MAX];
    size_t       i;
    im_str_t     argv[2] = { im_str("GET"), { 0, NULL } };
    logic_seq_t  item;

    for (i = 0; i < n; i++) {
        item.conv = convs[i];
        item.slot = im_slot_of_conv(&convs[i]);
        argv[1].data = (unsigned char *) key;
        argv[1].len = logic_sequence_key(key, &item);

        if (im_redis_append(redis, 2, argv) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


int
logic_sequence_heads_reply(im_redis_t *redis, size_t n, uint64_t *heads)
{
    int          rc;
    size_t       i;
    redisReply  *reply;

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


size_t
logic_sequence_key(char *out, const logic_seq_t *item)
{
    return (size_t) snprintf(out, LOGIC_SEQUENCE_KEY_MAX, IM_KEY_SEQ,
                             sequence_tag_of(item), item->conv.a,
                             item->conv.b);
}


static unsigned
sequence_tag_of(const logic_seq_t *item)
{
    return item->slot % logic_conf.common.redis_tags;
}


static uint64_t
sequence_get(const unsigned char *p, int n)
{
    uint64_t  v;

    v = 0;

    while (n-- > 0) {
        v = v << 8 | p[n];
    }

    return v;
}
