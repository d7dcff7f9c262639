/*
 * ngx_im_limit_module.c -- `im_limit_zone`, `im_limit` and $im_limit_status.
 *
 * As with nginx's limit_req, a location that has limits of its own inherits
 * none.
 */

#include "ngx_im_limit_zone.h"


#define NGX_IM_LIMIT_NAME_MAX  32


static ngx_int_t ngx_im_limit_preconfiguration(ngx_conf_t *cf);
static void *ngx_im_limit_create_main_conf(ngx_conf_t *cf);
static void *ngx_im_limit_create_loc_conf(ngx_conf_t *cf);
static char *ngx_im_limit_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_im_limit_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_im_limit_zone_key(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_kind_t *kind);
static ngx_int_t ngx_im_limit_zone_size(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *name, ssize_t *size);
static ngx_int_t ngx_im_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_command_t  ngx_im_limit_commands[] = {

    /*
     * Syntax: im_limit_zone name:size key=user|address|connection|room|session
     * Default: none
     * Range: a name of 1 to 32 of a-z A-Z 0-9 . _ -; 32k at least
     *
     * Shared memory of all workers for im_limit, and by what it counts: a
     * user, a client's address (IPv6 by /64), a connection, a room, or a
     * session. One megabyte holds 23,000 keys. When it is full, the key that
     * was not used for the longest time is forgotten. A reload keeps it if
     * name and size stay.
     */
    { ngx_string("im_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_im_limit_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax: im_limit zone=name rate=rate [burst=number] [nodelay |
     *         delay=number] [method=rpc,... | frame=type,...] [dry_run]
     * Default: none; burst is 0, delay is 0
     * Range: a rate of 1 to 1000000 r/s, r/m or r/h; a burst of 1000000 at
     *        most; delays of 30 s at most; 16 limits in a location
     *
     * Limits what one key of the zone may do: these RPCs of im_api, these
     * frames of im_ws, or, with neither of them, all of both together. Above
     * the rate, "delay" calls pass at once (nodelay: the whole burst), the
     * others of the burst are delayed, and beyond it they are refused with
     * rate_limited and the time to come back (docs/nginx.md). The rules are
     * inherited if the location has none of its own. With dry_run nothing is
     * delayed or refused, only logged.
     */
    { ngx_string("im_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_im_limit_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_limit_module_ctx = {
    ngx_im_limit_preconfiguration,     /* preconfiguration */
    NULL,                              /* postconfiguration */
    ngx_im_limit_create_main_conf,     /* create main configuration */
    NULL,                              /* init main configuration */
    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */
    ngx_im_limit_create_loc_conf,      /* create location configuration */
    ngx_im_limit_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_im_limit_module = {
    NGX_MODULE_V1,
    &ngx_im_limit_module_ctx,          /* module context */
    ngx_im_limit_commands,             /* module directives */
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


/* The order of ngx_im_limit_status_t. */
static ngx_str_t  ngx_im_limit_statuses[] = {
    ngx_null_string,
    ngx_string("PASSED"),
    ngx_string("DELAYED_DRY_RUN"),
    ngx_string("REJECTED_DRY_RUN"),
    ngx_string("DELAYED"),
    ngx_string("REJECTED")
};


static ngx_int_t
ngx_im_limit_preconfiguration(ngx_conf_t *cf)
{
    ngx_str_t             name = ngx_string("im_limit_status");
    ngx_http_variable_t  *var;

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_im_limit_status_variable;

    return NGX_OK;
}


static void *
ngx_im_limit_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_im_limit_main_conf_t));
}


static void *
ngx_im_limit_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_im_limit_conf_t));
}


static char *
ngx_im_limit_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_limit_conf_t  *prev = parent;
    ngx_im_limit_conf_t  *conf = child;

    if (conf->rules == NULL) {
        conf->rules = prev->rules;
    }

    return NGX_CONF_OK;
}


/* im_limit_zone name:size key=...; */
static char *
ngx_im_limit_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ssize_t                    size;
    ngx_str_t                 *value, name;
    ngx_im_limit_kind_t        kind;
    ngx_pool_cleanup_t        *cln;
    ngx_im_limit_zone_t       *zone, **place;
    ngx_im_limit_main_conf_t  *lmcf = conf;

    value = cf->args->elts;

    if (ngx_im_limit_zone_size(cf, &value[1], &name, &size) != NGX_OK
        || ngx_im_limit_zone_key(cf, &value[2], &kind) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (lmcf->zones == NULL) {
        lmcf->zones = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_im_limit_zone_t *));
        if (lmcf->zones == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_im_limit_zone_find(lmcf, &name) != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit_zone: there is a zone \"%V\" already",
                           &name);
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_im_limit_zone_t));
    place = ngx_array_push(lmcf->zones);

    if (zone == NULL || place == NULL) {
        return NGX_CONF_ERROR;
    }

    *place = zone;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_im_limit_zone_cleanup;
    cln->data = zone;

    zone->name = name;
    zone->kind = kind;

    zone->shm = ngx_shared_memory_add(cf, &name, size, &ngx_im_limit_module);
    if (zone->shm == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm->init = ngx_im_limit_zone_init;
    zone->shm->data = zone;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_im_limit_zone_size(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *name,
    ssize_t *size)
{
    u_char      *colon, ch;
    ngx_str_t    text;
    ngx_uint_t   i;

    colon = ngx_strlchr(value->data, value->data + value->len, ':');

    if (colon == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit_zone: \"%V\" is not name:size", value);
        return NGX_ERROR;
    }

    name->data = value->data;
    name->len = colon - value->data;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9') || ch == '.' || ch == '_'
              || ch == '-'))
        {
            break;
        }
    }

    if (name->len == 0 || name->len > NGX_IM_LIMIT_NAME_MAX
        || i < name->len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit_zone: the name \"%V\" is not 1 to %d of "
                           "a-z A-Z 0-9 . _ -", name, NGX_IM_LIMIT_NAME_MAX);
        return NGX_ERROR;
    }

    text.data = colon + 1;
    text.len = value->data + value->len - text.data;

    *size = ngx_parse_size(&text);

    if (*size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit_zone: \"%V\" is not a size", &text);
        return NGX_ERROR;
    }

    if (*size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit_zone: zone \"%V\" is too small: %uz "
                           "bytes at least", name,
                           (size_t) 8 * ngx_pagesize);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_limit_zone_key(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_kind_t *kind)
{
    ngx_uint_t        i;
    const ngx_str_t  *k;

    if (value->len > 4 && ngx_strncmp(value->data, "key=", 4) == 0) {

        for (i = 0; ngx_im_limit_kinds[i].len != 0; i++) {
            k = &ngx_im_limit_kinds[i];

            if (k->len == value->len - 4
                && ngx_strncmp(k->data, value->data + 4, k->len) == 0)
            {
                *kind = (ngx_im_limit_kind_t) i;
                return NGX_OK;
            }
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "im_limit_zone: \"%V\" is not key=user, address, "
                       "connection, room or session", value);

    return NGX_ERROR;
}


ngx_im_limit_zone_t *
ngx_im_limit_zone_find(ngx_im_limit_main_conf_t *lmcf, const ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_im_limit_zone_t  **zone;

    if (lmcf->zones == NULL) {
        return NULL;
    }

    zone = lmcf->zones->elts;

    for (i = 0; i < lmcf->zones->nelts; i++) {
        if (zone[i]->name.len == name->len
            && ngx_strncmp(zone[i]->name.data, name->data, name->len) == 0)
        {
            return zone[i];
        }
    }

    return NULL;
}


void
ngx_im_limit_set_status(ngx_http_request_t *r, ngx_im_limit_status_t status)
{
    ngx_http_set_ctx(r, &ngx_im_limit_statuses[status], ngx_im_limit_module);
}


static ngx_int_t
ngx_im_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *status;

    status = ngx_http_get_module_ctx(r, ngx_im_limit_module);

    if (status == NULL || status->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = status->data;
    v->len = status->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
