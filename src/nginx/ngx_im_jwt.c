/*
 * ngx_im_jwt.c -- who sends this request: `im_jwt` and its variables.
 *
 * The check runs in the access phase, so that it guards any location of an
 * existing nginx (proxy_pass, static files), not only ours.  A token is read
 * from "Authorization: Bearer"; a location with im_ws also takes the argument
 * access_token, because a browser cannot set headers on a WebSocket.  Such an
 * argument is overwritten with asterisks before anything logs it.
 */

#include "ngx_im.h"
#include "ngx_im_problem.h"


typedef struct {
    ngx_int_t         rc;            /* NGX_OK, NGX_DECLINED, NGX_ERROR */
    im_jwt_claims_t   claims;
    const char       *reason;
} ngx_im_auth_ctx_t;


static ngx_int_t ngx_im_jwt_access_handler(ngx_http_request_t *r);
static ngx_int_t ngx_im_jwt_find_token(ngx_http_request_t *r,
    ngx_str_t *token);
static ngx_int_t ngx_im_jwt_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


ngx_conf_enum_t  ngx_im_jwt_modes[] = {
    { ngx_string("off"), NGX_IM_JWT_OFF },
    { ngx_string("optional"), NGX_IM_JWT_OPTIONAL },
    { ngx_string("required"), NGX_IM_JWT_REQUIRED },
    { ngx_null_string, 0 }
};


static const char  ngx_im_jwt_ended[] = "the session was ended";


#define NGX_IM_VAR_UID      0
#define NGX_IM_VAR_DEVICE   1
#define NGX_IM_VAR_SESSION  2

static ngx_http_variable_t  ngx_im_jwt_vars[] = {

    { ngx_string("im_user_id"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_UID, 0, 0 },

    { ngx_string("im_device"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_DEVICE, 0, 0 },

    { ngx_string("im_session"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_SESSION, 0, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_im_jwt_access_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    const char         *code, *reason;
    im_jwt_claims_t    *claims;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_im_module);

    if (lcf->jwt == NGX_IM_JWT_OFF) {
        return NGX_DECLINED;
    }

    rc = ngx_im_auth_check(r, &claims, &code, &reason);

    if (rc == NGX_OK
        || (rc == NGX_DECLINED && lcf->jwt == NGX_IM_JWT_OPTIONAL))
    {
        return NGX_DECLINED;           /* other access modules decide too */
    }

    if (rc == NGX_DECLINED) {
        code = "unauthorized";
        reason = "a bearer token is needed";
    }

    if (r != r->main) {
        return NGX_HTTP_UNAUTHORIZED;  /* auth_request judges the status */
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_finalize_request(r, ngx_im_problem_send(r, code, "%s", reason));

    return NGX_DONE;
}


ngx_int_t
ngx_im_auth_check(ngx_http_request_t *r, im_jwt_claims_t **claims,
    const char **code, const char **reason)
{
    ngx_str_t            token;
    ngx_im_auth_ctx_t   *ctx;
    ngx_im_main_conf_t  *mcf;

    ctx = ngx_http_get_module_ctx(r, ngx_im_module);

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_im_auth_ctx_t));
        if (ctx == NULL) {
            *code = "internal";
            *reason = "out of memory";
            return NGX_ERROR;
        }

        ngx_http_set_ctx(r, ctx, ngx_im_module);

        mcf = ngx_http_get_module_main_conf(r, ngx_im_module);

        if (ngx_im_jwt_find_token(r, &token) != NGX_OK) {
            ctx->rc = NGX_DECLINED;

        } else if (mcf->jwt_key == NULL) {
            ctx->rc = NGX_ERROR;
            ctx->reason = "no key is configured";

        } else {
            ctx->rc = im_jwt_verify(mcf->jwt_key, (im_str_t *) &token,
                                    ngx_time(), &ctx->claims, &ctx->reason);

            if (ctx->rc == NGX_OK && ngx_im_revoked(ctx->claims.sid)) {
                ctx->rc = NGX_ERROR;
                ctx->reason = ngx_im_jwt_ended;
            }

            if (ctx->rc != NGX_OK) {
                ctx->rc = NGX_ERROR;
            }
        }

        if (token.data != NULL && r->args.len != 0
            && token.data >= r->args.data
            && token.data < r->args.data + r->args.len)
        {
            /* it is now known; no log, this line's included, may learn it */
            ngx_memset(token.data, '*', token.len);
        }

        if (ctx->rc == NGX_ERROR) {
            ngx_im_log_error(NGX_LOG_INFO, r->connection->log,
                             "im: token refused: %s", ctx->reason);
        }
    }

    if (ctx->rc == NGX_OK) {
        *claims = &ctx->claims;

    } else if (ctx->rc == NGX_ERROR) {
        *code = (ngx_strcmp(ctx->reason, "expired") == 0) ? "token_expired"
                : (ctx->reason == ngx_im_jwt_ended) ? "session_revoked"
                : "unauthorized";
        *reason = ctx->reason;
    }

    return ctx->rc;
}


ngx_int_t
ngx_im_auth(ngx_http_request_t *r, im_jwt_claims_t **claims)
{
    const char  *code, *reason;

    return ngx_im_auth_check(r, claims, &code, &reason) == NGX_OK
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_im_jwt_find_token(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_str_t          *value;
    ngx_im_loc_conf_t  *lcf;

    ngx_str_null(token);

    if (r->headers_in.authorization != NULL) {
        value = &r->headers_in.authorization->value;

        if (value->len > 7
            && ngx_strncasecmp(value->data, (u_char *) "Bearer ", 7) == 0)
        {
            token->data = value->data + 7;
            token->len = value->len - 7;
            return NGX_OK;
        }
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_im_module);

    if (lcf->jwt_argument
        && ngx_http_arg(r, (u_char *) "access_token", 12, token) == NGX_OK
        && token->len != 0)
    {
        return NGX_OK;
    }

    ngx_str_null(token);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_im_jwt_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char             *p;
    im_jwt_claims_t    *claims;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_im_module);

    /* the location inside an auth_request asks its parent's token anew */
    if (lcf->jwt == NGX_IM_JWT_OFF || ngx_im_auth(r, &claims) != NGX_OK) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    switch (data) {

    case NGX_IM_VAR_UID:
        p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        v->len = ngx_sprintf(p, "%uL", claims->uid) - p;
        v->data = p;
        break;

    case NGX_IM_VAR_DEVICE:
        v->data = (u_char *) claims->device;
        v->len = ngx_strlen(claims->device);
        break;

    default:
        v->data = (u_char *) claims->sid;
        v->len = ngx_strlen(claims->sid);
        break;
    }

    return NGX_OK;
}


ngx_int_t
ngx_im_jwt_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_im_jwt_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_int_t
ngx_im_jwt_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_im_jwt_access_handler;

    return NGX_OK;
}
