/*
 * logic_presence_state.c -- see logic_presence_state.h.
 *
 *               open: notify "online"
 *      +-------------------------------------+
 *      |                                     v
 *   +------+   expire: notify   +-------+   open    +--------+
 *   | gone | <----------------- | going | --------> | online |
 *   +------+     "offline"      +-------+           +--------+
 *                                   ^     last close    |
 *                                   +-------------------+
 *
 *   online   im:u:{uid} has an entry
 *   going    it has none, and im:off has the user: until when
 *   gone     neither
 *
 * A user in "going" counts as online for everybody who asks, so a reconnect
 * within the 1.8 s changes nothing for anybody.  Each transition, and each
 * snapshot, is one run of the script: nothing comes between.
 *
 * Version.  im:pv is a number that each notification raises: Redis's clock in
 * microseconds, or one more than the last one if that is larger.  A snapshot
 * carries the number as it is.  So of two things that a subscriber is told of
 * one user, the one with the larger version is newer, whichever way each came;
 * of two with the same version both say the same.  It begins with the clock so
 * that it does not fall back when Redis has lost its memory.
 *
 * Notifications.  A transition that has subscribers notes the user in im:news,
 * with the version, and returns the subscribers.  Who has notified them all
 * takes the note out, unless there is a newer one.  A note that stays is
 * repeated, by any Logic, with the state as it is by then: a Logic that dies
 * between the two costs nobody the news, and neither does a lost reply.
 *
 * An instance that died leaves entries behind; etcd is not Redis's to ask.
 * Whoever meets such an entry puts the user into im:off with the time 0, then
 * takes the entry out, in this order; then "expire" decides as for any other.
 * The entry was read before that, and "offline" may have been notified
 * meanwhile.  So an open that finds no entry and the time 0 notifies "online";
 * a worker drops what its subscribers hold already (core/im_watch.h).
 *
 * verb     words                                 reply
 * open     uid conn value sid check-replaced     revoked, replaced, entries
 *                                                before, groups, notification
 * close    uid conn leave-ms                     values left
 * expire   uid                                   notification
 * query    "" instance uid...                    version, (online, values)...
 * again    uid                                   notification
 * done     uid version                           a number
 * off      "" skip count                         now ms, (uid, until ms)...
 * news     "" skip count                         now us, (uid, version)...
 * version  ""                                    a new version
 *
 * notification: empty, or: online, version, instances...
 */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "logic_presence_state.h"
#include "logic_words.h"


static _Thread_local im_redis_script_t  state_script = {
    .text =
        "local verb, uid = ARGV[1], ARGV[2]\n"
        "local conns = 'im:u:{' .. uid .. '}'\n"

        "local function clock()\n"
        "    local t = redis.call('TIME')\n"
        "    return t[1] * 1000000 + t[2]\n"
        "end\n"

        "local function raise()\n"
        "    local v = (redis.call('GET', 'im:pv') or 0) + 1\n"
        "    v = string.format('%.0f', math.max(v, clock()))\n"
        "    redis.call('SET', 'im:pv', v)\n"
        "    return v\n"
        "end\n"

        /* a key that is broken must not keep the user out */

        "local function subscribers()\n"
        "    local r = redis.pcall('SMEMBERS', 'im:ps:{' .. uid .. '}')\n"
        "    return r.err and {} or r\n"
        "end\n"

        "local function notify(online, v, to)\n"
        "    table.insert(to, 1, v)\n"
        "    table.insert(to, 1, online)\n"
        "    return to\n"
        "end\n"

        "local function change(online)\n"
        "    local v, to = raise(), subscribers()\n"
        "    if #to == 0 then return {} end\n"
        "    redis.call('ZADD', 'im:news', v, uid)\n"
        "    return notify(online, v, to)\n"
        "end\n"

        "local function state(u)\n"
        "    local values = redis.call('HVALS', 'im:u:{' .. u .. '}')\n"
        "    local on = #values > 0 or redis.call('ZSCORE', 'im:off', u)\n"
        "    return on and 1 or 0, values\n"
        "end\n"

        /* A time that is too far ahead is one before the clock was set back.
         * Those come after the others, and skip counts through both. */

        "local function list(key, upto, from, skip, count)\n"
        "    local due = redis.call('ZCOUNT', key, '-inf', upto)\n"
        "    local r = redis.call('ZRANGEBYSCORE', key, '-inf', upto,\n"
        "        'WITHSCORES', 'LIMIT', skip, count)\n"
        "    if #r < 2 * count then\n"
        "        local ahead = redis.call('ZRANGEBYSCORE', key,\n"
        "            '(' .. from, '+inf', 'WITHSCORES', 'LIMIT',\n"
        "            math.max(skip - due, 0), count - #r / 2)\n"
        "        for i = 1, #ahead do r[#r + 1] = ahead[i] end\n"
        "    end\n"
        "    return r\n"
        "end\n"

        "if verb == 'open' then\n"
        "    local conn, value = ARGV[3], ARGV[4]\n"
        "    local revoked = redis.call('EXISTS', 'im:rev:' .. ARGV[5])\n"
        "    local replaced = 0\n"
        "    if ARGV[6] == '1' then\n"
        "        replaced = redis.call('EXISTS', 'im:re:' .. conn)\n"
        "    end\n"
        "    local before = redis.call('HGETALL', conns)\n"
        "    local groups = redis.pcall('GET', 'im:g:{' .. uid .. '}')\n"
        "    if type(groups) == 'table' then groups = false end\n"
        "    local news = {}\n"
        "    if revoked + replaced == 0 then\n"
        "        redis.call('HSETNX', conns, conn, value)\n"
        "        local until_ms = redis.call('ZSCORE', 'im:off', uid)\n"
        "        redis.call('ZREM', 'im:off', uid)\n"
        "        if #before == 0 and (until_ms or 0) + 0 == 0 then\n"
        "            news = change('1')\n"
        "        end\n"
        "    end\n"
        "    return { revoked, replaced, before, groups, news }\n"

        "elseif verb == 'close' then\n"
        "    local removed = redis.call('HDEL', conns, ARGV[3])\n"
        "    local left = redis.call('HVALS', conns)\n"
        "    if removed == 1 and #left == 0 then\n"
        "        redis.call('ZADD', 'im:off', string.format('%.0f',\n"
        "            math.floor(clock() / 1000) + ARGV[4]), uid)\n"
        "    end\n"
        "    return left\n"

        "elseif verb == 'expire' then\n"
        "    local due = redis.call('ZSCORE', 'im:off', uid)\n"
        "    local now = math.floor(clock() / 1000)\n"
        "    if not due or (due + 0 > now and due - 10000 < now) then\n"
        "        return {}\n"
        "    end\n"
        "    redis.call('ZREM', 'im:off', uid)\n"
        "    if redis.call('HLEN', conns) > 0 then return {} end\n"
        "    return change('0')\n"

        "elseif verb == 'query' then\n"
        "    local r = { redis.call('GET', 'im:pv') or raise() }\n"
        "    for i = 4, #ARGV do\n"
        "        if ARGV[3] ~= '' then\n"
        "            local key = 'im:ps:{' .. ARGV[i] .. '}'\n"
        "            redis.call('SADD', key, ARGV[3])\n"
        "            redis.call('EXPIRE', key, 3600)\n"
        "        end\n"
        "        local online, values = state(ARGV[i])\n"
        "        r[#r + 1] = { online, values }\n"
        "    end\n"
        "    return r\n"

        "elseif verb == 'again' then\n"
        "    return notify(tostring((state(uid))),\n"
        "        redis.call('GET', 'im:pv') or raise(), subscribers())\n"

        "elseif verb == 'done' then\n"
        "    local v = redis.call('ZSCORE', 'im:news', uid)\n"
        "    if v and v - ARGV[3] == 0 then\n"
        "        return redis.call('ZREM', 'im:news', uid)\n"
        "    end\n"
        "    return 0\n"

        "elseif verb == 'off' then\n"
        "    local now = math.floor(clock() / 1000)\n"
        "    local r = list('im:off', now, now + 10000, ARGV[3], ARGV[4])\n"
        "    table.insert(r, 1, string.format('%.0f', now))\n"
        "    return r\n"

        "elseif verb == 'news' then\n"
        "    local now = clock()\n"
        "    local r = list('im:news', now - " IM_TIMEOUT_STR(
                     LOGIC_PRESENCE_RETRY_US) ", now + 10000000,\n"
        "        ARGV[3], ARGV[4])\n"
        "    table.insert(r, 1, string.format('%.0f', now))\n"
        "    return r\n"

        "elseif verb == 'version' then\n"
        "    return raise()\n"
        "end\n"

        "return redis.error_reply('ERR no such verb')\n"
};


int
logic_presence_call(im_redis_t *redis, unsigned n, ...)
{
    va_list    args;
    unsigned   i;
    im_str_t   argv[LOGIC_WORDS_MAX];

    assert(n <= LOGIC_WORDS_MAX);

    va_start(args, n);

    for (i = 0; i < n; i++) {
        argv[i].data = (unsigned char *) va_arg(args, const char *);
        argv[i].len = strlen((char *) argv[i].data);
    }

    va_end(args);

    return logic_presence_call_words(redis, (int) n, argv);
}


int
logic_presence_call_words(im_redis_t *redis, int argc, const im_str_t *argv)
{
    return im_redis_eval_append(redis, &state_script, 0, argc, argv);
}


redisReply *
logic_presence_reply(im_redis_t *redis)
{
    return im_redis_eval_reply(redis, &state_script);
}


int
logic_presence_is_forgotten(void)
{
    return state_script.sha[0] == '\0';
}


int
logic_presence_version(im_redis_t *redis, uint64_t *version)
{
    int          tries;
    redisReply  *reply;

    for (tries = 0; tries < 2; tries++) {

        if (logic_presence_call(redis, 2, "version", "") != IM_OK) {
            return IM_ERROR;
        }

        reply = logic_presence_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_STRING) {
            *version = strtoull(reply->str, NULL, 10);
            im_redis_free(reply);
            return IM_OK;
        }

        im_redis_free(reply);

        if (!logic_presence_is_forgotten()) {
            break;
        }
    }

    return IM_ERROR;
}


int
logic_presence_suspect(im_redis_t *redis, uint64_t uid)
{
    char  text[24];

    snprintf(text, sizeof(text), "%" PRIu64, uid);

    return logic_words(redis, 5, "ZADD", "im:off", "NX", "0", text);
}


int
logic_presence_news_read(logic_presence_news_t *news, const redisReply *reply)
{
    size_t  i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2) {
        return IM_DECLINED;
    }

    for (i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            return IM_DECLINED;
        }
    }

    news->online = (reply->element[0]->str[0] == '1');
    news->version = strtoull(reply->element[1]->str, NULL, 10);
    news->n = reply->elements - 2;
    news->instances = reply->element + 2;

    return IM_OK;
}
