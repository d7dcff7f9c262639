/*
 * im_disc_service.c -- the service view: a call goes to whoever can take it.
 *
 *   pick --> call --> answered ------------------------> reply
 *    ^         |
 *    |         +--> not sent, or maybe sent and idempotent
 *    +----------------+      (another instance, at most DISC_TRIES)
 *
 * Who is picked: not leaving, not dead on a subscriber's stream, not ejected,
 * breaker not open.  If nobody is left, the ejected and the dead are asked
 * after all, since a wrong guess of ours must not be an outage; those that
 * leave never are.
 *
 * Three judgements, of three things.  Dead: a heartbeat was missed; at once,
 * for all calls.  Ejected: several transport failures in a row; for a while,
 * doubled each time.  Breaker: a share of failures, also answered ones, of one
 * class of methods; the others go on.
 *
 * The home of a slot is the row with the highest weight (rendezvous hashing,
 * Thaler and Ravishankar 1998).  The winners are kept in a table; a row that
 * comes takes the slots that it wins, a row that goes leaves only its own to
 * be decided again: 1024 hashes, whatever the number of rows.
 *
 * Room: rpc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"


#define SERVICE_EJECT_FAILS    3       /* transport failures in a row */
#define SERVICE_ROWS_MAX       256     /* considered by one pick */
#define SERVICE_WAIT_MS        1000    /* come back, if nothing is known */


static const im_breaker_conf_t  service_breaker = {
    .window_ms = IM_BREAKER_WINDOW_MS,
    .calls_min = 10,
    .failed_pct = 50,
    .open_min_ms = IM_BREAKER_OPEN_MIN_MS,
    .open_max_ms = IM_BREAKER_OPEN_MAX_MS
};


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


static int service_can(const disc_row_t *row, uint64_t now_ms);
static void service_join(disc_row_t *row);
static void service_leave(disc_row_t *row);
static void service_review(disc_service_t *svc, uint64_t now_ms);
static disc_row_t *service_choose(disc_service_t *svc,
    const im_disc_call_conf_t *conf, disc_row_t **rows, unsigned n);
static uint64_t service_cost(const disc_row_t *row);
static uint64_t service_dice(disc_service_t *svc);
static int service_send(im_disc_call_t *c, uint64_t now_ms);
static void service_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);
static int service_again(im_disc_call_t *c, const im_rpc_status_t *status);
static void service_link(im_disc_call_t **list, im_disc_call_t *c);
static void service_unlink(im_disc_call_t **list, im_disc_call_t *c);
static void service_end_calls(disc_row_t *row);
static int service_is_failure(const im_rpc_status_t *status);


/* Rows. */


void
im_disc_service_up(disc_row_t *row)
{
    unsigned  i;

    for (i = 0; i < IM_DISC_CLASSES; i++) {
        im_breaker_init(&row->breakers[i]);
    }

    im_disc_service_changed(row);
}


void
im_disc_service_changed(disc_row_t *row)
{
    if (service_can(row, im_disc_now_ms())) {
        service_join(row);

    } else {
        service_leave(row);
    }
}


/* Calls under way may still be answered: an instance that unregisters first
 * finishes them. */
void
im_disc_service_down(disc_row_t *row)
{
    im_disc_t       *d;
    im_disc_call_t  *c;

    d = row->svc->disc;
    service_leave(row);

    while (row->calls != NULL) {
        c = row->calls;
        service_unlink(&row->calls, c);
        service_link(&d->orphans, c);
        c->row = NULL;
    }
}


void
im_disc_service_stop(im_disc_t *d)
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


void
im_disc_alive(im_disc_instance_t *inst)
{
    disc_row_t  *row = (disc_row_t *) inst;

    row->life = DISC_ALIVE;
    row->fails = 0;
    row->ejected_until_ms = 0;

    im_disc_service_changed(row);
}


void
im_disc_dead(im_disc_instance_t *inst)
{
    disc_row_t  *row = (disc_row_t *) inst;

    row->life = DISC_DEAD;

    service_leave(row);
    service_end_calls(row);
}


static int
service_can(const disc_row_t *row, uint64_t now_ms)
{
    return !row->pub.draining && row->life != DISC_DEAD
           && now_ms >= row->ejected_until_ms;
}


static void
service_join(disc_row_t *row)
{
    unsigned         slot;
    uint64_t         weight;
    disc_service_t  *svc;

    if (row->picked) {
        return;
    }

    row->picked = 1;
    svc = row->svc;

    for (slot = 0; slot < IM_SLOTS; slot++) {
        weight = im_slot_weight(slot, row->id, strlen(row->id));

        if (svc->slots[slot] == NULL || weight > svc->weights[slot]) {
            svc->slots[slot] = row;
            svc->weights[slot] = weight;
        }
    }
}


static void
service_leave(disc_row_t *row)
{
    unsigned         slot;
    uint64_t         weight;
    disc_row_t      *other;
    disc_service_t  *svc;

    if (!row->picked) {
        return;
    }

    row->picked = 0;
    svc = row->svc;

    for (slot = 0; slot < IM_SLOTS; slot++) {

        if (svc->slots[slot] != row) {
            continue;
        }

        svc->slots[slot] = NULL;

        for (other = svc->rows; other != NULL; other = other->svc_next) {

            if (!other->picked) {
                continue;
            }

            weight = im_slot_weight(slot, other->id, strlen(other->id));

            if (svc->slots[slot] == NULL || weight > svc->weights[slot]) {
                svc->slots[slot] = other;
                svc->weights[slot] = weight;
            }
        }
    }
}


/* Lets those in again whose ejection is over. */
static void
service_review(disc_service_t *svc, uint64_t now_ms)
{
    disc_row_t  *row;

    if (svc->back_ms == 0 || now_ms < svc->back_ms) {
        return;
    }

    svc->back_ms = 0;

    for (row = svc->rows; row != NULL; row = row->svc_next) {

        if (row->ejected_until_ms == 0) {
            continue;
        }

        if (now_ms >= row->ejected_until_ms) {
            row->ejected_until_ms = 0;

            if (service_can(row, now_ms)) {
                service_join(row);
            }

        } else if (svc->back_ms == 0
                   || row->ejected_until_ms < svc->back_ms)
        {
            svc->back_ms = row->ejected_until_ms;
        }
    }
}


/* Picks. */


im_disc_instance_t *
im_disc_pick(im_disc_t *d, const char *service, unsigned slot)
{
    disc_row_t      *row;
    disc_service_t  *svc;

    svc = im_disc_service_get(d, service);
    if (svc == NULL) {
        return NULL;
    }

    service_review(svc, im_disc_now_ms());
    row = svc->slots[slot % IM_SLOTS];

    return (row != NULL) ? &row->pub : NULL;
}


disc_row_t *
im_disc_service_pick(disc_service_t *svc, const im_disc_call_conf_t *conf,
    const uint64_t *tried, unsigned n, uint64_t now_ms)
{
    unsigned     i, fit, spare;
    disc_row_t  *row, *fits[SERVICE_ROWS_MAX], *spares[SERVICE_ROWS_MAX];

    service_review(svc, now_ms);

    fit = 0;
    spare = 0;

    for (row = svc->rows; row != NULL; row = row->svc_next) {

        for (i = 0; i < n && tried[i] != row->serial; i++) {
            /* was it tried? */
        }

        if (i < n || row->pub.draining
            || !im_breaker_allows(&row->breakers[conf->class], now_ms))
        {
            continue;
        }

        if (!service_can(row, now_ms)) {
            if (spare < SERVICE_ROWS_MAX) {
                spares[spare++] = row;
            }

        } else if (fit < SERVICE_ROWS_MAX) {
            fits[fit++] = row;
        }
    }

    if (fit > 0) {
        return service_choose(svc, conf, fits, fit);
    }

    return (spare > 0) ? service_choose(svc, conf, spares, spare) : NULL;
}


static disc_row_t *
service_choose(disc_service_t *svc, const im_disc_call_conf_t *conf,
    disc_row_t **rows, unsigned n)
{
    unsigned     i, k, best;
    uint64_t     weight, most;
    disc_row_t  *home;

    if (n == 1) {
        return rows[0];
    }

    switch (conf->policy) {

    case IM_DISC_ROUND_ROBIN:
        /* in the order of their arrival: the list's is that of the rows */
        return rows[svc->turn++ % n];

    case IM_DISC_SLOT:
        home = svc->slots[conf->slot % IM_SLOTS];
        best = 0;
        most = 0;

        for (i = 0; i < n; i++) {

            if (rows[i] == home) {
                return home;
            }

            weight = im_slot_weight(conf->slot % IM_SLOTS, rows[i]->id,
                                    strlen(rows[i]->id));

            if (weight >= most) {
                best = i;
                most = weight;
            }
        }

        return rows[best];

    default:
        /* M. Mitzenmacher, "The Power of Two Choices" (2001) */
        i = (unsigned) (service_dice(svc) % n);
        k = (unsigned) (service_dice(svc) % (n - 1));
        k += (k >= i);

        return (service_cost(rows[k]) < service_cost(rows[i])) ? rows[k]
                                                               : rows[i];
    }
}


/* What is under way from here is known now, the load only since a while. */
static uint64_t
service_cost(const disc_row_t *row)
{
    return ((uint64_t) row->outstanding + 1) * (100 + row->pub.load);
}


/* xorshift64 (G. Marsaglia, 2003): spread, not secrecy. */
static uint64_t
service_dice(disc_service_t *svc)
{
    svc->dice ^= svc->dice << 13;
    svc->dice ^= svc->dice >> 7;
    svc->dice ^= svc->dice << 17;

    return svc->dice;
}


/* Calls. */


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

    rc = (c->svc != NULL) ? service_send(c, now) : IM_ERROR;

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
service_send(im_disc_call_t *c, uint64_t now_ms)
{
    disc_row_t  *row;

    row = im_disc_service_pick(c->svc, &c->conf, c->tried, c->tries, now_ms);
    if (row == NULL) {
        return IM_DECLINED;
    }

    c->rpc = im_rpc_call_packed(row->pub.channel, &c->method, &c->request,
                                (unsigned) (c->deadline_ms - now_ms),
                                c->trace, service_on_reply, c);
    if (c->rpc == NULL) {
        return IM_ERROR;
    }

    c->row = row;
    c->tried[c->tries++] = row->serial;
    c->probe = im_breaker_start(&row->breakers[c->conf.class], now_ms) != 0;
    row->outstanding++;
    service_link(&row->calls, c);

    return IM_OK;
}


static void
service_on_reply(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    im_disc_t       *d;
    im_disc_call_t  *c = ctx;

    d = c->disc;
    c->rpc = NULL;

    if (c->row != NULL) {
        service_unlink(&c->row->calls, c);
        c->row->outstanding--;

        if (c->cancelled) {
            im_breaker_forget(&c->row->breakers[c->conf.class], c->probe);

        } else {
            im_disc_service_judge(c->row, c->conf.class, c->probe, status,
                                  im_disc_now_ms());
        }

        c->row = NULL;

    } else {
        service_unlink(&d->orphans, c);
    }

    if (service_again(c, status) != IM_OK) {
        c->reply(c->ctx, status, reply);
        free(c);
    }

    if (d->down) {
        im_disc_release(d);
    }
}


void
im_disc_service_judge(disc_row_t *row, unsigned class, unsigned probe,
    const im_rpc_status_t *status, uint64_t now_ms)
{
    im_disc_t           *d;
    im_breaker_t        *b;
    disc_service_t      *svc;
    im_breaker_state_t   before;

    svc = row->svc;
    d = svc->disc;
    b = &row->breakers[class];
    before = b->state;

    if (service_is_failure(status)) {
        im_breaker_failed(b, &service_breaker, now_ms, probe);

    } else {
        im_breaker_ok(b, &service_breaker, now_ms, probe);
    }

    if (b->state != before) {
        im_disc_log(d, IM_LOG_WARN, "%s %s: breaker of method class %u is "
                    "%s", svc->name, row->id, class,
                    b->state == IM_BREAKER_OPEN ? "open" : "closed");

        if (b->state == IM_BREAKER_OPEN) {
            atomic_fetch_add(&d->stats.opened, 1);
        }
    }

    if (status->code == IM_RPC_OK || status->sent == IM_RPC_ANSWERED) {
        row->fails = 0;
        row->eject_ms = 0;
        return;
    }

    /* refused before a handler: another process; etcd will say so, too */

    if (status->code == IM_RPC_FAILED_PRECONDITION) {
        row->fails = SERVICE_EJECT_FAILS;

    } else if (++row->fails < SERVICE_EJECT_FAILS) {
        return;
    }

    if (row->ejected_until_ms > now_ms) {
        return;
    }

    row->fails = 0;
    row->eject_ms = (row->eject_ms == 0) ? IM_DISC_EJECT_MIN_MS
                                         : row->eject_ms * 2;

    if (row->eject_ms > IM_DISC_EJECT_MAX_MS) {
        row->eject_ms = IM_DISC_EJECT_MAX_MS;
    }

    row->ejected_until_ms = now_ms + row->eject_ms;

    if (svc->back_ms == 0 || row->ejected_until_ms < svc->back_ms) {
        svc->back_ms = row->ejected_until_ms;
    }

    atomic_fetch_add(&d->stats.ejections, 1);
    service_leave(row);

    im_disc_log(d, IM_LOG_WARN, "%s %s at %s: not asked for %u ms: %s",
                svc->name, row->id, row->pub.address, row->eject_ms,
                status->message);
}


/* IM_OK: the call is on its way to another instance. */
static int
service_again(im_disc_call_t *c, const im_rpc_status_t *status)
{
    uint64_t  now;

    if (status->code == IM_RPC_OK || status->sent == IM_RPC_ANSWERED
        || c->cancelled || c->disc->down || c->tries == IM_DISC_TRIES
        || (status->sent == IM_RPC_MAYBE_SENT && !c->conf.idempotent))
    {
        return IM_DECLINED;
    }

    now = im_disc_now_ms();

    if (now + 1 >= c->deadline_ms || service_send(c, now) != IM_OK) {
        return IM_DECLINED;
    }

    atomic_fetch_add(&c->disc->stats.failovers, 1);

    return IM_OK;
}


/* What a breaker counts: it does not work, not: it says no. */
static int
service_is_failure(const im_rpc_status_t *status)
{
    return status->code == IM_RPC_UNAVAILABLE
           || status->code == IM_RPC_DEADLINE_EXCEEDED
           || status->code == IM_RPC_INTERNAL
           || status->code == IM_RPC_UNKNOWN
           || (status->code != IM_RPC_OK
               && status->sent != IM_RPC_ANSWERED);
}


/* Their replies come as CANCELLED, and lead on to another instance. */
static void
service_end_calls(disc_row_t *row)
{
    im_disc_call_t  *c;

    for (c = row->calls; c != NULL; c = c->next) {
        im_rpc_call_cancel(c->rpc);
    }
}


void
im_disc_call_cancel(im_disc_call_t *c)
{
    c->cancelled = 1;
    im_rpc_call_cancel(c->rpc);
}


unsigned
im_disc_wait_ms(im_disc_t *d, const char *service, unsigned class)
{
    unsigned         wait, least;
    uint64_t         now;
    disc_row_t      *row;
    disc_service_t  *svc;

    svc = im_disc_service_get(d, service);
    now = im_disc_now_ms();
    least = SERVICE_WAIT_MS;

    for (row = (svc != NULL) ? svc->rows : NULL; row != NULL;
         row = row->svc_next)
    {
        wait = im_breaker_wait_ms(&row->breakers[class], now);

        if (wait != 0 && (wait < least || least == SERVICE_WAIT_MS)) {
            least = wait;
        }
    }

    return least;
}


static void
service_link(im_disc_call_t **list, im_disc_call_t *c)
{
    c->prev = NULL;
    c->next = *list;

    if (c->next != NULL) {
        c->next->prev = c;
    }

    *list = c;
}


static void
service_unlink(im_disc_call_t **list, im_disc_call_t *c)
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
