/*
 * im_redis.h -- a blocking Redis connection that pipelines.
 *
 * One connection belongs to one thread.  Address: "unix:/path" or
 * "host:port".  Reconnects by itself on the next use; every wait has a
 * deadline (timeout_ms).  After an error the outcome of the commands in flight
 * is unknown; ours are all safe to repeat.
 */

#ifndef IM_REDIS_H
#define IM_REDIS_H

#include "im_core.h"

struct redisReply;

typedef struct im_redis_s  im_redis_t;

typedef struct {
    const char    *address;
    const char    *password;     /* NULL: none */
    unsigned       timeout_ms;   /* connect, and each reply */
} im_redis_conf_t;

im_redis_t *im_redis_create(const im_redis_conf_t *conf);
void im_redis_destroy(im_redis_t *r);

/* IM_OK when connected (connects if need be), else IM_ERROR. */
int im_redis_ping(im_redis_t *r);
const char *im_redis_error(im_redis_t *r);       /* of the last IM_ERROR */

/* Queues one command. */
int im_redis_append(im_redis_t *r, int argc, const im_str_t *argv);
/* Next reply, in order; the caller frees it with im_redis_free.  NULL on a
 * connection error, which drops all queued commands. */
struct redisReply *im_redis_reply(im_redis_t *r);
void im_redis_free(struct redisReply *reply);
/* Takes the next n replies.  IM_OK; IM_ERROR: one of them is an error, or the
 * connection failed. */
int im_redis_skip(im_redis_t *r, size_t n);

/*
 * Redis answers with an error while it loads its file, has no memory left, or
 * does not permit a command; and a key may hold a value of another type.  A
 * reply of an unexpected type is an error, never an empty answer.
 */
#define IM_REDIS_STR    (1u << 1)      /* of hiredis' REDIS_REPLY_... */
#define IM_REDIS_ARRAY  (1u << 2)
#define IM_REDIS_INT    (1u << 3)
#define IM_REDIS_NIL    (1u << 4)
#define IM_REDIS_OK     (1u << 5)      /* a status */
#define IM_REDIS_ERROR  (1u << 6)

/*
 * The next reply, if it is of one of these types.  NULL: an error of the
 * connection or of the command; all queued commands are dropped, so that no
 * later command gets the reply of an earlier one.
 */
struct redisReply *im_redis_expect(im_redis_t *r, unsigned types);
/* The same for a number. */
int im_redis_expect_int(im_redis_t *r, long long *n);
/* For a caller that continues to read: 1 if it is of one of these types.  0:
 * the caller must treat it as an error, which im_redis_error() describes. */
int im_redis_is(im_redis_t *r, const struct redisReply *reply,
    unsigned types);
/* Closes the connection, with all that was queued; the next use connects. */
void im_redis_drop(im_redis_t *r);

/* A script known by its text: EVALSHA, loaded when Redis does not know it. */
typedef struct {
    const char    *text;
    char           sha[41];      /* filled at first use; zero at first */
} im_redis_script_t;

struct redisReply *im_redis_eval(im_redis_t *r, im_redis_script_t *script,
    int keys, int argc, const im_str_t *argv);

/*
 * The same for several calls of a script in one pipeline, with nothing else in
 * it: queues a call, takes the next reply.  If Redis does not know the script,
 * the reply is an error and script->sha is empty: call it again, once all
 * replies were taken.
 */
int im_redis_eval_append(im_redis_t *r, im_redis_script_t *script, int keys,
    int argc, const im_str_t *argv);
struct redisReply *im_redis_eval_reply(im_redis_t *r,
    im_redis_script_t *script);

#endif
