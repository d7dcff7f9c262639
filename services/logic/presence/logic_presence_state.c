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
 * A user in "going" counts as online in each answer, so a reconnect within the
 * 1.8 s changes nothing for subscribers.  Each transition, and each snapshot,
 * is one run of the script: nothing comes between.
 *
 * Version.  im:pv is a number that each notification raises: Redis's clock in
 * microseconds, or one more than the last one if that is larger.  A snapshot
 * carries the number as it is.  So of two states of one user that a subscriber
 * gets, the one with the larger version is newer, by whichever stream each
 * came; two with the same version are the same state.  It begins with the clock
 * so that it does not fall back when Redis has lost its memory.
 *
 * Notifications.  A transition that has subscribers notes the user in im:news,
 * with the version, and returns the subscribers.  A Logic that has
 * notified them all removes the note, unless there is a newer one.  A note that
 * stays is repeated, by any Logic, with the state at that time: a notification
 * is not lost if a Logic dies between the two, nor by a lost reply.
 *
 * An instance that died leaves entries behind, and Redis cannot ask etcd.  A
 * Logic that finds such an entry puts the user into im:off with the time 0,
 * then removes the entry, in this order; then "expire" decides as for any
 * other.  The entry was read before that, and "offline" may have been notified
 * meanwhile.  So an open that finds no entry and the time 0 notifies "online";
 * a worker drops what its subscribers hold already (core/im_watch.h).
 *
 * The script gets the keys of a call (im_keys.h): the version, the notes and
 * im:off; of a user his connections and subscribers; of an open the session,
 * the connection that was replaced, the groups.  All arguments end in a NUL.
 *
 * verb     arguments                             reply
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

#include "im_keys.h"
#include "logic_args.h"
#include "logic_presence_state.h"


#define STATE_KEYS  (5 + 2 * LOGIC_PRESENCE_WORDS_MAX)


/* One call, with its keys in front. */
typedef struct {
    size_t    n;                       /* keys */
    char      keys[STATE_KEYS][IM_KEY_MAX];
    im_str_t  argv[STATE_KEYS + LOGIC_PRESENCE_WORDS_MAX];
} state_call_t;


static void state_user(state_call_t *call, const im_str_t *uid);
static void state_key(state_call_t *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int state_is(const im_str_t *verb, const char *name);
static uint64_t state_uid(const im_str_t *word);


static _Thread_local im_redis_script_t  state_script = {
    .text =
        "local verb, uid = ARGV[1], ARGV[2]\n"
        "local last, noted, off = KEYS[1], KEYS[2], KEYS[3]\n"
        "local conns, watchers = KEYS[4], KEYS[5]\n"

        "local function clock()\n"
        "    local t = redis.call('TIME')\n"
        "    return t[1] * 1000000 + t[2]\n"
        "end\n"

        "local function raise()\n"
        "    local v = (redis.call('GET', last) or 0) + 1\n"
        "    v = string.format('%.0f', math.max(v, clock()))\n"
        "    redis.call('SET', last, v)\n"
        "    return v\n"
        "end\n"

        /* a key that is broken must not keep the user out */

        "local function subscribers()\n"
        "    local r = redis.pcall('SMEMBERS', watchers)\n"
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
        "    redis.call('ZADD', noted, v, uid)\n"
        "    return notify(online, v, to)\n"
        "end\n"

        "local function state(key, u)\n"
        "    local values = redis.call('HVALS', key)\n"
        "    local on = #values > 0 or redis.call('ZSCORE', off, u)\n"
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
        "    local revoked = redis.call('EXISTS', KEYS[6])\n"
        "    local replaced = 0\n"
        "    if ARGV[6] == '1' then\n"
        "        replaced = redis.call('EXISTS', KEYS[7])\n"
        "    end\n"
        "    local before = redis.call('HGETALL', conns)\n"
        "    local groups = redis.pcall('GET', KEYS[8])\n"
        "    if type(groups) == 'table' then groups = false end\n"
        "    local news = {}\n"
        "    if revoked + replaced == 0 then\n"
        "        redis.call('HSETNX', conns, conn, value)\n"
        "        local until_ms = redis.call('ZSCORE', off, uid)\n"
        "        redis.call('ZREM', off, uid)\n"
        "        if #before == 0 and (until_ms or 0) + 0 == 0 then\n"
        "            news = change('1')\n"
        "        end\n"
        "    end\n"
        "    return { revoked, replaced, before, groups, news }\n"

        "elseif verb == 'close' then\n"
        "    local removed = redis.call('HDEL', conns, ARGV[3])\n"
        "    local left = redis.call('HVALS', conns)\n"
        "    if removed == 1 and #left == 0 then\n"
        "        redis.call('ZADD', off, string.format('%.0f',\n"
        "            math.floor(clock() / 1000) + ARGV[4]), uid)\n"
        "    end\n"
        "    return left\n"

        "elseif verb == 'expire' then\n"
        "    local due = redis.call('ZSCORE', off, uid)\n"
        "    local now = math.floor(clock() / 1000)\n"
        "    if not due or (due + 0 > now and due - 10000 < now) then\n"
        "        return {}\n"
        "    end\n"
        "    redis.call('ZREM', off, uid)\n"
        "    if redis.call('HLEN', conns) > 0 then return {} end\n"
        "    return change('0')\n"

        "elseif verb == 'query' then\n"
        "    local r = { redis.call('GET', last) or raise() }\n"
        "    for i = 4, #ARGV do\n"
        "        if ARGV[3] ~= '' then\n"
        "            redis.call('SADD', KEYS[2 * i - 3], ARGV[3])\n"
        "            redis.call('EXPIRE', KEYS[2 * i - 3], 3600)\n"
        "        end\n"
        "        local online, values = state(KEYS[2 * i - 4], ARGV[i])\n"
        "        r[#r + 1] = { online, values }\n"
        "    end\n"
        "    return r\n"

        "elseif verb == 'again' then\n"
        "    return notify(tostring((state(conns, uid))),\n"
        "        redis.call('GET', last) or raise(), subscribers())\n"

        "elseif verb == 'done' then\n"
        "    local v = redis.call('ZSCORE', noted, uid)\n"
        "    if v and v - ARGV[3] == 0 then\n"
        "        return redis.call('ZREM', noted, uid)\n"
        "    end\n"
        "    return 0\n"

        "elseif verb == 'off' then\n"
        "    local now = math.floor(clock() / 1000)\n"
        "    local r = list(off, now, now + 10000, ARGV[3], ARGV[4])\n"
        "    table.insert(r, 1, string.format('%.0f', now))\n"
        "    return r\n"

        "elseif verb == 'news' then\n"
        "    local now = clock()\n"
        "    local r = list(noted, now - " IM_TIMEOUT_STR(
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
    im_str_t   argv[LOGIC_ARGS_MAX];

    assert(n <= LOGIC_ARGS_MAX);

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
    int           i;
    state_call_t  call;

    assert(argc >= 2 && argc <= LOGIC_PRESENCE_WORDS_MAX);

    call.n = 0;
    state_key(&call, IM_KEY_VERSION);
    state_key(&call, IM_KEY_NEWS);
    state_key(&call, IM_KEY_OFF);

    if (argv[1].len > 0) {
        state_user(&call, &argv[1]);
    }

    if (state_is(&argv[0], "open")) {
        state_key(&call, IM_KEY_REVOKED, (char *) argv[4].data);
        state_key(&call, IM_KEY_REPLACED, (char *) argv[2].data);
        state_key(&call, IM_KEY_GROUPS, state_uid(&argv[1]));

    } else if (state_is(&argv[0], "query")) {

        for (i = 3; i < argc; i++) {
            state_user(&call, &argv[i]);
        }
    }

    memcpy(&call.argv[call.n], argv, (size_t) argc * sizeof(im_str_t));

    return im_redis_eval_append(redis, &state_script, (int) call.n,
                                (int) call.n + argc, call.argv);
}


/* Two keys: connections, subscribers. */
static void
state_user(state_call_t *call, const im_str_t *uid)
{
    state_key(call, IM_KEY_USER, state_uid(uid));
    state_key(call, IM_KEY_SUBSCRIBERS, state_uid(uid));
}


static void
state_key(state_call_t *call, const char *format, ...)
{
    int      n;
    char    *key;
    va_list  args;

    assert(call->n < STATE_KEYS);
    key = call->keys[call->n];

    va_start(args, format);
    n = vsnprintf(key, IM_KEY_MAX, format, args);
    va_end(args);

    call->argv[call->n].data = (unsigned char *) key;
    call->argv[call->n++].len = (n < IM_KEY_MAX) ? (size_t) n
                                                 : IM_KEY_MAX - 1;
}


static int
state_is(const im_str_t *verb, const char *name)
{
    return verb->len == strlen(name)
           && memcmp(verb->data, name, verb->len) == 0;
}


static uint64_t
state_uid(const im_str_t *word)
{
    return strtoull((char *) word->data, NULL, 10);
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

    return logic_args(redis, 5, "ZADD", IM_KEY_OFF, "NX", "0", text);
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
