/*
 * im_probe_etcd.c -- the probe of etcd: an empty range, asked by the rpc
 * thread, which is the only one that may.
 *
 * The view of the instances stays in force while etcd is away, so "listed
 * once" does not show that etcd answers now.
 */

#include <stdio.h>

#include "im_cond.h"
#include "im_probe_etcd.h"
#include "im_timeouts.h"


static int probe_etcd(void *ctx, char *error, size_t size);
static void probe_etcd_ask(void *ctx);
static void probe_etcd_on_answer(void *ctx, int rc);


int
im_probe_etcd_start(im_probe_etcd_t *e)
{
    pthread_cond_init(&e->wake, NULL);
    pthread_mutex_init(&e->lock, NULL);

    e->probe.name = "etcd";
    e->probe.look = probe_etcd;
    e->probe.ctx = e;

    return im_probe_start(&e->probe);
}


static int
probe_etcd(void *ctx, char *error, size_t size)
{
    int               rc;
    unsigned          asked;
    uint64_t          until_us;
    im_probe_etcd_t  *e = ctx;

    until_us = im_cond_now_us() + IM_PROBE_DEADLINE_MS * 1000;

    pthread_mutex_lock(&e->lock);
    asked = ++e->asked;
    pthread_mutex_unlock(&e->lock);

    if (im_rpc_post(e->rpc, probe_etcd_ask, e) != IM_OK) {
        snprintf(error, size, "out of memory");
        return IM_ERROR;
    }

    rc = IM_OK;
    pthread_mutex_lock(&e->lock);

    while (e->answered != asked && rc == IM_OK) {
        rc = im_cond_wait_until(&e->wake, &e->lock, until_us);
    }

    rc = (e->answered == asked) ? e->rc : IM_AGAIN;
    pthread_mutex_unlock(&e->lock);

    if (rc == IM_OK && im_disc_ready(e->disc)) {
        return IM_OK;
    }

    snprintf(error, size, "%s: %s", e->conf->etcd_endpoints,
             (rc == IM_OK) ? "the instances are not listed yet"
             : (rc == IM_AGAIN) ? "no answer in "
                                  IM_TIMEOUT_STR(IM_PROBE_DEADLINE_MS) " ms"
             : "it cannot be reached, or refuses");

    return IM_ERROR;
}


/* rpc thread, as the answer */
static void
probe_etcd_ask(void *ctx)
{
    im_probe_etcd_t  *e = ctx;

    /* busy: the question of an earlier look; its answer is as good */

    if (im_disc_ask(e->disc, probe_etcd_on_answer, e) == IM_ERROR) {
        probe_etcd_on_answer(e, IM_ERROR);
    }
}


static void
probe_etcd_on_answer(void *ctx, int rc)
{
    im_probe_etcd_t  *e = ctx;

    pthread_mutex_lock(&e->lock);
    e->answered = e->asked;
    e->rc = rc;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}
