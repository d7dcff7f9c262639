/*
 * im_disc_self.c -- what we say of ourselves: our keys, and their values.
 *
 * A key lives by our lease (im_disc_lease.c) and is put again whenever it is
 * missing or somebody wrote over it.  One put of a key is in flight at a time,
 * since etcd does not promise to take two in their order.
 *
 * The load is published when it has moved, so that a steady fleet is silent.
 *
 * Room: disc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "im_disc_int.h"
#include "im_text.h"


#define SELF_LOAD_STEP  10             /* percent: less is not published */


static void self_put(disc_reg_t *reg);
static void self_on_put(void *ctx, const ProtobufCMessage *reply);
static disc_reg_t *self_reg(im_disc_t *d, const char *service);
static void self_on_load(void *ctx);
static void self_missing(disc_reg_t *reg);
static unsigned self_cpu_pct(im_disc_t *d);


void
im_disc_self_put(im_disc_t *d)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0'
            && (!d->regs[i].held || d->regs[i].dirty))
        {
            self_put(&d->regs[i]);
        }
    }
}


/* Without a lease: later, when there is one. */
static void
self_put(disc_reg_t *reg)
{
    char           value[DISC_VALUE_MAX];
    im_disc_t     *d;
    Im__Instance   inst = IM__INSTANCE__INIT;

    d = reg->disc;

    if (d->lease.id == 0) {
        return;
    }

    if (reg->putting) {
        reg->dirty = 1;
        return;
    }

    inst.proto = IM_RPC_PROTOCOL;
    inst.address = reg->address;
    inst.boot = (char *) im_rpc_boot(d->rpc);
    inst.has_draining = reg->draining;
    inst.draining = reg->draining;
    inst.has_cpu = 1;
    inst.cpu = reg->cpu_pct;
    inst.has_queue = 1;
    inst.queue = reg->queue_pct;

    im_disc_value_write(value, &inst);

    if (im_etcd_put(d->etcd, reg->key, value, d->lease.id, self_on_put, reg)
        == IM_OK)
    {
        reg->putting = 1;
        reg->dirty = 0;
    }
}


static void
self_on_put(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t   *d;
    disc_reg_t  *reg = ctx;

    d = reg->disc;
    reg->putting = 0;

    if (reg->key[0] == '\0') {
        return;                        /* unregistered; the lease ends it */
    }

    if (reply == NULL) {
        /* the next beat puts again; the old value, if there was one, is
         * still there: that it has gone the lease or the watch would say */
        reg->dirty = 1;
        return;
    }

    if (d->lease.id != 0 && !reg->held) {
        reg->held = 1;
        im_disc_log(d, IM_LOG_NOTICE, "etcd: registered %s = %s%s", reg->key,
                    reg->address, reg->known ? ", again" : "");

        if (reg->known && reg->back != NULL) {
            reg->back(reg->ctx);
        }

        reg->known = 1;
    }

    if (reg->dirty) {
        self_put(reg);
    }
}


int
im_disc_register(im_disc_t *d, const im_disc_self_t *self)
{
    unsigned     i;
    disc_reg_t  *reg;

    if (!im_text_is_name(self->service, strlen(self->service))
        || !im_text_is_name(self->id, strlen(self->id))
        || strlen(self->address) >= DISC_NAME_MAX)
    {
        return IM_ERROR;
    }

    for (i = 0; i < DISC_REGS_MAX; i++) {
        reg = &d->regs[i];

        /* nor one of which an answer of etcd is still to come */

        if (reg->key[0] != '\0' || reg->putting) {
            continue;
        }

        memset(reg, 0, sizeof(disc_reg_t));
        memcpy(reg->service, self->service, strlen(self->service));
        memcpy(reg->address, self->address, strlen(self->address));
        snprintf(reg->key, sizeof(reg->key), "%s%s/%s", d->root,
                 self->service, self->id);
        reg->queue = self->queue;
        reg->back = self->back;
        reg->ctx = self->ctx;
        reg->disc = d;
        reg->missing_ms = im_disc_now_ms();

        if (d->load == NULL) {
            (void) self_cpu_pct(d);   /* it counts from here */
            d->load = im_rpc_timer(d->rpc, IM_DISC_LOAD_MS, self_on_load, d);
        }

        im_disc_lease_want(d);
        self_put(reg);

        return IM_OK;
    }

    return IM_ERROR;
}


/* Whether the lease of the instance carries anything. */
int
im_disc_self_is_any(im_disc_t *d)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0') {
            return 1;
        }
    }

    return 0;
}


static disc_reg_t *
self_reg(im_disc_t *d, const char *service)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0'
            && strcmp(d->regs[i].service, service) == 0)
        {
            return &d->regs[i];
        }
    }

    return NULL;
}


void
im_disc_drain(im_disc_t *d, const char *service)
{
    disc_reg_t  *reg;

    reg = self_reg(d, service);

    if (reg != NULL && !reg->draining) {
        reg->draining = 1;
        self_put(reg);
    }
}


static void
self_on_load(void *ctx)
{
    int          cpu, queue;
    unsigned     i;
    im_disc_t   *d = ctx;
    disc_reg_t  *reg;

    d->load = im_rpc_timer(d->rpc, IM_DISC_LOAD_MS, self_on_load, d);
    cpu = (int) self_cpu_pct(d);

    for (i = 0; i < DISC_REGS_MAX; i++) {
        reg = &d->regs[i];

        if (reg->key[0] == '\0' || !reg->held) {
            continue;
        }

        queue = (reg->queue != NULL) ? (int) reg->queue(reg->ctx) : 0;

        if (abs(cpu - (int) reg->cpu_pct) >= SELF_LOAD_STEP
            || abs(queue - (int) reg->queue_pct) >= SELF_LOAD_STEP)
        {
            reg->cpu_pct = (unsigned) cpu;
            reg->queue_pct = (unsigned) queue;
            self_put(reg);
        }
    }
}


/* Of the whole machine, since the last time. */
static unsigned
self_cpu_pct(im_disc_t *d)
{
    long           cores;
    uint64_t       wall, cpu, pct;
    struct rusage  ru;

    wall = im_disc_now_ms() * 1000;
    getrusage(RUSAGE_SELF, &ru);
    cpu = (uint64_t) (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000
          + (uint64_t) (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    pct = 0;

    if (wall > d->load_wall_us && d->load_wall_us != 0) {
        pct = (cpu - d->load_cpu_us) * 100
              / ((wall - d->load_wall_us) * (uint64_t) (cores > 0 ? cores : 1));
    }

    d->load_wall_us = wall;
    d->load_cpu_us = cpu;

    return (pct < 100) ? (unsigned) pct : 100;
}


void
im_disc_self_check(im_disc_t *d, const Etcdserverpb__RangeResponse *list)
{
    size_t    k;
    unsigned  i;
    int       found;

    for (i = 0; i < DISC_REGS_MAX; i++) {

        if (d->regs[i].key[0] == '\0' || !d->regs[i].held) {
            continue;
        }

        found = 0;

        for (k = 0; k < list->n_kvs; k++) {
            if (im_disc_is_key(&list->kvs[k]->key, d->regs[i].key)) {
                found = 1;
                im_disc_self_written(d, list->kvs[k]);
            }
        }

        if (!found) {
            self_missing(&d->regs[i]);
            self_put(&d->regs[i]);
        }
    }
}


void
im_disc_self_written(im_disc_t *d, const Etcdserverpb__KeyValue *kv)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0' && d->regs[i].held
            && kv->lease != d->lease.id
            && im_disc_is_key(&kv->key, d->regs[i].key))
        {
            im_disc_log(d, IM_LOG_WARN, "etcd key %s: somebody wrote over it; "
                        "it is put again", d->regs[i].key);
            self_put(&d->regs[i]);
        }
    }
}


/* 1 if the key was one of ours. */
int
im_disc_self_gone(im_disc_t *d, const ProtobufCBinaryData *key)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0' && d->regs[i].held
            && im_disc_is_key(key, d->regs[i].key))
        {
            self_missing(&d->regs[i]);
            self_put(&d->regs[i]);
            return 1;
        }
    }

    return 0;
}


void
im_disc_self_lost(im_disc_t *d)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        self_missing(&d->regs[i]);
    }
}


static void
self_missing(disc_reg_t *reg)
{
    if (reg->held) {
        reg->held = 0;
        reg->missing_ms = im_disc_now_ms();
    }
}


int
im_disc_is_key(const ProtobufCBinaryData *key, const char *ours)
{
    return key->len == strlen(ours) && memcmp(key->data, ours, key->len) == 0;
}
