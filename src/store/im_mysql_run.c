/*
 * im_mysql_run.c -- prepared statements, one at a time.
 *
 * A statement is known by the address of its text, a literal, and is prepared
 * once for each connection.
 *
 * Room: store.  One thread for each connection.
 */

#include <stdio.h>
#include <string.h>

#include <mysql.h>
#include <errmsg.h>

#include "im_mysql_int.h"


static int mysql_fetch(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_type_t *columns, size_t n,
    int (*row)(void *ctx, const im_mysql_value_t *values), void *ctx);


int
im_mysql_run(im_mysql_t *m, const char *sql, const im_mysql_value_t *params,
    size_t n_params, const im_mysql_type_t *columns, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *values), void *ctx,
    uint64_t *affected, uint64_t *insert_id)
{
    int          rc;
    size_t       i;
    MYSQL_BIND   binds[IM_MYSQL_PARAMS];
    MYSQL_STMT  *stmt;

    if (n_params > IM_MYSQL_PARAMS || n_columns > IM_MYSQL_COLUMNS) {
        return IM_ERROR;
    }

    rc = im_mysql_open(m);
    if (rc != IM_OK) {
        return rc;
    }

    stmt = im_mysql_statement(m, sql);
    if (stmt == NULL) {
        return im_mysql_failed(m, NULL);
    }

    memset(binds, 0, n_params * sizeof(MYSQL_BIND));

    for (i = 0; i < n_params; i++) {
        im_mysql_bind(&binds[i], &params[i]);
    }

    if ((n_params > 0 && mysql_stmt_bind_param(stmt, binds) != 0)
        || mysql_stmt_execute(stmt) != 0)
    {
        return im_mysql_failed(m, stmt);
    }

    if (affected != NULL) {
        *affected = mysql_stmt_affected_rows(stmt);
    }

    if (insert_id != NULL) {
        *insert_id = mysql_stmt_insert_id(stmt);
    }

    if (n_columns > 0) {
        return mysql_fetch(m, stmt, columns, n_columns, row, ctx);
    }

    return IM_OK;
}


MYSQL_STMT *
im_mysql_statement(im_mysql_t *m, const char *sql)
{
    unsigned     i;
    MYSQL_STMT  *stmt;

    for (i = 0; i < IM_MYSQL_STATEMENTS && m->known[i].sql != NULL; i++) {
        if (m->known[i].sql == sql) {
            return m->known[i].stmt;
        }
    }

    if (i == IM_MYSQL_STATEMENTS) {
        snprintf(m->error, sizeof(m->error), "too many statements");
        m->err = CR_OUT_OF_MEMORY;
        return NULL;
    }

    stmt = mysql_stmt_init(m->db);
    if (stmt == NULL) {
        m->err = CR_OUT_OF_MEMORY;
        return NULL;
    }

    if (mysql_stmt_prepare(stmt, sql, strlen(sql)) != 0) {
        m->err = mysql_stmt_errno(stmt);
        snprintf(m->error, sizeof(m->error), "%s", mysql_stmt_error(stmt));
        mysql_stmt_close(stmt);
        return NULL;
    }

    m->known[i].sql = sql;
    m->known[i].stmt = stmt;

    return stmt;
}


void
im_mysql_bind(MYSQL_BIND *b, const im_mysql_value_t *v)
{
    if (v->null) {
        b->buffer_type = MYSQL_TYPE_NULL;

    } else if (v->type == IM_MYSQL_U64) {
        b->buffer_type = MYSQL_TYPE_LONGLONG;
        b->is_unsigned = 1;
        b->buffer = (void *) &v->u64;

    } else {
        b->buffer_type = MYSQL_TYPE_STRING;
        b->buffer = v->str.data;
        b->buffer_length = v->str.len;
    }
}


static int
mysql_fetch(im_mysql_t *m, MYSQL_STMT *stmt, const im_mysql_type_t *columns,
    size_t n, int (*row)(void *ctx, const im_mysql_value_t *values),
    void *ctx)
{
    int               rc;
    size_t            i;
    MYSQL_BIND        binds[IM_MYSQL_COLUMNS];
    im_mysql_flag_t   nulls[IM_MYSQL_COLUMNS];
    unsigned long     lens[IM_MYSQL_COLUMNS];
    im_mysql_value_t  values[IM_MYSQL_COLUMNS];

    memset(binds, 0, sizeof(binds));
    memset(values, 0, sizeof(values));

    for (i = 0; i < n; i++) {
        values[i].type = columns[i];
        binds[i].is_null = &nulls[i];
        binds[i].length = &lens[i];

        if (columns[i] == IM_MYSQL_U64) {
            binds[i].buffer_type = MYSQL_TYPE_LONGLONG;
            binds[i].is_unsigned = 1;
            binds[i].buffer = &values[i].u64;

        } else {
            binds[i].buffer_type = MYSQL_TYPE_STRING;
            binds[i].buffer = m->columns + i * IM_MYSQL_COLUMN_MAX;
            binds[i].buffer_length = IM_MYSQL_COLUMN_MAX;
        }
    }

    if (mysql_stmt_bind_result(stmt, binds) != 0
        || mysql_stmt_store_result(stmt) != 0)
    {
        return im_mysql_failed(m, stmt);
    }

    for ( ;; ) {
        rc = mysql_stmt_fetch(stmt);

        if (rc == MYSQL_NO_DATA) {
            rc = IM_OK;
            break;
        }

        if (rc == 1) {
            rc = im_mysql_failed(m, stmt);
            break;
        }

        for (i = 0; i < n; i++) {
            values[i].null = nulls[i] != 0;

            if (columns[i] == IM_MYSQL_STR) {
                values[i].str.data = m->columns + i * IM_MYSQL_COLUMN_MAX;
                values[i].str.len = (lens[i] < IM_MYSQL_COLUMN_MAX)
                                    ? lens[i] : IM_MYSQL_COLUMN_MAX;
            }
        }

        if (row(ctx, values) != IM_OK) {
            rc = IM_OK;
            break;
        }
    }

    if (m->db != NULL) {
        mysql_stmt_free_result(stmt);
    }

    return rc;
}
