/*
 * logic_lookup.h -- what a shard asks MySQL: do these users exist, may they
 * speak there, where did conversations end, were messages stored.  Each
 * question is asked for a whole batch at once.  One thread each.
 */

#ifndef LOGIC_LOOKUP_H
#define LOGIC_LOOKUP_H

#include "logic_ask.h"
#include "logic_blocks.h"
#include "logic_message.h"
#include "logic_rooms_access.h"

typedef struct logic_lookup_s  logic_lookup_t;

typedef enum {
    LOGIC_LOOKUP_UNKNOWN = 0,      /* MySQL does not answer */
    LOGIC_LOOKUP_NONE,
    LOGIC_LOOKUP_EXISTS
} logic_lookup_answer_t;

typedef struct {
    uint64_t               uid;
    logic_lookup_answer_t  answer;
} logic_lookup_user_t;

logic_lookup_t *logic_lookup_create(void);
void logic_lookup_destroy(logic_lookup_t *l);

/* Asks only for what is not known.  IM_DONE: all was.  IM_ERROR: MySQL does not
 * answer; what was known is answered all the same. */
int logic_lookup_users(logic_lookup_t *l, logic_lookup_user_t *users,
    size_t n);

/* logic_blocks_may_send() with this connection. */
int logic_lookup_blocks(logic_lookup_t *l, logic_blocks_item_t *items,
    size_t n);
/* logic_rooms_may_send() with this connection. */
int logic_lookup_rooms(logic_lookup_t *l, logic_rooms_access_t *items,
    size_t n);

/* Keys: conversations, (a, b).  Each is found: values[0] is the seq of the last
 * message, values[1] the last number that is written down as void; 0: none.
 * The next number has to be above both. */
int logic_lookup_last_seqs(logic_lookup_t *l, logic_ask_t *asks, size_t n);
/* Sets m->stored of up to LOGIC_SEQUENCE_MAX messages. */
int logic_lookup_stored(logic_lookup_t *l, logic_message_t **messages,
    size_t n);

const char *logic_lookup_error(logic_lookup_t *l);

#endif
