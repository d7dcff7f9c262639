/*
 * logic_lookup.h -- what the messages of a batch ask: do these users exist, may
 * they speak there, where did conversations end, were messages stored.
 *
 * A shard only looks at what is known (logic_lookup_may), which never waits.
 * MySQL is asked by threads that may wait for it (logic_asking.c), each with a
 * logic_lookup_t of its own, for many messages at once.
 */

#ifndef LOGIC_LOOKUP_H
#define LOGIC_LOOKUP_H

#include "logic_ask.h"
#include "logic_blocks.h"
#include "logic_cache.h"
#include "logic_message.h"
#include "logic_rooms_access.h"
#include "logic_voids.h"

typedef struct logic_lookup_s  logic_lookup_t;

/* Who sends where.  to or room is 0. */
typedef struct {
    uint64_t               from;
    uint64_t               to;
    uint64_t               room;
    unsigned               nobody:1;   /* answer: there is no user `to` */
} logic_lookup_pair_t;

/* What is known of a message. */
typedef struct {
    const char            *code;       /* NULL: it may be sent; else why not */
    const char            *text;
    uint64_t               removals;   /* of the room so far */
} logic_lookup_may_t;

void logic_lookup_pair(const logic_message_t *m, logic_lookup_pair_t *pair);

/* Any thread; never waits.  NONE: something that decides is not known.  STALE:
 * something is to be asked for, if there is anybody to answer. */
logic_cache_e logic_lookup_may(const logic_message_t *m, uint64_t now_us,
    logic_lookup_may_t *may);

logic_lookup_t *logic_lookup_create(void);
void logic_lookup_destroy(logic_lookup_t *l);

/* What logic_lookup_may() needs of up to LOGIC_SEQUENCE_MAX pairs.  That there
 * is no such user is reported, and not cached.  IM_ERROR: MySQL does not
 * answer. */
int logic_lookup_ask(logic_lookup_t *l, logic_lookup_pair_t **pairs, size_t n);

/* logic_lasts() with this connection. */
int logic_lookup_last_seqs(logic_lookup_t *l, logic_ask_t *asks, size_t n);
/* logic_voids_write() with this connection. */
int logic_lookup_write_voids(logic_lookup_t *l, logic_void_t *voids, size_t n);
/* Keys: numbers, (a, b, seq).  Found: values[0] is the msg_id of its row. */
int logic_lookup_rows(logic_lookup_t *l, logic_ask_t *asks, size_t n);
/* The same: sets m->stored of up to LOGIC_SEQUENCE_MAX messages. */
int logic_lookup_stored(logic_lookup_t *l, logic_message_t **messages,
    size_t n);

const char *logic_lookup_error(logic_lookup_t *l);

#endif
