/*
 * logic_db.c -- see logic_db.h.
 */

#include <string.h>

#include "im_log.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_stores.h"


#define DB_TRIES  3                    /* of a transaction: deadlocks */


static int db_on_number(void *ctx, const im_mysql_value_t *v);


int
logic_db_run(logic_db_t *db, const char *sql, const im_mysql_value_t *v,
    size_t n, const im_mysql_type_t *columns, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx)
{
    return logic_mysql_run(db->mysql, sql, v, n, columns, n_columns, row, ctx,
                           NULL);
}


int
logic_db_number(logic_db_t *db, const char *sql, const im_mysql_value_t *v,
    size_t n, uint64_t *value)
{
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64 };

    *value = 0;

    return logic_db_run(db, sql, v, n, columns, 1, db_on_number, value);
}


static int
db_on_number(void *ctx, const im_mysql_value_t *v)
{
    uint64_t  *value = ctx;

    *value = v[0].null ? 0 : v[0].u64;

    return IM_OK;
}


int
logic_db_head(logic_db_t *db, uint64_t conv_a, uint64_t conv_b,
    uint64_t *head)
{
    im_mysql_value_t  v[2];

    static const char  sql[] =
        "SELECT MAX(seq) FROM messages WHERE conv_a = ? AND conv_b = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = conv_a;
    v[1].u64 = conv_b;

    return logic_db_number(db, sql, v, 2, head);
}


int
logic_db_user(logic_db_t *db, uint64_t uid, uint64_t *known)
{
    im_mysql_value_t  v[1];

    static const char  sql[] = "SELECT uid FROM users WHERE uid = ?";

    memset(v, 0, sizeof(v));
    v[0].u64 = uid;

    return logic_db_number(db, sql, v, 1, known);
}


int
logic_db_transact(logic_db_t *db, int (*step)(logic_db_t *db, void *ctx),
    void *ctx)
{
    int  rc, tries;

    rc = IM_AGAIN;

    for (tries = 0; tries < DB_TRIES && rc == IM_AGAIN; tries++) {
        rc = im_mysql_begin(db->mysql);

        if (rc == IM_OK) {
            rc = step(db, ctx);
        }

        if (rc == IM_OK) {
            rc = im_mysql_commit(db->mysql);

        } else {
            im_mysql_rollback(db->mysql);
        }
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


void
logic_db_failed(logic_db_t *db, im_rpc_req_t *req)
{
    im_log(IM_LOG_WARN, "a call fails, trace %s: mysql: %s",
           im_rpc_req_trace(req), im_mysql_error(db->mysql));
    logic_fail_shared(req, "unavailable", "the database does not answer");
}
