/*
 * logic_cache.h -- a table of fixed size for answers of MySQL.
 *
 * Set-associative: a key belongs to one set of LOGIC_CACHE_WAYS entries, and a
 * new entry replaces the one of its set that was not used for the longest time.
 * So the table is never emptied because it is full, its memory is bounded when
 * it is compiled, and threads meet only at a stripe of sets.
 *
 * An answer has an age.  It is fresh at first; when it is to be renewed, one
 * of its users in a second has to ask again while it is used on; when it is
 * stale it is used only if MySQL does not answer.  Nothing else ends it: while
 * MySQL is away, all answers stay usable.  A table that was invalidated as a
 * whole has stale answers only.
 *
 * An answer may be stored only if nothing was dropped in its set since it was
 * asked for: logic_cache_get() gives a mark of that time, logic_cache_put()
 * compares it.  The order is: get, ask MySQL, put.  A change of MySQL is
 * followed by a drop.
 *
 * Any thread.  The clock is the caller's.
 */

#ifndef LOGIC_CACHE_H
#define LOGIC_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define LOGIC_CACHE_WAYS       8
#define LOGIC_CACHE_LOCKS      64     /* a power of two */
#define LOGIC_CACHE_VALUE_MAX  64
#define LOGIC_CACHE_EVER       UINT64_MAX  /* an age that is never reached */

/* a is never 0. */
typedef struct {
    uint64_t           a;
    uint64_t           b;
} logic_cache_key_t;

/* What was known of an answer; in this order. */
typedef enum {
    LOGIC_CACHE_NONE = 0,
    LOGIC_CACHE_STALE,             /* only while nobody can be asked */
    LOGIC_CACHE_DUE,               /* may be used, and is to be asked for */
    LOGIC_CACHE_FRESH
} logic_cache_e;

/* What had been dropped when a question was asked. */
typedef struct {
    uint32_t           epoch;      /* of the table */
    uint32_t           drops;      /* of the set */
} logic_cache_mark_t;

/* Time in units of 0.1 s lasts for 13 years.  An epoch comes again after 65,536
 * others: an answer that nobody has used meanwhile is fresh then, if it has no
 * age. */
typedef struct {
    logic_cache_key_t  key;        /* a is 0: empty */
    uint64_t           asked:32;   /* when, in 0.1 s */
    uint64_t           epoch:16;   /* of the table, then */
    uint64_t           again_s:16; /* when a user was last asked to renew it */
} logic_cache_entry_t;             /* the value follows */

typedef struct {
    uint64_t          *memory;     /* sets, each: drops, entries */
    size_t             sets;       /* a power of two */
    size_t             value;      /* bytes of one, a multiple of 8, or 0 */
    uint64_t           due_us;     /* age from which it is asked for again */
    uint64_t           stale_us;   /* and from which it is stale */
    atomic_uint        epoch;
    pthread_mutex_t    locks[LOGIC_CACHE_LOCKS];
} logic_cache_t;

#define LOGIC_CACHE_ENTRY(value)  (sizeof(logic_cache_entry_t) + (value))
#define LOGIC_CACHE_SET(value)                                                \
    (sizeof(uint64_t) + LOGIC_CACHE_WAYS * LOGIC_CACHE_ENTRY(value))

/* Bytes of a whole table. */
#define LOGIC_CACHE_BYTES(sets, value)  ((sets) * LOGIC_CACHE_SET(value))

/* Defines a static table of sets * LOGIC_CACHE_WAYS values of so many bytes,
 * and the ages at which they are due and stale. */
#define LOGIC_CACHE(name, n_sets, n_value, due, stale)                        \
    _Static_assert(((n_sets) & ((n_sets) - 1)) == 0                           \
                   && (n_sets) >= LOGIC_CACHE_LOCKS                           \
                   && (n_value) % 8 == 0                                      \
                   && (n_value) <= LOGIC_CACHE_VALUE_MAX, "see above");       \
    static uint64_t       name##_memory[                                      \
        LOGIC_CACHE_BYTES(n_sets, n_value) / sizeof(uint64_t)];               \
    static logic_cache_t  name = {                                            \
        .memory = name##_memory,                                              \
        .sets = (n_sets),                                                     \
        .value = (n_value),                                                   \
        .due_us = (due),                                                      \
        .stale_us = (stale),                                                  \
        .locks = { [0 ... LOGIC_CACHE_LOCKS - 1] =                            \
                   PTHREAD_MUTEX_INITIALIZER }                                \
    }

/* Anything but NONE: *value is a copy of what is known.  *mark is for an answer
 * to come. */
logic_cache_e logic_cache_get(logic_cache_t *c, logic_cache_key_t key,
    uint64_t now_us, void *value, logic_cache_mark_t *mark);
/* Stored as asked for at asked_us, unless something was dropped since the mark,
 * or what was asked for later is known already. */
void logic_cache_put(logic_cache_t *c, logic_cache_key_t key,
    uint64_t asked_us, const void *value, logic_cache_mark_t mark);

/* From its return on nothing is found that was asked for before.  1: something
 * was known, and is gone. */
int logic_cache_drop(logic_cache_t *c, logic_cache_key_t key);
/* From its return on all that was asked for before is stale.  It costs
 * nothing. */
void logic_cache_invalidate(logic_cache_t *c);

#endif
