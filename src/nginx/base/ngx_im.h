/*
 * ngx_im.h -- what all folders of src/nginx share: nginx's types and ours, the
 * configuration, and the error log.
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
    ngx_uint_t           jwt;        /* NGX_IM_JWT_* */
    ngx_http_handler_pt  ws;         /* of im_ws, which takes a token in the
                                      * URL, too; NULL: it has none */
} ngx_im_loc_conf_t;

/*
 * ngx_im_module, for nginx's macros.  It is not known by its name here, since
 * it stands above all folders and calls them: ngx_im_conf_create_main(), which
 * is the first of us that nginx calls, is told where it is.
 */
#define NGX_IM_MODULE  (*ngx_im_conf_module)

extern ngx_module_t  *ngx_im_conf_module;


/* ngx_im_conf.c */
void *ngx_im_conf_create_main(ngx_conf_t *cf, ngx_module_t *module);
char *ngx_im_conf_init_main(ngx_conf_t *cf, void *conf);
void *ngx_im_conf_create_loc(ngx_conf_t *cf);
char *ngx_im_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child);
char *ngx_im_conf_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Whether a port of this address can be taken; NGX_ERROR: ngx_socket_errno. */
ngx_int_t ngx_im_conf_try_bind(const ngx_addr_t *addr);


/*
 * ngx_im_log.c: a line of the error log with text of others in it, cleaned.
 * fmt is of ngx_sprintf()'s kind.
 */
void ngx_im_log_error(ngx_uint_t level, ngx_log_t *log, const char *fmt, ...);
void ngx_im_log(void *ctx, int level, const char *msg);    /* im_log_pt */

#endif
