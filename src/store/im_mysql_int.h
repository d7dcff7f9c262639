/*
 * im_mysql_int.h -- a connection, shared by the files of im_mysql.
 */

#ifndef IM_MYSQL_INT_H
#define IM_MYSQL_INT_H

#include <mysql.h>

#include "im_mysql.h"


#define IM_MYSQL_STATEMENTS  96
#define IM_MYSQL_PARAMS      512
#define IM_MYSQL_COLUMNS     24
#define IM_MYSQL_COLUMN_MAX  65536

#ifdef MARIADB_BASE_VERSION
#define IM_MYSQL_HAS_ARRAYS  1
typedef my_bool  im_mysql_flag_t;
#else
#define IM_MYSQL_HAS_ARRAYS  0
typedef bool  im_mysql_flag_t;
#endif


typedef struct {
    const char        *sql;
    MYSQL_STMT        *stmt;
} im_mysql_known_t;

struct im_mysql_s {
    char              *address;
    char              *user;
    char              *password;
    char              *database;
    unsigned           timeout_s;
    MYSQL             *db;
    uint64_t           used_ms;        /* last use of db, monotonic */
    im_mysql_known_t   known[IM_MYSQL_STATEMENTS];
    unsigned           err;
    char               error[256];
    unsigned           open:1;         /* a transaction is */
    unsigned           pinned:1;       /* never connected again */
    unsigned char     *columns;        /* buffers of one row */
};

/* im_mysql.c: connected, IM_OK, or IM_AGAIN. */
int im_mysql_open(im_mysql_t *m);
/* The result for an error (of stmt, or m->err); closes a lost connection. */
int im_mysql_failed(im_mysql_t *m, MYSQL_STMT *stmt);

/* im_mysql_run.c: prepared; NULL: m->err is the reason. */
MYSQL_STMT *im_mysql_statement(im_mysql_t *m, const char *sql);
void im_mysql_bind(MYSQL_BIND *b, const im_mysql_value_t *v);

#endif
