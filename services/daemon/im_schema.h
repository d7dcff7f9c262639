/*
 * im_schema.h -- which tables a program needs, and which it finds.
 *
 * conf/schema/NNNN-name.sql are the migrations; they are compiled in, and the
 * last number is the schema that the program knows.  im-schema applies them and
 * writes down in the table schema_versions what it has done.  A program works
 * with a database if
 *
 *   - all migrations that it knows are done there, and
 *   - no migration there needs a newer program: its min_program is the oldest
 *     one that works on it (docs/upgrading.md).
 *
 * So the schema goes first, programs of both versions work beside each other on
 * it, and what the old ones need is taken away one version later.
 */

#ifndef IM_SCHEMA_H
#define IM_SCHEMA_H

#include "im_conf.h"
#include "im_mysql.h"

typedef struct {
    unsigned            version;
    unsigned            min_program;
    const char         *name;          /* "0001-first" */
    const char *const  *statements;    /* ends with NULL */
} im_schema_t;

/* Ascending from 1, without gaps; the last one has version 0. */
extern const im_schema_t  im_schema_all[];

typedef struct {
    unsigned            version;       /* 0: nothing is done */
    unsigned            min_program;   /* of those that have begun, too */
} im_schema_state_t;

/* The schema that this program knows, and needs. */
unsigned im_schema_known(void);
/* Of the database of this connection.  IM_OK; IM_AGAIN, IM_ERROR:
 * im_mysql_error() has the reason. */
int im_schema_read(im_mysql_t *m, im_schema_state_t *s);
/*
 * Whether a program that knows this schema works with that state.  IM_OK;
 * IM_DECLINED: it is too old; IM_ERROR: it is too new; error is a sentence with
 * what to type then.
 */
int im_schema_check(const im_schema_state_t *s, unsigned known,
    const im_daemon_conf_t *conf, char *error, size_t size);

#endif
