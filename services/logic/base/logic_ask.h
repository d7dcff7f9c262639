/*
 * logic_ask.h -- many rows of MySQL by their keys, in a few statements.
 *
 * A batch of messages has up to LOGIC_ASK_MAX questions of one kind.  They are
 * asked together, 128 keys in a statement, each key once.
 */

#ifndef LOGIC_ASK_H
#define LOGIC_ASK_H

#include "im_mysql.h"

#define LOGIC_ASK_MAX     512    /* questions of a batch of messages */
#define LOGIC_ASK_KEY     3
#define LOGIC_ASK_VALUES  3
#define LOGIC_ASK_FEW     8
#define LOGIC_ASK_MANY    128

typedef struct {
    uint64_t      key[LOGIC_ASK_KEY];       /* what is not used is 0 */
    uint64_t      values[LOGIC_ASK_VALUES]; /* of the row, if found */
    unsigned      found:1;
    void         *item;                     /* the caller's */
} logic_ask_t;

/*
 * Parameters are the keys.  A row is a key, then its values.  Keys that are all
 * 0 are asked for, too, to fill a statement up; there must be no such row, or
 * nobody may ask for it.
 */
typedef struct {
    const char   *few;             /* for LOGIC_ASK_FEW keys */
    const char   *many;            /* for LOGIC_ASK_MANY keys */
    size_t        n_key;
    size_t        n_values;
} logic_ask_sql_t;

/* A piece of a statement as often as there are keys, and what is between. */
#define LOGIC_ASK_4(x, sep)       x sep x sep x sep x
#define LOGIC_ASK_8(x, sep)       LOGIC_ASK_4(x, sep) sep LOGIC_ASK_4(x, sep)
#define LOGIC_ASK_32(x, sep)      LOGIC_ASK_4(LOGIC_ASK_8(x, sep), sep)
#define LOGIC_ASK_128(x, sep)     LOGIC_ASK_4(LOGIC_ASK_32(x, sep), sep)

/*
 * Sorts asks by key and answers them; all of one key get the same.  A value
 * that is NULL is no row.  IM_ERROR: MySQL does not answer, and nothing that is
 * in asks counts.
 */
int logic_ask(im_mysql_t *mysql, const logic_ask_sql_t *sql, logic_ask_t *asks,
    size_t n);

#endif
