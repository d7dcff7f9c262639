/*
 * ngx_im_request.h -- what the module knows of one client request.
 *
 * nginx clears a module's context at each internal redirect, so this record
 * hangs in the cleanup list of the request's pool, where it can be found again
 * until the request has been logged.  Subrequests share it.
 */

#ifndef NGX_IM_REQUEST_H
#define NGX_IM_REQUEST_H

#include "ngx_im_auth.h"


/* A token that was checked. */
typedef struct {
    ngx_str_t         token;         /* as it was given */
    ngx_int_t         rc;            /* NGX_OK, NGX_ERROR */
    im_jwt_claims_t   claims;
    const char       *reason;
} ngx_im_auth_t;

/* A secret of the arguments. */
typedef struct {
    ngx_str_t         value;         /* decoded; empty: none was given */
    unsigned          here:1;        /* the current location may use it */
} ngx_im_secret_t;

/* The access phase refused; the answer to the client if the site has no
 * error_page for it. */
typedef struct {
    const char       *code;          /* NULL: it did not refuse */
    const char       *reason;
    ngx_uint_t        uri_changes;   /* r->uri_changes then */
    ngx_table_elt_t  *header;        /* WWW-Authenticate of ours */
    ngx_str_t         body;
    unsigned          sent:1;
} ngx_im_refusal_t;

typedef struct {
    ngx_im_auth_t    *auth;          /* of the last token asked for, or NULL */
    ngx_im_secret_t   token;         /* access_token=... */
    ngx_im_secret_t   ticket;        /* ticket=... */
    ngx_str_t         protocol;      /* bearer.... of the sub-protocols */
    ngx_im_refusal_t  refusal;
    unsigned          seen:1;        /* its arguments were judged already */
} ngx_im_request_t;


/* ngx_im_jwt.c.  NULL: there is none yet. */
ngx_im_request_t *ngx_im_request_find(ngx_http_request_t *r);
/* The same, made if need be; NULL: out of memory. */
ngx_im_request_t *ngx_im_request_get(ngx_http_request_t *r);


/* ngx_im_secret.c: tokens in the arguments. */
ngx_int_t ngx_im_secret_init(ngx_conf_t *cf);
/* The one for this location, or NULL. */
const ngx_str_t *ngx_im_secret_token(ngx_http_request_t *r);
const ngx_str_t *ngx_im_secret_ticket(ngx_http_request_t *r);

/* ngx_im_secret_log.c */
ngx_int_t ngx_im_secret_init_log(ngx_http_core_main_conf_t *cmcf);
/* In a worker, when its listening sockets are there. */
void ngx_im_secret_init_process(ngx_cycle_t *cycle);
/* Overwrites all that may be one, for a request that nobody serves. */
void ngx_im_secret_blot_line(ngx_http_request_t *r);
/* The next argument of this name, in lower case; *pos moves behind it. */
ngx_int_t ngx_im_arg_next(u_char **pos, u_char *last, const ngx_str_t *name,
    ngx_str_t *value);
/* Overwrites its values in a URI or a request line. */
void ngx_im_arg_blot(ngx_str_t *text, const ngx_str_t *name);


/* ngx_im_refusal.c */
ngx_int_t ngx_im_refusal_init(ngx_conf_t *cf);
/* Notes it and sets WWW-Authenticate: what an access handler returns. */
ngx_int_t ngx_im_refusal_note(ngx_http_request_t *r, const char *code,
    const char *reason);
/* In a worker: its filters go before those of all other modules. */
void ngx_im_refusal_init_process(void);

#endif
