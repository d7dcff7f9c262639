/*
 * logic_main.c -- im-logic: start, what it says of itself, stop.
 *
 * Start: take the health port, wait for what is needed, listen, register in
 * etcd, take a node number.  Stop: mark ourselves as leaving, so that
 * nobody picks us; wait until what is under way is answered, 3 s at most;
 * finish the queues; flush Kafka; unregister.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "im_peers.h"
#include "im_snowflake.h"
#include "im_timeouts.h"
#include "logic_alive.h"
#include "logic_calls.h"
#include "logic_conf.h"
#include "logic_home.h"
#include "logic_ids.h"
#include "logic_intake.h"
#include "logic_janitor.h"
#include "logic_links.h"
#include "logic_presence.h"
#include "logic_probes.h"
#include "logic_repeats.h"
#include "logic_rooms_online.h"
#include "logic_rooms_trim.h"
#include "logic_settle.h"
#include "logic_users.h"


static int main_start(void);
static int main_serve(void);
static void main_stop(void);
static void main_on_register(void *ctx);
static void main_on_node(void *ctx, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms);
static void main_on_node_limit(void *ctx, uint64_t limit_ms);
static void main_on_node_lost(void *ctx);
static uint64_t main_minted_ms(void *ctx);
static void main_on_leave(void *ctx);
static unsigned main_queue_pct(void *ctx);
static void main_on_forget(void *ctx);
static void main_until(atomic_int *flag, int ms);
static void main_on_drained(void *ctx);
static void main_health(char *json, size_t size);


static const im_disc_node_handler_t  main_node_handler = {
    .got = main_on_node,
    .limit = main_on_node_limit,
    .lost = main_on_node_lost,
    .minted_ms = main_minted_ms
};


static im_rpc_t           *main_rpc;
static im_rpc_server_t    *main_server;
static im_disc_t          *main_disc;
static char                main_instance[160];
static char                main_address[200];
static atomic_int          main_node;
static atomic_int          main_forgotten;
static atomic_int          main_drained;


int
main(int argc, char **argv)
{
    int          rc, status;
    im_daemon_t  d;

    memset(&d, 0, sizeof(d));
    d.name = "im-logic";
    d.about = "decides: users, sessions, presence, numbers and acks";
    d.keys = logic_conf_keys;
    d.conf = &logic_conf;
    d.check = logic_conf_check;

    if (im_daemon_init(&d, argc, argv, &status) != IM_OK) {
        return status;
    }

    rc = main_start();

    if (rc == IM_OK) {
        im_daemon_wait();
        main_stop();

    } else {
        im_health_stop();
        logic_probes_stop();
    }

    if (rc == IM_ERROR) {
        im_log(IM_LOG_ERR, "im-logic cannot start");
        return 1;
    }

    im_log(IM_LOG_NOTICE, "im-logic ends");

    return 0;
}


static int
main_start(void)
{
    int  rc;

    if (sodium_init() < 0 || logic_users_init() != IM_OK) {
        im_log(IM_LOG_ERR, "libsodium cannot be initialised");
        return IM_ERROR;
    }

    atomic_store(&main_node, -1);
    im_instance_name(main_instance, sizeof(main_instance));

    if (im_health_start(&logic_conf.common, main_instance) != IM_OK
        || logic_probes_start() != IM_OK)
    {
        return IM_ERROR;
    }

    rc = logic_probes_wait_stores();
    if (rc != IM_OK) {
        return rc;
    }

    if (logic_settle_start() != IM_OK) {
        return IM_ERROR;
    }

    rc = logic_intake_start();
    if (rc != IM_OK) {
        return rc;
    }

    if (logic_calls_start() != IM_OK
        || logic_presence_start(logic_conf.queue) != IM_OK
        || logic_janitor_start() != IM_OK
        || logic_rooms_online_start(logic_conf.queue) != IM_OK
        || logic_rooms_trim_start() != IM_OK)
    {
        return IM_ERROR;
    }

    main_rpc = im_peers_rpc(&logic_conf.common);
    if (main_rpc == NULL || main_serve() != IM_OK) {
        return IM_ERROR;
    }

    main_disc = im_peers_disc(&logic_conf.common, main_rpc);

    if (main_disc == NULL
        || logic_probes_start_etcd(main_rpc, main_disc) != IM_OK
        || im_rpc_post(main_rpc, main_on_register, NULL) != IM_OK)
    {
        return IM_ERROR;
    }

    im_health_report(main_health);

    return IM_OK;
}


static int
main_serve(void)
{
    int          host;
    const char  *advertise;

    main_server = logic_calls_serve(main_rpc);
    if (main_server == NULL) {
        return IM_ERROR;
    }

    advertise = logic_conf.rpc_advertise;
    host = (int) strlen(advertise);

    if (host == 0) {
        advertise = logic_conf.rpc_listen;
        host = (int) (strrchr(advertise, ':') - advertise);
    }

    snprintf(main_address, sizeof(main_address), "%.*s:%u", host, advertise,
             im_rpc_server_port(main_server));

    im_log(IM_LOG_NOTICE, "%s serves at %s", main_instance, main_address);

    return IM_OK;
}


/* rpc thread */
static void
main_on_register(void *ctx)
{
    im_disc_self_t  self;

    (void) ctx;

    memset(&self, 0, sizeof(self));
    self.service = "logic";
    self.id = main_instance;
    self.address = main_address;
    self.queue = main_queue_pct;

    (void) logic_alive_start(main_disc);
    (void) logic_home_start(main_rpc, main_disc, main_instance);
    (void) im_disc_lease_node(main_disc, IM_SNOWFLAKE_NODES,
                              &main_node_handler, NULL);
    (void) im_disc_register(main_disc, &self);
}


static void
main_on_node(void *ctx, unsigned node, uint64_t floor_ms, uint64_t limit_ms)
{
    (void) ctx;

    atomic_store(&main_node, (int) node);
    logic_ids_set_node((int) node, floor_ms, limit_ms);
    logic_probes_node(1);
}


static void
main_on_node_limit(void *ctx, uint64_t limit_ms)
{
    (void) ctx;

    logic_ids_set_limit(limit_ms);
}


static void
main_on_node_lost(void *ctx)
{
    (void) ctx;

    atomic_store(&main_node, -1);
    logic_ids_set_node(-1, 0, 0);
    logic_probes_node(0);
}


static uint64_t
main_minted_ms(void *ctx)
{
    (void) ctx;

    return logic_ids_minted_ms();
}


static void
main_stop(void)
{
    int                   ms;
    struct timespec       tick = { 0, 10000000 };
    logic_intake_stats_t  stats;

    if (im_rpc_post(main_rpc, main_on_leave, NULL) == IM_OK) {

        for (ms = 0; ms < IM_DRAIN_SEEN_MS + IM_DRAIN_MS; ms += 10) {
            nanosleep(&tick, NULL);
            logic_intake_stats(&stats);

            if (ms >= IM_DRAIN_SEEN_MS && stats.waiting == 0
                && logic_links_count() == 0)
            {
                break;                 /* the workers have closed theirs */
            }
        }
    }

    im_rpc_server_drain(main_server, IM_DRAIN_MS, main_on_drained, NULL);
    main_until(&main_drained, IM_DRAIN_MS + 500);

    logic_calls_stop();
    logic_intake_stop();
    logic_settle_stop();
    logic_presence_stop();
    logic_janitor_stop();
    logic_rooms_online_stop();
    logic_rooms_trim_stop();
    im_health_stop();
    logic_probes_stop();

    if (im_rpc_post(main_rpc, main_on_forget, NULL) == IM_OK) {
        main_until(&main_forgotten, 2000);
    }

    im_rpc_destroy(main_rpc);
    logic_alive_stop();
}


static void
main_until(atomic_int *flag, int ms)
{
    struct timespec  ts = { 0, 10000000 };

    for (; ms > 0 && !atomic_load(flag); ms -= 10) {
        nanosleep(&ts, NULL);
    }
}


/* rpc thread */
static void
main_on_leave(void *ctx)
{
    (void) ctx;
    im_disc_drain(main_disc, "logic");
}


/* rpc thread */
static void
main_on_forget(void *ctx)
{
    (void) ctx;
    logic_home_stop();
    im_disc_destroy(main_disc);
    atomic_store(&main_forgotten, 1);
}


/* rpc thread */
static unsigned
main_queue_pct(void *ctx)
{
    uint64_t              pct;
    logic_intake_stats_t  s;

    (void) ctx;

    logic_intake_stats(&s);
    pct = s.waiting * 100 / ((uint64_t) logic_conf.queue * logic_conf.shards);

    return (pct < 100) ? (unsigned) pct : 100;
}


static void
main_on_drained(void *ctx)
{
    (void) ctx;
    atomic_store(&main_drained, 1);
}


static void
main_health(char *json, size_t size)
{
    char                  peers[256];
    logic_intake_stats_t  s;

    logic_intake_stats(&s);
    im_peers_health(main_disc, peers, sizeof(peers));

    snprintf(json, size,
             ",\"node\":%d,\"links\":%u,\"accepted\":%llu,"
             "\"repeated\":%llu,\"refused\":%llu,\"waiting\":%llu,"
             "\"voids\":%llu%s",
             atomic_load(&main_node), logic_links_count(),
             (unsigned long long) s.accepted,
             (unsigned long long) s.repeated,
             (unsigned long long) s.refused,
             (unsigned long long) s.waiting,
             (unsigned long long) logic_repeats_voids(), peers);
}
