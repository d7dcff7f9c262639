/*
 * logic_park.h -- messages of a shard that wait for an answer of MySQL.
 *
 * A shard's thread never waits.  A message whose answers are not known is
 * parked, with a question; threads that may wait ask it (logic_asking.c).  When
 * the answer is there, or the time of the question is over, the message goes
 * through its shard once more, and ends in what is known then.
 *
 * The messages of a conversation that come after one that is parked are parked
 * behind it, so that its order is kept; those of others pass.
 *
 * One for each shard.  Functions of the shard's thread, with its lock held
 * where that is said; logic_park_done() is for any thread.
 */

#ifndef LOGIC_PARK_H
#define LOGIC_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "logic_lookup.h"

#define LOGIC_PARK_NEVER  UINT64_MAX

/* What a message waits for. */
typedef enum {
    LOGIC_WANT_MAY = 1,            /* see logic_lookup_may() */
    LOGIC_WANT_SEED = 2,           /* see logic_seed() */
    LOGIC_WANT_STORED = 4          /* msg_id of the row under its number */
} logic_want_e;

/* How long it does. */
typedef enum {
    LOGIC_PARK_SHORT = 0,          /* it can end without: IM_ASK_STALE_MS */
    LOGIC_PARK_LONG,               /* then it is refused: IM_ASK_MS */
    LOGIC_PARK_WAITS
} logic_park_wait_e;

typedef struct logic_park_s      logic_park_t;
typedef struct logic_question_s  logic_question_t;

/* Of the shard until it is over, and of the threads that ask until it is done;
 * the last of the two frees it. */
struct logic_question_s {
    TAILQ_ENTRY(logic_question_s)  link;       /* of a queue, or of done */
    TAILQ_ENTRY(logic_question_s)  waits;      /* by until_us; the shard's */
    logic_park_t         *park;        /* NULL: no message waits, see refresh */
    logic_message_t      *m;           /* the shard's */
    uint64_t              until_us;
    logic_want_e          want;
    logic_park_wait_e     wait;
    atomic_int            over;        /* nobody waits any more */
    int                   rc;          /* IM_OK: the answers count */
    logic_lookup_pair_t   pair;
    logic_seq_t           seq;         /* a copy; answer: seeded */
    uint64_t              stored;      /* answer */
};

typedef TAILQ_HEAD(, logic_question_s)  logic_questions_t;

struct logic_park_s {
    pthread_mutex_t        *lock;      /* the shard's */
    pthread_cond_t         *wake;
    atomic_size_t           n;         /* messages; any thread may read it */
    size_t                  max;
    uint64_t                last_no;
    struct park_conv_s     *convs;
    logic_questions_t       waiting[LOGIC_PARK_WAITS];
    logic_message_t        *ready;     /* to be taken */
    logic_message_t       **ready_last;
    logic_questions_t       done;      /* the only field of other threads */
};

void logic_park_init(logic_park_t *p, pthread_mutex_t *lock,
    pthread_cond_t *wake, size_t max);

/* NULL: out of memory. */
logic_question_t *logic_question_create(const logic_message_t *m,
    logic_want_e want, logic_park_wait_e wait, uint64_t now_us);

/* 1: an earlier message of its conversation is parked. */
int logic_park_is_behind(const logic_park_t *p, const logic_message_t *m);

/*
 * Takes m over, and q, which may be NULL if m only waits for those before it;
 * the caller then has q asked.  IM_BUSY: too many wait, or no memory; both are
 * still the caller's.
 */
int logic_park_add(logic_park_t *p, logic_message_t *m, logic_question_t *q);

/* With the lock held, all three. */

/* When there is something to do: 0, a time, or NEVER. */
uint64_t logic_park_due(const logic_park_t *p);
/* Ends the questions whose time is over at now_us.  How many. */
size_t logic_park_expire(logic_park_t *p, uint64_t now_us);
/* Up to max messages that do not wait any more, each conversation's in its
 * order. */
size_t logic_park_take(logic_park_t *p, logic_message_t **out, size_t max);

/* Any thread, without the lock: the end of a question that was asked. */
void logic_park_done(logic_question_t *q, int rc);

#endif
