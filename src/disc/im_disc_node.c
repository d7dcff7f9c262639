/*
 * im_disc_node.c -- the number that makes our ids unique.
 *
 *   list the floors --> take one whose floor the clock has passed
 *        ^                   |  node/<n> is created, floor/<n> is written
 *        |                   v
 *        +--- lost       held: every second the clock is looked at
 *        |                   |
 *        +--- given up <-----+ the clock stands before the last id
 *
 * <prefix>/node/<n> lives by our lease: as long as it is there nobody else
 * takes the number.  That is not enough: when the lease has ended and the
 * clock is set back, the next holder would mint the same ids again.  So
 * <prefix>/floor/<n> outlives it: the ms up to which ids of this number may
 * have been minted.  It is written ahead of the ids, 15 minutes at a time, and
 * nobody mints above it.  A number whose floor is ahead of the clock is passed
 * over, which is no loss: there are 1024, and one rests for 15 minutes after
 * its holder has died.  Who ends in order lowers the floor to its last id.
 *
 * Whoever writes a floor proves in the same transaction that node/<n> is the
 * key that it has created: a floor that is late can do no harm.  The first one
 * is written in the transaction that takes the number, and that one fails if
 * the floor has changed since it was listed.
 *
 * When the clock steps back by more than the minter bridges, the number is
 * given up and another one taken, below whose ids the clock does not stand.
 *
 * Room: disc.  Runs on: home.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "im_disc_int.h"
#include "im_snowflake.h"


#define NODE_TRIES       64            /* then the next check goes on */
#define NODE_DIGITS_MAX  19
#define NODE_VALUE_MAX   24
#define NODE_UNUSABLE    UINT64_MAX    /* as a floor: of no use to us */

_Static_assert(IM_ETCD_FLOOR_AHEAD_MS - IM_ETCD_FLOOR_RENEW_MS
               >= IM_ETCD_NODE_LEASE_S * 1000 + IM_ETCD_CALL_MS
                  + IM_ETCD_NODE_CHECK_MS,
               "the floor ends before the lease does");


static void node_list(im_disc_t *d);
static void node_on_list(void *ctx, const ProtobufCMessage *reply);
static void node_floor(im_disc_t *d, const Etcdserverpb__KeyValue *kv);
static int node_number(const uint8_t *p, size_t len, uint64_t *value);
static int node_find(disc_node_t *node, uint64_t now);
static void node_take(im_disc_t *d);
static void node_on_take(void *ctx, const ProtobufCMessage *reply);
static void node_watch(im_disc_t *d);
static void node_extend(im_disc_t *d, uint64_t now);
static void node_on_extend(void *ctx, const ProtobufCMessage *reply);
static void node_give_up(im_disc_t *d);
static uint64_t node_minted(disc_node_t *node);


int
im_disc_node_init(im_disc_t *d, unsigned nodes,
    const im_disc_node_handler_t *handler, void *ctx,
    uint64_t (*clock_ms)(void))
{
    disc_node_t  *node;

    node = &d->node;

    node->floors = calloc(nodes, sizeof(uint64_t));
    if (node->floors == NULL) {
        return IM_ERROR;
    }

    node->nodes = nodes;
    node->handler = handler;
    node->ctx = ctx;
    node->clock_ms = clock_ms;

    /* two that start at a time should not want the same one */

    node->n = (unsigned) ((uint64_t) getpid() * 7919 + im_disc_now_ms())
              % nodes;

    return IM_OK;
}


void
im_disc_node_check(im_disc_t *d)
{
    if (d->node.nodes == 0 || d->node.asking || d->node_lease.id == 0) {
        return;
    }

    if (d->node.held) {
        node_watch(d);

    } else {
        node_list(d);
    }
}


static void
node_list(im_disc_t *d)
{
    char  prefix[DISC_KEY_MAX];

    snprintf(prefix, sizeof(prefix), "%sfloor/", d->root);

    if (im_etcd_range(d->etcd, prefix, node_on_list, d) == IM_OK) {
        d->node.asking = 1;
    }
}


static void
node_on_list(void *ctx, const ProtobufCMessage *reply)
{
    size_t                              i;
    im_disc_t                          *d = ctx;
    const Etcdserverpb__RangeResponse  *list;

    d->node.asking = 0;
    list = (const Etcdserverpb__RangeResponse *) reply;

    if (list == NULL || list->header == NULL || d->node_lease.id == 0) {
        return;                        /* the next check tries again */
    }

    memset(d->node.floors, 0, d->node.nodes * sizeof(uint64_t));

    for (i = 0; i < list->n_kvs; i++) {
        node_floor(d, list->kvs[i]);
    }

    d->node.revision = list->header->revision;
    d->node.tries = 0;

    node_take(d);
}


/* Garbage: nobody knows what was minted, so nobody mints there. */
static void
node_floor(im_disc_t *d, const Etcdserverpb__KeyValue *kv)
{
    size_t    skip;
    uint64_t  n, floor;

    skip = strlen(d->root) + sizeof("floor/") - 1;

    if (kv->key.len <= skip
        || node_number(kv->key.data + skip, kv->key.len - skip, &n) != IM_OK
        || n >= d->node.nodes)
    {
        im_disc_garbage(d, kv, "it names no node number");
        return;
    }

    if (node_number(kv->value.data, kv->value.len, &floor) != IM_OK) {
        im_disc_garbage(d, kv, "it is no time in ms; the node number is "
                        "passed over until this key is deleted");
        floor = NODE_UNUSABLE;
    }

    d->node.floors[n] = floor;
}


static int
node_number(const uint8_t *p, size_t len, uint64_t *value)
{
    size_t  i;

    if (len == 0 || len > NODE_DIGITS_MAX) {
        return IM_ERROR;
    }

    *value = 0;

    for (i = 0; i < len; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return IM_ERROR;
        }

        *value = *value * 10 + (p[i] - '0');
    }

    return IM_OK;
}


/* The next number that the clock has passed becomes node->n. */
static int
node_find(disc_node_t *node, uint64_t now)
{
    unsigned  i, n;

    for (i = 0; i < node->nodes; i++) {
        n = (node->n + i) % node->nodes;

        if (node->floors[n] <= now) {
            node->n = n;
            return IM_OK;
        }
    }

    return IM_DECLINED;
}


static void
node_take(im_disc_t *d)
{
    char            value[NODE_VALUE_MAX];
    uint64_t        now;
    disc_node_t    *node;
    im_etcd_txn_t   txn;

    node = &d->node;
    now = node->clock_ms();

    if (node->tries++ == NODE_TRIES || node_find(node, now) != IM_OK) {

        if (!node->none) {
            node->none = 1;
            im_disc_log(d, IM_LOG_ERR, "etcd: no node number is free, or the "
                        "clock is behind what was minted; no ids meanwhile");
        }

        return;                        /* the next check lists again */
    }

    node->want_ms = now + IM_ETCD_FLOOR_AHEAD_MS;

    snprintf(node->key, sizeof(node->key), "%snode/%u", d->root, node->n);
    snprintf(node->floor_key, sizeof(node->floor_key), "%sfloor/%u", d->root,
             node->n);
    snprintf(value, sizeof(value), "%" PRIu64, node->want_ms);

    memset(&txn, 0, sizeof(txn));
    txn.created_key = node->key;
    txn.same_key = node->floor_key;
    txn.same = node->revision;
    txn.ops[0].key = node->key;
    txn.ops[0].value = "held";
    txn.ops[0].lease = d->node_lease.id;
    txn.ops[1].key = node->floor_key;
    txn.ops[1].value = value;
    txn.n = 2;

    if (im_etcd_txn(d->etcd, &txn, node_on_take, d) == IM_OK) {
        node->asking = 1;
        node->lease = d->node_lease.id;
    }
}


static void
node_on_take(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t                        *d = ctx;
    disc_node_t                      *node;
    const Etcdserverpb__TxnResponse  *txn;

    node = &d->node;
    node->asking = 0;
    txn = (const Etcdserverpb__TxnResponse *) reply;

    /* if it was done after all, the number rests until its floor has passed */

    if (txn == NULL || txn->header == NULL || d->node_lease.id != node->lease) {
        return;                        /* the next check tries again */
    }

    if (!txn->succeeded) {
        node->floors[node->n] = NODE_UNUSABLE;
        node_take(d);
        return;
    }

    node->held = 1;
    node->none = 0;
    node->revision = txn->header->revision;
    node->floor_ms = node->floors[node->n];
    node->limit_ms = node->want_ms;

    im_disc_log(d, IM_LOG_NOTICE, "etcd: node number %u is ours", node->n);

    node->handler->got(node->ctx, node->n, node->floor_ms, node->limit_ms);
}


static void
node_watch(im_disc_t *d)
{
    uint64_t      now, minted;
    disc_node_t  *node;

    node = &d->node;
    now = node->clock_ms();
    minted = node_minted(node);

    if (minted > now + IM_SNOWFLAKE_BACK_MS) {
        im_disc_log(d, IM_LOG_WARN, "the clock is %" PRIu64 " ms behind the "
                    "last id: node number %u is given up", minted - now,
                    node->n);
        node_give_up(d);
        node_list(d);
        return;
    }

    if (node->limit_ms < now + IM_ETCD_FLOOR_AHEAD_MS
                         - IM_ETCD_FLOOR_RENEW_MS)
    {
        node_extend(d, now);
    }
}


static void
node_extend(im_disc_t *d, uint64_t now)
{
    char            value[NODE_VALUE_MAX];
    disc_node_t    *node;
    im_etcd_txn_t   txn;

    node = &d->node;
    node->want_ms = now + IM_ETCD_FLOOR_AHEAD_MS;
    snprintf(value, sizeof(value), "%" PRIu64, node->want_ms);

    memset(&txn, 0, sizeof(txn));
    txn.created_key = node->key;
    txn.created = node->revision;
    txn.ops[0].key = node->floor_key;
    txn.ops[0].value = value;
    txn.n = 1;

    if (im_etcd_txn(d->etcd, &txn, node_on_extend, d) == IM_OK) {
        node->asking = 1;
    }
}


/* Nothing else was asked meanwhile: held or not, it is about the same key. */
static void
node_on_extend(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t                        *d = ctx;
    disc_node_t                      *node;
    const Etcdserverpb__TxnResponse  *txn;

    node = &d->node;
    node->asking = 0;
    txn = (const Etcdserverpb__TxnResponse *) reply;

    if (txn == NULL || !node->held) {
        return;                        /* the next check tries again */
    }

    if (!txn->succeeded) {
        im_disc_log(d, IM_LOG_WARN, "etcd key %s is not ours any more",
                    node->key);
        im_disc_node_lost(d);
        node_list(d);
        return;
    }

    node->limit_ms = node->want_ms;
    node->handler->limit(node->ctx, node->limit_ms);
}


/* Not before nothing is minted under it any more. */
static void
node_give_up(im_disc_t *d)
{
    d->node.handler->lost(d->node.ctx);
    (void) im_disc_node_release(d);
}


int
im_disc_node_release(im_disc_t *d)
{
    char            value[NODE_VALUE_MAX];
    uint64_t        minted;
    disc_node_t    *node;
    im_etcd_txn_t   txn;

    node = &d->node;

    if (!node->held) {
        return IM_DECLINED;
    }

    node->held = 0;
    minted = node_minted(node);

    snprintf(value, sizeof(value), "%" PRIu64,
             minted > node->floor_ms ? minted : node->floor_ms);

    memset(&txn, 0, sizeof(txn));
    txn.created_key = node->key;
    txn.created = node->revision;
    txn.ops[0].key = node->floor_key;
    txn.ops[0].value = value;
    txn.ops[1].key = node->key;
    txn.n = 2;

    return im_etcd_txn(d->etcd, &txn, NULL, NULL);
}


static uint64_t
node_minted(disc_node_t *node)
{
    return node->handler->minted_ms(node->ctx);
}


void
im_disc_node_lost(im_disc_t *d)
{
    if (d->node.held) {
        d->node.held = 0;
        d->node.handler->lost(d->node.ctx);
    }
}


int
im_disc_node_gone(im_disc_t *d, const ProtobufCBinaryData *key)
{
    if (!d->node.held || !im_disc_is_key(key, d->node.key)) {
        return 0;
    }

    im_disc_log(d, IM_LOG_WARN, "etcd key %s was deleted", d->node.key);
    im_disc_node_lost(d);

    return 1;
}
