/*
 * im_mysql.c -- one blocking connection, and its transactions.
 *
 * After a lost connection everything is prepared again (im_mysql_run.c);
 * whether a statement that was under way took effect is unknown then, so
 * IM_AGAIN is returned only to callers whose statements may be repeated.
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

#include "im_address.h"
#include "im_mysql_int.h"


#define MYSQL_IDLE_MS  100


static void mysql_drop(im_mysql_t *m);
static uint64_t mysql_now_ms(void);


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
    m->columns = malloc(IM_MYSQL_COLUMNS * IM_MYSQL_COLUMN_MAX);

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


int
im_mysql_open(im_mysql_t *m)
{
    char         host[IM_ADDRESS_HOST_MAX + 1];
    uint64_t     now;
    unsigned     port;
    const char  *socket;

    now = mysql_now_ms();

    if (m->open || m->pinned) {
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

    } else if (im_address_split(m->address, host, &port, m->error,
                                sizeof(m->error)) != IM_OK)
    {
        mysql_close(m->db);
        m->db = NULL;
        return IM_AGAIN;
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

    for (i = 0; i < IM_MYSQL_STATEMENTS; i++) {
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
    if (im_mysql_open(m) != IM_OK) {
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


int
im_mysql_pin(im_mysql_t *m)
{
    int  rc;

    rc = im_mysql_ping(m);
    m->pinned = (rc == IM_OK);

    return rc;
}


/* Which of our results an error is; a lost connection is dropped. */
int
im_mysql_failed(im_mysql_t *m, MYSQL_STMT *stmt)
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


int
im_mysql_begin(im_mysql_t *m)
{
    int  rc;

    rc = im_mysql_open(m);

    if (rc == IM_OK) {
        rc = im_mysql_say(m, "START TRANSACTION");
    }

    m->open = (rc == IM_OK);

    return rc;
}


int
im_mysql_commit(im_mysql_t *m)
{
    int  rc;

    rc = (m->db != NULL) ? im_mysql_say(m, "COMMIT") : IM_AGAIN;

    m->open = 0;

    if (rc != IM_OK) {
        mysql_drop(m);
    }

    return rc;
}


void
im_mysql_rollback(im_mysql_t *m)
{
    if (m->db != NULL && im_mysql_say(m, "ROLLBACK") != IM_OK) {
        mysql_drop(m);
    }

    m->open = 0;
}


int
im_mysql_say(im_mysql_t *m, const char *sql)
{
    if (m->db == NULL) {
        return IM_AGAIN;
    }

    if (mysql_query(m->db, sql) == 0) {
        return IM_OK;
    }

    m->err = mysql_errno(m->db);
    snprintf(m->error, sizeof(m->error), "%s", mysql_error(m->db));

    return im_mysql_failed(m, NULL);
}
