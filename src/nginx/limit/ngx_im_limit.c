/*
 * ngx_im_limit.c -- the verdict on one event.
 *
 * All rules that apply are looked at before any bucket is changed: what one
 * rule refuses is not counted by the others.  So that another worker cannot
 * come between, the zones stay locked meanwhile.  All workers lock them in the
 * order of their names, by which the rules are sorted: after a reload the old
 * workers still run, and the new configuration may declare the same zones in
 * another order.
 */

#include "ngx_im_limit_zone.h"


#define NGX_IM_LIMIT_NS_MS  1000000


/* A rule that applies. */
typedef struct {
    const ngx_im_limit_rule_t  *rule;
    im_bucket_key_t             key;
    im_bucket_entry_t          *entry;
} ngx_im_limit_hit_t;

/* A zone that is locked. */
typedef struct {
    ngx_im_limit_zone_t        *zone;
    ngx_uint_t                  due;
    ngx_im_limit_report_t       report;
} ngx_im_limit_locked_t;


static ngx_uint_t ngx_im_limit_applies(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e);
static im_bucket_verdict_t ngx_im_limit_judge(const ngx_im_limit_hit_t *hit,
    uint64_t now_ns, ngx_im_limit_verdict_t *v);
static void ngx_im_limit_refused(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e);
static ngx_msec_t ngx_im_limit_ms(uint64_t ns);


void
ngx_im_limit(const ngx_im_limit_conf_t *conf, const ngx_im_limit_event_t *e,
    ngx_im_limit_verdict_t *v)
{
    uint64_t                now_ns;
    ngx_uint_t              i, n, zones;
    ngx_im_limit_hit_t      hits[NGX_IM_LIMIT_RULES], *hit;
    ngx_im_limit_rule_t    *rule;
    ngx_im_limit_locked_t   locked[NGX_IM_LIMIT_RULES];

    v->status = NGX_IM_LIMIT_NONE;
    v->wait_ms = 0;
    v->zone = NULL;

    if (conf->rules == NULL) {
        return;
    }

    now_ns = (uint64_t) ngx_current_msec * NGX_IM_LIMIT_NS_MS;
    rule = conf->rules->elts;
    zones = 0;
    n = 0;

    for (i = 0; i < conf->rules->nelts; i++, rule++) {
        hit = &hits[n];

        if (!ngx_im_limit_applies(rule, e)
            || ngx_im_limit_key(rule, e, &hit->key) != NGX_OK)
        {
            continue;
        }

        if (zones == 0 || locked[zones - 1].zone != rule->zone) {
            ngx_shmtx_lock(&rule->zone->pool->mutex);
            locked[zones++].zone = rule->zone;
        }

        hit->rule = rule;
        hit->entry = im_buckets_get(rule->zone->shared->buckets, &hit->key,
                                    now_ns);
        hit->entry->full_ns = im_bucket_clip(&rule->rate, hit->entry->full_ns,
                                             now_ns);

        if (ngx_im_limit_judge(hit, now_ns, v) != IM_BUCKET_REJECTED) {
            n++;
            continue;
        }

        ngx_im_limit_refused(rule, e);

        if (v->status == NGX_IM_LIMIT_REJECTED) {
            n = 0;
            break;
        }
    }

    for (i = 0; i < n; i++) {
        hit = &hits[i];

        /* it may have been forgotten for the next one */

        if (im_buckets_is(hit->entry, &hit->key)) {
            hit->entry->full_ns = im_bucket_take(&hit->rule->rate,
                                                 hit->entry->full_ns, now_ns);
        }
    }

    for (i = zones; i-- > 0; /* void */ ) {
        locked[i].due = ngx_im_limit_zone_report(locked[i].zone,
                                                 &locked[i].report);
        ngx_shmtx_unlock(&locked[i].zone->pool->mutex);
    }

    for (i = 0; i < zones; i++) {
        if (locked[i].due) {
            ngx_im_limit_zone_log(locked[i].zone, &locked[i].report);
        }
    }
}


static ngx_uint_t
ngx_im_limit_applies(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e)
{
    if (rule->rpcs == 0 && rule->frames == 0) {
        return 1;
    }

    if (e->rpc != NULL) {
        return (rule->rpcs >> (e->rpc - im_logic_rpcs)) & 1;
    }

    return (rule->frames >> e->frame) & 1;
}


/* The worst of all verdicts stays in v. */
static im_bucket_verdict_t
ngx_im_limit_judge(const ngx_im_limit_hit_t *hit, uint64_t now_ns,
    ngx_im_limit_verdict_t *v)
{
    uint64_t                    ns;
    ngx_msec_t                  ms;
    im_bucket_verdict_t         verdict;
    ngx_im_limit_status_t       status;
    const ngx_im_limit_rule_t  *rule;

    rule = hit->rule;
    verdict = im_bucket_test(&rule->rate, hit->entry->full_ns, now_ns, &ns);

    switch (verdict) {

    case IM_BUCKET_PASSED:
        status = NGX_IM_LIMIT_PASSED;
        break;

    case IM_BUCKET_DELAYED:
        status = rule->dry_run ? NGX_IM_LIMIT_DELAYED_DRY_RUN
                               : NGX_IM_LIMIT_DELAYED;
        break;

    default:
        status = rule->dry_run ? NGX_IM_LIMIT_REJECTED_DRY_RUN
                               : NGX_IM_LIMIT_REJECTED;
        break;
    }

    ms = ngx_im_limit_ms(ns);

    if (status > v->status || (status == v->status && ms > v->wait_ms)) {
        v->status = status;
        v->wait_ms = rule->dry_run ? 0 : ms;
        v->zone = &rule->zone->name;
    }

    return verdict;
}


static void
ngx_im_limit_refused(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e)
{
    ngx_im_limit_shared_t  *shared;

    shared = rule->zone->shared;

    if (rule->dry_run) {
        shared->dry++;

    } else {
        shared->refused++;
    }

    ngx_im_limit_text(rule, e, shared->last, sizeof(shared->last));
}


/* Rounded up: nobody is told to come too early. */
static ngx_msec_t
ngx_im_limit_ms(uint64_t ns)
{
    return (ns + NGX_IM_LIMIT_NS_MS - 1) / NGX_IM_LIMIT_NS_MS;
}
