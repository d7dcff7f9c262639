/*
 * logic_main.c -- im-logic: its steps, and what it says of itself.
 *
 * The table below is the whole order of start and stop; a stop goes through it
 * backwards.  It begins with telling etcd that we leave, so that nobody picks
 * us, and waits for the workers to close their streams; then the server ends
 * what is under way; then the threads behind it end.  What the rpc thread may
 * touch (queues, pools, names, caches) is freed when that thread has ended: a
 * drain that took too long then finds queues that refuse, and no freed memory.
 *
 * The threads of im-logic:
 *
 *   rpc thread     takes calls and stream batches, hands them to queues
 *   shard threads  order, dedupe and produce messages        logic_intake.c,
 *                                                             logic_batch.c
 *   report thread  acks what Kafka has confirmed             logic_produce.c
 *   fate           numbers of what was refused               logic_fate.c
 *   decided        has Redis lost its memory?                logic_decided.c
 *   presence       opens and closes, notifications           logic_presence.c
 *   janitor        Redis's memory, what dead workers left    logic_janitor.c
 *   voids          writes void numbers down          logic_voids_writer.c
 *   rooms          users online in rooms, and events      logic_rooms_online.c
 *   trim           rows of live rooms are deleted           logic_rooms_trim.c
 *   questions      what shards must ask of MySQL           logic_asking.c
 *   pools          "auth" (password hashing), "query", "live" (Redis only),
 *                  "removed" (workers ask who was),
 *                  "sync" (waits for the store, answers
 *                  many at once)                           logic_pool.c
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "im_clock.h"
#include "im_daemon.h"
#include "im_health.h"
#include "im_log.h"
#include "im_member.h"
#include "im_peers.h"
#include "im_snowflake.h"
#include "im_steps.h"
#include "im_timeouts.h"
#include "logic_alive.h"
#include "logic_asking.h"
#include "logic_calls.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_fate.h"
#include "logic_ids.h"
#include "logic_intake.h"
#include "logic_janitor.h"
#include "logic_owner.h"
#include "logic_presence.h"
#include "logic_probes.h"
#include "logic_produce.h"
#include "logic_repeats.h"
#include "logic_rooms_admit.h"
#include "logic_rooms_online.h"
#include "logic_rooms_trim.h"
#include "logic_settle.h"
#include "logic_users.h"
#include "logic_voids.h"
#include "logic_workers.h"


static int main_prepare(void);
static void main_forget_names(void);
static void main_leave_etcd(void);
static int main_probe_etcd(void);
static int main_start_decided(void);
static int main_start_repeats(void);
static int main_start_presence(void);
static int main_start_online(void);
static int main_serve(void);
static void main_drain(void);
static int main_register(void);
static void main_leave(void);
static int main_report(void);
static void main_on_register(void *ctx);
static void main_on_node(void *ctx, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms);
static void main_on_node_limit(void *ctx, uint64_t limit_ms);
static void main_on_node_lost(void *ctx);
static uint64_t main_minted_ms(void *ctx);
static unsigned main_queue_pct(void *ctx);
static void main_on_drained(void *ctx);
static void main_health(char *json, size_t size);


static const im_disc_node_handler_t  main_node_handler = {
    .got = main_on_node,
    .limit = main_on_node_limit,
    .lost = main_on_node_lost,
    .minted_ms = main_minted_ms
};


/*
 * name, start, stop; and in the comment, who may call in while it stops.  The
 * rpc thread runs until "rpc" has stopped.
 */
static const im_step_t  main_steps[] = {

    /* nobody */
    { "libraries", main_prepare, NULL },

    /* an operator's request, answered as "starting" */
    { "health port", im_member_take_port, im_health_stop },

    /* shards and the report thread have ended: nobody asks of Kafka */
    { "probes", logic_probes_start, logic_probes_stop },
    { "stores", logic_probes_wait_stores, NULL },

    /* nobody: all threads have ended */
    { "names and caches", NULL, main_forget_names },
    { "queues", logic_intake_create, logic_intake_destroy },
    { "fates", logic_fate_create, logic_fate_destroy },
    { "pools", logic_calls_create, logic_calls_destroy },

    /* its own thread, which ends here: late calls and streams find queues and
     * pools that refuse */
    { "rpc", im_member_start_rpc, im_member_stop_rpc },

    /* the rpc thread: timers of load and lease, instances that come and go.
     * The number of the node is given back here, so nobody mints any more */
    { "etcd", im_member_start_etcd, main_leave_etcd },

    /* the rpc thread: the answer of etcd to the last look.  All probes end
     * here, because this one looks through the runtime */
    { "probe of etcd", main_probe_etcd, logic_probes_stop },

    /* a late void, which is dropped */
    { "voids", logic_voids_start, logic_voids_stop },

    /* nobody: threads that ask of the log have ended */
    { "settlement", logic_settle_start, logic_settle_stop },

    /* reports of Kafka, until it is flushed */
    { "producer", logic_produce_start, logic_produce_stop },

    /* pools and the rpc thread: changes, whose answers are not renewed */
    { "questions", logic_asking_start, logic_asking_stop },

    /* the rpc thread: instances that come and go; what ends its numbers */
    { "decided", main_start_decided, logic_decided_stop },

    /* reports of Kafka: what is added then is judged by age */
    { "fate", logic_fate_start, logic_fate_stop },

    /* the rpc thread: a late message, which is refused */
    { "shards", logic_intake_start, logic_intake_stop },

    /* the shards: a late repeat, which is refused */
    { "repeats", main_start_repeats, logic_repeats_stop },

    /* the rpc thread: a late open or close, which is refused */
    { "presence", main_start_presence, logic_presence_stop },

    /* the rpc thread: the name of an instance that died */
    { "janitor", logic_janitor_start, logic_janitor_stop },

    /* the rpc thread: a late report, which is refused; pools have ended */
    { "rooms", main_start_online, logic_rooms_online_stop },

    /* nobody */
    { "trim", logic_rooms_trim_start, logic_rooms_trim_stop },

    /* the rpc thread: a late call, which is refused */
    { "calls", logic_calls_start, logic_calls_stop },

    /* everybody, until what is under way is answered or cancelled */
    { "server", main_serve, main_drain },

    /* the same; the workers see that we leave */
    { "registration", main_register, main_leave },

    /* an operator's request that is just being answered: waited for */
    { "report", main_report, im_health_stop_report },

    { NULL, NULL, NULL }
};


static im_rpc_server_t    *main_server;
static char                main_address[200];
static atomic_int          main_node;
static atomic_int          main_drained;
static uint64_t            main_left_us;       /* the drain began */


int
main(int argc, char **argv)
{
    int          status;
    im_daemon_t  d = {
        .name = "im-logic",
        .tier = "logic",
        .about = "decides: users, sessions, presence, numbers and acks",
        .keys = logic_conf_keys,
        .conf = &logic_conf,
        .check = logic_conf_check
    };

    if (im_daemon_init(&d, argc, argv, &status) != IM_OK) {
        return status;
    }

    im_member_init(&logic_conf.common, d.tier);

    return im_steps_run(main_steps, d.name, IM_STOP_MS);
}


static int
main_prepare(void)
{
    if (sodium_init() < 0 || logic_users_init() != IM_OK) {
        im_log(IM_LOG_ERR, "libsodium cannot be initialised");
        return IM_ERROR;
    }

    atomic_store(&main_node, -1);

    return IM_OK;
}


static void
main_forget_names(void)
{
    logic_alive_stop();
    logic_rooms_admit_clear();
    logic_decided_clear();
}


static void
main_leave_etcd(void)
{
    im_member_stop_etcd(logic_owner_stop);
}


static int
main_probe_etcd(void)
{
    return logic_probes_start_etcd(im_member_rpc(), im_member_disc());
}


static int
main_start_decided(void)
{
    return logic_decided_start(im_member_name());
}


static int
main_start_repeats(void)
{
    return logic_repeats_start(logic_conf.queue);
}


static int
main_start_presence(void)
{
    return logic_presence_start(logic_conf.queue);
}


static int
main_start_online(void)
{
    return logic_rooms_online_start(logic_conf.queue);
}


static int
main_serve(void)
{
    int          host;
    const char  *advertise;

    main_server = logic_calls_serve(im_member_rpc());
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

    im_log(IM_LOG_NOTICE, "%s serves at %s", im_member_name(), main_address);

    return IM_OK;
}


static int
main_register(void)
{
    return im_rpc_post(im_member_rpc(), main_on_register, NULL);
}


/* rpc thread */
static void
main_on_register(void *ctx)
{
    im_disc_t  *disc;

    (void) ctx;

    disc = im_member_disc();

    if (logic_alive_start(disc) != IM_OK
        || logic_owner_start(im_member_rpc(), disc, im_member_name()) != IM_OK
        || logic_decided_watch(disc) != IM_OK
        || im_disc_lease_node(disc, IM_SNOWFLAKE_NODES,
                              &main_node_handler, NULL) != IM_OK
        || im_member_register(main_address, main_queue_pct) != IM_OK)
    {
        im_log(IM_LOG_ERR, "this instance cannot be registered in etcd");
    }
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


/* In the order of a stop: the workers are notified, and close their streams
 * when all is answered. */
static void
main_leave(void)
{
    int                   ms;
    struct timespec       tick = { 0, 10000000 };
    logic_intake_stats_t  stats;

    main_left_us = im_mono_us();

    if (im_member_leave() != IM_OK) {
        return;
    }

    for (ms = 0; ms < IM_DRAIN_MS; ms += 10) {
        nanosleep(&tick, NULL);
        logic_intake_stats(&stats);

        if (ms >= IM_DRAIN_SEEN_MS && stats.waiting == 0
            && logic_workers_count() == 0)
        {
            return;
        }
    }
}


/* Calls have what is left of IM_DRAIN_MS; what overruns it is cancelled. */
static void
main_drain(void)
{
    unsigned  ms;

    if (main_server == NULL) {
        return;
    }

    ms = (unsigned) ((im_mono_us() - main_left_us) / 1000);
    ms = (ms + IM_DRAIN_LAST_MS < IM_DRAIN_MS) ? IM_DRAIN_MS - ms
                                               : IM_DRAIN_LAST_MS;

    im_rpc_server_drain(main_server, ms, main_on_drained, NULL);

    if (im_member_until(&main_drained, (int) ms + IM_DRAIN_LAST_MS) != IM_OK) {
        im_log(IM_LOG_WARN, "calls are not answered in time: they are "
               "cancelled");
    }
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


static int
main_report(void)
{
    im_health_report(main_health);

    return IM_OK;
}


static void
main_health(char *json, size_t size)
{
    char                  peers[384];
    uint64_t              voids, undecided;
    logic_intake_stats_t  s;

    logic_intake_stats(&s);
    logic_fate_stats(&voids, &undecided);
    im_peers_health(im_member_disc(), peers, sizeof(peers));

    snprintf(json, size,
             ",\"node\":%d,\"refusing\":%s,\"links\":%u,"
             "\"other_keys\":%u,\"accepted\":%llu,"
             "\"repeated\":%llu,\"refused\":%llu,\"waiting\":%llu,"
             "\"voids\":%llu,\"undecided\":%llu%s",
             atomic_load(&main_node),
             logic_probes_kafka_away() ? "true" : "false",
             logic_workers_count(), logic_workers_other_keys(),
             (unsigned long long) s.accepted,
             (unsigned long long) s.repeated,
             (unsigned long long) s.refused,
             (unsigned long long) s.waiting,
             (unsigned long long) voids,
             (unsigned long long) undecided, peers);
}
