/*
 * im_disc_state.c -- what discovery tells of itself: counters, and how things
 * are between us and etcd.
 *
 * A frozen etcd ends no stream for seconds; its silence on our lease tells
 * sooner.
 *
 * Room: disc.  Runs on: home, but for the counters.
 */

#include <stdio.h>

#include "im_disc_int.h"


void
im_disc_stats(im_disc_t *d, im_disc_stats_t *stats)
{
    stats->instances = atomic_load(&d->stats.instances);
    stats->changes = atomic_load(&d->stats.changes);
    stats->listings = atomic_load(&d->stats.listings);
    stats->breaks = atomic_load(&d->stats.breaks);
    stats->garbage = atomic_load(&d->stats.garbage);
    stats->failovers = atomic_load(&d->stats.failovers);
    stats->ejections = atomic_load(&d->stats.ejections);
    stats->opened = atomic_load(&d->stats.opened);
    stats->declined = atomic_load(&d->stats.declined);
}


void
im_disc_state(im_disc_t *d, im_disc_state_t *state)
{
    unsigned     i;
    uint64_t     since;
    disc_reg_t  *reg;

    state->now_ms = im_disc_now_ms();
    state->answers = !d->lost && im_disc_ready(d);
    state->silent_ms = d->lost_ms;
    state->error = d->error;

    if (state->answers && d->lease.id != 0
        && state->now_ms - d->lease.heard_ms > d->lease.ttl_s * 1000)
    {
        state->answers = 0;
        state->silent_ms = d->lease.heard_ms;
        state->error = "it does not renew our lease";
    }

    state->registered = 1;
    since = state->now_ms;

    for (i = 0; i < DISC_REGS_MAX; i++) {
        reg = &d->regs[i];

        if (reg->key[0] != '\0' && !reg->held) {
            state->registered = 0;
            since = (reg->missing_ms < since) ? reg->missing_ms : since;
        }
    }

    state->missing_ms = since;
}


/* Once for each change, not once for each try. */
void
im_disc_etcd_lost(im_disc_t *d, const char *why)
{
    snprintf(d->error, sizeof(d->error), "%s: %s",
             im_etcd_endpoint(d->etcd), why);

    if (d->lost) {
        return;
    }

    d->lost = 1;

    if (im_disc_ready(d)) {
        d->lost_ms = im_disc_now_ms();
    }

    im_disc_log(d, IM_LOG_WARN, "etcd %s; the last view stays in force, "
                "retrying each %d ms", d->error, IM_ETCD_RETRY_MS);
}


void
im_disc_etcd_back(im_disc_t *d)
{
    if (d->lost || !im_disc_ready(d)) {
        im_disc_log(d, IM_LOG_NOTICE, "etcd %s: connected",
                    im_etcd_endpoint(d->etcd));
    }

    d->lost = 0;
}
