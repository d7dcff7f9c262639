/*
 * logic_stores.h -- connections to Redis and MySQL, as configured.
 */

#ifndef LOGIC_STORES_H
#define LOGIC_STORES_H

#include "im_mysql.h"
#include "im_redis.h"

/* Connections of their own, for threads that need them. */
im_redis_t *logic_redis_create(void);
im_mysql_t *logic_mysql_create(void);
/* The same with a limit of time that is shorter than [mysql] timeout_ms. */
im_mysql_t *logic_mysql_create_within(unsigned timeout_ms);

/* im_mysql_run() without answers of IM_AGAIN: once more, then IM_ERROR; row may
 * be called twice for a row.  affected may be NULL. */
int logic_mysql_run(im_mysql_t *mysql, const char *sql,
    const im_mysql_value_t *v, size_t n, const im_mysql_type_t *columns,
    size_t n_columns, int (*row)(void *ctx, const im_mysql_value_t *v),
    void *ctx, uint64_t *affected);

#endif
