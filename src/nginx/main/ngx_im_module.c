/*
 * ngx_im_module.c -- directives of http{} that all tiers share, and when nginx
 * calls us.
 *
 * Reading order: ngx_im_conf.c (what the directives are checked for, by the
 * master), ngx_im_steps.c (a worker's life), ngx_im_health.c (`im_health;`),
 * ngx_im_jwt.c (`im_jwt;`).
 */

#include "ngx_im_main.h"
#include "ngx_im_auth.h"


static void *ngx_im_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_im_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_im_postconfiguration(ngx_conf_t *cf);


static ngx_command_t  ngx_im_commands[] = {

    /*
     * Syntax: im_etcd host:port[,host:port...]
     * Default: none
     * Range: 16 addresses at most
     *
     * The etcd endpoints where the instances find each other. Without it a
     * worker has no backend.
     */
    { ngx_string("im_etcd"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd),
      NULL },

    /*
     * Syntax: im_etcd_prefix path
     * Default: /im
     * Range: begins with a slash, does not end with one, 100 bytes at most
     *
     * First part of all keys in etcd. It must be the same in nginx and in the
     * daemons.
     */
    { ngx_string("im_etcd_prefix"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_prefix),
      NULL },

    /*
     * Syntax: im_etcd_lease time
     *
     * Lease of a worker in etcd: a worker that died is forgotten after this
     * long.
     */
    { ngx_string("im_etcd_lease"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_lease),
      NULL },

    /*
     * Syntax: im_jwt_key_file path
     * Default: none
     * Range: 32 to 512 bytes
     *
     * The HS256 key that im-logic signs access tokens with. The master
     * process reads the file. im_jwt and im_ws need it.
     */
    { ngx_string("im_jwt_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, jwt_key_file),
      NULL },

    /*
     * Syntax: im_rpc_listen address
     * Default: 127.0.0.1
     * Range: an IPv4 address or an [IPv6 address], without a port
     *
     * Address that each worker's gRPC server binds; the kernel chooses the
     * port. nginx -t tries to bind it.
     */
    { ngx_string("im_rpc_listen"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_listen),
      NULL },

    /*
     * Syntax: im_rpc_advertise address
     * Default: the value of im_rpc_listen
     * Range: a host name or an address that others can reach, without a port
     *
     * Address under which im-task dials the workers. It must be given if
     * im_rpc_listen is 0.0.0.0 or [::].
     */
    { ngx_string("im_rpc_advertise"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_advertise),
      NULL },

    /*
     * Syntax: im_ws_fanout_queue size
     *
     * Memory of each worker for room messages that wait for their turn, and
     * as much again for those that wait until it is known who was removed
     * from the room. Messages beyond it are dropped, and the members are
     * notified to sync.
     */
    { ngx_string("im_ws_fanout_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, fanout_queue),
      NULL },

    /*
     * Syntax: im_rpc_tls ca cert key [name]
     * Default: none; name is im
     * Range: PEM files; a name of 1 to 100 bytes
     *
     * Mutual TLS between the tiers. The certificate must be signed by this
     * authority and carry the DNS name nginx.<name> (docs/certificates.md).
     * The master process reads and checks the files, so a key may be readable
     * by root only.
     */
    { ngx_string("im_rpc_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE3|NGX_CONF_TAKE4,
      ngx_im_conf_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_tls),
      NULL },

    /*
     * Syntax: im_etcd_tls ca [cert key]
     * Default: none
     * Range: PEM files
     *
     * TLS to etcd, with a client certificate if etcd asks for one. The master
     * process reads and checks the files.
     */
    { ngx_string("im_etcd_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1|NGX_CONF_TAKE3,
      ngx_im_conf_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_tls),
      NULL },

    /*
     * Syntax: im_jwt off | optional | required
     * Default: off
     *
     * Checks the access token of "Authorization: Bearer" in the access phase.
     * required: 401 without a valid token. optional: a request without a
     * token passes, a bad token is refused. docs/nginx.md describes satisfy,
     * error_page and auth_request beside it. With im_etcd, tokens of a
     * session that was ended are refused, too.
     */
    { ngx_string("im_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_loc_conf_t, jwt),
      &ngx_im_jwt_modes },

    /*
     * Syntax: im_health [live | ready]
     * Default: ready
     *
     * Answers with the state of the worker that took the connection. live:
     * always 200. ready: 503 while the worker cannot serve the messenger; the
     * answer names what is missing (docs/health.md).
     */
    { ngx_string("im_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_im_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_module_ctx = {
    ngx_im_preconfiguration,           /* preconfiguration */
    ngx_im_postconfiguration,          /* postconfiguration */
    ngx_im_create_main_conf,           /* create main configuration */
    ngx_im_conf_init_main,             /* init main configuration */
    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */
    ngx_im_conf_create_loc,            /* create location configuration */
    ngx_im_conf_merge_loc              /* merge location configuration */
};


ngx_module_t  ngx_im_module = {
    NGX_MODULE_V1,
    &ngx_im_module_ctx,                /* module context */
    ngx_im_commands,                   /* module directives */
    NGX_HTTP_MODULE,                   /* module type */
    NULL,                              /* init master */
    NULL,                              /* init module */
    ngx_im_steps_start,                /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    ngx_im_steps_stop,                 /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_im_create_main_conf(ngx_conf_t *cf)
{
    return ngx_im_conf_create_main(cf, &ngx_im_module);
}


static ngx_int_t
ngx_im_preconfiguration(ngx_conf_t *cf)
{
    return ngx_im_jwt_add_variables(cf);
}


static ngx_int_t
ngx_im_postconfiguration(ngx_conf_t *cf)
{
    return ngx_im_jwt_init(cf);
}
