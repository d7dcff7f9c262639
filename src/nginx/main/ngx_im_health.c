/*
 * ngx_im_health.c -- `im_health;`: how this worker is, as the daemons' probes
 * say it of themselves.
 *
 *   im_health live    200 as long as the worker answers at all
 *   im_health ready   200 if it can serve the messenger, else 503
 *
 * Both answer the same object: "ready", "instance", and "missing" with what is
 * not there, since when, and the last error.  Nothing is asked for it: a worker
 * knows these things at any time.  It answers for the worker that took the
 * connection, not for nginx.
 */

#include "ngx_im_main.h"
#include "ngx_im_link.h"
#include "ngx_im_problem.h"
#include "ngx_im_worker.h"
#include "im_text.h"


#define NGX_IM_HEALTH_LIVE   0
#define NGX_IM_HEALTH_READY  1
#define NGX_IM_HEALTH_MAX    8         /* things that can be missing */
#define NGX_IM_HEALTH_ERROR  256       /* bytes of an error */


typedef struct {
    const char  *name;
    ngx_msec_t   since_ms;             /* ago */
    const char  *error;
} ngx_im_missing_t;


static ngx_int_t ngx_im_health_live(ngx_http_request_t *r);
static ngx_int_t ngx_im_health_ready(ngx_http_request_t *r);
static ngx_int_t ngx_im_health_answer(ngx_http_request_t *r,
    ngx_uint_t probe);
static ngx_uint_t ngx_im_health_missing(ngx_im_missing_t *m);
static ngx_uint_t ngx_im_health_backends(ngx_im_missing_t *m);
static ngx_int_t ngx_im_health_text(ngx_http_request_t *r, ngx_str_t *body,
    const ngx_im_missing_t *m, ngx_uint_t n);


static ngx_int_t
ngx_im_health_live(ngx_http_request_t *r)
{
    return ngx_im_health_answer(r, NGX_IM_HEALTH_LIVE);
}


static ngx_int_t
ngx_im_health_ready(ngx_http_request_t *r)
{
    return ngx_im_health_answer(r, NGX_IM_HEALTH_READY);
}


static ngx_int_t
ngx_im_health_answer(ngx_http_request_t *r, ngx_uint_t probe)
{
    ngx_str_t         body;
    ngx_uint_t        n, status;
    ngx_im_missing_t  missing[NGX_IM_HEALTH_MAX];

    static const ngx_str_t  allow = ngx_string("GET, HEAD");
    static const ngx_str_t  type = ngx_string("application/json");
    static const ngx_str_t  nosniff = ngx_string("nosniff");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_im_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_im_problem_send(r, "method_not_allowed",
                                   "this address takes GET");
    }

    n = ngx_im_health_missing(missing);

    if (ngx_im_health_text(r, &body, missing, n) != NGX_OK
        || ngx_im_header_add(r, "X-Content-Type-Options", &nosniff) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    status = (n == 0 || probe == NGX_IM_HEALTH_LIVE)
             ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE;

    return ngx_im_reply_send(r, status, &type, &body);
}


/* How many are. */
static ngx_uint_t
ngx_im_health_missing(ngx_im_missing_t *m)
{
    time_t       since;
    const char  *error;

    error = ngx_im_worker_lacks(&since);

    if (error != NULL) {
        m->name = "worker";
        m->since_ms = (ngx_msec_t) (ngx_time() - since) * 1000;
        m->error = error;
        return 1;                      /* nothing else has been started */
    }

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        m->name = "worker";
        m->since_ms = 0;
        m->error = "it is shutting down";
        return 1;
    }

    return ngx_im_health_backends(m);
}


static ngx_uint_t
ngx_im_health_backends(ngx_im_missing_t *m)
{
    ngx_uint_t          n;
    im_disc_state_t     disc;
    ngx_im_link_state_t link;

    n = 0;
    im_disc_state(ngx_im_disc(), &disc);
    ngx_im_link_state(&link);

    if (!disc.answers) {
        m[n].name = "etcd";
        m[n].since_ms = disc.now_ms - disc.silent_ms;
        m[n++].error = disc.error;
    }

    if (!disc.registered) {
        m[n].name = "registration";
        m[n].since_ms = disc.now_ms - disc.missing_ms;
        m[n++].error = "this worker is not registered in etcd";
    }

    if (!link.open) {
        m[n].name = "logic";
        m[n].since_ms = ngx_current_msec - link.since;
        m[n++].error = link.error;
    }

    if (link.key_differs) {
        m[n].name = "jwt_key";
        m[n].since_ms = ngx_current_msec - link.key_since;
        m[n++].error = "Logic signs tokens with another key";
    }

    return n;
}


static ngx_int_t
ngx_im_health_text(ngx_http_request_t *r, ngx_str_t *body,
    const ngx_im_missing_t *m, ngx_uint_t n)
{
    size_t             len;
    char               error[NGX_IM_HEALTH_ERROR];
    u_char            *p;
    ngx_uint_t         i;
    const ngx_str_t   *instance;

    /* a quote or a backslash becomes two bytes, there is nothing worse */

    instance = ngx_im_instance();
    len = 128 + instance->len + n * (128 + 2 * NGX_IM_HEALTH_ERROR);

    body->data = ngx_pnalloc(r->pool, len);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(body->data, "{\"ready\":%s,\"instance\":\"%V\","
                    "\"missing\":[", n ? "false" : "true", instance);

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%s{\"name\":\"%s\",\"since_s\":%M,\"error\":\"",
                        i ? "," : "", m[i].name, m[i].since_ms / 1000);
        (void) im_text_print(error, sizeof(error), m[i].error,
                             ngx_strlen(m[i].error));
        p = (u_char *) ngx_escape_json(p, (u_char *) error,
                                       ngx_strlen(error));
        p = ngx_cpymem(p, "\"}", 2);
    }

    p = ngx_cpymem(p, "]}\n", 3);
    body->len = p - body->data;

    return NGX_OK;
}


/* im_health [live|ready]; */
char *
ngx_im_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != NULL) {
        return "is in a location that another directive serves already";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "ready") == 0) {
        clcf->handler = ngx_im_health_ready;

    } else if (ngx_strcmp(value[1].data, "live") == 0) {
        clcf->handler = ngx_im_health_live;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_health: \"%V\" is not \"live\" or \"ready\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
