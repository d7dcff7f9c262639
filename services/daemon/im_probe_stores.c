/*
 * im_probe_stores.c -- see im_probe_stores.h.
 *
 * A look does what the daemon needs, not what is easiest to answer: Redis and
 * MySQL must take a write, MySQL must have the tables and columns of the
 * statements, Kafka must have the topics, with a leader for each partition.
 *
 *   redis   SET of a key of its own, which expires; no Redis Cluster
 *   mysql   the version of the schema; SELECT of all columns of each table,
 *           UPDATE; of a row 0
 *   kafka   metadata of the topics
 *
 * The error of the server is passed on, for it names the user, the table or
 * the option; what to do is added where it does not say so.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "im_probe_stores.h"
#include "im_schema.h"
#include "im_timeouts.h"


#define PROBE_KEY_MS     "10000"
#define PROBE_NO_TABLE   1146       /* of MySQL and MariaDB */
#define PROBE_NO_COLUMN  1054
#define PROBE_NO_BASE    1049


static int probe_redis_is_cluster(const redisReply *info);
static int probe_mysql(void *ctx, char *error, size_t size);
static int probe_mysql_schema(im_probe_mysql_t *m, int *fits);
static int probe_mysql_looks(im_probe_mysql_t *m);
static int probe_mysql_on_row(void *ctx, const im_mysql_value_t *values);
static const char *probe_mysql_advice(unsigned err);
static int probe_kafka(void *ctx, char *error, size_t size);
static int probe_topic(im_probe_kafka_t *k, const char *topic,
    unsigned partitions, char *error, size_t size);


int
im_probe_redis_start(im_probe_redis_t *r)
{
    im_redis_conf_t  rc;

    rc.address = r->conf->redis_address;
    rc.password = r->conf->redis_password;
    rc.timeout_ms = IM_PROBE_DEADLINE_MS;

    r->redis = im_redis_create(&rc);
    if (r->redis == NULL) {
        return IM_ERROR;
    }

    r->probe.name = "redis";
    r->probe.look = im_probe_redis_look;
    r->probe.ctx = r;

    return im_probe_start(&r->probe);
}


/*
 * A replica that is read only, a full one that evicts nothing and one that
 * loads its file all refuse the write, and say why.  A node of a cluster would
 * take it, if it has the slot of this key, and answer MOVED to others.
 */
int
im_probe_redis_look(void *ctx, char *error, size_t size)
{
    int                rc;
    redisReply        *info, *reply;
    im_probe_redis_t  *r = ctx;

    static const im_str_t  cluster[] = { im_str("INFO"), im_str("cluster") };
    static const im_str_t  set[] = {
        im_str("SET"), im_str(IM_KEY_PROBE), im_str("1"), im_str("PX"),
        im_str(PROBE_KEY_MS)
    };

    info = NULL;
    reply = NULL;
    rc = IM_ERROR;

    if (im_redis_append(r->redis, 2, cluster) == IM_OK
        && im_redis_append(r->redis, 5, set) == IM_OK)
    {
        info = im_redis_reply(r->redis);
        reply = (info != NULL) ? im_redis_reply(r->redis) : NULL;
    }

    if (reply == NULL) {
        snprintf(error, size, "%s: %s", r->conf->redis_address,
                 im_redis_error(r->redis));

    } else if (probe_redis_is_cluster(info)) {
        snprintf(error, size, "%s: it is a node of a Redis Cluster, which is "
                 "not supported: use a Redis with cluster-enabled no",
                 r->conf->redis_address);

    } else if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(error, size, "%s: %s", r->conf->redis_address, reply->str);

    } else {
        rc = IM_OK;
    }

    im_redis_free(info);
    im_redis_free(reply);

    return rc;
}


/* A user who may not ask, or gets no answer, is not refused for that. */
static int
probe_redis_is_cluster(const redisReply *info)
{
    return info->type == REDIS_REPLY_STRING
           && strstr(info->str, "cluster_enabled:1") != NULL;
}


void
im_probe_redis_free(im_probe_redis_t *r)
{
    im_redis_destroy(r->redis);
    r->redis = NULL;
}


int
im_probe_mysql_start(im_probe_mysql_t *m)
{
    im_mysql_conf_t  mc;

    mc.address = m->conf->mysql_address;
    mc.user = m->conf->mysql_user;
    mc.password = m->conf->mysql_password;
    mc.database = m->conf->mysql_database;
    mc.timeout_ms = IM_PROBE_DEADLINE_MS;

    m->mysql = im_mysql_create(&mc);
    if (m->mysql == NULL) {
        return IM_ERROR;
    }

    m->probe.name = "mysql";
    m->probe.look = probe_mysql;
    m->probe.ctx = m;

    m->schema.name = "schema";
    m->schema.starting = "MySQL was not asked yet which one it has";

    return (im_probe_start(&m->schema) == IM_OK) ? im_probe_start(&m->probe)
                                                 : IM_ERROR;
}


int
im_probe_mysql_wait(im_probe_mysql_t *m)
{
    int  rc;

    rc = im_probe_wait(&m->probe);

    return (rc == IM_OK) ? im_probe_wait(&m->schema) : rc;
}


static int
probe_mysql(void *ctx, char *error, size_t size)
{
    int                rc, fits;
    im_probe_mysql_t  *m = ctx;

    fits = 0;
    rc = im_mysql_ping(m->mysql);

    if (rc == IM_OK) {
        rc = probe_mysql_schema(m, &fits);
    }

    if (rc == IM_OK) {
        rc = probe_mysql_looks(m);
    }

    /* last: threads that wait for it begin to work then */

    if (rc == IM_OK && fits) {
        im_probe_report(&m->schema, NULL);
    }

    if (rc == IM_OK || rc == IM_DECLINED) {
        return IM_OK;
    }

    snprintf(error, size, "%s: %s%s", m->conf->mysql_address,
             im_mysql_error(m->mysql),
             probe_mysql_advice(im_mysql_errno(m->mysql)));

    return IM_ERROR;
}


/*
 * *fits: nothing is wrong, which is not reported yet.
 *
 * IM_DECLINED: MySQL works, but the schema is older than ours, and no look at
 * columns that are missing for that reason is worth a second complaint.
 */
static int
probe_mysql_schema(im_probe_mysql_t *m, int *fits)
{
    int                rc;
    char               error[IM_PROBE_ERROR_MAX];
    im_schema_state_t  state;

    rc = im_schema_read(m->mysql, &state);

    if (rc != IM_OK) {
        return rc;
    }

    rc = im_schema_check(&state, im_schema_known(), m->conf, error,
                         sizeof(error));

    *fits = (rc == IM_OK);

    if (!*fits) {
        im_probe_report(&m->schema, error);
    }

    return (rc == IM_DECLINED) ? IM_DECLINED : IM_OK;
}


static int
probe_mysql_looks(im_probe_mysql_t *m)
{
    int                    rc;
    const im_probe_sql_t  *sql;

    static const im_mysql_type_t  number = IM_MYSQL_U64;

    rc = IM_OK;

    for (sql = m->sql; rc == IM_OK && *sql != NULL; sql++) {
        rc = im_mysql_run(m->mysql, *sql, NULL, 0, &number,
                          (**sql == 'S') ? 1 : 0, probe_mysql_on_row, NULL,
                          NULL, NULL);
    }

    return rc;
}


static int
probe_mysql_on_row(void *ctx, const im_mysql_value_t *values)
{
    (void) ctx;
    (void) values;

    return IM_OK;
}


static const char *
probe_mysql_advice(unsigned err)
{
    switch (err) {

    case PROBE_NO_TABLE:
    case PROBE_NO_COLUMN:
        return " (im-schema up makes the tables)";

    case PROBE_NO_BASE:
        return " (create it, then type im-schema up)";

    default:
        return "";
    }
}


void
im_probe_mysql_free(im_probe_mysql_t *m)
{
    im_mysql_destroy(m->mysql);
    m->mysql = NULL;
}


int
im_probe_kafka_start(im_probe_kafka_t *k)
{
    k->kafka = im_kafka_probe_create(k->conf->kafka_brokers);
    if (k->kafka == NULL) {
        return IM_ERROR;
    }

    k->probe.name = "kafka";
    k->probe.look = probe_kafka;
    k->probe.ctx = k;

    return im_probe_start(&k->probe);
}


static int
probe_kafka(void *ctx, char *error, size_t size)
{
    int                rc;
    im_probe_kafka_t  *k = ctx;

    rc = probe_topic(k, k->conf->kafka_topic, 4, error, size);
    atomic_store(&k->partial, rc == IM_BUSY);

    if (rc == IM_OK && k->dead_topic != NULL) {
        rc = probe_topic(k, k->dead_topic, 1, error, size);
    }

    return (rc == IM_OK) ? IM_OK : IM_ERROR;
}


/* partitions: a number for the command that is proposed. */
static int
probe_topic(im_probe_kafka_t *k, const char *topic, unsigned partitions,
    char *error, size_t size)
{
    int       rc;
    size_t    len;
    unsigned  n;

    rc = im_kafka_probe_topic(k->kafka, topic, IM_PROBE_DEADLINE_MS, &n,
                              error, size);

    if (rc == IM_DECLINED) {
        len = strlen(error);
        snprintf(error + len, size - len, ": im-topics --brokers %s --topic "
                 "%s --partitions %u creates it", k->conf->kafka_brokers,
                 topic, partitions);
    }

    return rc;
}


void
im_probe_kafka_free(im_probe_kafka_t *k)
{
    im_kafka_probe_destroy(k->kafka);
    k->kafka = NULL;
}
