/*
 * logic_presence_state.h -- a user's presence in Redis: one state machine, and
 * the script that carries it out.
 */

#ifndef LOGIC_PRESENCE_STATE_H
#define LOGIC_PRESENCE_STATE_H

#include "im_check.h"
#include "im_redis.h"
#include "im_timeouts.h"

struct redisReply;

#define LOGIC_PRESENCE_LEAVE_MS  1800  /* from going to gone */
#define LOGIC_PRESENCE_RETRY_US  1000000   /* a notification is repeated */

#define LOGIC_PRESENCE_WORDS_MAX  (3 + IM_UIDS_MAX)

/*
 * Queues one call of the script; the words are in logic_presence_state.c.  All
 * replies of a pipeline are taken before the next call.  The pipeline holds
 * calls of this script alone.
 */
int logic_presence_call(im_redis_t *redis, unsigned n, ...);
int logic_presence_call_words(im_redis_t *redis, int argc,
    const im_str_t *argv);
/* The next reply, which may be an error; NULL: the connection failed. */
struct redisReply *logic_presence_reply(im_redis_t *redis);
/* 1 if Redis does not know the script any more: what was asked since the last
 * answer has to be asked again. */
int logic_presence_is_forgotten(void);

/* One that is larger than all before, also for other things than presence. */
int logic_presence_version(im_redis_t *redis, uint64_t *version);

/* Queues one plain command: some entry of this user is of a dead instance. */
int logic_presence_suspect(im_redis_t *redis, uint64_t uid);

/* A notification in a reply. */
typedef struct {
    unsigned                  online;
    uint64_t                  version;
    size_t                    n;           /* instances that subscribe */
    struct redisReply       **instances;   /* strings; the reply's */
} logic_presence_news_t;

/* IM_DECLINED: there is none. */
int logic_presence_news_read(logic_presence_news_t *news,
    const struct redisReply *reply);

#endif
