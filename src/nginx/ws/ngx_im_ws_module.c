/*
 * ngx_im_ws_module.c -- `im_ws;`: the Connect tier's door.
 *
 * Directives and their checks.
 *
 * Reading order: ngx_im_ws_handshake.c (to the 101), ngx_im_ws_takeover.c
 * (away from HTTP), ngx_im_ws_session.c (what is said), ngx_im_ws_read.c and
 * ngx_im_ws_write.c (bytes), ngx_im_ws_end.c (to the end), ngx_im_link.c and
 * ngx_im_ws_query.c (to Logic), ngx_im_push.c (from Task), ngx_im_rooms.h
 * (rooms and presence).
 */

#include "ngx_im_ws_door.h"


static char *ngx_im_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_im_ws_place(ngx_conf_t *cf, ngx_im_main_conf_t *mcf,
    ngx_http_core_loc_conf_t *clcf);
static char *ngx_im_ws_window(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_im_ws_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void *ngx_im_ws_create_loc_conf(ngx_conf_t *cf);
static char *ngx_im_ws_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_conf_num_bounds_t  ngx_im_ws_count_bounds = {
    ngx_conf_check_num_bounds, 1, 60000
};


static ngx_command_t  ngx_im_ws_commands[] = {

    /*
     * Syntax: im_ws
     * Default: none
     *
     * Makes the location a WebSocket endpoint. A client logs in by the
     * Authorization header, a sub-protocol, the URL, a ticket or an auth
     * frame (docs/protocol.md). Needs im_etcd and im_jwt_key_file.
     */
    { ngx_string("im_ws"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_im_ws,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax: im_ws_max_message size
     *
     * Largest frame or message of a client. A larger one closes the
     * connection with 1009.
     */
    { ngx_string("im_ws_max_message"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, max_message),
      NULL },

    /*
     * Syntax: im_ws_ping time
     * Range: 1s at least, less than im_ws_idle
     *
     * The worker sends a WebSocket ping after it has received nothing for
     * this long.
     */
    { ngx_string("im_ws_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, ping),
      NULL },

    /*
     * Syntax: im_ws_idle time
     * Range: more than im_ws_ping
     *
     * The connection is closed with 4003 after nothing was received for this
     * long.
     */
    { ngx_string("im_ws_idle"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, idle),
      NULL },

    /*
     * Syntax: im_ws_auth_timeout time
     *
     * Limit for each of: the auth frame, the log-in, the check of a ticket.
     */
    { ngx_string("im_ws_auth_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, auth_timeout),
      NULL },

    /*
     * Syntax: im_ws_send_queue size
     *
     * Bytes that may wait for a slow reader. Above it pushes are dropped, and
     * the client is notified to sync once it reads again. At twice this size,
     * reached by answers, the connection is closed with 4002.
     */
    { ngx_string("im_ws_send_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, send_queue),
      NULL },

    /*
     * Syntax: im_ws_window number [size]
     * Default: 256 1m
     * Range: 1 to 65536; 4k to 64m
     *
     * Messages of a connection that may wait for their answers, and the bytes
     * of their bodies. A connection with as many is not read until half of
     * them are answered, so TCP holds the client back; nothing is refused for
     * that, and one message is always possible.
     */
    { ngx_string("im_ws_window"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_im_ws_window,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax: im_ws_rooms number
     *
     * Rooms that a connection may be in when it joins another one; groups
     * count.
     */
    { ngx_string("im_ws_rooms"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, rooms),
      &ngx_im_ws_count_bounds },

    /*
     * Syntax: im_ws_presence_subs number
     *
     * Users whose presence a connection may subscribe to.
     */
    { ngx_string("im_ws_presence_subs"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, presence_subs),
      &ngx_im_ws_count_bounds },

    /*
     * Syntax: im_ws_origin origin...
     * Default: any
     *
     * Exact values of the Origin header that may connect. A handshake with
     * another origin is refused with 403; one without the header is accepted.
     */
    { ngx_string("im_ws_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_im_ws_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_ws_module_ctx = {
    NULL,                              /* preconfiguration */
    NULL,                              /* postconfiguration */
    NULL,                              /* create main configuration */
    NULL,                              /* init main configuration */
    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */
    ngx_im_ws_create_loc_conf,         /* create location configuration */
    ngx_im_ws_merge_loc_conf           /* merge location configuration */
};


ngx_module_t  ngx_im_ws_module = {
    NGX_MODULE_V1,
    &ngx_im_ws_module_ctx,             /* module context */
    ngx_im_ws_commands,                /* module directives */
    NGX_HTTP_MODULE,                   /* module type */
    NULL,                              /* init master */
    NULL,                              /* init module */
    NULL,                              /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    NULL,                              /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_im_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_im_loc_conf_t         *lcf;
    ngx_im_main_conf_t        *mcf;
    ngx_im_ws_loc_conf_t      *wlcf = conf;
    ngx_http_core_loc_conf_t  *clcf;

    if (wlcf->enable == 1) {
        return "is duplicate";
    }

    wlcf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != NULL) {
        return "is in a location that another directive serves already";
    }

    clcf->handler = ngx_im_ws_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, NGX_IM_MODULE);
    mcf->ws = 1;

    lcf = ngx_http_conf_get_module_loc_conf(cf, NGX_IM_MODULE);
    lcf->ws = ngx_im_ws_handler;

    return clcf->exact_match ? ngx_im_ws_place(cf, mcf, clcf) : NGX_CONF_OK;
}


static char *
ngx_im_ws_place(ngx_conf_t *cf, ngx_im_main_conf_t *mcf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_im_ws_place_t  *place;

    if (mcf->ws_places == NULL) {
        mcf->ws_places = ngx_array_create(cf->pool, 2,
                                          sizeof(ngx_im_ws_place_t));
        if (mcf->ws_places == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    place = ngx_array_push(mcf->ws_places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    place->server = ngx_http_conf_get_module_srv_conf(cf,
                                                      ngx_http_core_module);
    place->uri = clcf->name;

    return NGX_CONF_OK;
}


static char *
ngx_im_ws_window(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ssize_t                size;
    ngx_str_t             *value;
    ngx_im_ws_loc_conf_t  *wlcf = conf;

    if (wlcf->window != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    wlcf->window = ngx_atoi(value[1].data, value[1].len);

    if (wlcf->window < 1 || wlcf->window > 65536) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_window: \"%V\" messages is not in 1-65536",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    size = 1024 * 1024;

    if (cf->args->nelts == 3) {
        size = ngx_parse_size(&value[2]);

        if (size < 4096 || size > 64 * 1024 * 1024) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "im_ws_window: size \"%V\" is not in 4k-64m",
                               &value[2]);
            return NGX_CONF_ERROR;
        }
    }

    wlcf->window_size = size;

    return NGX_CONF_OK;
}


static char *
ngx_im_ws_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t             *value, *s;
    ngx_uint_t             i;
    ngx_im_ws_loc_conf_t  *wlcf = conf;

    if (wlcf->origins == NGX_CONF_UNSET_PTR) {
        wlcf->origins = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (wlcf->origins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        s = ngx_array_push(wlcf->origins);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        *s = value[i];
    }

    return NGX_CONF_OK;
}


static void *
ngx_im_ws_create_loc_conf(ngx_conf_t *cf)
{
    ngx_im_ws_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_im_ws_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->max_message = NGX_CONF_UNSET_SIZE;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->idle = NGX_CONF_UNSET_MSEC;
    conf->auth_timeout = NGX_CONF_UNSET_MSEC;
    conf->send_queue = NGX_CONF_UNSET_SIZE;
    conf->window = NGX_CONF_UNSET;
    conf->window_size = NGX_CONF_UNSET_SIZE;
    conf->rooms = NGX_CONF_UNSET;
    conf->presence_subs = NGX_CONF_UNSET;
    conf->origins = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_im_ws_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_main_conf_t        *mcf;
    ngx_im_ws_loc_conf_t      *prev = parent;
    ngx_im_ws_loc_conf_t      *conf = child;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* what limit_except lets through is still served by im_ws */

    if (clcf->lmt_excpt && clcf->handler == NULL && prev->enable == 1) {
        clcf->handler = ngx_im_ws_handler;
    }

    ngx_conf_merge_size_value(conf->max_message, prev->max_message, 65536);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 30000);
    ngx_conf_merge_msec_value(conf->idle, prev->idle, 75000);
    ngx_conf_merge_msec_value(conf->auth_timeout, prev->auth_timeout, 5000);
    ngx_conf_merge_size_value(conf->send_queue, prev->send_queue, 262144);
    ngx_conf_merge_value(conf->window, prev->window, 256);
    ngx_conf_merge_size_value(conf->window_size, prev->window_size,
                              1024 * 1024);
    ngx_conf_merge_value(conf->rooms, prev->rooms, 1000);
    ngx_conf_merge_value(conf->presence_subs, prev->presence_subs, 1000);
    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (clcf->handler != ngx_im_ws_handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws is in a location that another directive "
                           "serves");
        return NGX_CONF_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, NGX_IM_MODULE);

    if (mcf->etcd.len == 0 || mcf->jwt_key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws needs im_etcd and im_jwt_key_file in "
                           "http{}");
        return NGX_CONF_ERROR;
    }

    if (conf->max_message < 256 || conf->max_message > 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_max_message: %uz is not in 256-1m",
                           conf->max_message);
        return NGX_CONF_ERROR;
    }

    if (conf->send_queue < 4096 || conf->send_queue > 64 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_send_queue: %uz is not in 4k-64m",
                           conf->send_queue);
        return NGX_CONF_ERROR;
    }

    if (conf->ping < 1000 || conf->idle <= conf->ping) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_ping must be 1s at least, and im_ws_idle "
                           "longer");
        return NGX_CONF_ERROR;
    }

    if (conf->auth_timeout < 100 || conf->auth_timeout > 60000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_auth_timeout: %M ms is not in 100ms-60s",
                           conf->auth_timeout);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
