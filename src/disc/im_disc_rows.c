/*
 * im_disc_rows.c -- the table of instances: what a key of etcd changes in it.
 *
 * A row is one start of one process.  A key whose boot id or address changes
 * is another process: the old row goes down, a new one comes up.  A value that
 * cannot be read is logged once and counted; a row that it would replace stays
 * as it was, since the process behind it has not changed.
 *
 * Room: disc.  Runs on: home.  Owns: rows and their channels.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"


static im_rpc_role_t disc_role(const char *service);
static void disc_change(disc_row_t *row, const disc_value_t *value);
static void disc_up(disc_service_t *svc, disc_row_t *row);
static void disc_down(im_disc_t *d, disc_row_t *row);


void
im_disc_rows_put(im_disc_t *d, const Etcdserverpb__KeyValue *kv)
{
    char             service[DISC_NAME_MAX], id[DISC_NAME_MAX];
    char             key[2 * DISC_NAME_MAX];
    disc_row_t      *row;
    const char      *why;
    disc_value_t     value;
    disc_service_t  *svc;

    if (im_disc_key_split(d, &kv->key, service, id) != IM_OK) {
        im_disc_garbage(d, kv, "it is not <service>/<id> of "
                           "A-Z a-z 0-9 . _ -");
        return;
    }

    if (strcmp(service, "node") == 0 || strcmp(service, "floor") == 0) {
        return;                        /* node numbers are not instances */
    }

    snprintf(key, sizeof(key), "%s/%s", service, id);
    HASH_FIND_STR(d->rows, key, row);

    if (row != NULL) {
        row->round = d->round;
    }

    if (im_disc_value_read(&value, &kv->value, &why) != IM_OK) {
        im_disc_garbage(d, kv, why);
        return;
    }

    if (row != NULL) {

        if (strcmp(row->value.boot, value.boot) == 0
            && strcmp(row->value.address, value.address) == 0)
        {
            disc_change(row, &value);
            return;
        }

        disc_down(d, row);             /* another process under this name */
    }

    svc = im_disc_service_get(d, service);
    row = calloc(1, sizeof(disc_row_t));

    if (svc == NULL || row == NULL) {
        free(row);
        return;
    }

    memcpy(row->key, key, sizeof(row->key));
    memcpy(row->id, id, sizeof(row->id));
    row->value = value;
    row->svc = svc;
    row->round = d->round;
    row->serial = ++d->serial;
    row->pub.service = svc->name;
    row->pub.id = row->id;
    row->pub.address = row->value.address;
    row->pub.boot = row->value.boot;
    row->pub.load = value.load;
    row->pub.draining = value.draining;
    row->pub.channel = im_rpc_channel_peer(d->rpc, row->pub.address,
                                           row->pub.boot, disc_role(service));

    if (row->pub.channel == NULL) {
        free(row);
        return;
    }

    HASH_ADD_STR(d->rows, key, row);

    if (!im_hash_is_added(row)) {
        im_rpc_channel_unref(row->pub.channel);
        free(row);
        return;
    }

    disc_up(svc, row);
}


/* Of the tier that serves it: its certificate must say so. */
static im_rpc_role_t
disc_role(const char *service)
{
    return (strcmp(service, "connect") == 0) ? IM_RPC_NGINX
           : (strcmp(service, "logic") == 0) ? IM_RPC_LOGIC : IM_RPC_TASK;
}


static void
disc_change(disc_row_t *row, const disc_value_t *value)
{
    disc_service_t  *svc;

    if (row->value.load == value->load
        && row->value.draining == value->draining)
    {
        return;
    }

    svc = row->svc;
    row->value = *value;
    row->pub.load = value->load;
    row->pub.draining = value->draining != 0;

    atomic_fetch_add(&svc->disc->stats.changes, 1);
    im_disc_pick_changed(row);

    if (svc->handler != NULL && svc->handler->changed != NULL) {
        svc->handler->changed(svc->ctx, &row->pub);
    }
}


void
im_disc_rows_delete(im_disc_t *d, const ProtobufCBinaryData *raw)
{
    char         service[DISC_NAME_MAX], id[DISC_NAME_MAX];
    char         key[2 * DISC_NAME_MAX];
    disc_row_t  *row;

    if (im_disc_key_split(d, raw, service, id) != IM_OK) {
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
    row->svc_next = svc->rows;
    svc->rows = row;

    atomic_fetch_add(&svc->disc->stats.instances, 1);
    atomic_fetch_add(&svc->disc->stats.changes, 1);
    im_disc_pick_up(row);

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

    atomic_fetch_sub(&d->stats.instances, 1);
    atomic_fetch_add(&d->stats.changes, 1);
    im_disc_pick_down(row);
    im_disc_call_row_gone(row);

    if (svc->handler != NULL) {
        svc->handler->down(svc->ctx, &row->pub);
    }

    im_rpc_channel_unref(row->pub.channel);
    free(row);
}


/* What the last listing does not hold. */
void
im_disc_rows_sweep(im_disc_t *d)
{
    disc_row_t  *row, *tmp;

    HASH_ITER(hh, d->rows, row, tmp) {
        if (row->round != d->round) {
            disc_down(d, row);
        }
    }
}


disc_service_t *
im_disc_service_get(im_disc_t *d, const char *name)
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
    svc->disc = d;
    svc->dice = im_disc_now_ms() | 1;
    svc->next = d->services;
    d->services = svc;

    return svc;
}
