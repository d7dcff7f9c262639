/*
 * im_etcd.h -- etcd v3, as much of it as discovery needs.
 *
 * All functions and callbacks: on the rpc home.  A call whose endpoint does
 * not answer moves on to the next endpoint of the list for the calls after it;
 * the caller repeats.  One failure moves once: calls and streams that were at
 * the same endpoint end together when it dies, and each of them moving on
 * would lead in a circle, back to the one that is dead.
 */

#ifndef IM_ETCD_H
#define IM_ETCD_H

#include "im_rpc.h"
#include "etcd.pb-c.h"

typedef struct im_etcd_s  im_etcd_t;

#define IM_ETCD_ENDPOINTS_MAX  16

/* endpoints "host:port,host:port".  tls: NULL, or etcd's own; copied. */
im_etcd_t *im_etcd_create(im_rpc_t *rpc, const char *endpoints,
    const im_rpc_tls_t *tls);
/* For new connections.  Any thread. */
int im_etcd_set_tls(im_etcd_t *etcd, const im_rpc_tls_t *tls);
void im_etcd_destroy(im_etcd_t *e);

/* Where calls go at present, "host:port"; its number, of how many. */
const char *im_etcd_endpoint(im_etcd_t *e);
unsigned im_etcd_current(im_etcd_t *e);
unsigned im_etcd_endpoints(im_etcd_t *e);

/* Reply: the response message, NULL if the call failed. */
typedef void (*im_etcd_reply_pt)(void *ctx, const ProtobufCMessage *reply);

/* IM_OK: cb comes once.  IM_ERROR: it does not.  cb NULL: last words, which
 * im_rpc_destroy() lets end. */
int im_etcd_range(im_etcd_t *e, const char *prefix, im_etcd_reply_pt cb,
    void *ctx);
int im_etcd_put(im_etcd_t *e, const char *key, const char *value,
    int64_t lease, im_etcd_reply_pt cb, void *ctx);
int im_etcd_delete(im_etcd_t *e, const char *key, im_etcd_reply_pt cb,
    void *ctx);

/* All of it or nothing: changes keys if others are as they are expected. */
typedef struct {
    const char    *created_key;
    int64_t        created;      /* its create revision; 0: no such key */
    const char    *same_key;     /* NULL: not asked */
    int64_t        same;         /* it did not change after this revision */
    struct {
        const char    *key;
        const char    *value;    /* NULL: the key is deleted */
        int64_t        lease;
    }              ops[2];
    unsigned       n;
} im_etcd_txn_t;

/* TxnResponse.succeeded tells. */
int im_etcd_txn(im_etcd_t *e, const im_etcd_txn_t *txn, im_etcd_reply_pt cb,
    void *ctx);
int im_etcd_grant(im_etcd_t *e, unsigned ttl_s, im_etcd_reply_pt cb,
    void *ctx);
int im_etcd_revoke(im_etcd_t *e, int64_t lease, im_etcd_reply_pt cb,
    void *ctx);

/* Streams; the handler's batches are packed WatchResponse and
 * LeaseKeepAliveResponse messages. */
im_rpc_stream_t *im_etcd_watch(im_etcd_t *e, const char *prefix,
    int64_t revision, const im_rpc_stream_handler_t *handler, void *ctx);
im_rpc_stream_t *im_etcd_keep_alive(im_etcd_t *e,
    const im_rpc_stream_handler_t *handler, void *ctx);

/* A stream that was opened at this endpoint (im_etcd_current() then) ended
 * badly: use the next one from now on, if that is not done yet. */
void im_etcd_failed(im_etcd_t *e, unsigned endpoint);

#endif
