/*
 * im_mysql.c -- one blocking connection, prepared statements, bulk inserts.
 *
 * A statement is known by the address of its text, a literal, and is prepared
 * once for each connection.  After a lost connection everything is prepared
 * again; whether a statement that was under way took effect is unknown then,
 * so IM_AGAIN is returned only to callers whose statements may be repeated.
 *
 * A bulk insert binds arrays where the client library and the server know it
 * (MariaDB), and is one transaction of single rows elsewhere.
 *
 * Room: store.  One thread for each connection.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mysql.h>
#include <errmsg.h>
#include <mysqld_error.h>

#include "im_mysql.h"


#define MYSQL_STATEMENTS  96
#define MYSQL_PARAMS      64
#define MYSQL_COLUMNS     16
#define MYSQL_COLUMN_MAX  65536
#define MYSQL_IDLE_MS     100

#ifdef MARIADB_BASE_VERSION
#define MYSQL_HAS_ARRAYS  1
typedef my_bool  mysql_flag_t;
#else
#define MYSQL_HAS_ARRAYS  0
typedef bool  mysql_flag_t;
#endif


typedef struct {
    const char      *sql;
    MYSQL_STMT      *stmt;
} mysql_known_t;

struct im_mysql_s {
    char            *address;
    char            *user;
    char            *password;
    char            *database;
    unsigned         timeout_s;
    MYSQL           *db;
    uint64_t         used_ms;          /* last use of db, monotonic */
    mysql_known_t    known[MYSQL_STATEMENTS];
    unsigned         err;
    char             error[256];
    unsigned         open:1;           /* a transaction is */
    unsigned char   *columns;          /* buffers of one row */
};


static uint64_t mysql_now_ms(void);
static int mysql_open(im_mysql_t *m);
static int mysql_say(im_mysql_t *m, const char *sql);
static void mysql_drop(im_mysql_t *m);
static MYSQL_STMT *mysql_statement(im_mysql_t *m, const char *sql);
static int mysql_failed(im_mysql_t *m, MYSQL_STMT *stmt);
static void mysql_bind_param(MYSQL_BIND *b, const im_mysql_value_t *v);
static int mysql_fetch(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_type_t *columns, size_t n,
    int (*row)(void *ctx, const im_mysql_value_t *values), void *ctx);
#if (MYSQL_HAS_ARRAYS)
static int mysql_insert_array(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows,
    uint64_t *affected);
#endif
static int mysql_insert_rows(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows,
    uint64_t *affected);


im_mysql_t *
im_mysql_create(const im_mysql_conf_t *conf)
{
    im_mysql_t  *m;

    m = calloc(1, sizeof(im_mysql_t));
    if (m == NULL) {
        return NULL;
    }

    m->address = strdup(conf->address);
    m->user = strdup(conf->user);
    m->password = strdup(conf->password ? conf->password : "");
    m->database = strdup(conf->database);
    m->timeout_s = (conf->timeout_ms + 999) / 1000;
    m->columns = malloc(MYSQL_COLUMNS * MYSQL_COLUMN_MAX);

    if (m->address == NULL || m->user == NULL || m->password == NULL
        || m->database == NULL || m->columns == NULL)
    {
        im_mysql_destroy(m);
        return NULL;
    }

    return m;
}


void
im_mysql_destroy(im_mysql_t *m)
{
    if (m == NULL) {
        return;
    }

    mysql_drop(m);
    free(m->address);
    free(m->user);
    free(m->password);
    free(m->database);
    free(m->columns);
    free(m);
}


const char *
im_mysql_error(im_mysql_t *m)
{
    return m->error;
}


unsigned
im_mysql_errno(im_mysql_t *m)
{
    return m->err;
}


static uint64_t
mysql_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


static int
mysql_open(im_mysql_t *m)
{
    char         host[128];
    uint64_t     now;
    unsigned     port;
    const char  *colon, *socket;

    now = mysql_now_ms();

    if (m->open) {
        return (m->db != NULL) ? IM_OK : IM_AGAIN;
    }

    /*
     * A server that was started again since the last use would fail the next
     * statement, of which nobody knows then whether it was run.  A restart
     * takes longer than the idle time asked about here.
     */

    if (m->db != NULL && now - m->used_ms > MYSQL_IDLE_MS
        && mysql_ping(m->db) != 0)
    {
        mysql_drop(m);
    }

    m->used_ms = now;

    if (m->db != NULL) {
        return IM_OK;
    }

    m->db = mysql_init(NULL);
    if (m->db == NULL) {
        snprintf(m->error, sizeof(m->error), "out of memory");
        return IM_AGAIN;
    }

    mysql_options(m->db, MYSQL_OPT_CONNECT_TIMEOUT, &m->timeout_s);
    mysql_options(m->db, MYSQL_OPT_READ_TIMEOUT, &m->timeout_s);
    mysql_options(m->db, MYSQL_OPT_WRITE_TIMEOUT, &m->timeout_s);
    mysql_options(m->db, MYSQL_SET_CHARSET_NAME, "utf8mb4");

    socket = NULL;
    port = 0;
    host[0] = '\0';

    if (strncmp(m->address, "unix:", 5) == 0) {
        socket = m->address + 5;

    } else {
        colon = strrchr(m->address, ':');
        snprintf(host, sizeof(host), "%.*s",
                 colon ? (int) (colon - m->address)
                       : (int) strlen(m->address), m->address);
        port = colon ? (unsigned) atoi(colon + 1) : 3306;
    }

    if (mysql_real_connect(m->db, socket ? NULL : host, m->user, m->password,
                           m->database, port, socket, 0)
        == NULL)
    {
        m->err = mysql_errno(m->db);
        snprintf(m->error, sizeof(m->error), "%s", mysql_error(m->db));
        mysql_close(m->db);
        m->db = NULL;
        return IM_AGAIN;
    }

    return IM_OK;
}


static void
mysql_drop(im_mysql_t *m)
{
    unsigned  i;

    for (i = 0; i < MYSQL_STATEMENTS; i++) {
        if (m->known[i].stmt != NULL) {
            mysql_stmt_close(m->known[i].stmt);
            m->known[i].stmt = NULL;
            m->known[i].sql = NULL;
        }
    }

    if (m->db != NULL) {
        mysql_close(m->db);
        m->db = NULL;
    }
}


int
im_mysql_ping(im_mysql_t *m)
{
    if (mysql_open(m) != IM_OK) {
        return IM_ERROR;
    }

    if (mysql_ping(m->db) != 0) {
        m->err = mysql_errno(m->db);
        snprintf(m->error, sizeof(m->error), "%s", mysql_error(m->db));
        mysql_drop(m);
        return IM_ERROR;
    }

    return IM_OK;
}


static MYSQL_STMT *
mysql_statement(im_mysql_t *m, const char *sql)
{
    unsigned     i;
    MYSQL_STMT  *stmt;

    for (i = 0; i < MYSQL_STATEMENTS && m->known[i].sql != NULL; i++) {
        if (m->known[i].sql == sql) {
            return m->known[i].stmt;
        }
    }

    if (i == MYSQL_STATEMENTS) {
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


/* Which of our results an error is; a lost connection is dropped. */
static int
mysql_failed(im_mysql_t *m, MYSQL_STMT *stmt)
{
    if (stmt != NULL) {
        m->err = mysql_stmt_errno(stmt);
        snprintf(m->error, sizeof(m->error), "%s", mysql_stmt_error(stmt));
    }

    switch (m->err) {

    case ER_DUP_ENTRY:
        return IM_DECLINED;

    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
        return IM_AGAIN;

    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_UNKNOWN_ERROR:
    case CR_COMMANDS_OUT_OF_SYNC:
    case ER_SERVER_SHUTDOWN:
    case ER_NEW_ABORTING_CONNECTION:
    case 1927:                         /* connection was killed (MariaDB) */
    case 4031:                         /* idle too long (MySQL 8) */
        mysql_drop(m);
        return IM_AGAIN;

    default:
        return IM_ERROR;
    }
}


static void
mysql_bind_param(MYSQL_BIND *b, const im_mysql_value_t *v)
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


int
im_mysql_run(im_mysql_t *m, const char *sql, const im_mysql_value_t *params,
    size_t n_params, const im_mysql_type_t *columns, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *values), void *ctx,
    uint64_t *affected, uint64_t *insert_id)
{
    int          rc;
    size_t       i;
    MYSQL_BIND   binds[MYSQL_PARAMS];
    MYSQL_STMT  *stmt;

    if (n_params > MYSQL_PARAMS || n_columns > MYSQL_COLUMNS) {
        return IM_ERROR;
    }

    rc = mysql_open(m);
    if (rc != IM_OK) {
        return rc;
    }

    stmt = mysql_statement(m, sql);
    if (stmt == NULL) {
        return mysql_failed(m, NULL);
    }

    memset(binds, 0, n_params * sizeof(MYSQL_BIND));

    for (i = 0; i < n_params; i++) {
        mysql_bind_param(&binds[i], &params[i]);
    }

    if ((n_params > 0 && mysql_stmt_bind_param(stmt, binds) != 0)
        || mysql_stmt_execute(stmt) != 0)
    {
        return mysql_failed(m, stmt);
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


static int
mysql_fetch(im_mysql_t *m, MYSQL_STMT *stmt, const im_mysql_type_t *columns,
    size_t n, int (*row)(void *ctx, const im_mysql_value_t *values),
    void *ctx)
{
    int               rc;
    size_t            i;
    MYSQL_BIND        binds[MYSQL_COLUMNS];
    mysql_flag_t      nulls[MYSQL_COLUMNS];
    unsigned long     lens[MYSQL_COLUMNS];
    im_mysql_value_t  values[MYSQL_COLUMNS];

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
            binds[i].buffer = m->columns + i * MYSQL_COLUMN_MAX;
            binds[i].buffer_length = MYSQL_COLUMN_MAX;
        }
    }

    if (mysql_stmt_bind_result(stmt, binds) != 0
        || mysql_stmt_store_result(stmt) != 0)
    {
        return mysql_failed(m, stmt);
    }

    for ( ;; ) {
        rc = mysql_stmt_fetch(stmt);

        if (rc == MYSQL_NO_DATA) {
            rc = IM_OK;
            break;
        }

        if (rc == 1) {
            rc = mysql_failed(m, stmt);
            break;
        }

        for (i = 0; i < n; i++) {
            values[i].null = nulls[i] != 0;

            if (columns[i] == IM_MYSQL_STR) {
                values[i].str.data = m->columns + i * MYSQL_COLUMN_MAX;
                values[i].str.len = (lens[i] < MYSQL_COLUMN_MAX)
                                    ? lens[i] : MYSQL_COLUMN_MAX;
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

    rc = mysql_open(m);
    if (rc != IM_OK) {
        return rc;
    }

    stmt = mysql_statement(m, sql);
    if (stmt == NULL) {
        return mysql_failed(m, NULL);
    }

#if (MYSQL_HAS_ARRAYS)
    if (mysql_get_server_info(m->db) != NULL
        && strstr(mysql_get_server_info(m->db), "MariaDB") != NULL)
    {
        return mysql_insert_array(m, stmt, values, n, rows, affected);
    }
#endif

    return mysql_insert_rows(m, stmt, values, n, rows, affected);
}


#if (MYSQL_HAS_ARRAYS)

static int
mysql_insert_array(im_mysql_t *m, MYSQL_STMT *stmt,
    const im_mysql_value_t *values, size_t n, size_t rows, uint64_t *affected)
{
    int              rc;
    char            *memory;
    size_t           i, r;
    unsigned int     size, one;
    uint64_t        *numbers;
    MYSQL_BIND       binds[MYSQL_PARAMS];
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
        rc = mysql_failed(m, stmt);

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
    MYSQL_BIND  binds[MYSQL_PARAMS];

    if (mysql_autocommit(m->db, 0) != 0) {
        m->err = mysql_errno(m->db);
        return mysql_failed(m, NULL);
    }

    rc = IM_OK;

    for (r = 0; r < rows && rc == IM_OK; r++) {
        memset(binds, 0, n * sizeof(MYSQL_BIND));

        for (i = 0; i < n; i++) {
            mysql_bind_param(&binds[i], &values[r * n + i]);
        }

        if (mysql_stmt_bind_param(stmt, binds) != 0
            || mysql_stmt_execute(stmt) != 0)
        {
            rc = mysql_failed(m, stmt);

        } else {
            *affected += mysql_stmt_affected_rows(stmt);
        }
    }

    if (m->db == NULL) {
        return rc;
    }

    if (rc == IM_OK && mysql_commit(m->db) != 0) {
        m->err = mysql_errno(m->db);
        rc = mysql_failed(m, NULL);

    } else if (rc != IM_OK) {
        (void) mysql_rollback(m->db);
    }

    if (m->db != NULL) {
        (void) mysql_autocommit(m->db, 1);
    }

    return rc;
}


int
im_mysql_begin(im_mysql_t *m)
{
    int  rc;

    rc = mysql_open(m);

    if (rc == IM_OK) {
        rc = mysql_say(m, "START TRANSACTION");
    }

    m->open = (rc == IM_OK);

    return rc;
}


int
im_mysql_commit(im_mysql_t *m)
{
    int  rc;

    rc = (m->db != NULL) ? mysql_say(m, "COMMIT") : IM_AGAIN;

    m->open = 0;

    if (rc != IM_OK) {
        mysql_drop(m);
    }

    return rc;
}


void
im_mysql_rollback(im_mysql_t *m)
{
    if (m->db != NULL && mysql_say(m, "ROLLBACK") != IM_OK) {
        mysql_drop(m);
    }

    m->open = 0;
}


static int
mysql_say(im_mysql_t *m, const char *sql)
{
    if (mysql_query(m->db, sql) == 0) {
        return IM_OK;
    }

    m->err = mysql_errno(m->db);
    snprintf(m->error, sizeof(m->error), "%s", mysql_error(m->db));

    return mysql_failed(m, NULL);
}
