/*
 * bench_watch.c -- a fleet that comes and goes, as one process sees it.
 *
 * A writer (another process) keeps so many instances in etcd and replaces them
 * at a steady rate: each change is a put of a new one or a delete of an old
 * one.  The address of a new one tells when its put was sent (the clock is the
 * machine's), so the latency is that of etcd's write and of its watch.  The
 * CPU is that of the watching process.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_rpc.h"
#include "im_disc.h"
#include "im_etcd.h"
#include "im_disc_int.h"

#define SAMPLES_MAX  100000


static atomic_uint   samples_n;
static atomic_uint   present;
static atomic_uint   downs;
static uint64_t      samples[SAMPLES_MAX];
static im_disc_t    *disc;
static im_etcd_t    *etcd;
static atomic_uint   answered;
static atomic_int    measuring;


static void
on_up(void *ctx, im_disc_instance_t *inst)
{
    unsigned  n;
    uint64_t  sent;

    (void) ctx;

    atomic_fetch_add(&present, 1);

    if (!atomic_load(&measuring)) {
        return;
    }

    sent = strtoull(inst->boot, NULL, 16);
    n = atomic_load(&samples_n);

    if (n < SAMPLES_MAX) {
        samples[n] = bench_now_us() - sent;
        atomic_store(&samples_n, n + 1);
    }
}


static void
on_down(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;
    (void) inst;

    atomic_fetch_sub(&present, 1);
    atomic_fetch_add(&downs, 1);
}


static const im_disc_handler_t  handler = { .up = on_up, .down = on_down };


static void
on_subscribe(void *ctx)
{
    (void) ctx;

    (void) im_disc_subscribe(disc, "logic", &handler, NULL);
}


static void
on_reply(void *ctx, const ProtobufCMessage *reply)
{
    (void) ctx;

    if (reply != NULL) {
        atomic_fetch_add(&answered, 1);
    }
}


/* Etcd's functions run on the rpc thread. */
typedef struct {
    unsigned  n;
    unsigned  put;
} change_t;


static void
on_change(void *ctx)
{
    char          key[64], value[DISC_VALUE_MAX], boot[20], address[32];
    change_t     *c = ctx;
    Im__Instance  inst = IM__INSTANCE__INIT;

    snprintf(key, sizeof(key), "/bench/logic/i%u", c->n);

    if (c->put) {
        snprintf(boot, sizeof(boot), "%llx",
                 (unsigned long long) bench_now_us());
        snprintf(address, sizeof(address), "127.0.0.1:%u",
                 1024 + c->n % 60000);
        inst.proto = IM_RPC_PROTOCOL;
        inst.address = address;
        inst.boot = boot;
        im_disc_value_write(value, &inst);
        (void) im_etcd_put(etcd, key, value, 0, on_reply, NULL);

    } else {
        (void) im_etcd_delete(etcd, key, on_reply, NULL);
    }

    free(c);
}


static void
change(im_rpc_t *rpc, unsigned n, unsigned put)
{
    change_t  *c;

    c = malloc(sizeof(change_t));

    if (c != NULL) {
        c->n = n;
        c->put = put;
        (void) im_rpc_post(rpc, on_change, c);
    }
}


/* Fills, says so, changes at the rate for the time, empties, ends. */
static void
writer(const char *endpoints, unsigned instances, unsigned rate,
    unsigned seconds, int ready)
{
    unsigned         i, n, oldest;
    im_rpc_t        *rpc;
    im_rpc_conf_t    conf;
    struct timespec  tick = { 0, (long) (1000000000u / rate) };
    struct timespec  fill = { 0, 2000000 };

    memset(&conf, 0, sizeof(conf));
    rpc = im_rpc_create(&conf);
    etcd = rpc ? im_etcd_create(rpc, endpoints, NULL) : NULL;

    if (etcd == NULL) {
        _exit(1);
    }

    for (n = 0; n < instances; n++) {
        change(rpc, n, 1);
        nanosleep(&fill, NULL);
    }

    sleep(2);

    if (write(ready, "r", 1) != 1) {
        _exit(1);
    }

    oldest = 0;

    for (i = 0; i < rate * seconds; i++) {
        nanosleep(&tick, NULL);
        change(rpc, (i % 2) ? oldest++ : n++, (i % 2) == 0);
    }

    sleep(1);

    if (write(ready, "d", 1) != 1) {
        _exit(1);
    }

    for (; oldest < n; oldest++) {
        change(rpc, oldest, 0);
        nanosleep(&fill, NULL);
    }

    sleep(1);
    _exit(0);
}


static int
compare(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


int
bench_watch(const char *endpoints, unsigned instances, unsigned rate,
    unsigned seconds)
{
    int              pipes[2];
    char             c;
    pid_t            pid;
    double           cpu_pct;
    unsigned         n, went;
    uint64_t         cpu, began;
    im_rpc_t        *rpc;
    im_rpc_conf_t    rc;
    im_disc_conf_t   dc;

    if (pipe(pipes) != 0 || (pid = fork()) == -1) {
        return 1;
    }

    if (pid == 0) {
        alarm(seconds + 60);
        writer(endpoints, instances, rate, seconds, pipes[1]);
    }

    close(pipes[1]);

    memset(&rc, 0, sizeof(rc));
    rpc = im_rpc_create(&rc);

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = endpoints;
    dc.prefix = "/bench";
    dc.lease_s = 3;
    disc = rpc ? im_disc_create(rpc, &dc) : NULL;

    if (disc == NULL || im_rpc_post(rpc, on_subscribe, NULL) != IM_OK
        || read(pipes[0], &c, 1) != 1)
    {
        fprintf(stderr, "im-bench-rpc: etcd at %s?\n", endpoints);
        return 1;
    }

    if (atomic_load(&present) != instances) {
        fprintf(stderr, "im-bench-rpc: %u of %u instances are seen\n",
                atomic_load(&present), instances);
        return 1;
    }

    atomic_store(&measuring, 1);
    atomic_store(&downs, 0);
    cpu = bench_cpu_us();
    began = bench_now_us();

    if (read(pipes[0], &c, 1) != 1) {
        return 1;
    }

    cpu_pct = (double) (bench_cpu_us() - cpu) * 100
              / (double) (bench_now_us() - began);
    n = atomic_load(&samples_n);
    went = atomic_load(&downs);
    atomic_store(&measuring, 0);
    waitpid(pid, NULL, 0);

    if (n == 0) {
        return 1;
    }

    qsort(samples, n, sizeof(uint64_t), compare);

    printf("%u instances, %u changes a second for %u s: %u came, %u went\n"
           "  put to seen: p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n"
           "  CPU of the process that watches: %.2f %%\n",
           instances, rate, seconds, n, went,
           (double) samples[n / 2] / 1000,
           (double) samples[n * 99 / 100] / 1000,
           (double) samples[n - 1] / 1000, cpu_pct);

    return n >= rate * seconds * 45 / 100 ? 0 : 1;
}
