/*
 * im_disc_lease.c -- our own lease, and the keys that live by it.
 *
 *   grant --> keep-alive stream, a beat each third of the lease
 *     ^            |
 *     +-- no answer for a whole lease, or etcd says it is gone
 *
 * One lease carries all keys of the process.  When it is lost, whoever minted
 * ids by its node number is told first, then everything is put again under a
 * new one.  The clock that counts is ours: if etcd has not answered for the
 * length of the lease, it may have given the number to somebody else.
 *
 * Room: rpc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "im_disc_int.h"


#define LEASE_REVOKE_WAIT_MS  500


static uint64_t lease_now_ms(void);
static void lease_grant(im_disc_t *d);
static void lease_on_grant(void *ctx, const ProtobufCMessage *reply);
static void lease_on_beat(void *ctx);
static void lease_beat_in(im_disc_t *d, unsigned ms);
static void lease_on_alive(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void lease_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void lease_lost(im_disc_t *d);
static void lease_put_all(im_disc_t *d);
static void lease_put(disc_reg_t *reg);
static void lease_on_put(void *ctx, const ProtobufCMessage *reply);
static void lease_on_removed(void *ctx, const ProtobufCMessage *reply);
static void lease_try_node(im_disc_t *d);
static void lease_on_node(void *ctx, const ProtobufCMessage *reply);
static int lease_same(const ProtobufCBinaryData *key, const char *ours);


static const im_rpc_stream_handler_t  lease_handler = {
    .on_batch = lease_on_alive,
    .on_close = lease_on_close
};


void
im_disc_lease_start(im_disc_t *d)
{
    lease_grant(d);
    lease_beat_in(d, d->lease_s * 1000 / 3);
}


static void
lease_grant(im_disc_t *d)
{
    if (d->granting || (d->nodes == 0 && d->regs[0].key[0] == '\0')) {
        return;                        /* under way, or nothing to hold */
    }

    if (im_etcd_grant(d->etcd, d->lease_s, lease_on_grant, d) == IM_OK) {
        d->granting = 1;
    }
}


static void
lease_on_grant(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t                                *d = ctx;
    const Etcdserverpb__LeaseGrantResponse   *grant;

    d->granting = 0;
    grant = (const Etcdserverpb__LeaseGrantResponse *) reply;

    if (grant == NULL || grant->id == 0) {
        return;                        /* the next beat asks again */
    }

    d->lease = grant->id;
    d->heard_ms = lease_now_ms();

    lease_put_all(d);
}


static void
lease_beat_in(im_disc_t *d, unsigned ms)
{
    d->beat = im_rpc_timer(d->rpc, ms, lease_on_beat, d);
}


static void
lease_on_beat(void *ctx)
{
    im_disc_t                            *d = ctx;
    Etcdserverpb__LeaseKeepAliveRequest   r =
        ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;

    d->beat = NULL;

    if (d->lease != 0
        && lease_now_ms() - d->heard_ms > (uint64_t) d->lease_s * 1000)
    {
        lease_lost(d);
    }

    if (d->lease == 0) {
        lease_grant(d);

    } else {
        if (d->keep_alive == NULL) {
            d->keep_alive = im_etcd_keep_alive(d->etcd, &lease_handler, d);
        }

        if (d->keep_alive != NULL) {
            r.id = d->lease;
            (void) im_rpc_stream_send(d->keep_alive, &r.base);
        }

        lease_put_all(d);              /* what an earlier try did not reach */
    }

    lease_beat_in(d, d->lease_s * 1000 / 3);
}


static void
lease_on_alive(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    im_disc_t                             *d = ctx;
    Etcdserverpb__LeaseKeepAliveResponse  *r;

    (void) s;

    r = etcdserverpb__lease_keep_alive_response__unpack(NULL, len, data);
    if (r == NULL || d->down) {
        goto done;
    }

    if (r->id == d->lease) {

        if (r->ttl > 0) {
            d->heard_ms = lease_now_ms();

        } else {
            lease_lost(d);
            lease_grant(d);
        }
    }

done:

    if (r != NULL) {
        etcdserverpb__lease_keep_alive_response__free_unpacked(r, NULL);
    }
}


static void
lease_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    im_disc_t  *d = ctx;

    (void) s;
    (void) status;

    d->keep_alive = NULL;              /* the next beat opens it again */

    if (d->down) {
        im_disc_release(d);
    }
}


static void
lease_lost(im_disc_t *d)
{
    unsigned  i;

    im_disc_log(d, IM_LOG_WARN, "etcd: the lease of this instance was lost");

    d->lease = 0;

    if (d->node_held) {
        d->node_held = 0;
        d->node_lost(d->node_ctx);
    }

    for (i = 0; i < DISC_REGS_MAX; i++) {
        d->regs[i].held = 0;
    }
}


static void
lease_put_all(im_disc_t *d)
{
    unsigned  i;

    if (d->lease == 0) {
        return;
    }

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0' && !d->regs[i].held) {
            lease_put(&d->regs[i]);
        }
    }

    if (d->nodes != 0 && !d->node_held) {
        lease_try_node(d);
    }
}


static void
lease_put(disc_reg_t *reg)
{
    im_disc_t  *d;

    d = reg->disc;
    (void) im_etcd_put(d->etcd, reg->key, reg->value, d->lease, lease_on_put,
                       reg);
}


static void
lease_on_put(void *ctx, const ProtobufCMessage *reply)
{
    disc_reg_t  *reg = ctx;

    if (reply != NULL && reg->disc->lease != 0 && !reg->held) {
        reg->held = 1;
        im_disc_log(reg->disc, IM_LOG_NOTICE, "etcd: registered %s = %s",
                    reg->key, reg->value);
    }
}


int
im_disc_register(im_disc_t *d, const char *service, const char *id,
    const char *address)
{
    unsigned     i;
    disc_reg_t  *reg;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        reg = &d->regs[i];

        if (reg->key[0] != '\0') {
            continue;
        }

        if (strlen(id) >= DISC_NAME_MAX / 2
            || strlen(address) >= DISC_NAME_MAX)
        {
            return IM_ERROR;
        }

        snprintf(reg->service, sizeof(reg->service), "%s", service);
        snprintf(reg->value, sizeof(reg->value), "%s", address);
        snprintf(reg->key, sizeof(reg->key), "%.150s%.80s/%.80s", d->root,
                 service, id);
        reg->disc = d;

        if (d->lease != 0) {
            lease_put(reg);

        } else {
            lease_grant(d);
        }

        return IM_OK;
    }

    return IM_ERROR;
}


void
im_disc_unregister(im_disc_t *d, const char *service, void (*done)(void *ctx),
    void *ctx)
{
    unsigned     i;
    disc_reg_t  *reg;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        reg = &d->regs[i];

        if (reg->key[0] == '\0' || strcmp(reg->service, service) != 0) {
            continue;
        }

        reg->removed = done;
        reg->removed_ctx = ctx;

        if (im_etcd_delete(d->etcd, reg->key, lease_on_removed, reg)
            == IM_OK)
        {
            reg->key[0] = '\0';
            return;
        }
    }

    if (done != NULL) {
        done(ctx);
    }
}


static void
lease_on_removed(void *ctx, const ProtobufCMessage *reply)
{
    disc_reg_t  *reg = ctx;

    (void) reply;                      /* the lease ends it, if this did not */

    if (reg->removed != NULL) {
        reg->removed(reg->removed_ctx);
        reg->removed = NULL;
    }
}


void
im_disc_lease_check(im_disc_t *d, const Etcdserverpb__RangeResponse *list)
{
    size_t    k;
    unsigned  i;
    int       found;

    if (d->lease == 0) {
        return;
    }

    for (i = 0; i < DISC_REGS_MAX; i++) {

        if (d->regs[i].key[0] == '\0' || !d->regs[i].held) {
            continue;
        }

        found = 0;

        for (k = 0; k < list->n_kvs; k++) {
            found |= lease_same(&list->kvs[k]->key, d->regs[i].key);
        }

        if (!found) {
            d->regs[i].held = 0;
            lease_put(&d->regs[i]);
        }
    }
}


void
im_disc_lease_gone(im_disc_t *d, const ProtobufCBinaryData *key)
{
    unsigned  i;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        if (d->regs[i].key[0] != '\0' && d->regs[i].held
            && lease_same(key, d->regs[i].key))
        {
            d->regs[i].held = 0;       /* put again at the next beat */
        }
    }

    if (d->node_held && lease_same(key, d->node_key)) {
        d->node_held = 0;
        d->node_lost(d->node_ctx);
    }
}


static int
lease_same(const ProtobufCBinaryData *key, const char *ours)
{
    return key->len == strlen(ours) && memcmp(key->data, ours, key->len) == 0;
}


int
im_disc_lease_node(im_disc_t *d, unsigned nodes,
    void (*got)(void *ctx, unsigned node), void (*lost)(void *ctx), void *ctx)
{
    d->nodes = nodes;
    d->node_got = got;
    d->node_lost = lost;
    d->node_ctx = ctx;
    d->node_try = (unsigned) ((uint64_t) getpid() * 7919
                              + lease_now_ms()) % nodes;

    if (d->lease != 0) {
        lease_try_node(d);

    } else {
        lease_grant(d);
    }

    return IM_OK;
}


static void
lease_try_node(im_disc_t *d)
{
    if (d->node_asking) {
        return;
    }

    snprintf(d->node_key, sizeof(d->node_key), "%.150snode/%u", d->root,
             d->node_try);

    if (im_etcd_put_new(d->etcd, d->node_key, "held", d->lease, lease_on_node,
                        d)
        == IM_OK)
    {
        d->node_asking = 1;
    }
}


static void
lease_on_node(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t                         *d = ctx;
    const Etcdserverpb__TxnResponse   *txn;

    d->node_asking = 0;
    txn = (const Etcdserverpb__TxnResponse *) reply;

    if (txn == NULL || d->lease == 0) {
        return;                        /* the next beat tries again */
    }

    if (!txn->succeeded) {
        d->node_try = (d->node_try + 1) % d->nodes;
        lease_try_node(d);
        return;
    }

    d->node_held = 1;
    im_disc_log(d, IM_LOG_NOTICE, "etcd: node number %u is ours",
                d->node_try);
    d->node_got(d->node_ctx, d->node_try);
}


/* Best effort: peers see us go in milliseconds instead of a lease. */
void
im_disc_lease_stop(im_disc_t *d)
{
    im_rpc_timer_cancel(d->beat);
    d->beat = NULL;

    if (d->lease != 0) {
        (void) im_etcd_revoke(d->etcd, d->lease, NULL, NULL);
        d->lease = 0;
    }

    if (d->keep_alive != NULL) {
        im_rpc_stream_cancel(d->keep_alive);
    }
}


void
im_disc_lease_free(im_disc_t *d)
{
    (void) d;                          /* regs are part of it */
}


static uint64_t
lease_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
