/*
 * im_disc_lease.c -- the leases that our keys live by.
 *
 *   grant --> keep-alive stream, a beat each third of the lease
 *     ^            |
 *     +------------+ etcd says that the lease is gone
 *
 * Two leases on one stream.  That of the instance is short: its key must go
 * soon after the process.  That of the node number is long: as long as it
 * runs nobody else can be given the number, so ids are minted on while etcd
 * is away for minutes.
 *
 * Who mints ids cannot ask first whether the lease of the number still holds.
 * So that one is counted on our clock, from the moment a keep-alive was sent:
 * etcd may have counted from then.  When it runs out, whoever mints is told at
 * that moment, not at the next beat.
 *
 * The lease of the instance is over when etcd says so, and not before.  While
 * etcd elects a leader it answers nobody for one to two seconds and more, and
 * the new leader gives each lease its whole time again.  Who gave up its lease
 * meanwhile would hold a new one without that grace.
 *
 * A beat that is not answered until the next one means an endpoint that does
 * not work: the stream is ended.  When a stream ends the next endpoint is
 * asked at once, in one beat each of them once: without a leader all refuse.
 *
 * Room: disc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"


static void lease_grant(im_disc_t *d, disc_lease_t *l);
static void lease_on_grant(void *ctx, const ProtobufCMessage *reply);
static void lease_on_node_grant(void *ctx, const ProtobufCMessage *reply);
static void lease_granted(im_disc_t *d, disc_lease_t *l,
    const ProtobufCMessage *reply);
static void lease_on_beat(void *ctx);
static void lease_ask(im_disc_t *d, disc_lease_t *l, uint64_t now);
static void lease_on_alive(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void lease_on_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void lease_fence(im_disc_t *d);
static void lease_on_fence(void *ctx);
static void lease_lost(im_disc_t *d, disc_lease_t *l);
static void lease_on_check(void *ctx);


static const im_rpc_stream_handler_t  lease_handler = {
    .on_batch = lease_on_alive,
    .on_close = lease_on_close
};


void
im_disc_lease_start(im_disc_t *d)
{
    lease_on_beat(d);
}


static void
lease_grant(im_disc_t *d, disc_lease_t *l)
{
    im_etcd_reply_pt  cb;

    if (l->granting || l->id != 0) {
        return;
    }

    cb = (l == &d->lease) ? lease_on_grant : lease_on_node_grant;

    if (im_etcd_grant(d->etcd, l->ttl_s, cb, d) == IM_OK) {
        l->granting = 1;
        l->heard_ms = im_disc_now_ms();
    }
}


static void
lease_on_grant(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t  *d = ctx;

    lease_granted(d, &d->lease, reply);
}


static void
lease_on_node_grant(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t  *d = ctx;

    lease_granted(d, &d->node_lease, reply);
}


static void
lease_granted(im_disc_t *d, disc_lease_t *l, const ProtobufCMessage *reply)
{
    const Etcdserverpb__LeaseGrantResponse  *grant;

    l->granting = 0;
    grant = (const Etcdserverpb__LeaseGrantResponse *) reply;

    if (grant == NULL || grant->id == 0) {
        return;                        /* the next beat asks again */
    }

    l->id = grant->id;
    l->asked_ms = 0;

    lease_fence(d);

    if (l == &d->lease) {
        im_disc_self_put(d);

    } else {
        im_disc_node_check(d);
    }
}


static void
lease_on_beat(void *ctx)
{
    uint64_t    now;
    im_disc_t  *d = ctx;

    d->beat = im_rpc_timer(d->rpc, d->lease.ttl_s * 1000 / 3, lease_on_beat,
                           d);
    d->keep_alive_tries = 0;
    now = im_disc_now_ms();

    if (im_disc_self_is_any(d)) {
        lease_grant(d, &d->lease);
        lease_ask(d, &d->lease, now);
    }

    if (d->node.nodes != 0) {
        lease_grant(d, &d->node_lease);

        if (now - d->node_lease.heard_ms >= IM_ETCD_NODE_BEAT_MS) {
            lease_ask(d, &d->node_lease, now);
        }
    }

    im_disc_self_put(d);               /* what an earlier try did not reach */
}


static void
lease_ask(im_disc_t *d, disc_lease_t *l, uint64_t now)
{
    Etcdserverpb__LeaseKeepAliveRequest  r =
        ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;

    if (l->id == 0) {
        return;
    }

    if (l->asked_ms != 0 && d->keep_alive != NULL) {
        im_rpc_stream_cancel(d->keep_alive);
        return;                        /* lease_on_close() asks again */
    }

    if (d->keep_alive == NULL) {
        d->keep_alive_at = im_etcd_current(d->etcd);
        d->keep_alive = im_etcd_keep_alive(d->etcd, &lease_handler, d);
    }

    r.id = l->id;

    if (d->keep_alive != NULL
        && im_rpc_stream_send(d->keep_alive, &r.base) == IM_OK)
    {
        l->asked_ms = now;
    }
}


static void
lease_on_alive(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    im_disc_t                             *d = ctx;
    disc_lease_t                          *l;
    Etcdserverpb__LeaseKeepAliveResponse  *r;

    (void) s;

    r = etcdserverpb__lease_keep_alive_response__unpack(NULL, len, data);
    if (r == NULL || d->down) {
        goto done;
    }

    l = (r->id == d->lease.id) ? &d->lease
        : (r->id == d->node_lease.id) ? &d->node_lease : NULL;

    if (l == NULL || l->id == 0) {
        goto done;                     /* of a lease that was given up */
    }

    if (r->ttl > 0) {
        l->heard_ms = (l->asked_ms != 0) ? l->asked_ms : l->heard_ms;
        l->asked_ms = 0;
        lease_fence(d);

    } else {
        lease_lost(d, l);
        lease_grant(d, l);
    }

done:

    if (r != NULL) {
        etcdserverpb__lease_keep_alive_response__free_unpacked(r, NULL);
    }
}


static void
lease_on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    uint64_t    now;
    im_disc_t  *d = ctx;

    (void) s;
    (void) status;

    d->keep_alive = NULL;
    d->lease.asked_ms = 0;
    d->node_lease.asked_ms = 0;

    if (d->down) {
        im_disc_release(d);
        return;
    }

    im_etcd_failed(d->etcd, d->keep_alive_at);

    if (d->keep_alive_tries++ >= im_etcd_endpoints(d->etcd)) {
        return;                        /* the next beat asks again */
    }

    now = im_disc_now_ms();
    lease_ask(d, &d->lease, now);
    lease_ask(d, &d->node_lease, now);
}


/* Of the node number only. */
static void
lease_fence(im_disc_t *d)
{
    uint64_t  now, end;

    im_rpc_timer_cancel(d->fence);
    d->fence = NULL;

    if (d->node_lease.id == 0) {
        return;
    }

    now = im_disc_now_ms();
    end = d->node_lease.heard_ms + (uint64_t) d->node_lease.ttl_s * 1000;

    d->fence = im_rpc_timer(d->rpc, end > now ? (unsigned) (end - now) : 1,
                            lease_on_fence, d);
}


static void
lease_on_fence(void *ctx)
{
    uint64_t    now;
    im_disc_t  *d = ctx;

    d->fence = NULL;
    now = im_disc_now_ms();

    if (d->node_lease.id != 0
        && now >= d->node_lease.heard_ms
                  + (uint64_t) d->node_lease.ttl_s * 1000)
    {
        lease_lost(d, &d->node_lease);
    }

    lease_fence(d);
}


static void
lease_lost(im_disc_t *d, disc_lease_t *l)
{
    im_disc_log(d, IM_LOG_WARN, "etcd: the lease of this %s was lost",
                l == &d->lease ? "instance" : "node number");

    l->id = 0;
    l->asked_ms = 0;

    if (l == &d->node_lease) {
        im_disc_node_lost(d);
        return;
    }

    im_disc_self_lost(d);
}


/* A key of ours that has gone may mean that its lease has: asked at once. */
void
im_disc_lease_gone(im_disc_t *d, const ProtobufCBinaryData *key)
{
    uint64_t  now;

    now = im_disc_now_ms();

    if (im_disc_self_gone(d, key) && d->lease.asked_ms == 0) {
        lease_ask(d, &d->lease, now);
    }

    if (im_disc_node_gone(d, key)) {

        if (d->node_lease.asked_ms == 0) {
            lease_ask(d, &d->node_lease, now);
        }

        im_disc_node_check(d);
    }
}


void
im_disc_lease_want(im_disc_t *d)
{
    lease_grant(d, &d->lease);
}


int
im_disc_lease_node(im_disc_t *d, unsigned nodes,
    const im_disc_node_handler_t *handler, void *ctx)
{
    if (im_disc_node_init(d, nodes, handler, ctx, im_disc_wall_ms) != IM_OK) {
        return IM_ERROR;
    }

    lease_grant(d, &d->node_lease);
    lease_on_check(d);

    return IM_OK;
}


/* More often than a beat may be: a clock that steps is seen by nothing else. */
static void
lease_on_check(void *ctx)
{
    im_disc_t  *d = ctx;

    d->check = im_rpc_timer(d->rpc, IM_ETCD_NODE_CHECK_MS, lease_on_check, d);

    im_disc_node_check(d);
}


/* Best effort: peers see us go in milliseconds instead of a lease. */
void
im_disc_lease_stop(im_disc_t *d)
{
    im_rpc_timer_cancel(d->beat);
    im_rpc_timer_cancel(d->fence);
    im_rpc_timer_cancel(d->load);
    im_rpc_timer_cancel(d->check);
    d->beat = NULL;
    d->fence = NULL;
    d->load = NULL;
    d->check = NULL;

    if (d->lease.id != 0) {
        (void) im_etcd_revoke(d->etcd, d->lease.id, NULL, NULL);
        d->lease.id = 0;
    }

    /* not both: the lease might end first, and then the floor that was to
     * go with the number would stay where it is */

    if (im_disc_node_release(d) != IM_OK && d->node_lease.id != 0) {
        (void) im_etcd_revoke(d->etcd, d->node_lease.id, NULL, NULL);
    }

    d->node_lease.id = 0;

    if (d->keep_alive != NULL) {
        im_rpc_stream_cancel(d->keep_alive);
    }
}
