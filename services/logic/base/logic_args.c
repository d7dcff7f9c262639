/*
 * logic_args.c -- see logic_args.h.
 */

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include <hiredis.h>

#include "im_log.h"
#include "logic_args.h"


int
logic_args(im_redis_t *redis, unsigned n, ...)
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

    return im_redis_append(redis, (int) n, argv);
}


int
logic_args_done(im_redis_t *redis, unsigned n)
{
    int          rc;
    redisReply  *reply;

    rc = IM_OK;

    while (n-- > 0) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            im_warn_seldom("a command is refused: redis: %s", reply->str);
            rc = IM_ERROR;
        }

        im_redis_free(reply);
    }

    return rc;
}


redisReply *
logic_args_array(im_redis_t *redis)
{
    redisReply  *reply;

    reply = im_redis_expect(redis, IM_REDIS_ARRAY | IM_REDIS_ERROR);

    if (reply == NULL || reply->type == REDIS_REPLY_ARRAY) {
        return reply;
    }

    im_log(IM_LOG_WARN, "redis: %s", reply->str);

    if (strncmp(reply->str, "WRONGTYPE", 9) == 0) {
        reply->elements = 0;
        return reply;
    }

    (void) im_redis_is(redis, reply, IM_REDIS_ARRAY);
    im_redis_free(reply);
    im_redis_drop(redis);

    return NULL;
}
