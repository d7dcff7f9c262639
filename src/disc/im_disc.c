/*
 * im_disc.c -- etcd -> rows: one listing, one watch, one table.
 *
 *   list "<prefix>/" ---> rows <--- watch from list's revision + 1
 *        ^                              |
 *        +---- broken, compacted, or a minute has passed
 *
 * A listing is compared with the rows, never trusted to be a superset: what is
 * missing in it is gone.  When etcd does not answer nothing changes.
 *
 * Room: disc.  Runs on: home.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_disc_int.h"


static void disc_start(void *ctx);
static void disc_on_answer(void *ctx, const ProtobufCMessage *reply);
static void disc_list(im_disc_t *d);
static void disc_on_list(void *ctx, const ProtobufCMessage *reply);
static void disc_watch(im_disc_t *d);
static void disc_on_watch(void *ctx, im_rpc_stream_t *s, const uint8_t *data,
    size_t len);
static void disc_on_watch_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status);
static void disc_retry(im_disc_t *d);
static void disc_on_retry(void *ctx);
static void disc_on_refresh(void *ctx);


static const im_rpc_stream_handler_t  disc_watch_handler = {
    .on_batch = disc_on_watch,
    .on_close = disc_on_watch_close
};


im_disc_t *
im_disc_create(im_rpc_t *rpc, const im_disc_conf_t *conf)
{
    im_disc_t  *d;

    d = calloc(1, sizeof(im_disc_t));
    if (d == NULL) {
        return NULL;
    }

    d->rpc = rpc;
    d->lease.ttl_s = conf->lease_s;
    d->node_lease.ttl_s = IM_ETCD_NODE_LEASE_S;
    d->log = conf->log;
    d->log_ctx = conf->log_ctx;
    d->lost_ms = im_disc_now_ms();
    snprintf(d->error, sizeof(d->error), "it has not answered yet");
    atomic_init(&d->ready, 0);

    snprintf(d->root, sizeof(d->root), "%s/", conf->prefix);

    d->etcd = im_etcd_create(rpc, conf->endpoints, conf->tls);
    if (d->etcd == NULL) {
        free(d);
        return NULL;
    }

    /* on the home, also when a daemon's main thread creates us */

    if (im_rpc_post(rpc, disc_start, d) != IM_OK) {
        im_etcd_destroy(d->etcd);
        free(d);
        return NULL;
    }

    return d;
}


static void
disc_start(void *ctx)
{
    im_disc_t  *d = ctx;

    if (!d->down) {
        disc_list(d);
        im_disc_lease_start(d);
    }
}


int
im_disc_ready(im_disc_t *d)
{
    return atomic_load(&d->ready);
}


/* A range without keys is linearizable: a member without a leader cannot
 * answer it. */
int
im_disc_ask(im_disc_t *d, void (*answer)(void *ctx, int rc), void *ctx)
{
    char  prefix[DISC_NAME_MAX + sizeof("probe/")];

    if (d->asking || d->down) {
        return IM_BUSY;
    }

    d->answer = answer;
    d->answer_ctx = ctx;

    snprintf(prefix, sizeof(prefix), "%sprobe/", d->root);

    if (im_etcd_range(d->etcd, prefix, disc_on_answer, d) != IM_OK) {
        return IM_ERROR;
    }

    d->asking = 1;

    return IM_OK;
}


static void
disc_on_answer(void *ctx, const ProtobufCMessage *reply)
{
    im_disc_t  *d = ctx;

    d->asking = 0;
    d->answer(d->answer_ctx, (reply != NULL) ? IM_OK : IM_ERROR);
}


int
im_disc_set_tls(im_disc_t *d, const im_rpc_tls_t *tls)
{
    return im_etcd_set_tls(d->etcd, tls);
}


int
im_disc_subscribe(im_disc_t *d, const char *service,
    const im_disc_handler_t *handler, void *ctx)
{
    disc_row_t      *row, *tmp;
    disc_service_t  *svc;

    svc = im_disc_service_get(d, service);
    if (svc == NULL) {
        return IM_ERROR;
    }

    svc->handler = handler;
    svc->ctx = ctx;

    HASH_ITER(hh, d->rows, row, tmp) {
        if (row->svc == svc) {
            handler->up(ctx, &row->pub);
        }
    }

    return IM_OK;
}


static void
disc_list(im_disc_t *d)
{
    if (d->listing) {
        return;
    }

    if (im_etcd_range(d->etcd, d->root, disc_on_list, d) == IM_OK) {
        d->listing = 1;

    } else {
        disc_retry(d);
    }
}


static void
disc_on_list(void *ctx, const ProtobufCMessage *reply)
{
    size_t                              i;
    im_disc_t                          *d = ctx;
    const Etcdserverpb__RangeResponse  *list;

    d->listing = 0;
    list = (const Etcdserverpb__RangeResponse *) reply;

    if (list == NULL || list->header == NULL) {
        im_disc_etcd_lost(d, "cannot be listed");
        disc_retry(d);
        return;
    }

    im_disc_etcd_back(d);

    d->round++;
    atomic_fetch_add(&d->stats.listings, 1);

    for (i = 0; i < list->n_kvs; i++) {
        im_disc_rows_put(d, list->kvs[i]);
    }

    /* what the listing does not hold has gone while we did not look */

    im_disc_rows_sweep(d);
    im_disc_self_check(d, list);

    d->revision = list->header->revision;
    atomic_store(&d->ready, 1);

    if (d->watch == NULL) {
        disc_watch(d);
    }

    if (d->refresh == NULL) {
        d->refresh = im_rpc_timer(d->rpc, IM_ETCD_REFRESH_MS, disc_on_refresh,
                                  d);
    }
}


static void
disc_watch(im_disc_t *d)
{
    d->watch_at = im_etcd_current(d->etcd);
    d->watch = im_etcd_watch(d->etcd, d->root, d->revision + 1,
                             &disc_watch_handler, d);
    if (d->watch == NULL) {
        disc_retry(d);
    }
}


static void
disc_on_watch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t                        i;
    im_disc_t                    *d = ctx;
    Etcdserverpb__Event          *ev;
    Etcdserverpb__WatchResponse  *w;

    if (d->down) {
        return;
    }

    w = etcdserverpb__watch_response__unpack(NULL, len, data);

    if (w == NULL || w->canceled) {
        /* compacted: its end leads to a listing */
        im_rpc_stream_cancel(s);
    }

    if (w == NULL) {
        return;
    }

    for (i = 0; i < w->n_events; i++) {
        ev = w->events[i];

        if (ev->kv == NULL || ev->kv->mod_revision <= d->revision) {
            continue;
        }

        if (ev->type == ETCDSERVERPB__EVENT__EVENT_TYPE__PUT) {
            im_disc_rows_put(d, ev->kv);
            im_disc_self_written(d, ev->kv);

        } else {
            im_disc_rows_delete(d, &ev->kv->key);
            im_disc_lease_gone(d, &ev->kv->key);
        }
    }

    if (!w->created && w->header != NULL
        && w->header->revision > d->revision)
    {
        d->revision = w->header->revision;
    }

    etcdserverpb__watch_response__free_unpacked(w, NULL);
}


static void
disc_on_watch_close(void *ctx, im_rpc_stream_t *s,
    const im_rpc_status_t *status)
{
    im_disc_t  *d = ctx;

    (void) s;

    d->watch = NULL;

    if (d->down) {
        im_disc_release(d);
        return;
    }

    atomic_fetch_add(&d->stats.breaks, 1);
    im_disc_etcd_lost(d, status->message);

    if (status->code != IM_RPC_CANCELLED) {
        im_etcd_failed(d->etcd, d->watch_at);   /* else we ended it */
    }

    disc_retry(d);
}


static void
disc_retry(im_disc_t *d)
{
    if (d->retry == NULL) {
        d->retry = im_rpc_timer(d->rpc, IM_ETCD_RETRY_MS, disc_on_retry, d);
    }
}


static void
disc_on_retry(void *ctx)
{
    im_disc_t  *d = ctx;

    d->retry = NULL;
    disc_list(d);
}


/* A watch can lose events; a listing now and then cannot. */
static void
disc_on_refresh(void *ctx)
{
    im_disc_t  *d = ctx;

    d->refresh = NULL;
    disc_list(d);
}


void
im_disc_destroy(im_disc_t *d)
{
    if (d == NULL || d->down) {
        return;
    }

    d->down = 1;

    im_rpc_timer_cancel(d->retry);
    im_rpc_timer_cancel(d->refresh);
    im_disc_lease_stop(d);

    im_disc_call_stop(d);

    d->round++;
    im_disc_rows_sweep(d);

    im_disc_garbage_forget(d);
    im_etcd_destroy(d->etcd);
    d->etcd = NULL;

    if (d->watch != NULL) {
        im_rpc_stream_cancel(d->watch);
    }

    im_disc_release(d);
}


/* Freed when the last stream and the last call have ended. */
void
im_disc_release(im_disc_t *d)
{
    disc_service_t  *svc;

    if (d->watch != NULL || d->keep_alive != NULL || d->orphans != NULL) {
        return;
    }

    while (d->services != NULL) {
        svc = d->services;
        d->services = svc->next;
        free(svc);
    }

    free(d->node.floors);
    free(d);
}


uint64_t
im_disc_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


uint64_t
im_disc_wall_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


void
im_disc_log(im_disc_t *d, int level, const char *fmt, ...)
{
    char     text[512];
    va_list  args;

    if (d->log == NULL) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    d->log(d->log_ctx, level, text);
}
