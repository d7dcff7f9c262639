/*
 * logic_holds.c -- see logic_holds.h.
 *
 * The script of logic_sequence.c notes to whom it gives a number: a field
 * "h" msg_id beside the entry holds the ids of all tries, 8 bytes each, from
 * the first repeat on.  A list of ids and not a count: a call whose reply was
 * lost is made again, and must not release twice.
 *
 * With the last holder the entry goes, in the same step: a repeat that comes
 * later gets a new number, and one that came before is a holder.  What the step
 * said stays in a field "v" id, for the reply may be lost: a Redis that was
 * frozen carries out what was sent to it meanwhile, when nobody listens any
 * more.
 *
 * A repeat whose reply was lost does not know the first try; the entry names
 * it.
 *
 * A missing entry proves nothing: Redis may have lost its memory,
 * and with it a holder that still produces.
 */

#include <stdio.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "logic_conf.h"
#include "logic_holds.h"


static int holds_call(im_redis_t *redis, logic_hold_t *holds, size_t n);
static int holds_append(im_redis_t *redis, const logic_hold_t *hold);
static int holds_take(logic_hold_t *hold, const redisReply *reply);


/* KEYS: prefix of the buckets.  ARGV: length of a bucket in s, field, msg_id of
 * the first try, id of this one.  Returns the number if it is void, 0 if others
 * hold it, -1 if it is not known. */
static _Thread_local im_redis_script_t  holds_script = {
    "local bucket = math.floor(redis.call('TIME')[1] / ARGV[1])\n"
    "local field, first, id = ARGV[2], ARGV[3], ARGV[4]\n"
    "for i = 0, 1 do\n"
    "  local key = KEYS[1] .. string.format('%.0f', bucket - i)\n"
    "  local void = redis.call('HGET', key, 'v' .. id)\n"
    "  if void then return (struct.unpack('<I8', void)) end\n"
    "  local e = redis.call('HGET', key, field)\n"
    "  if e then\n"
    "    local one, left, mine = e:sub(1, 8), '', false\n"
    "    local holders = 'h' .. one\n"
    "    local held = redis.call('HGET', key, holders) or one\n"
    "    local known = (one == first)\n"
    "    for j = 1, #held, 8 do\n"
    "      one = held:sub(j, j + 7)\n"
    "      if one == id then mine = true else left = left .. one end\n"
    "    end\n"
    "    if mine and left == '' then\n"
    "      redis.call('HDEL', key, field, holders)\n"
    "      redis.call('HSET', key, 'v' .. id, e:sub(23, 30))\n"
    "      return (struct.unpack('<I8', e, 23))\n"
    "    end\n"
    "    if mine then redis.call('HSET', key, holders, left) end\n"
    "    if mine or known then return 0 end\n"
    "  end\n"
    "end\n"
    "return -1\n",
    ""
};


int
logic_holds_release(im_redis_t *redis, logic_hold_t *holds, size_t n)
{
    int     rc, tries;
    size_t  i;

    for (i = 0; i < n; i++) {
        holds[i].result = LOGIC_HOLD_UNKNOWN;
    }

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = holds_call(redis, holds, n);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


/* IM_AGAIN: Redis does not know the script (any more); what was released last
 * stays so. */
static int
holds_call(im_redis_t *redis, logic_hold_t *holds, size_t n)
{
    int          rc, one;
    size_t       i;
    redisReply  *reply;

    for (i = 0; i < n; i++) {
        if (holds[i].result != LOGIC_HOLD_LAST
            && holds_append(redis, &holds[i]) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    for (i = 0, rc = IM_OK; i < n; i++) {

        if (holds[i].result == LOGIC_HOLD_LAST) {
            continue;
        }

        reply = im_redis_eval_reply(redis, &holds_script);
        if (reply == NULL) {
            return IM_ERROR;
        }

        one = holds_take(&holds[i], reply);
        rc = (one == IM_OK || rc == IM_ERROR) ? rc : one;
        im_redis_free(reply);
    }

    return rc;
}


static int
holds_append(im_redis_t *redis, const logic_hold_t *hold)
{
    int            prefix_len, length_len;
    char           prefix[32], length[16];
    unsigned char  ids[16];

    prefix_len = snprintf(prefix, sizeof(prefix), IM_KEY_DEDUPE,
                          hold->slot % logic_conf.common.redis_tags);
    length_len = snprintf(length, sizeof(length), "%u",
                          logic_conf.dedupe_window_s);
    im_put64(ids, hold->msg_id);
    im_put64(ids + 8, hold->id);

    im_str_t  argv[5] = {
        { (size_t) prefix_len, (unsigned char *) prefix },
        { (size_t) length_len, (unsigned char *) length },
        { 16, (unsigned char *) hold->field },
        { 8, ids },
        { 8, ids + 8 }
    };

    return im_redis_eval_append(redis, &holds_script, 1, 5, argv);
}


static int
holds_take(logic_hold_t *hold, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR && holds_script.sha[0] == '\0') {
        return IM_AGAIN;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        return IM_ERROR;
    }

    hold->seq = 0;
    hold->result = (reply->integer == 0) ? LOGIC_HOLD_OTHERS
                                         : LOGIC_HOLD_UNKNOWN;

    if (reply->integer > 0) {
        hold->seq = (uint64_t) reply->integer;
        hold->result = LOGIC_HOLD_LAST;
    }

    return IM_OK;
}
