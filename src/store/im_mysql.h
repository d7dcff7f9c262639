/*
 * im_mysql.h -- a blocking MySQL or MariaDB connection of one thread.
 *
 * Only SQL and C API that MySQL 8 and MariaDB 10.6+ share; array binding is
 * used where the client library has it.  Reconnects on the next use; prepared
 * statements are prepared again then.
 */

#ifndef IM_MYSQL_H
#define IM_MYSQL_H

#include "im_core.h"

typedef struct im_mysql_s  im_mysql_t;

typedef struct {
    const char    *address;      /* "unix:/path" or "host:port" */
    const char    *user;
    const char    *password;
    const char    *database;
    unsigned       timeout_ms;   /* connect, read, write */
} im_mysql_conf_t;

im_mysql_t *im_mysql_create(const im_mysql_conf_t *conf);
void im_mysql_destroy(im_mysql_t *m);
int im_mysql_ping(im_mysql_t *m);
/*
 * Connects, and from now on never again: what belongs to the session (locks by
 * name, settings) stays as long as statements succeed; once the connection is
 * lost all of them end in IM_AGAIN.
 */
int im_mysql_pin(im_mysql_t *m);
const char *im_mysql_error(im_mysql_t *m);
unsigned im_mysql_errno(im_mysql_t *m);

/* Runs a statement without parameters and rows, of a pinned connection or in a
 * transaction.  For text that is used once; results as im_mysql_run() has. */
int im_mysql_say(im_mysql_t *m, const char *sql);

/* Parameters and columns of prepared statements. */
typedef enum { IM_MYSQL_U64, IM_MYSQL_STR } im_mysql_type_t;

typedef struct {
    im_mysql_type_t  type;
    unsigned         null:1;
    uint64_t         u64;
    im_str_t         str;        /* of a column: valid until the next row */
} im_mysql_value_t;

/*
 * Runs a statement, prepared once for each connection and known by the address
 * of its text (a string literal).  row is called for each row and may stop by
 * a value other than IM_OK.  affected, insert_id may be NULL.  IM_OK;
 * IM_DECLINED: duplicate key; IM_AGAIN: connection lost or deadlock, may be
 * tried again; IM_ERROR.
 */
int im_mysql_run(im_mysql_t *m, const char *sql,
    const im_mysql_value_t *params, size_t n_params,
    const im_mysql_type_t *columns, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *values), void *ctx,
    uint64_t *affected, uint64_t *insert_id);

/*
 * Inserts or updates rows (rows * n_params values, row by row) with a statement
 * for one row, in the open transaction or in one of its own, by array binding
 * where the client library has it.  *affected: for an INSERT that leaves
 * existing rows alone, the number of new rows.  Results as above.
 */
int im_mysql_insert(im_mysql_t *m, const char *sql,
    const im_mysql_value_t *values, size_t n_params, size_t rows,
    uint64_t *affected);

/*
 * A transaction: begin, statements, then commit or rollback.  After a statement
 * that did not end in IM_OK or IM_DECLINED only rollback makes sense; a
 * connection that is lost in between is not reopened before it.  begin and
 * commit: IM_OK, IM_AGAIN, IM_ERROR; if a commit is not IM_OK, it is unknown
 * whether it took effect.
 */
int im_mysql_begin(im_mysql_t *m);
int im_mysql_commit(im_mysql_t *m);
void im_mysql_rollback(im_mysql_t *m);

#endif
