/*
 * task_probes.c -- see task_probes.h.
 */

#include "im_probe_etcd.h"
#include "im_probe_stores.h"
#include "task_probes.h"
#include "task_work.h"


static const im_probe_sql_t  probes_sql[] = {
    "SELECT seq FROM messages WHERE conv_a = 0 AND conv_b = 0 AND seq = 0"
    " AND msg_id = 0 AND sender = 0 AND time_ms = 0 AND cmid = ''"
    " AND body = '' AND run_seq = 0 AND nth = 0 AND nth_a = 0",
    "SELECT uid FROM conversations WHERE uid = 0 AND conv_a = 0"
    " AND conv_b = 0 AND read_seq = 0 AND hot = 0 AND last_id = 0"
    " AND own_above = 0",
    "UPDATE conversations SET muted = muted WHERE uid = 0 AND conv_a = 0"
    " AND conv_b = 0",
    NULL
};

static int               probes_pushes, probes_stores;
static im_probe_redis_t  probes_redis;
static im_probe_mysql_t  probes_mysql;
static im_probe_kafka_t  probes_kafka;
static im_probe_etcd_t   probes_etcd;


int
task_probes_start(int pushes, int stores)
{
    probes_pushes = pushes;
    probes_stores = stores;

    probes_redis.conf = &task_conf.common;
    probes_mysql.conf = &task_conf.common;
    probes_mysql.sql = probes_sql;
    probes_kafka.conf = &task_conf.common;
    probes_kafka.dead_topic = stores ? task_conf.dead_topic : NULL;

    if (pushes && (im_probe_redis_start(&probes_redis) != IM_OK
                   || task_work_start_push() != IM_OK))
    {
        return IM_ERROR;
    }

    if (stores && (im_probe_mysql_start(&probes_mysql) != IM_OK
                   || task_work_start_store() != IM_OK))
    {
        return IM_ERROR;
    }

    return im_probe_kafka_start(&probes_kafka);
}


int
task_probes_start_etcd(im_rpc_t *rpc, im_disc_t *disc)
{
    probes_etcd.conf = &task_conf.common;
    probes_etcd.rpc = rpc;
    probes_etcd.disc = disc;

    return im_probe_etcd_start(&probes_etcd);
}


void
task_probes_stop(void)
{
    im_probe_stop_all();
    im_probe_redis_free(&probes_redis);
    im_probe_mysql_free(&probes_mysql);
    im_probe_kafka_free(&probes_kafka);
}


int
task_probes_wait_stores(void)
{
    int  rc;

    rc = IM_OK;

    if (probes_pushes) {
        rc = im_probe_wait(&probes_redis.probe);
    }

    if (rc == IM_OK && probes_stores) {
        rc = im_probe_mysql_wait(&probes_mysql);
    }

    return rc;
}


int
task_probes_kafka_is_up(void)
{
    return im_probe_is_up(&probes_kafka.probe);
}
