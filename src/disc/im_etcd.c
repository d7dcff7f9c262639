/*
 * im_etcd.c -- etcd's calls as functions; no state but the endpoint in use.
 *
 * Room: disc.  Runs on: home.
 */

#include <stdlib.h>
#include <string.h>

#include "im_etcd.h"
#include "im_timeouts.h"


#define ETCD_KEY_MAX        512


struct im_etcd_s {
    im_rpc_t          *rpc;
    char              *text;           /* endpoints, cut up */
    char              *endpoints[IM_ETCD_ENDPOINTS_MAX];
    im_rpc_channel_t  *channels[IM_ETCD_ENDPOINTS_MAX];
    unsigned           n;
    unsigned           current;
    unsigned           refs;           /* ours and one for each call */
    unsigned           down:1;
    im_rpc_method_t    range;
    im_rpc_method_t    put;
    im_rpc_method_t    delete_range;
    im_rpc_method_t    txn;
    im_rpc_method_t    grant;
    im_rpc_method_t    revoke;
    im_rpc_method_t    keep_alive;
    im_rpc_method_t    watch;
};

typedef struct {
    im_etcd_t         *etcd;
    unsigned           endpoint;
    im_etcd_reply_pt   cb;
    void              *ctx;
} etcd_call_t;

/* Of a transaction: the request that a RequestOp points to. */
typedef union {
    Etcdserverpb__PutRequest          put;
    Etcdserverpb__DeleteRangeRequest  del;
} etcd_op_t;


static int etcd_methods(im_etcd_t *e);
static int etcd_call(im_etcd_t *e, const im_rpc_method_t *m,
    const ProtobufCMessage *request, im_etcd_reply_pt cb, void *ctx);
static void etcd_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static void etcd_op(Etcdserverpb__RequestOp *o, etcd_op_t *op,
    const char *key, const char *value, int64_t lease);
static void etcd_unref(im_etcd_t *e);
static void etcd_bytes(ProtobufCBinaryData *b, const char *s);
static void etcd_prefix_end(const char *prefix, char *end,
    ProtobufCBinaryData *b);


im_etcd_t *
im_etcd_create(im_rpc_t *rpc, const char *endpoints, const im_rpc_tls_t *tls)
{
    char       *p, *save;
    im_etcd_t  *e;

    e = calloc(1, sizeof(im_etcd_t));
    if (e == NULL) {
        return NULL;
    }

    e->rpc = rpc;
    e->refs = 1;
    e->text = strdup(endpoints);

    if (e->text == NULL || etcd_methods(e) != IM_OK) {
        goto failed;
    }

    for (p = strtok_r(e->text, ", ", &save);
         p != NULL && e->n < IM_ETCD_ENDPOINTS_MAX;
         p = strtok_r(NULL, ", ", &save))
    {
        e->endpoints[e->n] = p;
        e->channels[e->n] = im_rpc_channel_stranger(rpc, p, tls);

        if (e->channels[e->n++] == NULL) {
            goto failed;
        }
    }

    if (e->n > 0) {
        return e;
    }

failed:

    etcd_unref(e);

    return NULL;
}


int
im_etcd_set_tls(im_etcd_t *e, const im_rpc_tls_t *tls)
{
    unsigned  i;

    for (i = 0; i < e->n; i++) {
        if (im_rpc_channel_set_tls(e->channels[i], tls) != IM_OK) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
etcd_methods(im_etcd_t *e)
{
    if (im_rpc_method_find(&e->range, &etcdserverpb__kv__descriptor, "Range")
        != IM_OK
        || im_rpc_method_find(&e->put, &etcdserverpb__kv__descriptor, "Put")
           != IM_OK
        || im_rpc_method_find(&e->delete_range, &etcdserverpb__kv__descriptor,
                              "DeleteRange") != IM_OK
        || im_rpc_method_find(&e->txn, &etcdserverpb__kv__descriptor, "Txn")
           != IM_OK
        || im_rpc_method_find(&e->grant, &etcdserverpb__lease__descriptor,
                              "LeaseGrant") != IM_OK
        || im_rpc_method_find(&e->revoke, &etcdserverpb__lease__descriptor,
                              "LeaseRevoke") != IM_OK
        || im_rpc_method_find(&e->keep_alive,
                              &etcdserverpb__lease__descriptor,
                              "LeaseKeepAlive") != IM_OK
        || im_rpc_method_find(&e->watch, &etcdserverpb__watch__descriptor,
                              "Watch") != IM_OK)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


const char *
im_etcd_endpoint(im_etcd_t *e)
{
    return e->endpoints[e->current];
}


unsigned
im_etcd_current(im_etcd_t *e)
{
    return e->current;
}


unsigned
im_etcd_endpoints(im_etcd_t *e)
{
    return e->n;
}


int
im_etcd_range(im_etcd_t *e, const char *prefix, im_etcd_reply_pt cb,
    void *ctx)
{
    char                        end[ETCD_KEY_MAX];
    Etcdserverpb__RangeRequest  r = ETCDSERVERPB__RANGE_REQUEST__INIT;

    etcd_bytes(&r.key, prefix);
    etcd_prefix_end(prefix, end, &r.range_end);

    return etcd_call(e, &e->range, &r.base, cb, ctx);
}


int
im_etcd_put(im_etcd_t *e, const char *key, const char *value, int64_t lease,
    im_etcd_reply_pt cb, void *ctx)
{
    Etcdserverpb__PutRequest  r = ETCDSERVERPB__PUT_REQUEST__INIT;

    etcd_bytes(&r.key, key);
    etcd_bytes(&r.value, value);
    r.lease = lease;

    return etcd_call(e, &e->put, &r.base, cb, ctx);
}


int
im_etcd_delete(im_etcd_t *e, const char *key, im_etcd_reply_pt cb, void *ctx)
{
    Etcdserverpb__DeleteRangeRequest  r =
        ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    etcd_bytes(&r.key, key);

    return etcd_call(e, &e->delete_range, &r.base, cb, ctx);
}


int
im_etcd_txn(im_etcd_t *e, const im_etcd_txn_t *txn, im_etcd_reply_pt cb,
    void *ctx)
{
    unsigned                   i;
    Etcdserverpb__Compare      c[2], *cs[2];
    Etcdserverpb__RequestOp    o[2], *os[2];
    Etcdserverpb__TxnRequest   r = ETCDSERVERPB__TXN_REQUEST__INIT;
    etcd_op_t                  ops[2];

    /* a key that does not exist was created in revision 0 */

    etcdserverpb__compare__init(&c[0]);
    c[0].result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    c[0].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    etcd_bytes(&c[0].key, txn->created_key);
    c[0].target_union_case =
        ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    c[0].create_revision = txn->created;
    cs[0] = &c[0];

    if (txn->same_key != NULL) {
        etcdserverpb__compare__init(&c[1]);
        c[1].result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS;
        c[1].target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        etcd_bytes(&c[1].key, txn->same_key);
        c[1].target_union_case =
            ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        c[1].mod_revision = txn->same + 1;
        cs[1] = &c[1];
    }

    for (i = 0; i < txn->n; i++) {
        etcd_op(&o[i], &ops[i], txn->ops[i].key, txn->ops[i].value,
                txn->ops[i].lease);
        os[i] = &o[i];
    }

    r.n_compare = (txn->same_key != NULL) ? 2 : 1;
    r.compare = cs;
    r.n_success = txn->n;
    r.success = os;

    return etcd_call(e, &e->txn, &r.base, cb, ctx);
}


static void
etcd_op(Etcdserverpb__RequestOp *o, etcd_op_t *op, const char *key,
    const char *value, int64_t lease)
{
    etcdserverpb__request_op__init(o);

    if (value == NULL) {
        etcdserverpb__delete_range_request__init(&op->del);
        etcd_bytes(&op->del.key, key);
        o->request_case =
            ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        o->request_delete_range = &op->del;
        return;
    }

    etcdserverpb__put_request__init(&op->put);
    etcd_bytes(&op->put.key, key);
    etcd_bytes(&op->put.value, value);
    op->put.lease = lease;
    o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    o->request_put = &op->put;
}


int
im_etcd_grant(im_etcd_t *e, unsigned ttl_s, im_etcd_reply_pt cb, void *ctx)
{
    Etcdserverpb__LeaseGrantRequest  r =
        ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    r.ttl = ttl_s;

    return etcd_call(e, &e->grant, &r.base, cb, ctx);
}


int
im_etcd_revoke(im_etcd_t *e, int64_t lease, im_etcd_reply_pt cb, void *ctx)
{
    Etcdserverpb__LeaseRevokeRequest  r =
        ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

    r.id = lease;

    return etcd_call(e, &e->revoke, &r.base, cb, ctx);
}


static int
etcd_call(im_etcd_t *e, const im_rpc_method_t *m,
    const ProtobufCMessage *request, im_etcd_reply_pt cb, void *ctx)
{
    etcd_call_t    *c;
    im_rpc_call_t  *call;

    c = calloc(1, sizeof(etcd_call_t));
    if (c == NULL) {
        return IM_ERROR;
    }

    c->etcd = e;
    c->endpoint = e->current;
    c->cb = cb;
    c->ctx = ctx;

    call = im_rpc_call(e->channels[e->current], m, request, IM_ETCD_CALL_MS,
                       etcd_on_reply, c);
    if (call == NULL) {
        free(c);
        return IM_ERROR;
    }

    if (cb == NULL) {
        im_rpc_call_last(call);        /* who leaves does not ask */
    }

    e->refs++;

    return IM_OK;
}


static void
etcd_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    etcd_call_t  *c = ctx;

    if (status->code == IM_RPC_UNAVAILABLE
        || status->code == IM_RPC_DEADLINE_EXCEEDED)
    {
        im_etcd_failed(c->etcd, c->endpoint);
    }

    if (!c->etcd->down && c->cb != NULL) {
        c->cb(c->ctx, reply);
    }

    etcd_unref(c->etcd);
    free(c);
}


void
im_etcd_failed(im_etcd_t *e, unsigned endpoint)
{
    if (endpoint == e->current) {
        e->current = (e->current + 1) % e->n;
    }
}


im_rpc_stream_t *
im_etcd_watch(im_etcd_t *e, const char *prefix, int64_t revision,
    const im_rpc_stream_handler_t *handler, void *ctx)
{
    char                              end[ETCD_KEY_MAX];
    im_rpc_stream_t                  *s;
    Etcdserverpb__WatchRequest        r = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest  c =
        ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;

    s = im_rpc_stream_open(e->channels[e->current], &e->watch,
                           IM_ETCD_CALL_MS, handler, ctx);
    if (s == NULL) {
        return NULL;
    }

    etcd_bytes(&c.key, prefix);
    etcd_prefix_end(prefix, end, &c.range_end);
    c.start_revision = revision;

    r.request_union_case =
        ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    r.create_request = &c;

    (void) im_rpc_stream_send(s, &r.base);

    return s;
}


/* One try to connect: a lease has no time for a member that is not there. */
im_rpc_stream_t *
im_etcd_keep_alive(im_etcd_t *e, const im_rpc_stream_handler_t *handler,
    void *ctx)
{
    return im_rpc_stream_open(e->channels[e->current], &e->keep_alive,
                              IM_RPC_CONNECT_MS, handler, ctx);
}


/* Callbacks of calls in flight do not come any more. */
void
im_etcd_destroy(im_etcd_t *e)
{
    if (e != NULL) {
        e->down = 1;
        etcd_unref(e);
    }
}


static void
etcd_unref(im_etcd_t *e)
{
    unsigned  i;

    if (--e->refs > 0) {
        return;
    }

    for (i = 0; i < e->n; i++) {
        im_rpc_channel_unref(e->channels[i]);
    }

    free(e->text);
    free(e);
}


static void
etcd_bytes(ProtobufCBinaryData *b, const char *s)
{
    b->data = (uint8_t *) s;
    b->len = strlen(s);
}


/* The prefix with its last byte + 1: etcd's end of all keys that begin so. */
static void
etcd_prefix_end(const char *prefix, char *end, ProtobufCBinaryData *b)
{
    size_t  len;

    len = strlen(prefix);

    if (len >= ETCD_KEY_MAX) {
        len = ETCD_KEY_MAX - 1;
    }

    memcpy(end, prefix, len);
    end[len - 1]++;

    b->data = (uint8_t *) end;
    b->len = len;
}
