/*
 * im_disc_pick.c -- whom the service view picks, and who is left out.
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
 * Room: disc.  Runs on: home.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"


#define PICK_EJECT_FAILS    3       /* transport failures in a row */
#define PICK_ROWS_MAX       256     /* considered by one pick */
#define PICK_WAIT_MS        1000    /* come back, if nothing is known */


static const im_breaker_conf_t  pick_breaker = {
    .window_ms = IM_BREAKER_WINDOW_MS,
    .calls_min = 10,
    .failed_pct = 50,
    .open_min_ms = IM_BREAKER_OPEN_MIN_MS,
    .open_max_ms = IM_BREAKER_OPEN_MAX_MS
};


static int pick_can(const disc_row_t *row, uint64_t now_ms);
static void pick_join(disc_row_t *row);
static void pick_leave(disc_row_t *row);
static void pick_review(disc_service_t *svc, uint64_t now_ms);
static disc_row_t *pick_choose(disc_service_t *svc,
    const im_disc_call_conf_t *conf, disc_row_t **rows, unsigned n);
static uint64_t pick_cost(const disc_row_t *row);
static uint64_t pick_dice(disc_service_t *svc);
static int pick_is_failure(const im_rpc_status_t *status);


void
im_disc_pick_up(disc_row_t *row)
{
    unsigned  i;

    for (i = 0; i < IM_DISC_CLASSES; i++) {
        im_breaker_init(&row->breakers[i]);
    }

    im_disc_pick_changed(row);
}


void
im_disc_pick_changed(disc_row_t *row)
{
    if (pick_can(row, im_disc_now_ms())) {
        pick_join(row);

    } else {
        pick_leave(row);
    }
}


void
im_disc_pick_down(disc_row_t *row)
{
    pick_leave(row);
}


void
im_disc_alive(im_disc_instance_t *inst)
{
    disc_row_t  *row = (disc_row_t *) inst;

    row->life = DISC_ALIVE;
    row->fails = 0;
    row->ejected_until_ms = 0;

    im_disc_pick_changed(row);
}


void
im_disc_dead(im_disc_instance_t *inst)
{
    disc_row_t  *row = (disc_row_t *) inst;

    row->life = DISC_DEAD;

    pick_leave(row);
    im_disc_call_end_all(row);
}


static int
pick_can(const disc_row_t *row, uint64_t now_ms)
{
    return !row->pub.draining && row->life != DISC_DEAD
           && now_ms >= row->ejected_until_ms;
}


static void
pick_join(disc_row_t *row)
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
pick_leave(disc_row_t *row)
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
pick_review(disc_service_t *svc, uint64_t now_ms)
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

            if (pick_can(row, now_ms)) {
                pick_join(row);
            }

        } else if (svc->back_ms == 0
                   || row->ejected_until_ms < svc->back_ms)
        {
            svc->back_ms = row->ejected_until_ms;
        }
    }
}


im_disc_instance_t *
im_disc_pick(im_disc_t *d, const char *service, unsigned slot)
{
    disc_row_t      *row;
    disc_service_t  *svc;

    svc = im_disc_service_get(d, service);
    if (svc == NULL) {
        return NULL;
    }

    pick_review(svc, im_disc_now_ms());
    row = svc->slots[slot % IM_SLOTS];

    return (row != NULL) ? &row->pub : NULL;
}


disc_row_t *
im_disc_pick_row(disc_service_t *svc, const im_disc_call_conf_t *conf,
    const uint64_t *tried, unsigned n, uint64_t now_ms)
{
    unsigned     i, fit, spare;
    disc_row_t  *row, *fits[PICK_ROWS_MAX], *spares[PICK_ROWS_MAX];

    pick_review(svc, now_ms);

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

        if (!pick_can(row, now_ms)) {
            if (spare < PICK_ROWS_MAX) {
                spares[spare++] = row;
            }

        } else if (fit < PICK_ROWS_MAX) {
            fits[fit++] = row;
        }
    }

    if (fit > 0) {
        return pick_choose(svc, conf, fits, fit);
    }

    return (spare > 0) ? pick_choose(svc, conf, spares, spare) : NULL;
}


static disc_row_t *
pick_choose(disc_service_t *svc, const im_disc_call_conf_t *conf,
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
        i = (unsigned) (pick_dice(svc) % n);
        k = (unsigned) (pick_dice(svc) % (n - 1));
        k += (k >= i);

        return (pick_cost(rows[k]) < pick_cost(rows[i])) ? rows[k]
                                                               : rows[i];
    }
}


/* What is under way from here is known now, the load only since a while. */
static uint64_t
pick_cost(const disc_row_t *row)
{
    return ((uint64_t) row->outstanding + 1) * (100 + row->pub.load);
}


/* xorshift64 (G. Marsaglia, 2003): spread, not secrecy. */
static uint64_t
pick_dice(disc_service_t *svc)
{
    svc->dice ^= svc->dice << 13;
    svc->dice ^= svc->dice >> 7;
    svc->dice ^= svc->dice << 17;

    return svc->dice;
}


void
im_disc_pick_judge(disc_row_t *row, unsigned class, unsigned probe,
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

    if (pick_is_failure(status)) {
        im_breaker_failed(b, &pick_breaker, now_ms, probe);

    } else {
        im_breaker_ok(b, &pick_breaker, now_ms, probe);
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
        row->fails = PICK_EJECT_FAILS;

    } else if (++row->fails < PICK_EJECT_FAILS) {
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
    pick_leave(row);

    im_disc_log(d, IM_LOG_WARN, "%s %s at %s: not asked for %u ms: %s",
                svc->name, row->id, row->pub.address, row->eject_ms,
                status->message);
}


/* What a breaker counts: it does not work, not: it says no. */
static int
pick_is_failure(const im_rpc_status_t *status)
{
    return status->code == IM_RPC_UNAVAILABLE
           || status->code == IM_RPC_DEADLINE_EXCEEDED
           || status->code == IM_RPC_INTERNAL
           || status->code == IM_RPC_UNKNOWN
           || (status->code != IM_RPC_OK
               && status->sent != IM_RPC_ANSWERED);
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
    least = PICK_WAIT_MS;

    for (row = (svc != NULL) ? svc->rows : NULL; row != NULL;
         row = row->svc_next)
    {
        wait = im_breaker_wait_ms(&row->breakers[class], now);

        if (wait != 0 && (wait < least || least == PICK_WAIT_MS)) {
            least = wait;
        }
    }

    return least;
}
