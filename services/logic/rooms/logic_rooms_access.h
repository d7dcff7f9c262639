/*
 * logic_rooms_access.h -- who may send to a room, and who may read it.
 */

#ifndef LOGIC_ROOMS_ACCESS_H
#define LOGIC_ROOMS_ACCESS_H

#include "logic_cache.h"
#include "logic_pool.h"

/* A question of a shard, and its answer. */
typedef struct {
    uint64_t       room;
    uint64_t       uid;
    unsigned       by_frame:1; /* else by HTTP */
    unsigned       joined:1;   /* the worker says: this connection is in it */
    const char    *code;       /* NULL: may send; else why not */
    uint64_t       removals;   /* of the room so far */
} logic_rooms_access_t;

/* Any thread; never waits.  Sets code and removals, but for NONE. */
logic_cache_e logic_rooms_access_known(logic_rooms_access_t *item,
    uint64_t now_us);
/* Asks MySQL for the room and uid of up to LOGIC_ASK_MAX items, whatever
 * is known; logic_rooms_access_known() has the answers.  IM_ERROR: MySQL does
 * not answer. */
int logic_rooms_access_ask(im_mysql_t *mysql,
    const logic_rooms_access_t *items, size_t n);

/* Forgets what was known of a user in a room; uid 0: of the room itself.  After
 * the change is in MySQL.  What was known is asked for again at once, so that
 * the room goes on if MySQL fails next. */
void logic_rooms_access_drop(uint64_t room, uint64_t uid);

/*
 * Asks MySQL whether uid may read these rooms' messages.  codes[i]: NULL, or
 * the code of a refusal.  IM_ERROR: MySQL does not answer.
 */
int logic_rooms_may_read(logic_db_t *db, uint64_t uid, const uint64_t *rooms,
    size_t n, const char **codes);

/* What to say with such a code. */
const char *logic_rooms_access_text(const char *code);

/* Of all rooms: others may have made changes.  Any thread, cheap. */
void logic_rooms_access_invalidate(void);

#endif
