/*
 * logic_words.c -- see logic_words.h.
 */

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include <hiredis.h>

#include "logic_words.h"


int
logic_words(im_redis_t *redis, unsigned n, ...)
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

    return im_redis_append(redis, (int) n, argv);
}


int
logic_words_done(im_redis_t *redis, unsigned n)
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
            im_log(IM_LOG_WARN, "redis: %s", reply->str);
            rc = IM_ERROR;
        }

        im_redis_free(reply);
    }

    return rc;
}
