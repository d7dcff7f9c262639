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
 * connection error; then all that was queued is gone. */
struct redisReply *im_redis_reply(im_redis_t *r);
void im_redis_free(struct redisReply *reply);
/* Takes the next n replies.  IM_OK; IM_ERROR: one of them is an error, or the
 * connection failed. */
int im_redis_skip(im_redis_t *r, size_t n);

/* A script known by its text: EVALSHA, loaded when Redis does not know it. */
typedef struct {
    const char    *text;
    char           sha[41];      /* filled at first use; zero at first */
} im_redis_script_t;

struct redisReply *im_redis_eval(im_redis_t *r, im_redis_script_t *script,
    int keys, int argc, const im_str_t *argv);

#endif
