/*
 * logic_sequence.h -- the atomic step: dedupe and the next seq, for a whole
 * batch in one Redis script call.
 *
 * A repeat is known by its field: a hash of conversation, sender and cmid, or,
 * of a client that gives none, of the body; then for a short while only.  The
 * age of a number is measured by Redis's clock: that of another Logic may
 * differ from ours.
 */

#ifndef LOGIC_SEQUENCE_H
#define LOGIC_SEQUENCE_H

#include "im_redis.h"
#include "im_slot.h"

#define LOGIC_SEQUENCE_MAX  512    /* messages of one call */

#define LOGIC_SEQUENCE_SKIP  ((uint64_t) 1 << 20)

typedef enum {
    LOGIC_SEQ_NEW = 0,             /* seq is the next one; of a look: none */
    LOGIC_SEQ_REPEAT,              /* msg_id, seq, age are the first try's */
    LOGIC_SEQ_CONFLICT,            /* the cmid belongs to another body */
    LOGIC_SEQ_UNSEEDED             /* Redis does not know the conversation */
} logic_seq_e;

/* What makes a message a repeat of another one. */
typedef enum {
    LOGIC_BY_NOTHING = 0,          /* the window for bodies is off */
    LOGIC_BY_CMID,
    LOGIC_BY_BODY
} logic_by_e;

typedef struct {
    im_conv_t        conv;
    unsigned         slot;
    unsigned         seeded:1;     /* seq 1 is right for this conversation */
    unsigned         waits:1;      /* out, of logic_seed(): it is to wait */
    unsigned         jump:1;       /* and waits no longer; see logic_held.h */
    logic_by_e       by;           /* field is set, unless by nothing */
    unsigned char    field[16];
    unsigned char    digest[8];    /* of the body */
    uint64_t         void_id;      /* msg_id of a first try whose number is
                                      void: a new one is given.  0: none */
    uint64_t         msg_id;       /* in: to use; out: of the first try */
    uint64_t         hold_id;      /* out: what was in msg_id, by which this
                                      try holds the number: logic_holds.h */
    uint64_t         seq;          /* out */
    uint64_t         age_ms;       /* out, of a repeat's number */
    logic_seq_e      result;       /* out */
} logic_seq_t;

/* IM_OK, or IM_ERROR when Redis does not answer (see im_redis_error). */
int logic_sequence(im_redis_t *redis, logic_seq_t **items, size_t n);

/* The same for items by cmid without giving a number: are they repeats? */
int logic_sequence_look(im_redis_t *redis, logic_seq_t **items, size_t n);

/* Key of the counter of a conversation; its length. */
#define LOGIC_SEQUENCE_KEY_MAX  80
size_t logic_sequence_key(char *out, const logic_seq_t *item);

/* The last number given in each of n conversations, 0: Redis has none.  One
 * round trip. */
int logic_sequence_heads(im_redis_t *redis, const im_conv_t *convs, size_t n,
    uint64_t *heads);
/* Its two halves: queues the questions; takes the replies. */
int logic_sequence_heads_append(im_redis_t *redis, const im_conv_t *convs,
    size_t n);
int logic_sequence_heads_reply(im_redis_t *redis, size_t n, uint64_t *heads);

#endif
