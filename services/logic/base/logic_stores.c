/*
 * logic_stores.c -- see logic_stores.h.
 */

#include "logic_conf.h"
#include "logic_stores.h"


im_redis_t *
logic_redis_create(void)
{
    im_redis_conf_t  conf;

    conf.address = logic_conf.common.redis_address;
    conf.password = logic_conf.common.redis_password;
    conf.timeout_ms = logic_conf.common.redis_timeout_ms;

    return im_redis_create(&conf);
}


im_mysql_t *
logic_mysql_create(void)
{
    return logic_mysql_create_within(logic_conf.common.mysql_timeout_ms);
}


im_mysql_t *
logic_mysql_create_within(unsigned timeout_ms)
{
    unsigned         most_ms;
    im_mysql_conf_t  conf;

    most_ms = logic_conf.common.mysql_timeout_ms;

    conf.address = logic_conf.common.mysql_address;
    conf.user = logic_conf.common.mysql_user;
    conf.password = logic_conf.common.mysql_password;
    conf.database = logic_conf.common.mysql_database;
    conf.timeout_ms = (timeout_ms < most_ms) ? timeout_ms : most_ms;

    return im_mysql_create(&conf);
}


/* A connection that was idle too long is noticed by its first use. */
int
logic_mysql_run(im_mysql_t *mysql, const char *sql, const im_mysql_value_t *v,
    size_t n, const im_mysql_type_t *columns, size_t n_columns,
    int (*row)(void *ctx, const im_mysql_value_t *v), void *ctx,
    uint64_t *affected)
{
    int  rc, tries;

    rc = IM_AGAIN;

    for (tries = 0; tries < 2 && rc == IM_AGAIN; tries++) {
        rc = im_mysql_run(mysql, sql, v, n, columns, n_columns, row, ctx,
                          affected, NULL);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}
