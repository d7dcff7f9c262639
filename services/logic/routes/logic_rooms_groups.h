/*
 * logic_rooms_groups.h -- the groups of a user, im:g:{uid} in Redis: a text
 * that is written from MySQL when it is asked for, and replaced by a mark
 * before a change.
 */

#ifndef LOGIC_ROOMS_GROUPS_H
#define LOGIC_ROOMS_GROUPS_H

#include "logic_db.h"

/*
 * Users whose groups are not in Redis: reads MySQL, one query for up to 64
 * users, and writes Redis.  on_group is called for each group of each
 * user; not at all for one who is in none.  IM_ERROR: MySQL or Redis does not
 * answer.
 */
int logic_rooms_of_users(logic_db_t *db, const uint64_t *uids, size_t n,
    void (*on_group)(void *ctx, uint64_t uid, uint64_t room), void *ctx);

/*
 * Before a change of these users' groups is written to MySQL: the mark of this
 * change replaces their lists in Redis, and for 30 s nobody else writes one, so
 * that a list that was read before the change is never stored after it.
 */
int logic_rooms_groups_touch(im_redis_t *redis, const uint64_t *uids,
    size_t n, const char *mark);
/* After its commit: writes what MySQL has, where this mark still stands.  May
 * be left out. */
int logic_rooms_groups_refill(logic_db_t *db, const uint64_t *uids, size_t n,
    const char *mark);

/* Both parts for any text in Redis that must not be older than MySQL. */

#define LOGIC_ROOMS_MARK    18     /* bytes with the NUL */
#define LOGIC_ROOMS_MARK_S  "30"   /* longer than any transaction */

/* A mark that nobody else has; no number begins like it. */
void logic_rooms_mark(char *mark);
/* Queues it; there is one reply. */
int logic_rooms_refill(im_redis_t *redis, const char *key, const char *mark,
    const char *text, const char *ttl_s);

#endif
