/*
 * logic_sequence.h -- the atomic step: dedupe and the next seq, for a whole
 * batch in one Redis script call.
 */

#ifndef LOGIC_SEQUENCE_H
#define LOGIC_SEQUENCE_H

#include "im_slot.h"
#include "logic.h"

#define LOGIC_SEQUENCE_MAX  512    /* messages of one call */

typedef enum {
    LOGIC_SEQ_NEW = 0,             /* seq is the next one */
    LOGIC_SEQ_REPEAT,              /* msg_id and seq are the first try's */
    LOGIC_SEQ_UNSEEDED             /* Redis does not know the conversation */
} logic_seq_e;

typedef struct {
    im_conv_t        conv;
    unsigned         slot;
    unsigned         keyed:1;      /* field is set: the client gave a cmid */
    unsigned         seeded:1;     /* seq 1 is right for this conversation */
    unsigned char    field[16];    /* hash of sender, conversation, cmid */
    uint64_t         msg_id;       /* in: to use; out: of the first try */
    uint64_t         seq;          /* out */
    logic_seq_e      result;       /* out */
} logic_seq_t;

/* IM_OK, or IM_ERROR when Redis does not answer (im_redis_error tells). */
int logic_sequence(im_redis_t *redis, logic_seq_t **items, size_t n,
    uint64_t now_ms);

/* The last seq of a conversation, where Redis has none. */
int logic_sequence_seed(im_redis_t *redis, const logic_seq_t *item,
    uint64_t last);

/* The last number given in each of n conversations, 0: Redis has none.  One
 * round trip. */
int logic_sequence_heads(im_redis_t *redis, const im_conv_t *convs, size_t n,
    uint64_t *heads);

#endif
