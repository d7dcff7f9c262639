/*
 * logic_words.h -- Redis commands whose words are plain texts.
 */

#ifndef LOGIC_WORDS_H
#define LOGIC_WORDS_H

#include "im_redis.h"

#define LOGIC_WORDS_MAX  16

/* Queues a command of n words (const char *).  An error shows when its reply is
 * read. */
int logic_words(im_redis_t *redis, unsigned n, ...);
/* Reads n replies.  IM_ERROR: the connection is gone, or one is an error. */
int logic_words_done(im_redis_t *redis, unsigned n);

/*
 * The next reply, an array; NULL as im_redis_expect().  A key that holds
 * something of another type is logged and counts as empty (elements is 0): it
 * must not stop what is done for all other keys.
 */
struct redisReply *logic_words_array(im_redis_t *redis);

#endif
