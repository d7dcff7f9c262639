/*
 * im_disc.c -- one etcd watch, two views of who is alive.
 *
 *   list "<prefix>/" ---> rows <--- watch from list's revision + 1
 *        ^                              |
 *        +---- broken, compacted, or a minute has passed
 *
 * The service view picks the home of a slot by rendezvous hashing: each row
 * has a weight for each slot, the highest wins, so a row that comes or goes
 * moves only its own share.  The winners are kept in a table of 1024 entries
 * for each service, made anew when its rows change.  The instance view is a
 * hash look-up.  Both return the same row and the same channel.
 *
 * A listing is compared with the rows, never trusted to be a superset: what is
 * missing in it is gone.  When etcd does not answer nothing changes.
 *
 * Room: rpc.  Runs on: home.  Owns: rows and their channels.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <stdatomic.h>
#include <uthash.h>

#include "im_disc.h"
#include "im_disc_int.h"
#include "im_slot.h"


#define DISC_RETRY_MS    500
#define DISC_REFRESH_MS  60000


static void disc_start(void *ctx);
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
static void disc_put(im_disc_t *d, const Etcdserverpb__KeyValue *kv);
static void disc_delete(im_disc_t *d, const ProtobufCBinaryData *key);
static disc_service_t *disc_service(im_disc_t *d, const char *name);
static void disc_up(disc_service_t *svc, disc_row_t *row);
static void disc_down(im_disc_t *d, disc_row_t *row);
static void disc_slots(disc_service_t *svc);
static int disc_split(im_disc_t *d, const ProtobufCBinaryData *key,
    char *service, char *id);


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
    d->lease_s = conf->lease_s;
    d->log = conf->log;
    d->log_ctx = conf->log_ctx;
    atomic_init(&d->ready, 0);

    snprintf(d->root, sizeof(d->root), "%s/", conf->prefix);

    d->etcd = im_etcd_create(rpc, conf->endpoints);
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


int
im_disc_subscribe(im_disc_t *d, const char *service,
    const im_disc_handler_t *handler, void *ctx)
{
    disc_row_t      *row, *tmp;
    disc_service_t  *svc;

    svc = disc_service(d, service);
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
    disc_row_t                         *row, *tmp;
    const Etcdserverpb__RangeResponse  *list;

    d->listing = 0;
    list = (const Etcdserverpb__RangeResponse *) reply;

    if (list == NULL || list->header == NULL) {
        im_disc_log_down(d, "cannot be listed");
        disc_retry(d);
        return;
    }

    im_disc_log_up(d);

    d->round++;

    for (i = 0; i < list->n_kvs; i++) {
        disc_put(d, list->kvs[i]);
    }

    /* what the listing does not hold has gone while we did not look */

    HASH_ITER(hh, d->rows, row, tmp) {
        if (row->round != d->round) {
            disc_down(d, row);
        }
    }

    im_disc_lease_check(d, list);

    d->revision = list->header->revision;
    atomic_store(&d->ready, 1);

    if (d->watch == NULL) {
        disc_watch(d);
    }

    if (d->refresh == NULL) {
        d->refresh = im_rpc_timer(d->rpc, DISC_REFRESH_MS, disc_on_refresh,
                                  d);
    }
}


static void
disc_watch(im_disc_t *d)
{
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
            disc_put(d, ev->kv);

        } else {
            disc_delete(d, &ev->kv->key);
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

    im_disc_log_down(d, status->message);
    im_etcd_failed(d->etcd);
    disc_retry(d);
}


static void
disc_retry(im_disc_t *d)
{
    if (d->retry == NULL) {
        d->retry = im_rpc_timer(d->rpc, DISC_RETRY_MS, disc_on_retry, d);
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


static void
disc_put(im_disc_t *d, const Etcdserverpb__KeyValue *kv)
{
    char             service[DISC_NAME_MAX], id[DISC_NAME_MAX];
    char             key[2 * DISC_NAME_MAX], address[DISC_NAME_MAX];
    disc_row_t      *row;
    disc_service_t  *svc;

    if (disc_split(d, &kv->key, service, id) != IM_OK) {
        return;
    }

    if (strcmp(service, "node") == 0) {
        return;                        /* node leases are not instances */
    }

    if (kv->value.len == 0 || kv->value.len >= sizeof(address)
        || memchr(kv->value.data, ':', kv->value.len) == NULL)
    {
        im_disc_log(d, IM_LOG_WARN, "etcd key %s%s/%s: not an address",
                    d->root, service, id);
        return;
    }

    memcpy(address, kv->value.data, kv->value.len);
    address[kv->value.len] = '\0';

    snprintf(key, sizeof(key), "%s/%s", service, id);
    HASH_FIND_STR(d->rows, key, row);

    if (row != NULL) {
        row->round = d->round;

        if (strcmp(row->address, address) == 0) {
            return;
        }

        disc_down(d, row);             /* moved: another peer, in truth */
    }

    svc = disc_service(d, service);
    row = calloc(1, sizeof(disc_row_t));

    if (svc == NULL || row == NULL) {
        free(row);
        return;
    }

    memcpy(row->key, key, sizeof(row->key));
    memcpy(row->id, id, sizeof(row->id));
    memcpy(row->address, address, sizeof(row->address));

    row->svc = svc;
    row->round = d->round;
    row->pub.service = svc->name;
    row->pub.id = row->id;
    row->pub.address = row->address;
    row->pub.channel = im_rpc_channel_open(d->rpc, row->address);

    if (row->pub.channel == NULL) {
        free(row);
        return;
    }

    HASH_ADD_STR(d->rows, key, row);
    disc_up(svc, row);
}


static void
disc_delete(im_disc_t *d, const ProtobufCBinaryData *raw)
{
    char         service[DISC_NAME_MAX], id[DISC_NAME_MAX];
    char         key[2 * DISC_NAME_MAX];
    disc_row_t  *row;

    if (disc_split(d, raw, service, id) != IM_OK) {
        return;
    }

    snprintf(key, sizeof(key), "%s/%s", service, id);
    HASH_FIND_STR(d->rows, key, row);

    if (row != NULL) {
        disc_down(d, row);
    }
}


static void
disc_up(disc_service_t *svc, disc_row_t *row)
{
    svc->count++;
    svc->stale = 1;
    row->svc_next = svc->rows;
    svc->rows = row;

    if (svc->handler != NULL) {
        svc->handler->up(svc->ctx, &row->pub);
    }
}


static void
disc_down(im_disc_t *d, disc_row_t *row)
{
    disc_row_t      **p;
    disc_service_t   *svc;

    svc = row->svc;

    for (p = &svc->rows; *p != NULL; p = &(*p)->svc_next) {
        if (*p == row) {
            *p = row->svc_next;
            break;
        }
    }

    HASH_DEL(d->rows, row);
    svc->count--;
    svc->stale = 1;

    if (svc->handler != NULL) {
        svc->handler->down(svc->ctx, &row->pub);
    }

    im_rpc_channel_unref(row->pub.channel);
    free(row);
}


im_disc_instance_t *
im_disc_pick(im_disc_t *d, const char *service, unsigned slot)
{
    disc_service_t  *svc;

    svc = disc_service(d, service);

    if (svc == NULL || svc->rows == NULL) {
        return NULL;
    }

    if (svc->stale) {
        disc_slots(svc);
    }

    return &svc->slots[slot % IM_SLOTS]->pub;
}


static void
disc_slots(disc_service_t *svc)
{
    unsigned     slot;
    uint64_t     weight, best;
    disc_row_t  *row;

    for (slot = 0; slot < IM_SLOTS; slot++) {
        best = 0;
        svc->slots[slot] = svc->rows;

        for (row = svc->rows; row != NULL; row = row->svc_next) {
            weight = im_slot_weight(slot, row->id, strlen(row->id));

            if (weight > best) {
                best = weight;
                svc->slots[slot] = row;
            }
        }
    }

    svc->stale = 0;
}


im_disc_instance_t *
im_disc_find(im_disc_t *d, const char *service, const char *id)
{
    char         key[2 * DISC_NAME_MAX];
    disc_row_t  *row;

    snprintf(key, sizeof(key), "%s/%s", service, id);
    HASH_FIND_STR(d->rows, key, row);

    return (row != NULL) ? &row->pub : NULL;
}


unsigned
im_disc_count(im_disc_t *d, const char *service)
{
    disc_service_t  *svc;

    svc = disc_service(d, service);

    return (svc != NULL) ? svc->count : 0;
}


static disc_service_t *
disc_service(im_disc_t *d, const char *name)
{
    disc_service_t  *svc;

    for (svc = d->services; svc != NULL; svc = svc->next) {
        if (strcmp(svc->name, name) == 0) {
            return svc;
        }
    }

    svc = calloc(1, sizeof(disc_service_t));
    if (svc == NULL) {
        return NULL;
    }

    snprintf(svc->name, sizeof(svc->name), "%s", name);
    svc->stale = 1;
    svc->next = d->services;
    d->services = svc;

    return svc;
}


/* "<root>service/id"; anything else under our prefix is not ours. */
static int
disc_split(im_disc_t *d, const ProtobufCBinaryData *key, char *service,
    char *id)
{
    size_t       root, n;
    const char  *p, *slash, *end;

    root = strlen(d->root);

    if (key->len <= root || memcmp(key->data, d->root, root) != 0) {
        return IM_ERROR;
    }

    p = (const char *) key->data + root;
    end = (const char *) key->data + key->len;
    slash = memchr(p, '/', (size_t) (end - p));

    if (slash == NULL || memchr(slash + 1, '/', (size_t) (end - slash - 1))
        || slash == p || slash + 1 == end
        || slash - p >= DISC_NAME_MAX || end - slash > DISC_NAME_MAX)
    {
        return IM_ERROR;
    }

    n = (size_t) (slash - p);
    memcpy(service, p, n);
    service[n] = '\0';

    n = (size_t) (end - slash - 1);
    memcpy(id, slash + 1, n);
    id[n] = '\0';

    return IM_OK;
}


void
im_disc_destroy(im_disc_t *d)
{
    disc_row_t  *row, *tmp;

    if (d == NULL || d->down) {
        return;
    }

    d->down = 1;

    im_rpc_timer_cancel(d->retry);
    im_rpc_timer_cancel(d->refresh);
    im_disc_lease_stop(d);

    HASH_ITER(hh, d->rows, row, tmp) {
        disc_down(d, row);
    }

    im_etcd_destroy(d->etcd);
    d->etcd = NULL;

    if (d->watch != NULL) {
        im_rpc_stream_cancel(d->watch);
    }

    im_disc_release(d);
}


/* Freed when the last stream has ended. */
void
im_disc_release(im_disc_t *d)
{
    disc_service_t  *svc;

    if (d->watch != NULL || d->keep_alive != NULL) {
        return;
    }

    while (d->services != NULL) {
        svc = d->services;
        d->services = svc->next;
        free(svc);
    }

    im_disc_lease_free(d);
    free(d);
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


/* Once for each change, not once for each try. */
void
im_disc_log_down(im_disc_t *d, const char *why)
{
    if (!d->lost) {
        d->lost = 1;
        im_disc_log(d, IM_LOG_WARN, "etcd %s: %s; the last view stays in "
                    "force, retrying each %d ms", im_etcd_endpoint(d->etcd),
                    why, DISC_RETRY_MS);
    }
}


void
im_disc_log_up(im_disc_t *d)
{
    if (d->lost || !im_disc_ready(d)) {
        im_disc_log(d, IM_LOG_NOTICE, "etcd %s: connected",
                    im_etcd_endpoint(d->etcd));
    }

    d->lost = 0;
}
