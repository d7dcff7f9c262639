/*
 * task_main.c -- im-task: its steps, and its health.
 *
 * Only the push role needs etcd and gRPC: it must know the Connect instances,
 * and registers itself.  The health port is taken first and the consumer groups
 * are joined last, so that a start that fails costs the other members no
 * rebalance.
 *
 * The table below is the whole order of start and stop; a stop goes through it
 * backwards.
 */

#include <stdatomic.h>
#include <stdio.h>

#include "im_daemon.h"
#include "im_health.h"
#include "im_member.h"
#include "im_peers.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "task_peer.h"
#include "task_probes.h"
#include "task_push.h"
#include "task_store.h"


#define MAIN_LISTING_MS  5000      /* then push begins with what is known */
#define MAIN_GROUPS_MS   10000     /* then it is ready without its partitions */


static int main_probe(void);
static int main_create_rpc(void);
static int main_watch_etcd(void);
static void main_leave_etcd(void);
static int main_probe_etcd(void);
static int main_subscribe(void);
static int main_is_subscribed(void *ctx);
static void main_on_subscribe(void *ctx);
static int main_start_push(void);
static int main_start_store(void);
static int main_join_groups(void);
static int main_has_joined(void *ctx);
static int main_register(void);
static void main_on_register(void *ctx);
static void main_leave(void);
static int main_report(void);
static void main_health(char *json, size_t size);


/*
 * name, start, stop; and in the comment, who may call in while it stops.  The
 * rpc thread runs until "rpc" has stopped.
 */
static const im_step_t  main_steps[] = {

    /* an operator's request, answered as "starting" */
    { "health port", im_member_take_port, im_health_stop },

    /* nobody */
    { "probes", main_probe, task_probes_stop },
    { "stores", task_probes_wait_stores, NULL },

    /* nobody: the streams to them ended with the rpc thread */
    { "peers", NULL, task_peer_stop },

    /* its own thread, which ends here */
    { "rpc", main_create_rpc, im_member_stop_rpc },

    /* the rpc thread: instances that come and go */
    { "etcd", main_watch_etcd, main_leave_etcd },

    /* the rpc thread: the answer of etcd to the last look.  All probes end
     * here, because this one looks through the runtime */
    { "probe of etcd", main_probe_etcd, task_probes_stop },
    { "subscription", main_subscribe, NULL },

    /* the rpc thread: what instances confirm */
    { "push", main_start_push, task_push_stop },

    /* nobody */
    { "store", main_start_store, task_store_stop },

    /* nobody: it is for operators */
    { "registration", main_register, main_leave },

    { "groups", main_join_groups, NULL },

    /* an operator's request that is just being answered: waited for */
    { "report", main_report, im_health_stop_report },

    { NULL, NULL, NULL }
};


static atomic_int     main_subscribed;


int
main(int argc, char **argv)
{
    int          status;
    im_daemon_t  d = {
        .name = "im-task",
        .tier = "task",
        .about = "carries messages from Kafka to their recipients and to MySQL",
        .keys = task_conf_keys,
        .conf = &task_conf,
        .check = task_conf_check,
        .role = &task_conf.option
    };

    if (im_daemon_init(&d, argc, argv, &status) != IM_OK) {
        return status;
    }

    im_member_init(&task_conf.common, d.tier);

    return im_steps_run(main_steps, d.name,
                        IM_STOP_MS + task_conf.push_confirm_ms);
}


static int
main_probe(void)
{
    return task_probes_start(task_conf.pushes, task_conf.stores);
}


static int
main_create_rpc(void)
{
    return task_conf.pushes ? im_member_start_rpc() : IM_OK;
}


static int
main_watch_etcd(void)
{
    return task_conf.pushes ? im_member_start_etcd() : IM_OK;
}


static void
main_leave_etcd(void)
{
    im_member_stop_etcd(NULL);
}


static int
main_probe_etcd(void)
{
    return task_conf.pushes
           ? task_probes_start_etcd(im_member_rpc(), im_member_disc()) : IM_OK;
}


/* Push begins when etcd has listed the instances: before that, messages would
 * wait for instances that only seem to be missing. */
static int
main_subscribe(void)
{
    int  rc;

    if (!task_conf.pushes) {
        return IM_OK;
    }

    if (im_rpc_post(im_member_rpc(), main_on_subscribe, NULL) != IM_OK) {
        return IM_ERROR;
    }

    rc = im_daemon_until(main_is_subscribed, NULL, MAIN_LISTING_MS);

    if (rc != IM_AGAIN) {
        return rc;
    }

    im_log(IM_LOG_WARN, "etcd at %s has not answered for %d ms: messages are "
           "pushed once it does", task_conf.common.etcd_endpoints,
           MAIN_LISTING_MS);

    return IM_OK;
}


static int
main_is_subscribed(void *ctx)
{
    (void) ctx;

    return im_disc_ready(im_member_disc()) && atomic_load(&main_subscribed);
}


/* rpc thread */
static void
main_on_subscribe(void *ctx)
{
    (void) ctx;

    if (task_peer_start(im_member_disc()) != IM_OK) {
        im_log(IM_LOG_ERR, "out of memory: connect instances cannot be "
               "subscribed to, nothing is pushed");
        return;
    }

    atomic_store(&main_subscribed, 1);
}


static int
main_start_push(void)
{
    return task_conf.pushes ? task_push_start() : IM_OK;
}


static int
main_start_store(void)
{
    return task_conf.stores ? task_store_start() : IM_OK;
}


/* Whoever starts us one after the other may stop the next instance when this
 * one is ready, so it must have its partitions by then. */
static int
main_join_groups(void)
{
    int  rc;

    rc = im_daemon_until(main_has_joined, NULL, MAIN_GROUPS_MS);

    if (rc != IM_AGAIN) {
        return rc;
    }

    im_log(IM_LOG_WARN, "kafka: the consumer groups have given no partitions "
           "for %d ms: messages are pushed and stored once they do",
           MAIN_GROUPS_MS);

    return IM_OK;
}


static int
main_has_joined(void *ctx)
{
    (void) ctx;

    return (!task_conf.pushes || task_push_has_joined())
           && (!task_conf.stores || task_store_has_joined());
}


static int
main_register(void)
{
    return task_conf.pushes
           ? im_rpc_post(im_member_rpc(), main_on_register, NULL) : IM_OK;
}


/* rpc thread.  Nobody calls us: for operators, who find /healthz at this
 * address. */
static void
main_on_register(void *ctx)
{
    (void) ctx;

    if (im_member_register(im_health_address(), NULL) != IM_OK) {
        im_log(IM_LOG_ERR, "this instance cannot be registered in etcd");
    }
}


/* Push and store end their last batches side by side from here on. */
static void
main_leave(void)
{
    task_push_end();
    task_store_end();

    (void) im_member_leave();
}


static int
main_report(void)
{
    im_health_report(main_health);

    return IM_OK;
}


/* The lag is the last one that the library got: without Kafka it is unknown. */
static void
main_health(char *json, size_t size)
{
    char                peers[384], lag[24];
    task_push_stats_t   p;
    task_store_stats_t  s;

    im_peers_health(im_member_disc(), peers, sizeof(peers));
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
             task_conf.pushes ? "true" : "false",
             task_conf.stores ? "true" : "false",
             task_peer_count(),
             (unsigned long long) p.records, (unsigned long long) p.pushed,
             (unsigned long long) p.repeated, (unsigned long long) p.dropped,
             (unsigned long long) p.unconfirmed,
             (unsigned long long) s.records, (unsigned long long) s.stored,
             (unsigned long long) s.known, (unsigned long long) s.dead,
             (unsigned long long) s.reused, lag, peers);
}
