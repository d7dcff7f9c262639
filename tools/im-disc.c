/*
 * im-disc.c -- shows who is alive as the servers see it, by the same code.
 *
 *   im-disc [options] watch                     one line for each change
 *   im-disc [options] register SERVICE ID HOST:PORT   until it is stopped
 *
 *   --etcd H:P,...  endpoints (127.0.0.1:2379)
 *   --prefix /P     first part of all keys (/im)
 *   --lease S       seconds (3)
 *   --node          register: lease a node number, too
 *   --nodes N       how many of them there are (1024)
 *   --minted MS     the time of the last id, as it says; since 1970 (0)
 *   --tls-ca FILE   of etcd
 *   --for S         ends by itself after so many seconds
 *
 * Lines of watch, with the time since it was started in ms:
 *
 *   12 up logic host-17-5f3c 127.0.0.1:4100 boot 5f0c... load 12
 *   80 changed logic host-17-5f3c draining load 12
 *   95 down logic host-17-5f3c
 *
 * SIGTERM: a registration drains (500 ms), then leaves.  SIGUSR1: only drains.
 * Exit code 0, or 2 when the command line is wrong.
 */

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_disc.h"
#include "im_pem.h"
#include "im_snowflake.h"
#include "im_text.h"
#include "im_timeouts.h"


#define DRAIN_MS  500


typedef struct {
    const char      *etcd;
    const char      *prefix;
    const char      *ca;
    unsigned         lease_s;
    unsigned         seconds;
    unsigned         node;
    unsigned         nodes;
    uint64_t         minted_ms;
    im_disc_self_t   self;         /* service NULL: watch */
} options_t;


static int parse(int argc, char **argv);
static int usage(void);
static void on_start(void *ctx);
static void on_up(void *ctx, im_disc_instance_t *inst);
static void on_changed(void *ctx, im_disc_instance_t *inst);
static void on_down(void *ctx, im_disc_instance_t *inst);
static void on_node(void *ctx, unsigned node, uint64_t floor_ms,
    uint64_t limit_ms);
static void on_node_limit(void *ctx, uint64_t limit_ms);
static void on_node_lost(void *ctx);
static uint64_t minted_ms(void *ctx);
static void on_drain(void *ctx);
static void on_stop(void *ctx);
static void on_log(void *ctx, int level, const char *msg);
static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


static const im_disc_handler_t  handler = {
    .up = on_up,
    .changed = on_changed,
    .down = on_down
};

static const im_disc_node_handler_t  node_handler = {
    .got = on_node,
    .limit = on_node_limit,
    .lost = on_node_lost,
    .minted_ms = minted_ms
};

static const char *const  services[] = { "connect", "logic", "task" };

static options_t        options = { .etcd = "127.0.0.1:2379",
                                    .prefix = "/im",
                                    .nodes = IM_SNOWFLAKE_NODES,
                                    .lease_s = IM_ETCD_LEASE_S };
static im_disc_t       *disc;
static atomic_int       stopped;
static struct timespec  began;


int
main(int argc, char **argv)
{
    int              sig, ms;
    char             reason[IM_PEM_REASON_MAX];
    im_pem_t         pem;
    sigset_t         signals;
    im_rpc_t        *rpc;
    im_rpc_tls_t     tls;
    im_rpc_conf_t    rc;
    im_disc_conf_t   dc;
    struct timespec  limit, tick = { 0, 10000000 };

    if (parse(argc, argv) != IM_OK) {
        return usage();
    }

    clock_gettime(CLOCK_MONOTONIC, &began);
    setvbuf(stdout, NULL, _IOLBF, 0);

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    memset(&rc, 0, sizeof(rc));
    rc.log = on_log;
    rpc = im_rpc_create(&rc);

    if (im_pem_load(&pem, options.ca, NULL, NULL, reason, sizeof(reason))
        != IM_OK)
    {
        fprintf(stderr, "im-disc: %s\n", reason);
        return 1;
    }

    memset(&tls, 0, sizeof(tls));
    tls.ca = pem.ca;

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = options.etcd;
    dc.prefix = options.prefix;
    dc.tls = &tls;
    dc.lease_s = options.lease_s;
    dc.log = on_log;
    disc = (rpc != NULL) ? im_disc_create(rpc, &dc) : NULL;
    im_pem_free(&pem);

    if (disc == NULL || im_rpc_post(rpc, on_start, NULL) != IM_OK) {
        fprintf(stderr, "im-disc: cannot start\n");
        return 1;
    }

    for ( ;; ) {
        limit.tv_sec = options.seconds ? (time_t) options.seconds : 86400;
        limit.tv_nsec = 0;
        sig = sigtimedwait(&signals, NULL, &limit);

        if (sig == -1 && errno == EINTR) {
            continue;                  /* SIGCONT */
        }

        if (options.self.service != NULL && sig != SIGINT) {
            (void) im_rpc_post(rpc, on_drain, NULL);
        }

        if (sig != SIGUSR1) {
            break;
        }
    }

    if (options.self.service != NULL && sig == SIGTERM) {
        for (ms = 0; ms < DRAIN_MS; ms += 10) {
            nanosleep(&tick, NULL);
        }
    }

    if (im_rpc_post(rpc, on_stop, NULL) == IM_OK) {
        for (ms = 0; ms < 2000 && !atomic_load(&stopped); ms += 10) {
            nanosleep(&tick, NULL);
        }
    }

    im_rpc_destroy(rpc);

    return 0;
}


static int
parse(int argc, char **argv)
{
    int  i;

    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {

        if (strcmp(argv[i], "--node") == 0) {
            options.node = 1;
            continue;
        }

        if (i + 1 == argc) {
            return IM_ERROR;
        }

        if (strcmp(argv[i], "--etcd") == 0) {
            options.etcd = argv[++i];

        } else if (strcmp(argv[i], "--prefix") == 0) {
            options.prefix = argv[++i];

        } else if (strcmp(argv[i], "--tls-ca") == 0) {
            options.ca = argv[++i];

        } else if (strcmp(argv[i], "--lease") == 0) {
            options.lease_s = (unsigned) strtoul(argv[++i], NULL, 10);

        } else if (strcmp(argv[i], "--nodes") == 0) {
            options.nodes = (unsigned) strtoul(argv[++i], NULL, 10);

        } else if (strcmp(argv[i], "--minted") == 0) {
            options.minted_ms = strtoull(argv[++i], NULL, 10);

        } else if (strcmp(argv[i], "--for") == 0) {
            options.seconds = (unsigned) strtoul(argv[++i], NULL, 10);

        } else {
            return IM_ERROR;
        }
    }

    if (options.lease_s < 2 || options.lease_s > 60 || options.nodes < 1
        || options.nodes > IM_SNOWFLAKE_NODES)
    {
        return IM_ERROR;
    }

    if (i + 1 == argc && strcmp(argv[i], "watch") == 0) {
        return IM_OK;
    }

    if (i + 4 == argc && strcmp(argv[i], "register") == 0) {
        options.self.service = argv[i + 1];
        options.self.id = argv[i + 2];
        options.self.address = argv[i + 3];
        return IM_OK;
    }

    return IM_ERROR;
}


static int
usage(void)
{
    fprintf(stderr,
            "usage: im-disc [--etcd H:P,...] [--prefix /im] [--lease 2-60]"
            " [--tls-ca FILE]\n               [--for SECONDS] watch\n"
            "       im-disc [...] [--node] register SERVICE ID HOST:PORT\n");

    return 2;
}


/* From here on, on the rpc thread. */
static void
on_start(void *ctx)
{
    unsigned  i;

    (void) ctx;

    if (options.self.service == NULL) {
        for (i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
            (void) im_disc_subscribe(disc, services[i], &handler, NULL);
        }

        return;
    }

    if (im_disc_register(disc, &options.self) != IM_OK) {
        say("error: the registration is too long");
    }

    if (options.node) {
        (void) im_disc_lease_node(disc, options.nodes, &node_handler, NULL);
    }
}


static void
on_up(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;

    say("up %s %s %s boot %s%s load %u", inst->service, inst->id,
        inst->address, inst->boot, inst->draining ? " draining" : "",
        inst->load);
}


static void
on_changed(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;

    say("changed %s %s%s load %u", inst->service, inst->id,
        inst->draining ? " draining" : "", inst->load);
}


static void
on_down(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;

    if (!atomic_load(&stopped)) {
        say("down %s %s", inst->service, inst->id);
    }
}


static void
on_node(void *ctx, unsigned node, uint64_t floor_ms, uint64_t limit_ms)
{
    (void) ctx;

    say("node %u floor %llu limit %llu", node, (unsigned long long) floor_ms,
        (unsigned long long) limit_ms);
}


static void
on_node_limit(void *ctx, uint64_t limit_ms)
{
    (void) ctx;

    say("limit %llu", (unsigned long long) limit_ms);
}


static void
on_node_lost(void *ctx)
{
    (void) ctx;

    say("node lost");
}


static uint64_t
minted_ms(void *ctx)
{
    (void) ctx;

    return options.minted_ms;
}


static void
on_drain(void *ctx)
{
    (void) ctx;

    im_disc_drain(disc, options.self.service);
}


static void
on_stop(void *ctx)
{
    (void) ctx;

    im_disc_destroy(disc);
    atomic_store(&stopped, 1);
}


static void
on_log(void *ctx, int level, const char *msg)
{
    (void) ctx;

    say("log %d %s", level, msg);
}


static void
say(const char *fmt, ...)
{
    char             text[600], clean[800];
    va_list          args;
    struct timespec  now;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void) im_text_print(clean, sizeof(clean), text, strlen(text));

    clock_gettime(CLOCK_MONOTONIC, &now);

    printf("%lld %s\n",
           (long long) (now.tv_sec - began.tv_sec) * 1000
           + (now.tv_nsec - began.tv_nsec) / 1000000, clean);
}
