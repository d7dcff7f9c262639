/*
 * unit_etcd.h -- an etcd that is a table, for a test program of what is above
 * it: its functions stand in for those of im_etcd.c, which is not linked then.
 *
 * A transaction is done when it is asked for, its answer comes when the test
 * says so, or never.  Each asker has a call_t, one call at a time.
 */

#ifndef UNIT_ETCD_H
#define UNIT_ETCD_H

#include <stdio.h>

#include "unit.h"

#include "im_disc_int.h"

#define ETCD_NODES_MAX  64
#define KEYS_MAX        (2 * ETCD_NODES_MAX)

typedef struct {
    char      key[64];             /* empty: no such key */
    char      value[32];
    int64_t   created;
    int64_t   changed;             /* also by a deletion */
    int64_t   lease;
} kv_t;

/* Of which the answer has not come yet. */
typedef struct {
    im_etcd_reply_pt   cb;
    void              *ctx;
    int                succeeded;
    int64_t            revision;
    int                list;
    int                lost;
} call_t;


static kv_t      keys[KEYS_MAX];
static int64_t   revision;
static int       away;             /* nothing is done, no answer comes */
static int       lose_answers;
static call_t   *caller;           /* whose call comes in */


static kv_t *
kv(const char *key)
{
    size_t   i;
    kv_t    *free_one;

    free_one = NULL;

    for (i = 0; i < KEYS_MAX; i++) {

        if (strcmp(keys[i].key, key) == 0) {
            return &keys[i];
        }

        if (keys[i].key[0] == '\0' && free_one == NULL) {
            free_one = &keys[i];
        }
    }

    assert_non_null(free_one);
    memset(free_one, 0, sizeof(kv_t));
    snprintf(free_one->key, sizeof(free_one->key), "%s", key);

    return free_one;
}


static void
kv_put(const char *key, const char *value, int64_t lease)
{
    kv_t  *k;

    k = kv(key);
    k->created = (k->created != 0) ? k->created : revision;
    k->changed = revision;
    k->lease = lease;
    snprintf(k->value, sizeof(k->value), "%s", value);
}


static void
kv_delete(kv_t *k)
{
    k->created = 0;
    k->changed = 0;                    /* as etcd compares a missing key */
    k->value[0] = '\0';
    k->lease = 0;
}


static void
ask(im_etcd_reply_pt cb, void *ctx, int list, int succeeded)
{
    if (cb == NULL) {
        return;
    }

    assert_null(caller->cb);
    caller->cb = cb;
    caller->ctx = ctx;
    caller->list = list;
    caller->succeeded = succeeded;
    caller->revision = revision;
    caller->lost = away || lose_answers;
}


int
im_etcd_range(im_etcd_t *e, const char *prefix, im_etcd_reply_pt cb, void *ctx)
{
    (void) e;
    assert_string_equal(prefix, "/im/floor/");
    ask(cb, ctx, 1, 0);

    return IM_OK;
}


int
im_etcd_txn(im_etcd_t *e, const im_etcd_txn_t *t, im_etcd_reply_pt cb,
    void *ctx)
{
    int       ok;
    unsigned  i;

    (void) e;

    ok = !away && kv(t->created_key)->created == t->created
         && (t->same_key == NULL || kv(t->same_key)->changed < t->same + 1);

    if (ok) {
        revision++;

        for (i = 0; i < t->n; i++) {
            if (t->ops[i].value == NULL) {
                kv_delete(kv(t->ops[i].key));

            } else {
                kv_put(t->ops[i].key, t->ops[i].value, t->ops[i].lease);
            }
        }
    }

    ask(cb, ctx, 0, ok);

    return IM_OK;
}


/* What im_disc.c and others want besides; nothing here comes to it. */
#define STAND_IN(type, name, args, value)                                     \
    type name args;                                                           \
    type name args { fail(); return value; }

STAND_IN(im_etcd_t *, im_etcd_create, (im_rpc_t *r, const char *s,
         const im_rpc_tls_t *t), (void *) (r ? s : (const char *) t))
STAND_IN(int, im_etcd_set_tls, (im_etcd_t *e, const im_rpc_tls_t *t), !e + !t)
STAND_IN(unsigned, im_etcd_current, (im_etcd_t *e), !e)
STAND_IN(unsigned, im_etcd_endpoints, (im_etcd_t *e), !e)
STAND_IN(const char *, im_etcd_endpoint, (im_etcd_t *e), (char *) e)
STAND_IN(int, im_etcd_put, (im_etcd_t *e, const char *k, const char *v,
         int64_t l, im_etcd_reply_pt cb, void *c), !e + !k + !v + !l + !cb + !c)
STAND_IN(int, im_etcd_delete, (im_etcd_t *e, const char *k,
         im_etcd_reply_pt cb, void *c), !e + !k + !cb + !c)
STAND_IN(int, im_etcd_grant, (im_etcd_t *e, unsigned t, im_etcd_reply_pt cb,
         void *c), !e + !t + !cb + !c)
STAND_IN(int, im_etcd_revoke, (im_etcd_t *e, int64_t l, im_etcd_reply_pt cb,
         void *c), !e + !l + !cb + !c)
STAND_IN(im_rpc_stream_t *, im_etcd_watch, (im_etcd_t *e, const char *p,
         int64_t r, const im_rpc_stream_handler_t *h, void *c),
         (e && p && r && h) ? c : NULL)
STAND_IN(im_rpc_stream_t *, im_etcd_keep_alive, (im_etcd_t *e,
         const im_rpc_stream_handler_t *h, void *c), (e && h) ? c : NULL)

void
im_etcd_destroy(im_etcd_t *e)
{
    (void) e;
}

void
im_etcd_failed(im_etcd_t *e, unsigned endpoint)
{
    (void) e;
    (void) endpoint;
}


/* The listing is made when its answer comes: it is the newer for it. */
static void
answer_list(call_t *call)
{
    size_t                        i, n;
    Etcdserverpb__KeyValue        rows[KEYS_MAX], *p[KEYS_MAX];
    Etcdserverpb__RangeResponse   list = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader  h = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    for (i = 0, n = 0; i < KEYS_MAX; i++) {

        if (strncmp(keys[i].key, "/im/floor/", 10) != 0
            || keys[i].created == 0)
        {
            continue;
        }

        etcdserverpb__key_value__init(&rows[n]);
        rows[n].key.data = (uint8_t *) keys[i].key;
        rows[n].key.len = strlen(keys[i].key);
        rows[n].value.data = (uint8_t *) keys[i].value;
        rows[n].value.len = strlen(keys[i].value);
        rows[n].mod_revision = keys[i].changed;
        p[n] = &rows[n];
        n++;
    }

    h.revision = revision;
    list.header = &h;
    list.kvs = p;
    list.n_kvs = n;
    call->cb(call->ctx, &list.base);
}


/* The answer to what was asked; 0: nothing was. */
static int
answer(call_t *asked)
{
    call_t                        call;
    Etcdserverpb__TxnResponse     t = ETCDSERVERPB__TXN_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader  h = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    call = *asked;
    asked->cb = NULL;
    caller = asked;

    if (call.cb == NULL) {
        return 0;
    }

    if (call.lost) {
        call.cb(call.ctx, NULL);

    } else if (call.list) {
        answer_list(&call);

    } else {
        h.revision = call.revision;
        t.header = &h;
        t.succeeded = call.succeeded;
        call.cb(call.ctx, &t.base);
    }

    return 1;
}


static void
lease_ends(int64_t lease)
{
    size_t  i;

    for (i = 0; i < KEYS_MAX; i++) {
        if (lease > 0 && keys[i].lease == lease && keys[i].created != 0) {
            revision++;
            kv_delete(&keys[i]);
        }
    }
}

#endif
