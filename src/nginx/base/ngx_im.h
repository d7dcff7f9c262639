/*
 * ngx_im.h -- what the three nginx modules share: the worker's rpc runtime,
 * its view of the other instances, and the verified token of a request.
 *
 * Everything here runs on the event loop of a worker.
 */

#ifndef NGX_IM_H
#define NGX_IM_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "im_core.h"
#include "im_jwt.h"
#include "im_pem.h"
#include "im_rpc.h"
#include "im_disc.h"
#include "stream.pb-c.h"

_Static_assert(IM_OK == NGX_OK && IM_ERROR == NGX_ERROR
               && IM_AGAIN == NGX_AGAIN && IM_BUSY == NGX_BUSY
               && IM_DONE == NGX_DONE && IM_DECLINED == NGX_DECLINED,
               "result codes must be nginx's");
_Static_assert(sizeof(im_str_t) == sizeof(ngx_str_t)
               && offsetof(im_str_t, data) == offsetof(ngx_str_t, data)
               && offsetof(im_str_t, len) == offsetof(ngx_str_t, len),
               "im_str_t must stay a plain ngx_str_t");

#define NGX_IM_JWT_OFF       0
#define NGX_IM_JWT_OPTIONAL  1
#define NGX_IM_JWT_REQUIRED  2

/* Read by the master; without a ca there is no TLS. */
typedef struct {
    im_pem_t         pem;
    const char      *name;
} ngx_im_tls_conf_t;

typedef struct {
    ngx_str_t        etcd;           /* endpoints; empty: no backend */
    ngx_str_t        etcd_prefix;
    ngx_str_t        jwt_key_file;
    ngx_str_t        rpc_listen;     /* address without a port */
    ngx_addr_t       rpc_addr;       /* the same, with port 0 */
    ngx_str_t        rpc_advertise;  /* what others dial */
    time_t           etcd_lease;     /* seconds */
    ngx_im_tls_conf_t  rpc_tls;
    ngx_im_tls_conf_t  etcd_tls;
    im_jwt_key_t    *jwt_key;        /* NULL without a key file */
    unsigned         ws:1;           /* some location has im_ws */
    ngx_array_t     *ws_places;      /* of ngx_im_ws_place_t, or NULL */
    size_t           ws_message_max; /* largest im_ws_max_message */
    size_t           fanout_queue;   /* bytes */
} ngx_im_main_conf_t;

/* A `location = uri` with im_ws. */
typedef struct {
    void            *server;         /* ngx_http_core_srv_conf_t */
    ngx_str_t        uri;
} ngx_im_ws_place_t;

typedef struct {
    ngx_uint_t       jwt;            /* NGX_IM_JWT_* */
    unsigned         ws:1;           /* im_ws: takes a token in the URL, too */
} ngx_im_loc_conf_t;

extern ngx_module_t  ngx_im_module;


/* ngx_im_conf.c */
void *ngx_im_conf_create_main(ngx_conf_t *cf);
char *ngx_im_conf_init_main(ngx_conf_t *cf, void *conf);
void *ngx_im_conf_create_loc(ngx_conf_t *cf);
char *ngx_im_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child);
char *ngx_im_conf_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Whether a port of this address can be taken; NGX_ERROR: ngx_socket_errno. */
ngx_int_t ngx_im_conf_try_bind(const ngx_addr_t *addr);


/* ngx_im_worker.c */
ngx_int_t ngx_im_worker_init(ngx_cycle_t *cycle);
void ngx_im_worker_exit(ngx_cycle_t *cycle);
/* A step of the start says why it fails: ngx_sprintf()'s formats. */
void ngx_im_worker_fail(const char *fmt, ...);
/* Whether all has been started; else the locations of the messenger answer
 * 503, to be asked again after so long. */
ngx_int_t ngx_im_worker_serves(void);
ngx_msec_t ngx_im_worker_retry_ms(void);
/* NULL, or what it does not serve for. */
const char *ngx_im_worker_lacks(time_t *since);
/* The table that its connections stand in.  Not ngx_cycle's: that of a cycle
 * which a single process has reloaded is empty. */
ngx_connection_t *ngx_im_worker_connections(ngx_uint_t *n);
/* NULL until they have been started, and when im_etcd is not given. */
im_rpc_t *ngx_im_rpc(void);
im_disc_t *ngx_im_disc(void);
/* Key of this worker in etcd; empty without im_etcd. */
const ngx_str_t *ngx_im_instance(void);


/*
 * ngx_im_log.c: a line of the error log with text of others in it, cleaned.
 * fmt is of ngx_sprintf()'s kind.
 */
void ngx_im_log_error(ngx_uint_t level, ngx_log_t *log, const char *fmt, ...);
void ngx_im_log(void *ctx, int level, const char *msg);    /* im_log_pt */


/* ngx_im_health.c */
char *ngx_im_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/* ngx_im_jwt.c */
extern ngx_conf_enum_t  ngx_im_jwt_modes[];
ngx_int_t ngx_im_jwt_init(ngx_conf_t *cf);
ngx_int_t ngx_im_jwt_add_variables(ngx_conf_t *cf);
/*
 * The verified token of a request, checked at most once.  NGX_OK: *claims
 * lives as long as r.  NGX_DECLINED: the request carries none.  NGX_ERROR:
 * it carries one that is refused; *code and *reason say why.
 */
ngx_int_t ngx_im_auth_check(ngx_http_request_t *r, im_jwt_claims_t **claims,
    const char **code, const char **reason);
/* The same for callers that treat a bad token as none. */
ngx_int_t ngx_im_auth(ngx_http_request_t *r, im_jwt_claims_t **claims);

/* ngx_im_revoked.c: sessions that Logic has ended. */
void ngx_im_revoked_add(const Im__Revoked *revoked);
int ngx_im_revoked(const char *sid);
void ngx_im_revoked_free(void);


/* Steps of a worker's start and end (ngx_im_worker.c).  init: NGX_OK or
 * NGX_ERROR; exit undoes a whole one and a half one. */

/* ngx_im_link.c: streams to every Logic. */
ngx_int_t ngx_im_link_init(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_link_exit(void);

/* ngx_im_push.c: the Connect service. */
ngx_int_t ngx_im_push_memory(void);
void ngx_im_push_forget(void);
ngx_int_t ngx_im_push_listen(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
ngx_int_t ngx_im_push_init(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_push_exit(void);

/* ngx_im_ws_read.c, ngx_im_ws_end.c: buffers and tables of connections. */
ngx_int_t ngx_im_ws_init_worker(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_ws_exit_worker(void);

#endif
