/*
 * im_mysql_insert.c -- bulk inserts.
 *
 * Arrays are bound where the client library and the server know it (MariaDB);
 * elsewhere it is single rows, in the transaction that is open or in one of
 * their own.
 *
 * Room: store.  One thread for each connection.
 */

#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#include "im_mysql_int.h"


#if (IM_MYSQL_HAS_ARRAYS)
static int mysql_insert_array(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows,
    uint64_t *affected);
#endif
static int mysql_insert_rows(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows,
    uint64_t *affected);


int
im_mysql_insert(im_mysql_t *m, const char *sql,
    const im_mysql_value_t *values, size_t n, size_t rows, uint64_t *affected)
{
    int          rc;
    MYSQL_STMT  *stmt;

    *affected = 0;

    if (rows == 0) {
        return IM_OK;
    }

    rc = im_mysql_open(m);
    if (rc != IM_OK) {
        return rc;
    }

    stmt = im_mysql_statement(m, sql);
    if (stmt == NULL) {
        return im_mysql_failed(m, NULL);
    }

#if (IM_MYSQL_HAS_ARRAYS)
    if (mysql_get_server_info(m->db) != NULL
        && strstr(mysql_get_server_info(m->db), "MariaDB") != NULL)
    {
        return mysql_insert_array(m, stmt, values, n, rows, affected);
    }
#endif

    return mysql_insert_rows(m, stmt, values, n, rows, affected);
}


#if (IM_MYSQL_HAS_ARRAYS)

static int
mysql_insert_array(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows, uint64_t *affected)
{
    int              rc;
    char            *memory;
    size_t           i, r;
    unsigned int     size, one;
    uint64_t        *numbers;
    MYSQL_BIND       binds[IM_MYSQL_PARAMS];
    const char     **texts;
    unsigned long   *lens;

    /* column by column: numbers by value, strings by pointer and length */

    memory = malloc(n * rows * (sizeof(uint64_t) + sizeof(char *)
                                + sizeof(unsigned long)));
    if (memory == NULL) {
        return IM_AGAIN;
    }

    numbers = (uint64_t *) memory;
    texts = (const char **) (numbers + n * rows);
    lens = (unsigned long *) (texts + n * rows);

    memset(binds, 0, n * sizeof(MYSQL_BIND));

    for (i = 0; i < n; i++) {

        for (r = 0; r < rows; r++) {
            numbers[i * rows + r] = values[r * n + i].u64;
            texts[i * rows + r] = (const char *) values[r * n + i].str.data;
            lens[i * rows + r] = values[r * n + i].str.len;
        }

        if (values[i].type == IM_MYSQL_U64) {
            binds[i].buffer_type = MYSQL_TYPE_LONGLONG;
            binds[i].is_unsigned = 1;
            binds[i].buffer = &numbers[i * rows];

        } else {
            binds[i].buffer_type = MYSQL_TYPE_STRING;
            binds[i].buffer = &texts[i * rows];
            binds[i].length = &lens[i * rows];
        }
    }

    size = (unsigned) rows;
    rc = IM_OK;

    if (mysql_stmt_attr_set(stmt, STMT_ATTR_ARRAY_SIZE, &size) != 0
        || mysql_stmt_bind_param(stmt, binds) != 0
        || mysql_stmt_execute(stmt) != 0)
    {
        rc = im_mysql_failed(m, stmt);

    } else {
        *affected = mysql_stmt_affected_rows(stmt);
    }

    if (m->db != NULL) {
        one = 0;
        (void) mysql_stmt_attr_set(stmt, STMT_ATTR_ARRAY_SIZE, &one);
    }

    free(memory);

    return rc;
}

#endif


static int
mysql_insert_rows(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows, uint64_t *affected)
{
    int         rc;
    size_t      i, r;
    MYSQL_BIND  binds[IM_MYSQL_PARAMS];

    if (!m->open && mysql_autocommit(m->db, 0) != 0) {
        m->err = mysql_errno(m->db);
        return im_mysql_failed(m, NULL);
    }

    rc = IM_OK;

    for (r = 0; r < rows && rc == IM_OK; r++) {
        memset(binds, 0, n * sizeof(MYSQL_BIND));

        for (i = 0; i < n; i++) {
            im_mysql_bind(&binds[i], &values[r * n + i]);
        }

        if (mysql_stmt_bind_param(stmt, binds) != 0
            || mysql_stmt_execute(stmt) != 0)
        {
            rc = im_mysql_failed(m, stmt);

        } else {
            *affected += mysql_stmt_affected_rows(stmt);
        }
    }

    if (m->db == NULL || m->open) {
        return rc;                     /* the caller commits or rolls back */
    }

    if (rc == IM_OK && mysql_commit(m->db) != 0) {
        m->err = mysql_errno(m->db);
        rc = im_mysql_failed(m, NULL);

    } else if (rc != IM_OK) {
        (void) mysql_rollback(m->db);
    }

    if (m->db != NULL) {
        (void) mysql_autocommit(m->db, 1);
    }

    return rc;
}
