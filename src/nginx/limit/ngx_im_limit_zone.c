/*
 * ngx_im_limit_zone.c -- the buckets of a zone in shared memory, and what the
 * log says of it.
 *
 * The mutex is that of the zone's slab pool: the master unlocks it when a
 * worker dies with it.  The table takes all pages of the pool at once; a reload
 * with the same name and size finds it as it was.
 *
 * Refusals come by the thousand, so a zone logs a line a minute: the first
 * refusal at once, the others counted.  If none comes after that minute, a
 * timer of the worker that has counted the last one logs them.
 */

#include "ngx_im_limit_zone.h"

#include <sodium.h>


#define NGX_IM_LIMIT_LINE_MS  60000


static ngx_im_limit_shared_t *ngx_im_limit_zone_make(ngx_slab_pool_t *pool);
static void ngx_im_limit_zone_later(ngx_im_limit_zone_t *zone,
    ngx_msec_t ms);
static void ngx_im_limit_zone_on_later(ngx_event_t *ev);


ngx_int_t
ngx_im_limit_zone_init(ngx_shm_zone_t *shm, void *data)
{
    ngx_im_limit_zone_t  *old = data;
    ngx_im_limit_zone_t  *zone = shm->data;

    zone->pool = (ngx_slab_pool_t *) shm->shm.addr;

    if (old != NULL) {

        if (old->kind != zone->kind) {
            ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                          "im_limit_zone: zone \"%V\" has key=%V, and had "
                          "key=%V before: give it another name",
                          &zone->name, &ngx_im_limit_kinds[zone->kind],
                          &ngx_im_limit_kinds[old->kind]);
            return NGX_ERROR;
        }

        zone->shared = old->shared;
        return NGX_OK;
    }

    if (shm->shm.exists) {
        zone->shared = zone->pool->data;
        return NGX_OK;
    }

    zone->shared = ngx_im_limit_zone_make(zone->pool);

    if (zone->shared == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                      "im_limit_zone: zone \"%V\" is too small", &zone->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* All of it in one piece, so that no page is lost to a second allocation. */
static ngx_im_limit_shared_t *
ngx_im_limit_zone_make(ngx_slab_pool_t *pool)
{
    size_t                  size, head;
    u_char                  secret[IM_BUCKETS_SECRET];
    ngx_im_limit_shared_t  *shared;

    size = pool->pfree * ngx_pagesize;
    head = ngx_align(sizeof(ngx_im_limit_shared_t), 64);

    if (size <= head) {
        return NULL;
    }

    shared = ngx_slab_calloc(pool, size);
    if (shared == NULL) {
        return NULL;
    }

    randombytes_buf(secret, sizeof(secret));

    shared->buckets = im_buckets_init((u_char *) shared + head, size - head,
                                      secret);
    if (shared->buckets == NULL) {
        return NULL;
    }

    pool->data = shared;

    return shared;
}


ngx_uint_t
ngx_im_limit_zone_report(ngx_im_limit_zone_t *zone,
    ngx_im_limit_report_t *report)
{
    ngx_msec_int_t          ms;
    ngx_im_limit_shared_t  *shared;

    shared = zone->shared;

    report->refused = shared->refused;
    report->dry = shared->dry;
    report->forgotten = im_buckets_forgotten(shared->buckets)
                        - shared->forgotten;

    if (report->refused == 0 && report->dry == 0 && report->forgotten == 0) {
        return 0;
    }

    ms = (ngx_msec_int_t) (shared->next_ms - ngx_current_msec);

    if (ms > 0) {
        ngx_im_limit_zone_later(zone, ms);
        return 0;
    }

    ngx_memcpy(report->last, shared->last, sizeof(report->last));

    shared->refused = 0;
    shared->dry = 0;
    shared->forgotten += report->forgotten;
    shared->next_ms = ngx_current_msec + NGX_IM_LIMIT_LINE_MS;

    return 1;
}


static void
ngx_im_limit_zone_later(ngx_im_limit_zone_t *zone, ngx_msec_t ms)
{
    static ngx_connection_t  nobody;   /* debug lines name a socket */

    if (zone->later.timer_set) {
        return;
    }

    nobody.fd = (ngx_socket_t) -1;
    zone->later.data = &nobody;

    zone->later.handler = ngx_im_limit_zone_on_later;
    zone->later.log = ngx_cycle->log;
    zone->later.cancelable = 1;

    ngx_add_timer(&zone->later, ms);
}


static void
ngx_im_limit_zone_on_later(ngx_event_t *ev)
{
    ngx_uint_t              due;
    ngx_im_limit_zone_t    *zone;
    ngx_im_limit_report_t   report;

    zone = (ngx_im_limit_zone_t *)
               ((u_char *) ev - offsetof(ngx_im_limit_zone_t, later));

    ngx_shmtx_lock(&zone->pool->mutex);
    due = ngx_im_limit_zone_report(zone, &report);
    ngx_shmtx_unlock(&zone->pool->mutex);

    if (due) {
        ngx_im_limit_zone_log(zone, &report);
    }
}


/* A single process lives on when its old configuration is freed. */
void
ngx_im_limit_zone_cleanup(void *data)
{
    ngx_im_limit_zone_t  *zone = data;

    if (zone->later.timer_set) {
        ngx_del_timer(&zone->later);
    }
}


void
ngx_im_limit_zone_log(const ngx_im_limit_zone_t *zone,
    const ngx_im_limit_report_t *report)
{
    if (report->refused > 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "im_limit: zone \"%V\": %uL refused, the last one: %s",
                      &zone->name, report->refused, report->last);
    }

    if (report->dry > 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "im_limit: zone \"%V\": %uL would have been refused, "
                      "the last one: %s (dry_run)",
                      &zone->name, report->dry, report->last);
    }

    if (report->forgotten > 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "im_limit: zone \"%V\" is full (%uD keys): %uL were "
                      "forgotten while they were limited",
                      &zone->name, im_buckets_max(zone->shared->buckets),
                      report->forgotten);
    }
}
