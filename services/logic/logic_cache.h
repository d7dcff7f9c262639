/*
 * logic_cache.h -- a table of fixed size for answers of MySQL.
 *
 * Set-associative: a key belongs to one set of LOGIC_CACHE_WAYS entries, and a
 * new entry replaces the one of its set that was not used for the longest time.
 * So the table is never emptied because it is full, its memory is bounded when
 * it is compiled, and threads meet only at a stripe of sets.
 *
 * An answer may be stored only if nothing was dropped in its set since it was
 * asked for: logic_cache_get() gives a mark of that time, logic_cache_put()
 * compares it.  The order is: get (missing), ask MySQL, put.  Whoever changes
 * MySQL drops after the change.
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
#define LOGIC_CACHE_EVER       UINT64_MAX

/* a is never 0. */
typedef struct {
    uint64_t           a;
    uint64_t           b;
} logic_cache_key_t;

/* What had been dropped when a question was asked. */
typedef struct {
    uint32_t           epoch;      /* of the table */
    uint32_t           drops;      /* of the set */
} logic_cache_mark_t;

typedef struct {
    logic_cache_key_t  key;        /* a is 0: empty */
    uint64_t           until_us;
} logic_cache_entry_t;             /* the value follows */

typedef struct {
    uint64_t          *memory;     /* sets, each: mark, entries */
    size_t             sets;       /* a power of two */
    size_t             value;      /* bytes of one, a multiple of 8, or 0 */
    atomic_uint        epoch;
    pthread_mutex_t    locks[LOGIC_CACHE_LOCKS];
} logic_cache_t;

#define LOGIC_CACHE_ENTRY(value)  (sizeof(logic_cache_entry_t) + (value))
#define LOGIC_CACHE_SET(value)                                                \
    (sizeof(logic_cache_mark_t) + LOGIC_CACHE_WAYS * LOGIC_CACHE_ENTRY(value))

/* Bytes of a whole table. */
#define LOGIC_CACHE_BYTES(sets, value)  ((sets) * LOGIC_CACHE_SET(value))

/* Defines a static table of sets * LOGIC_CACHE_WAYS values of so many bytes. */
#define LOGIC_CACHE(name, n_sets, n_value)                                    \
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
        .locks = { [0 ... LOGIC_CACHE_LOCKS - 1] =                            \
                   PTHREAD_MUTEX_INITIALIZER }                                \
    }

/* 1: *value is a copy of what is known and valid at now_us.  0: *mark is for
 * the answer to come. */
int logic_cache_get(logic_cache_t *c, logic_cache_key_t key, uint64_t now_us,
    void *value, logic_cache_mark_t *mark);
/* Stored until until_us, unless something was dropped since the mark. */
void logic_cache_put(logic_cache_t *c, logic_cache_key_t key, uint64_t now_us,
    uint64_t until_us, const void *value, logic_cache_mark_t mark);

/* From its return on nothing is found that was asked for before. */
void logic_cache_drop(logic_cache_t *c, logic_cache_key_t key);
/* The same for all keys.  It costs nothing: sets are emptied when they are
 * met. */
void logic_cache_drop_all(logic_cache_t *c);

#endif
