/*
 * ngx_im_limit_zone.h -- zones and rules, for the files of this folder.
 */

#ifndef NGX_IM_LIMIT_ZONE_H
#define NGX_IM_LIMIT_ZONE_H

#include "ngx_im_limit.h"
#include "im_bucket.h"
#include "im_buckets.h"


#define NGX_IM_LIMIT_RULES  16           /* of a location */
#define NGX_IM_LIMIT_LAST   96           /* bytes of text */

typedef enum {
    NGX_IM_LIMIT_USER = 0,
    NGX_IM_LIMIT_ADDRESS,
    NGX_IM_LIMIT_CONNECTION,
    NGX_IM_LIMIT_ROOM,
    NGX_IM_LIMIT_SESSION
} ngx_im_limit_kind_t;

/* In shared memory, under the mutex of its pool. */
typedef struct {
    im_buckets_t             *buckets;
    uint64_t                  refused;   /* since the last line of the log */
    uint64_t                  dry;       /* would have been */
    uint64_t                  forgotten; /* of the buckets, at that line */
    ngx_msec_t                next_ms;   /* of the next line */
    char                      last[NGX_IM_LIMIT_LAST];   /* refused */
} ngx_im_limit_shared_t;

/* What a line of the log says. */
typedef struct {
    uint64_t                  refused;
    uint64_t                  dry;
    uint64_t                  forgotten;
    char                      last[NGX_IM_LIMIT_LAST];
} ngx_im_limit_report_t;

typedef struct {
    ngx_str_t                 name;
    ngx_im_limit_kind_t       kind;
    ngx_shm_zone_t           *shm;
    ngx_slab_pool_t          *pool;
    ngx_im_limit_shared_t    *shared;
    ngx_event_t               later;     /* of this worker: a line is due */
} ngx_im_limit_zone_t;

/* One `im_limit`. */
typedef struct {
    ngx_im_limit_zone_t      *zone;
    im_bucket_rate_t          rate;
    uint64_t                  rpcs;      /* bits; neither: all of both */
    uint64_t                  frames;
    uint32_t                  id;        /* of its buckets in the zone */
    unsigned                  dry_run:1;
} ngx_im_limit_rule_t;

typedef struct {
    ngx_array_t              *zones;     /* ngx_im_limit_zone_t *, or NULL */
} ngx_im_limit_main_conf_t;


/* ngx_im_limit_module.c.  NULL: there is none of this name so far. */
ngx_im_limit_zone_t *ngx_im_limit_zone_find(ngx_im_limit_main_conf_t *lmcf,
    const ngx_str_t *name);

/* ngx_im_limit_words.c: the directive. */
char *ngx_im_limit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_im_limit_zone.c */
/* ngx_shm_zone_init_pt */
ngx_int_t ngx_im_limit_zone_init(ngx_shm_zone_t *shm, void *data);
/* Under the mutex.  1 if a line is to be logged now; otherwise one that is due
 * later is logged by a timer. */
ngx_uint_t ngx_im_limit_zone_report(ngx_im_limit_zone_t *zone,
    ngx_im_limit_report_t *report);
void ngx_im_limit_zone_cleanup(void *data);
void ngx_im_limit_zone_log(const ngx_im_limit_zone_t *zone,
    const ngx_im_limit_report_t *report);

/* ngx_im_limit_keys.c */
extern const ngx_str_t  ngx_im_limit_kinds[];
/* NGX_DECLINED: the event has no such key. */
ngx_int_t ngx_im_limit_key(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e, im_bucket_key_t *key);
/* What was refused, and to whom; ends with a NUL. */
void ngx_im_limit_text(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e, char *text, size_t size);
/* Of a client; 0: there is none of this name that can be limited. */
unsigned ngx_im_limit_frame(const ngx_str_t *name);

#endif
