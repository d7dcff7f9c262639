/*
 * im_disc_call.c -- the service view: a call goes to whoever can take it.
 *
 *   pick --> call --> answered ------------------------> reply
 *    ^         |
 *    |         +--> not sent, or maybe sent and idempotent
 *    +----------------+      (another instance, at most IM_DISC_TRIES)
 *
 * A call knows the row that it went to, and the row its calls, so that both
 * can go first: a row that is dead ends its calls, which then go elsewhere; a
 * row that etcd does not name any more leaves them to be answered, since an
 * instance that unregisters first finishes them.
 *
 * Room: disc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"


struct im_disc_call_s {
    im_disc_t            *disc;        /* NULL: destroyed */
    disc_service_t       *svc;
    disc_row_t           *row;         /* NULL: it has gone */
    im_disc_call_t       *prev;        /* of the row's calls, or of orphans */
    im_disc_call_t       *next;
    im_rpc_call_t        *rpc;
    im_rpc_method_t       method;
    im_str_t              request;     /* packed */
    im_disc_call_conf_t   conf;
    char                  trace[IM_RPC_TRACE_MAX + 1];
    uint64_t              deadline_ms;
    uint64_t              tried[IM_DISC_TRIES];
    unsigned              tries;
    unsigned              probe:1;
    unsigned              cancelled:1;
    im_rpc_reply_pt       reply;
    void                 *ctx;
};


static int call_send(im_disc_call_t *c, uint64_t now_ms);
static void call_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static int call_again(im_disc_call_t *c, const im_rpc_status_t *status);
static void call_link(im_disc_call_t **list, im_disc_call_t *c);
static void call_unlink(im_disc_call_t **list, im_disc_call_t *c);


int
im_disc_call(im_disc_t *d, const char *service, const im_rpc_method_t *m,
    const ProtobufCMessage *request, const im_disc_call_conf_t *conf,
    im_rpc_reply_pt reply, void *ctx, im_disc_call_t **call)
{
    int              rc;
    size_t           len;
    uint64_t         now;
    im_disc_call_t  *c;

    len = protobuf_c_message_get_packed_size(request);
    c = calloc(1, sizeof(im_disc_call_t) + len);

    if (c == NULL) {
        return IM_ERROR;
    }

    now = im_disc_now_ms();

    c->disc = d;
    c->svc = im_disc_service_get(d, service);
    c->method = *m;
    c->conf = *conf;
    c->reply = reply;
    c->ctx = ctx;
    c->deadline_ms = now + conf->timeout_ms;
    c->request.data = (unsigned char *) (c + 1);
    c->request.len = protobuf_c_message_pack(request, c->request.data);
    snprintf(c->trace, sizeof(c->trace), "%s",
             conf->trace ? conf->trace : "");

    rc = (c->svc != NULL) ? call_send(c, now) : IM_ERROR;

    if (rc != IM_OK) {
        free(c);

        if (rc == IM_DECLINED) {
            atomic_fetch_add(&d->stats.declined, 1);
        }

        return rc;
    }

    *call = c;

    return IM_OK;
}


static int
call_send(im_disc_call_t *c, uint64_t now_ms)
{
    disc_row_t  *row;

    row = im_disc_pick_row(c->svc, &c->conf, c->tried, c->tries, now_ms);
    if (row == NULL) {
        return IM_DECLINED;
    }

    c->rpc = im_rpc_call_packed(row->pub.channel, &c->method, &c->request,
                                (unsigned) (c->deadline_ms - now_ms),
                                c->trace, call_on_reply, c);
    if (c->rpc == NULL) {
        return IM_ERROR;
    }

    c->row = row;
    c->tried[c->tries++] = row->serial;
    c->probe = im_breaker_start(&row->breakers[c->conf.class], now_ms) != 0;
    row->outstanding++;
    call_link(&row->calls, c);

    return IM_OK;
}


static void
call_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    im_disc_t       *d;
    im_disc_call_t  *c = ctx;

    d = c->disc;
    c->rpc = NULL;

    if (c->row != NULL) {
        call_unlink(&c->row->calls, c);
        c->row->outstanding--;

        if (c->cancelled) {
            im_breaker_forget(&c->row->breakers[c->conf.class], c->probe);

        } else {
            im_disc_pick_judge(c->row, c->conf.class, c->probe, status,
                               im_disc_now_ms());
        }

        c->row = NULL;

    } else {
        call_unlink(&d->orphans, c);
    }

    if (call_again(c, status) != IM_OK) {
        c->reply(c->ctx, status, reply);
        free(c);
    }

    if (d->down) {
        im_disc_release(d);
    }
}


/* IM_OK: the call is on its way to another instance. */
static int
call_again(im_disc_call_t *c, const im_rpc_status_t *status)
{
    uint64_t  now;

    if (status->code == IM_RPC_OK || status->sent == IM_RPC_ANSWERED
        || c->cancelled || c->disc->down || c->tries == IM_DISC_TRIES
        || (status->sent == IM_RPC_MAYBE_SENT && !c->conf.idempotent))
    {
        return IM_DECLINED;
    }

    now = im_disc_now_ms();

    if (now + 1 >= c->deadline_ms || call_send(c, now) != IM_OK) {
        return IM_DECLINED;
    }

    atomic_fetch_add(&c->disc->stats.failovers, 1);

    return IM_OK;
}


void
im_disc_call_cancel(im_disc_call_t *c)
{
    c->cancelled = 1;
    im_rpc_call_cancel(c->rpc);
}


/* Their replies come as CANCELLED, and lead on to another instance. */
void
im_disc_call_end_all(disc_row_t *row)
{
    im_disc_call_t  *c;

    for (c = row->calls; c != NULL; c = c->next) {
        im_rpc_call_cancel(c->rpc);
    }
}


void
im_disc_call_row_gone(disc_row_t *row)
{
    im_disc_t       *d;
    im_disc_call_t  *c;

    d = row->svc->disc;

    while (row->calls != NULL) {
        c = row->calls;
        call_unlink(&row->calls, c);
        call_link(&d->orphans, c);
        c->row = NULL;
    }
}


void
im_disc_call_stop(im_disc_t *d)
{
    disc_row_t      *row, *tmp;
    im_disc_call_t  *c;

    for (c = d->orphans; c != NULL; c = c->next) {
        im_disc_call_cancel(c);
    }

    HASH_ITER(hh, d->rows, row, tmp) {
        for (c = row->calls; c != NULL; c = c->next) {
            im_disc_call_cancel(c);
        }
    }
}


static void
call_link(im_disc_call_t **list, im_disc_call_t *c)
{
    c->prev = NULL;
    c->next = *list;

    if (c->next != NULL) {
        c->next->prev = c;
    }

    *list = c;
}


static void
call_unlink(im_disc_call_t **list, im_disc_call_t *c)
{
    if (c->prev != NULL) {
        c->prev->next = c->next;

    } else {
        *list = c->next;
    }

    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
}
