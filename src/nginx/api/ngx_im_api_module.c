/*
 * ngx_im_api_module.c -- `im_api Login;` maps a location to an RPC by name.
 *
 * The method's descriptors, which protoc-c generates, say everything that an
 * endpoint needs: which fields there are, which of them are required, whether
 * the caller must be known.  So a new endpoint is a line of configuration and
 * no code here.  A name that Logic's service does not have is refused when
 * the configuration is read, not when the first client asks.
 */

#include "ngx_im_api.h"

#include "logic.pb-c.h"


typedef struct {
    ngx_str_t            name;
    ngx_uint_t           method;
} ngx_im_api_verb_t;


static void *ngx_im_api_create_loc_conf(ngx_conf_t *cf);
static char *ngx_im_api_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_im_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_im_api_not_found(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_im_api_bind(ngx_conf_t *cf, ngx_im_api_method_t *method,
    ngx_str_t *name);
static ngx_int_t ngx_im_api_allow(ngx_conf_t *cf,
    ngx_im_api_loc_conf_t *alcf);
static ngx_int_t ngx_im_api_captures(ngx_conf_t *cf,
    ngx_im_api_loc_conf_t *alcf, ngx_http_core_loc_conf_t *clcf);
static char *ngx_im_api_not_zero_msec(ngx_conf_t *cf, void *post, void *data);
static char *ngx_im_api_not_zero_size(ngx_conf_t *cf, void *post, void *data);


static ngx_conf_post_t  ngx_im_api_timeout_post = { ngx_im_api_not_zero_msec };
static ngx_conf_post_t  ngx_im_api_body_post = { ngx_im_api_not_zero_size };


static const ngx_im_api_verb_t  ngx_im_api_verbs[] = {
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_im_api_commands[] = {

    /*
     * Syntax: im_api [method] rpc
     * Default: none; method is POST
     * Range: GET, POST, PUT, PATCH, DELETE; an RPC of proto/logic.proto
     *
     * Answers with this RPC of Logic. The JSON body, query arguments and
     * named captures fill the request; the reply is JSON. It may be given
     * once for each HTTP method.
     */
    { ngx_string("im_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_im_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax: im_api_not_found
     * Default: none
     *
     * Answers 404 as application/problem+json: for location ^~ /v1/, unless
     * the site has a /v1/ of its own.
     */
    { ngx_string("im_api_not_found"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_im_api_not_found,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax: im_api_timeout time
     * Default: 5s
     * Range: above 0
     *
     * Deadline of the call to Logic; then 504. Where it is not set, each RPC
     * has its own: docs/internals/rpcs.md.
     */
    { ngx_string("im_api_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_api_loc_conf_t, timeout),
      &ngx_im_api_timeout_post },

    /*
     * Syntax: im_api_max_body size
     * Range: above 0
     *
     * Largest request body; then 413. Keep client_body_buffer_size at least
     * as large, because a body is never written to a file.
     */
    { ngx_string("im_api_max_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_api_loc_conf_t, max_body),
      &ngx_im_api_body_post },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_api_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_im_api_create_loc_conf,            /* create location configuration */
    ngx_im_api_merge_loc_conf              /* merge location configuration */
};


ngx_module_t  ngx_im_api_module = {
    NGX_MODULE_V1,
    &ngx_im_api_module_ctx,                /* module context */
    ngx_im_api_commands,                   /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_im_api_create_loc_conf(ngx_conf_t *cf)
{
    ngx_im_api_loc_conf_t  *alcf;

    alcf = ngx_pcalloc(cf->pool, sizeof(ngx_im_api_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    alcf->timeout = NGX_CONF_UNSET_MSEC;
    alcf->max_body = NGX_CONF_UNSET_SIZE;

    return alcf;
}


static char *
ngx_im_api_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_api_loc_conf_t     *prev = parent;
    ngx_im_api_loc_conf_t     *conf = child;
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->timeout == NGX_CONF_UNSET_MSEC) {
        conf->timeout = prev->timeout;           /* or unset: the RPC's own */
    }

    ngx_conf_merge_size_value(conf->max_body, prev->max_body, 64 * 1024);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* inside `if` and limit_except the location goes on being ours */

    if (conf->methods == NULL && clcf->noname && prev->methods != NULL) {
        conf->methods = prev->methods;
        conf->captures = prev->captures;
        conf->allow = prev->allow;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_im_api_handler;
        }
    }

    if (prev->not_found && clcf->noname) {
        conf->not_found = 1;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_im_api_not_found_handler;
        }
    }

    if (conf->methods != NULL || conf->not_found) {
        /*
         * im_api_max_body is the limit here: nginx's own would answer with
         * HTML, and a body is never written to a file.
         */
        clcf->client_max_body_size = 0;
    }

    return NGX_CONF_OK;
}


static char *
ngx_im_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_im_api_loc_conf_t *alcf = conf;

    char                      *rv;
    ngx_str_t                 *value, *name, verb;
    ngx_uint_t                 i;
    ngx_im_api_method_t       *method, *other;
    const ngx_im_api_verb_t   *v;
    ngx_http_core_loc_conf_t  *clcf;

    value = cf->args->elts;
    name = &value[cf->args->nelts - 1];

    if (cf->args->nelts == 3) {
        verb = value[1];

    } else {
        ngx_str_set(&verb, "POST");
    }

    for (v = ngx_im_api_verbs; v->name.len != 0; v++) {
        if (v->name.len == verb.len
            && ngx_strncmp(v->name.data, verb.data, verb.len) == 0)
        {
            break;
        }
    }

    if (v->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_api cannot serve HTTP method \"%V\": it is one "
                           "of GET, POST, PUT, PATCH, DELETE", &verb);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (alcf->methods == NULL) {
        if (clcf->handler != NULL) {
            return "is in a location that another directive serves already";
        }

        alcf->methods = ngx_array_create(cf->pool, 2,
                                         sizeof(ngx_im_api_method_t));
        if (alcf->methods == NULL
            || ngx_im_api_captures(cf, alcf, clcf) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    other = alcf->methods->elts;

    for (i = 0; i < alcf->methods->nelts; i++) {
        if (other[i].http == v->method) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "im_api is a duplicate: this location serves "
                               "HTTP method \"%V\" already", &verb);
            return NGX_CONF_ERROR;
        }
    }

    method = ngx_array_push(alcf->methods);
    if (method == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(method, sizeof(ngx_im_api_method_t));

    method->http = v->method;
    method->http_name = v->name;

    rv = ngx_im_api_bind(cf, method, name);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_im_api_allow(cf, alcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf->handler = ngx_im_api_handler;

    return NGX_CONF_OK;
}


static char *
ngx_im_api_not_found(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_im_api_loc_conf_t     *alcf = conf;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != NULL) {
        return "is in a location that another directive serves already";
    }

    clcf->handler = ngx_im_api_not_found_handler;
    alcf->not_found = 1;

    return NGX_CONF_OK;
}


static char *
ngx_im_api_bind(ngx_conf_t *cf, ngx_im_api_method_t *method, ngx_str_t *name)
{
    /* a configuration's words are NUL-terminated */

    if (ngx_im_method_find(&method->call, (char *) name->data) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_api names an unknown method: service %s has "
                           "no \"%V\"", im__logic__descriptor.name, name);
        return NGX_CONF_ERROR;
    }

    /* protoc-c's descriptors do not tell a stream from a call */

    if (method->call.rpc.input == &im__up_batch__descriptor) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_api cannot serve \"%V\": it is a stream, not "
                           "a call", name);
        return NGX_CONF_ERROR;
    }

    if (!(method->call.callers & IM_LOGIC_API)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_api cannot serve \"%V\": only workers of nginx "
                           "may call it, for themselves", name);
        return NGX_CONF_ERROR;
    }

    method->status = NGX_HTTP_OK;

    if (ngx_strncmp(name->data, "Register", 8) == 0
        || ngx_strncmp(name->data, "Create", 6) == 0
        || ngx_strcmp(name->data, "RoomCreate") == 0)
    {
        method->status = NGX_HTTP_CREATED;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_im_api_allow(ngx_conf_t *cf, ngx_im_api_loc_conf_t *alcf)
{
    u_char               *p;
    size_t                len;
    ngx_uint_t            i;
    ngx_im_api_method_t  *method;

    len = sizeof("HEAD, ") - 1;
    method = alcf->methods->elts;

    for (i = 0; i < alcf->methods->nelts; i++) {
        len += method[i].http_name.len + 2;
    }

    alcf->allow.data = ngx_pnalloc(cf->pool, len);
    if (alcf->allow.data == NULL) {
        return NGX_ERROR;
    }

    p = alcf->allow.data;

    for (i = 0; i < alcf->methods->nelts; i++) {
        if (method[i].http == NGX_HTTP_GET) {
            p = ngx_cpymem(p, "HEAD, ", 6);
        }

        p = ngx_sprintf(p, "%V, ", &method[i].http_name);
    }

    alcf->allow.len = p - alcf->allow.data - 2;

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_captures(ngx_conf_t *cf, ngx_im_api_loc_conf_t *alcf,
    ngx_http_core_loc_conf_t *clcf)
{
#if (NGX_PCRE)

    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_im_api_capture_t       *capture;
    ngx_http_core_main_conf_t  *cmcf;

    if (clcf->regex == NULL || clcf->regex->nvariables == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->variables.elts;

    alcf->captures = ngx_array_create(cf->pool, clcf->regex->nvariables,
                                      sizeof(ngx_im_api_capture_t));
    if (alcf->captures == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < clcf->regex->nvariables; i++) {
        capture = ngx_array_push(alcf->captures);
        if (capture == NULL) {
            return NGX_ERROR;
        }

        capture->index = clcf->regex->variables[i].index;
        capture->name = v[capture->index].name;
    }

#endif

    return NGX_OK;
}


static char *
ngx_im_api_not_zero_msec(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *msec = data;

    return (*msec == 0) ? "must be above 0" : NGX_CONF_OK;
}


static char *
ngx_im_api_not_zero_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *size = data;

    return (*size == 0) ? "must be above 0" : NGX_CONF_OK;
}
