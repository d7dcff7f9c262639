/*
 * logic_probes.c -- see logic_probes.h.
 *
 * The statements name every column and every named index that Logic uses, so
 * that a table that somebody has changed by hand is found at the start and not
 * by the first user; a test compares them with what conf/schema makes.  They
 * read and change the row of nobody: uids, rooms and numbers begin with 1.
 */

#include "im_clock.h"
#include "im_probe_etcd.h"
#include "im_probe_stores.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_probes.h"


#define PROBES_CONFIRMED_US  1000000   /* a delivery counts for so long */
#define PROBES_GONE_US       5000000


static int probes_mysql_is_slow(void);
static uint64_t probes_mysql_good_us(void);


static const im_probe_sql_t  probes_sql[] = {
    "SELECT uid FROM users WHERE uid = 0 AND name = '' AND password = ''"
    " AND created_ms = 0",
    "SELECT uid FROM sessions WHERE sid = '' AND uid = 0 AND device = ''"
    " AND refresh_hash = '' AND family_hash = '' AND created_ms = 0"
    " AND turned_ms = 0 AND expires_ms = 0",
    "SELECT seq FROM messages WHERE conv_a = 0 AND conv_b = 0 AND seq = 0"
    " AND msg_id = 0 AND sender = 0 AND time_ms = 0 AND cmid = ''"
    " AND body = '' AND run_seq = 0 AND nth = 0 AND nth_a = 0",
    "SELECT uid FROM conversations FORCE INDEX (by_last) WHERE uid = 0"
    " AND conv_a = 0 AND conv_b = 0 AND read_seq = 0 AND pinned = 0"
    " AND muted = 0"
    " AND hidden_seq = 0 AND hot = 0 AND last_id = 0"
    " AND own_above = 0",
    "SELECT room FROM rooms WHERE room = 0 AND kind = 0 AND name = ''"
    " AND open = 0 AND history = 0 AND created_ms = 0 AND dismissed_ms = 0",
    "SELECT uid FROM members FORCE INDEX (by_uid) WHERE room = 0 AND uid = 0"
    " AND role = 0"
    " AND muted_until_ms = 0 AND joined_ms = 0",
    "SELECT uid FROM removals WHERE room = 0 AND uid = 0 AND no = 0",
    "SELECT uid FROM blocks WHERE uid = 0 AND other = 0",
    "SELECT to_seq FROM voids WHERE conv_a = 0 AND conv_b = 0"
    " AND from_seq = 0 AND to_seq = 0",
    "UPDATE users SET name = name WHERE uid = 0",
    NULL
};

static im_probe_redis_t  probes_redis;
static im_probe_mysql_t  probes_mysql;
static im_probe_kafka_t  probes_kafka;
static im_probe_etcd_t   probes_etcd;
static im_probe_t        probes_node = {
    .name = "node",
    .starting = "etcd has not given us a node number yet"
};

static _Atomic uint64_t  probes_confirmed_us;   /* last delivery, good */
static _Atomic uint64_t  probes_failed_us;      /* and bad */
static _Atomic uint64_t  probes_answered_us;    /* by MySQL, last */
static _Atomic uint64_t  probes_silent_us;      /* and not */
static _Atomic uint64_t  probes_asks_us[LOGIC_PROBES_ASKERS];   /* 0: nothing */


int
logic_probes_start(void)
{
    probes_redis.conf = &logic_conf.common;
    probes_mysql.conf = &logic_conf.common;
    probes_mysql.sql = probes_sql;
    probes_kafka.conf = &logic_conf.common;

    return (im_probe_redis_start(&probes_redis) == IM_OK
            && im_probe_mysql_start(&probes_mysql) == IM_OK
            && im_probe_kafka_start(&probes_kafka) == IM_OK)
           ? IM_OK : IM_ERROR;
}


int
logic_probes_start_etcd(im_rpc_t *rpc, im_disc_t *disc)
{
    probes_etcd.conf = &logic_conf.common;
    probes_etcd.rpc = rpc;
    probes_etcd.disc = disc;

    return (im_probe_start(&probes_node) == IM_OK
            && im_probe_etcd_start(&probes_etcd) == IM_OK)
           ? IM_OK : IM_ERROR;
}


void
logic_probes_stop(void)
{
    im_probe_stop_all();
    im_probe_redis_free(&probes_redis);
    im_probe_mysql_free(&probes_mysql);
    im_probe_kafka_free(&probes_kafka);
}


int
logic_probes_wait_stores(void)
{
    int  rc;

    rc = im_probe_wait(&probes_redis.probe);

    return (rc == IM_OK) ? im_probe_mysql_wait(&probes_mysql) : rc;
}


int
logic_probes_wait_kafka(void)
{
    return im_probe_wait(&probes_kafka.probe);
}


void
logic_probes_node(int has)
{
    im_probe_report(&probes_node, has ? NULL
                    : "the node number was lost: no message ids can be made "
                      "until etcd gives one");
}


/*
 * One bad look is not enough: a broker that was busy for a second would have
 * taken the messages.  Nor are two as long as messages are confirmed, or while
 * some partitions have a leader: who is refused cannot show that it works.
 */
int
logic_probes_kafka_away(void)
{
    uint64_t  bad, failed, good;

    if (atomic_load(&probes_kafka.partial)) {
        return 0;
    }

    good = atomic_load(&probes_confirmed_us);
    bad = atomic_load(&probes_kafka.probe.bad_us);

    if (bad > good + PROBES_CONFIRMED_US
        && atomic_load(&probes_kafka.probe.bad_n) >= 2)
    {
        return 1;
    }

    failed = atomic_load(&probes_failed_us);

    return failed > good && failed > atomic_load(&probes_kafka.probe.seen_us);
}


void
logic_probes_kafka_confirmed(void)
{
    atomic_store(&probes_confirmed_us, im_mono_us());
}


/* The probe decides; it does so now. */
void
logic_probes_kafka_failed(void)
{
    atomic_store(&probes_failed_us, im_mono_us());
    im_probe_kick(&probes_kafka.probe);
}


int
logic_probes_mysql_away(void)
{
    uint64_t  bad, good;

    if (probes_mysql_is_slow()) {
        return 1;
    }

    good = probes_mysql_good_us();
    bad = atomic_load(&probes_mysql.probe.bad_us);

    return atomic_load(&probes_silent_us) > good
           || (bad > good && atomic_load(&probes_mysql.probe.bad_n) >= 2);
}


static int
probes_mysql_is_slow(void)
{
    unsigned  i;
    uint64_t  asks_us;

    for (i = 0; i < LOGIC_PROBES_ASKERS; i++) {
        asks_us = atomic_load(&probes_asks_us[i]);

        if (asks_us != 0 && im_mono_us() > asks_us + IM_ASK_MS * 1000) {
            return 1;
        }
    }

    return 0;
}


void
logic_probes_mysql_asks(unsigned asker)
{
    atomic_store(&probes_asks_us[asker], im_mono_us());
}


void
logic_probes_mysql_asked(unsigned asker)
{
    atomic_store(&probes_asks_us[asker], 0);
}


int
logic_probes_mysql_gone(void)
{
    uint64_t  good;

    good = probes_mysql_good_us();

    return atomic_load(&probes_mysql.probe.bad_us) > good
           && im_mono_us() - good > PROBES_GONE_US;
}


/* When it was seen to work last. */
static uint64_t
probes_mysql_good_us(void)
{
    uint64_t  answered, seen;

    answered = atomic_load(&probes_answered_us);
    seen = atomic_load(&probes_mysql.probe.seen_us);

    return (seen > answered) ? seen : answered;
}


void
logic_probes_mysql_answered(void)
{
    atomic_store(&probes_answered_us, im_mono_us());
}


/* The probe looks now, and goes on. */
void
logic_probes_mysql_failed(void)
{
    atomic_store(&probes_silent_us, im_mono_us());
    im_probe_kick(&probes_mysql.probe);
}


uint64_t
logic_probes_away_ms(void)
{
    size_t      i;
    uint64_t    now, seen, away;
    im_probe_t  *probes[] = {
        &probes_redis.probe, &probes_kafka.probe, &probes_mysql.probe
    };

    now = im_mono_us();
    away = 0;

    for (i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        seen = atomic_load(&probes[i]->seen_us);

        if (atomic_load(&probes[i]->bad_us) != 0 && now - seen > away) {
            away = now - seen;
        }
    }

    return away / 1000;
}
