/*
 * task_main.c -- im-task: start, stop, and how it is.
 *
 * Only the push role needs etcd and gRPC: it must know the Connect instances,
 * and says that it is there.
 * The health port is taken first and the consumer groups are joined last, so
 * that a start that fails costs the other members no rebalance.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_peers.h"
#include "im_timeouts.h"
#include "task_peer.h"
#include "task_probes.h"
#include "task_push.h"
#include "task_store.h"


#define MAIN_LISTING_MS  5000      /* then push begins with what is known */


static const char *main_check(void *conf);
static int main_start(void);
static int main_start_peers(void);
static void main_on_subscribe(void *ctx);
static void main_stop(void);
static void main_on_leave(void *ctx);
static void main_on_forget(void *ctx);
static void main_health(char *json, size_t size);


task_conf_t  task_conf;


#define KEY(section, key, type, field, value, min, max, doc)                  \
    { section, key, type, offsetof(task_conf_t, field), value, min, max, doc }

static const im_conf_key_t  main_keys[] = {
    KEY("task", "role", IM_CONF_STR, role, "all", 0, 0,
        "push, store or all; --role goes before it"),
    KEY("kafka", "dead_topic", IM_CONF_STR, dead_topic, "im.dead", 0, 0,
        "of the records that MySQL refuses for good"),
    KEY("kafka", "session_ms", IM_CONF_UINT, session_ms,
        IM_TIMEOUT_STR(IM_KAFKA_SESSION_MS), 2000, 60000,
        "a member that dies is replaced after this long"),
    KEY("kafka", "poll_max_ms", IM_CONF_UINT, poll_max_ms,
        IM_TIMEOUT_STR(IM_KAFKA_POLL_MAX_MS), 2000, 600000,
        "a member that hangs is replaced after this long"),
    KEY("push", "group", IM_CONF_STR, push_group, "im.push", 0, 0,
        "consumer group of all instances that push"),
    KEY("push", "batch", IM_CONF_UINT, push_batch, "500", 1, 10000,
        "records taken at a time"),
    KEY("push", "confirm_ms", IM_CONF_UINT, push_confirm_ms, "2000", 100,
        20000, "longest wait for a Connect instance"),
    KEY("store", "group", IM_CONF_STR, store_group, "im.store", 0, 0,
        "consumer group of all instances that store"),
    KEY("store", "batch", IM_CONF_UINT, store_batch, "1000", 1, 10000,
        "rows of one INSERT, at most"),
    KEY("store", "fill_ms", IM_CONF_UINT, store_fill_ms, "40", 0, 500,
        "longest wait of the broker for a fuller batch"),
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};


static const char    *main_role;
static int            main_pushes, main_stores;      /* by its role */
static int            main_pushing, main_storing;    /* once they run */
static char           main_instance[160];
static im_rpc_t      *main_rpc;
static im_disc_t     *main_disc;
static atomic_int     main_subscribed;
static atomic_int     main_forgotten;


int
main(int argc, char **argv)
{
    int          rc, status;
    im_daemon_t  d;

    memset(&d, 0, sizeof(d));
    d.name = "im-task";
    d.about = "carries messages from Kafka to their recipients and to MySQL";
    d.keys = main_keys;
    d.conf = &task_conf;
    d.check = main_check;
    d.role = &main_role;

    if (im_daemon_init(&d, argc, argv, &status) != IM_OK) {
        return status;
    }

    rc = main_start();

    if (rc == IM_OK) {
        im_daemon_wait();
    }

    main_stop();                       /* also what was half started */

    if (rc == IM_ERROR) {
        im_log(IM_LOG_ERR, "im-task cannot start");
        return 1;
    }

    im_log(IM_LOG_NOTICE, "im-task ends");

    return 0;
}


static const char *
main_check(void *conf)
{
    const char   *role;
    task_conf_t  *c = conf;

    role = (main_role != NULL) ? main_role : c->role;

    if (strcmp(role, "push") != 0 && strcmp(role, "store") != 0
        && strcmp(role, "all") != 0)
    {
        return "the role is push, store or all";
    }

    if (c->poll_max_ms < c->session_ms) {
        return "[kafka] poll_max_ms is less than session_ms";
    }

    main_pushes = strcmp(role, "store") != 0;
    main_stores = strcmp(role, "push") != 0;

    return NULL;
}


static int
main_start(void)
{
    int  rc;

    im_instance_name(main_instance, sizeof(main_instance));

    rc = im_health_start(&task_conf.common, main_instance);

    if (rc == IM_OK) {
        rc = task_probes_start(main_pushes, main_stores);
    }

    if (rc == IM_OK) {
        rc = task_probes_wait_stores();
    }

    if (rc == IM_OK && main_pushes) {
        rc = main_start_peers();
    }

    if (rc == IM_OK && main_pushes) {
        rc = task_push_start();
        main_pushing = (rc == IM_OK);
    }

    if (rc == IM_OK && main_stores) {
        rc = task_store_start();
        main_storing = (rc == IM_OK);
    }

    if (rc == IM_OK) {
        im_health_report(main_health);
    }

    return rc;
}


/* Push begins when etcd has told who is there: without that, messages would
 * be held up for instances that only seem to be missing. */
static int
main_start_peers(void)
{
    unsigned  waited;

    main_rpc = im_peers_rpc(&task_conf.common);

    if (main_rpc == NULL
        || (main_disc = im_peers_disc(&task_conf.common, main_rpc))
           == NULL
        || task_probes_start_etcd(main_rpc, main_disc) != IM_OK
        || im_rpc_post(main_rpc, main_on_subscribe, NULL) != IM_OK)
    {
        return IM_ERROR;
    }

    for (waited = 0; waited < MAIN_LISTING_MS; waited += 20) {

        if (im_disc_ready(main_disc) && atomic_load(&main_subscribed)) {
            return IM_OK;
        }

        if (im_daemon_sleep(20)) {
            return IM_DONE;
        }
    }

    im_log(IM_LOG_WARN, "etcd at %s has not answered for %d ms: messages are "
           "pushed once it does", task_conf.common.etcd_endpoints,
           MAIN_LISTING_MS);

    return IM_OK;
}


/* rpc thread */
static void
main_on_subscribe(void *ctx)
{
    im_disc_self_t  self;

    (void) ctx;

    if (task_peer_start(main_disc) != IM_OK) {
        im_log(IM_LOG_ERR, "out of memory: connect instances cannot be "
               "subscribed to, nothing is pushed");
        return;
    }

    /* nobody calls us: for operators, who find /healthz at this address */

    memset(&self, 0, sizeof(self));
    self.service = "task";
    self.id = main_instance;
    self.address = im_health_address();
    (void) im_disc_register(main_disc, &self);

    atomic_store(&main_subscribed, 1);
}


static void
main_stop(void)
{
    int              ms;
    struct timespec  ts = { 0, 10000000 };

    im_health_stop();

    if (main_disc != NULL) {
        (void) im_rpc_post(main_rpc, main_on_leave, NULL);
    }

    if (main_pushing) {
        task_push_stop();
    }

    task_probes_stop();

    if (main_disc != NULL
        && im_rpc_post(main_rpc, main_on_forget, NULL) == IM_OK)
    {
        for (ms = 2000; ms > 0 && !atomic_load(&main_forgotten); ms -= 10) {
            nanosleep(&ts, NULL);
        }
    }

    im_rpc_destroy(main_rpc);
    task_peer_stop();

    if (main_storing) {
        task_store_stop();
    }
}


/* rpc thread */
static void
main_on_leave(void *ctx)
{
    (void) ctx;

    im_disc_drain(main_disc, "task");
}


/* rpc thread */
static void
main_on_forget(void *ctx)
{
    (void) ctx;

    im_disc_destroy(main_disc);
    atomic_store(&main_forgotten, 1);
}


/* The lag is what the library has heard last: without Kafka it is unknown. */
static void
main_health(char *json, size_t size)
{
    char                peers[256], lag[24];
    task_push_stats_t   p;
    task_store_stats_t  s;

    im_peers_health(main_disc, peers, sizeof(peers));
    task_push_stats(&p);
    task_store_stats(&s);

    snprintf(lag, sizeof(lag),
             (s.lag >= 0 && task_probes_kafka_is_up()) ? "%lld" : "null",
             (long long) s.lag);

    snprintf(json, size,
             ",\"push\":%s,\"store\":%s,"
             "\"peers\":%u,\"push_records\":%llu,\"pushed\":%llu,"
             "\"repeated\":%llu,\"dropped\":%llu,\"unconfirmed\":%llu,"
             "\"store_records\":%llu,\"stored\":%llu,\"known\":%llu,"
             "\"dead\":%llu,\"reused\":%llu,\"lag\":%s%s",
             main_pushes ? "true" : "false", main_stores ? "true" : "false",
             task_peer_count(),
             (unsigned long long) p.records, (unsigned long long) p.pushed,
             (unsigned long long) p.repeated, (unsigned long long) p.dropped,
             (unsigned long long) p.unconfirmed,
             (unsigned long long) s.records, (unsigned long long) s.stored,
             (unsigned long long) s.known, (unsigned long long) s.dead,
             (unsigned long long) s.reused, lag, peers);
}
