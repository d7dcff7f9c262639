/*
 * bench_opens.c -- what a log-in costs once its token was checked: Open, as a
 * worker sends it, and Close.
 *
 * We are an instance of Connect in etcd, with one link to the first Logic that
 * is found, and say at a steady rate that connections open, whether the answers
 * come or not (open loop).  Each has a user of its own.  Three rounds: users
 * whose groups Redis does not know yet, the same again, and all leave.  The CPU
 * is that of the processes named by their pids.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_rpc.h"
#include "im_disc.h"
#include "logic.pb-c.h"


#define OPENS_MAX      600000
#define OPENS_TICK_US  2000
#define OPENS_CONN     0x5000000000000000ULL
#define OPENS_UID      4000000000000ULL    /* nobody's */


static void opens_on_start(void *ctx);
static void opens_on_up(void *ctx, im_disc_instance_t *inst);
static void opens_on_down(void *ctx, im_disc_instance_t *inst);
static void opens_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void opens_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static int opens_round(const char *name, unsigned rate, unsigned seconds,
    int open, const int *pids);
static void opens_add(unsigned n, int open);
static uint64_t opens_cpu_us(int pid);
static int opens_compare(const void *a, const void *b);


static const im_disc_handler_t  opens_disc_handler = {
    .up = opens_on_up,
    .down = opens_on_down
};

static const im_rpc_stream_handler_t  opens_handler = {
    .on_batch = opens_on_batch,
    .on_close = opens_on_close,
    .beat_ms = 250,
    .dead_ms = 5000
};

static im_disc_t        *opens_disc;
static im_rpc_stream_t  *opens_stream;
static im_rpc_method_t   opens_method;
static char              opens_instance[64];
static atomic_int        opens_ready;
static atomic_uint       opens_answered;
static atomic_uint       opens_refused;
static uint64_t          opens_sent_us[OPENS_MAX];
static uint64_t          opens_took_us[OPENS_MAX];


int
bench_opens(const char *endpoints, unsigned rate, unsigned seconds,
    const int *pids)
{
    int              rc;
    unsigned         i;
    im_rpc_t        *rpc;
    im_rpc_conf_t    conf;
    im_disc_conf_t   dc;

    if ((uint64_t) rate * seconds > OPENS_MAX
        || im_rpc_method_find(&opens_method, &im__logic__descriptor,
                              "Exchange") != IM_OK)
    {
        return 2;
    }

    memset(&conf, 0, sizeof(conf));
    rpc = im_rpc_create(&conf);

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = endpoints;
    dc.prefix = "/im";
    dc.lease_s = 3;
    opens_disc = rpc ? im_disc_create(rpc, &dc) : NULL;

    snprintf(opens_instance, sizeof(opens_instance), "bench-%d-%llx",
             (int) getpid(), (unsigned long long) bench_now_us());

    if (opens_disc == NULL || im_rpc_post(rpc, opens_on_start, NULL) != IM_OK) {
        return 1;
    }

    for (i = 0; i < 500 && !atomic_load(&opens_ready); i++) {
        usleep(10000);
    }

    if (!atomic_load(&opens_ready)) {
        fprintf(stderr, "im-bench-rpc: no Logic in etcd at %s\n", endpoints);
        return 1;
    }

    sleep(1);

    rc = opens_round("open, groups unknown", rate, seconds, 1, pids);

    if (rc == 0) {
        rc = opens_round("close", rate, seconds, 0, pids);
    }

    if (rc == 0) {
        rc = opens_round("open, groups known", rate, seconds, 1, pids);
    }

    if (rc == 0) {
        rc = opens_round("close", rate, seconds, 0, pids);
    }

    return rc;
}


/* rpc thread, as all on_. */
static void
opens_on_start(void *ctx)
{
    im_disc_self_t  self;

    (void) ctx;

    memset(&self, 0, sizeof(self));
    self.service = "connect";
    self.id = opens_instance;
    self.address = "127.0.0.1:1";      /* nobody has anything to push */

    (void) im_disc_register(opens_disc, &self);
    (void) im_disc_subscribe(opens_disc, "logic", &opens_disc_handler, NULL);
}


static void
opens_on_up(void *ctx, im_disc_instance_t *inst)
{
    Im__Hello   hello = IM__HELLO__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    (void) ctx;

    if (opens_stream != NULL) {
        return;
    }

    opens_stream = im_rpc_stream_open(inst->channel, &opens_method, 1000,
                                      &opens_handler, NULL);
    if (opens_stream == NULL) {
        return;
    }

    hello.instance = opens_instance;
    item.item_case = IM__UP_ITEM__ITEM_HELLO;
    item.hello = &hello;

    (void) im_rpc_stream_add(opens_stream, &item.base);
    im_rpc_stream_flush(opens_stream);
    atomic_store(&opens_ready, 1);
}


static void
opens_on_down(void *ctx, im_disc_instance_t *inst)
{
    (void) ctx;
    (void) inst;
}


static void
opens_on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t           i;
    uint64_t         n, now;
    Im__DownItem    *item;
    Im__DownBatch   *batch;

    (void) ctx;
    (void) s;

    batch = im__down_batch__unpack(NULL, len, data);
    now = bench_now_us();

    for (i = 0; batch != NULL && i < batch->n_items; i++) {
        item = batch->items[i];
        n = item->ref - 1;

        if (item->ref == 0 || n >= OPENS_MAX) {
            continue;                  /* not an answer */
        }

        if (item->item_case == IM__DOWN_ITEM__ITEM_ERROR) {
            atomic_fetch_add(&opens_refused, 1);
        }

        opens_took_us[n] = now - opens_sent_us[n];
        atomic_fetch_add(&opens_answered, 1);
    }

    if (batch != NULL) {
        im__down_batch__free_unpacked(batch, NULL);
    }
}


static void
opens_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) ctx;
    (void) s;

    fprintf(stderr, "im-bench-rpc: the link ended: %s\n", status->message);
    exit(1);
}


static int
opens_round(const char *name, unsigned rate, unsigned seconds, int open,
    const int *pids)
{
    unsigned  sent, due, total;
    uint64_t  began, now, logic, redis;

    total = rate * seconds;
    atomic_store(&opens_answered, 0);
    atomic_store(&opens_refused, 0);

    logic = opens_cpu_us(pids[0]);
    redis = opens_cpu_us(pids[1]);
    began = bench_now_us();
    sent = 0;

    while (sent < total) {
        now = bench_now_us();
        due = (unsigned) ((now - began) * rate / 1000000) + 1;

        for (; sent < due && sent < total; sent++) {
            opens_add(sent, open);
        }

        im_rpc_stream_flush(opens_stream);
        usleep(OPENS_TICK_US);
    }

    for (due = 0; due < 1000 && atomic_load(&opens_answered) < total; due++) {
        usleep(10000);
    }

    now = bench_now_us() - began;
    logic = opens_cpu_us(pids[0]) - logic;
    redis = opens_cpu_us(pids[1]) - redis;

    qsort(opens_took_us, total, sizeof(uint64_t), opens_compare);

    printf("%s: %u a second for %u s: %u answered within %.1f s, %u refused\n"
           "  took: p50 %.1f ms, p99 %.1f ms, worst %.1f ms\n"
           "  CPU: im-logic %.1f us, Redis %.1f us each\n",
           name, rate, seconds, atomic_load(&opens_answered),
           (double) now / 1e6, atomic_load(&opens_refused),
           (double) opens_took_us[total / 2] / 1000,
           (double) opens_took_us[total * 99UL / 100] / 1000,
           (double) opens_took_us[total - 1] / 1000,
           (double) logic / total, (double) redis / total);

    return atomic_load(&opens_answered) == total
           && atomic_load(&opens_refused) == 0 ? 0 : 1;
}


static void
opens_add(unsigned n, int open)
{
    Im__Open    opened = IM__OPEN__INIT;
    Im__Close   closed = IM__CLOSE__INIT;
    Im__UpItem  item = IM__UP_ITEM__INIT;

    item.conn = OPENS_CONN + n;
    item.ref = n + 1ULL;
    opens_sent_us[n] = bench_now_us();

    if (open) {
        opened.uid = OPENS_UID + n;
        opened.sid = "bbbbbbbbbbbbbbbbbbbbbb";
        opened.device = "bench";
        item.item_case = IM__UP_ITEM__ITEM_OPEN;
        item.open = &opened;

    } else {
        closed.uid = OPENS_UID + n;
        item.item_case = IM__UP_ITEM__ITEM_CLOSE;
        item.close = &closed;
    }

    while (im_rpc_stream_add(opens_stream, &item.base) == IM_BUSY) {
        im_rpc_stream_flush(opens_stream);
        usleep(1000);
    }
}


static uint64_t
opens_cpu_us(int pid)
{
    char                 path[64], line[1024], *p;
    FILE                *f;
    unsigned long long   user, system;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }

    p = fgets(line, sizeof(line), f);
    fclose(f);

    p = (p != NULL) ? strrchr(line, ')') : NULL;

    if (p == NULL
        || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu "
                  "%llu", &user, &system) != 2)
    {
        return 0;
    }

    return (user + system) * 1000000 / (uint64_t) sysconf(_SC_CLK_TCK);
}


static int
opens_compare(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}
