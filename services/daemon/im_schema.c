/*
 * im_schema.c -- see im_schema.h.
 */

#include <stdio.h>

#include "im_schema.h"
#include "im_schema_files.h"


#define SCHEMA_NO_TABLE  1146          /* of MySQL and MariaDB */


static int schema_on_row(void *ctx, const im_mysql_value_t *values);


unsigned
im_schema_known(void)
{
    return sizeof(im_schema_all) / sizeof(im_schema_all[0]) - 1;
}


/*
 * What has begun counts as not done, but its min_program counts: who must not
 * work with it shall not while it is made either.
 */
int
im_schema_read(im_mysql_t *m, im_schema_state_t *s)
{
    int  rc;

    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    s->version = 0;
    s->min_program = 0;

    rc = im_mysql_run(m,
        "SELECT COALESCE(MAX(IF(done_ms = 0, 0, version)), 0), "
        "COALESCE(MAX(min_program), 0) FROM schema_versions",
        NULL, 0, columns, 2, schema_on_row, s, NULL, NULL);

    if (rc == IM_ERROR && im_mysql_errno(m) == SCHEMA_NO_TABLE) {
        return IM_OK;
    }

    return rc;
}


static int
schema_on_row(void *ctx, const im_mysql_value_t *values)
{
    im_schema_state_t  *s = ctx;

    s->version = (unsigned) values[0].u64;
    s->min_program = (unsigned) values[1].u64;

    return IM_OK;
}


int
im_schema_check(const im_schema_state_t *s, unsigned known,
    const im_daemon_conf_t *conf, char *error, size_t size)
{
    if (s->min_program > known) {
        snprintf(error, size, "database \"%s\" has schema %u, which needs "
                 "programs of schema %u or later, and this one is of %u: "
                 "install the version that the schema came with",
                 conf->mysql_database, s->version, s->min_program, known);
        return IM_ERROR;
    }

    if (s->version < known) {
        snprintf(error, size, "database \"%s\" has schema %u, and this program "
                 "needs %u: type im-schema%s%s up", conf->mysql_database,
                 s->version, known, conf->file ? " --config " : "",
                 conf->file ? conf->file : "");
        return IM_DECLINED;
    }

    return IM_OK;
}
