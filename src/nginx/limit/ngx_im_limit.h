/*
 * ngx_im_limit.h -- `im_limit`: how often somebody may call a method or send a
 * frame, counted by all workers together.
 *
 *   ngx_im_limit_module.c   zones of http{}  ngx_im_limit_words.c  im_limit
 *   ngx_im_limit_zone.c     shared memory    ngx_im_limit_keys.c   who it is
 *   ngx_im_limit.c          the verdict
 */

#ifndef NGX_IM_LIMIT_H
#define NGX_IM_LIMIT_H

#include "ngx_im.h"
#include "im_logic_rpcs.h"


/* An address as a limit counts it: IPv4 as a whole, of IPv6 a /64. */
typedef struct {
    uint64_t                  value;
    uint32_t                  family;    /* 4, 6; 0: neither */
} ngx_im_limit_address_t;

/* What is to be judged.  0 or NULL: it has none, so limits by it do not
 * apply. */
typedef struct {
    const im_logic_rpc_t     *rpc;       /* by HTTP */
    unsigned                  frame;     /* IM__FRAME__FRAME_... */
    ngx_im_limit_address_t    address;
    ngx_atomic_uint_t         connection;
    uint64_t                  uid;
    uint64_t                  room;
    const char               *sid;
} ngx_im_limit_event_t;

typedef enum {
    NGX_IM_LIMIT_NONE = 0,               /* no limit applies */
    NGX_IM_LIMIT_PASSED,
    NGX_IM_LIMIT_DELAYED_DRY_RUN,
    NGX_IM_LIMIT_REJECTED_DRY_RUN,
    NGX_IM_LIMIT_DELAYED,
    NGX_IM_LIMIT_REJECTED
} ngx_im_limit_status_t;

typedef struct {
    ngx_im_limit_status_t     status;
    ngx_msec_t                wait_ms;   /* delayed: as long; rejected: until
                                          * it may be tried again */
    const ngx_str_t          *zone;      /* that of the limit; else NULL */
} ngx_im_limit_verdict_t;

/* The limits of a location. */
typedef struct {
    ngx_array_t              *rules;     /* ngx_im_limit_rule_t; NULL: none */
} ngx_im_limit_conf_t;

extern ngx_module_t  ngx_im_limit_module;


/* ngx_im_limit.c: an event that is not rejected is counted. */
void ngx_im_limit(const ngx_im_limit_conf_t *conf,
    const ngx_im_limit_event_t *e, ngx_im_limit_verdict_t *v);

/* ngx_im_limit_keys.c */
void ngx_im_limit_address(const struct sockaddr *sa,
    ngx_im_limit_address_t *address);

/* ngx_im_limit_module.c: the value of $im_limit_status. */
void ngx_im_limit_set_status(ngx_http_request_t *r,
    ngx_im_limit_status_t status);

#endif
