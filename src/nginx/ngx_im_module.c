/*
 * ngx_im_module.c -- directives of http{} that all tiers share, and when nginx
 * calls us.
 *
 * Reading order: ngx_im_conf.c (what the directives are checked for, by the
 * master), ngx_im_worker.c (a worker's life), ngx_im_health.c (`im_health;`),
 * ngx_im_jwt.c (`im_jwt;`).
 */

#include "ngx_im.h"


static ngx_int_t ngx_im_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_im_postconfiguration(ngx_conf_t *cf);


static ngx_command_t  ngx_im_commands[] = {

    { ngx_string("im_etcd"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd),
      NULL },

    { ngx_string("im_etcd_prefix"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_prefix),
      NULL },

    { ngx_string("im_etcd_lease"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_lease),
      NULL },

    { ngx_string("im_jwt_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, jwt_key_file),
      NULL },

    { ngx_string("im_rpc_listen"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_listen),
      NULL },

    { ngx_string("im_rpc_advertise"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_advertise),
      NULL },

    { ngx_string("im_ws_fanout_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, fanout_queue),
      NULL },

    { ngx_string("im_rpc_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE3|NGX_CONF_TAKE4,
      ngx_im_conf_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_tls),
      NULL },

    { ngx_string("im_etcd_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1|NGX_CONF_TAKE3,
      ngx_im_conf_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_tls),
      NULL },

    { ngx_string("im_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_loc_conf_t, jwt),
      &ngx_im_jwt_modes },

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
    ngx_im_conf_create_main,           /* create main configuration */
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
    ngx_im_worker_init,                /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    ngx_im_worker_exit,                /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


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
