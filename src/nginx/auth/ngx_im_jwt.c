/*
 * ngx_im_jwt.c -- who sends this request: `im_jwt` and its variables.
 *
 * The check runs in the access phase and answers as nginx's own access modules
 * do (auth_basic is the model): NGX_OK, NGX_HTTP_UNAUTHORIZED or, if it has no
 * opinion, NGX_DECLINED.  So it guards any location of an existing nginx, and
 * satisfy, error_page and limit_except work as the site expects.  Nothing is
 * sent from here: ngx_im_refusal.c replaces nginx's HTML page by our body if
 * the site has no page of its own.
 *
 * A token is read from "Authorization: Bearer".  A location with im_ws takes
 * it from the list of sub-protocols or the argument access_token, too, because
 * a browser cannot set headers on a WebSocket.  What was found is kept only
 * together with the token itself: a variable may be read before it is known
 * which location serves the request, and must not decide for it.
 */

#include "ngx_im_request.h"
#include "ngx_im_problem.h"


static ngx_int_t ngx_im_jwt_access_handler(ngx_http_request_t *r);
static void ngx_im_request_cleanup(void *data);
static ngx_im_auth_t *ngx_im_jwt_check(ngx_http_request_t *r,
    const ngx_str_t *token);
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

/* not cacheable: the next location may know more than this one */

static ngx_http_variable_t  ngx_im_jwt_vars[] = {

    { ngx_string("im_user_id"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_UID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("im_device"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_DEVICE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("im_session"), NULL, ngx_im_jwt_variable,
      NGX_IM_VAR_SESSION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_im_jwt_access_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    const char         *code, *reason;
    im_jwt_claims_t    *claims;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);

    if (lcf->jwt == NGX_IM_JWT_OFF) {
        return NGX_DECLINED;
    }

    rc = ngx_im_auth_check(r, &claims, &code, &reason);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {

        if (ngx_im_secret_ticket(r) != NULL) {
            return NGX_OK;             /* im_ws redeems it, or refuses */
        }

        if (lcf->jwt == NGX_IM_JWT_OPTIONAL) {
            return NGX_DECLINED;       /* OK would satisfy `satisfy any` */
        }

        code = "unauthorized";
        reason = "a bearer token is needed";
    }

    return ngx_im_refusal_note(r, code, reason);
}


ngx_im_request_t *
ngx_im_request_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln != NULL; cln = cln->next) {
        if (cln->handler == ngx_im_request_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


ngx_im_request_t *
ngx_im_request_get(ngx_http_request_t *r)
{
    ngx_im_request_t    *rec;
    ngx_pool_cleanup_t  *cln;

    rec = ngx_im_request_find(r);
    if (rec != NULL) {
        return rec;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_im_request_t));
    if (cln == NULL) {
        return NULL;
    }

    ngx_memzero(cln->data, sizeof(ngx_im_request_t));
    cln->handler = ngx_im_request_cleanup;

    return cln->data;
}


/* Its address is what the record is found by; the pool frees it. */
static void
ngx_im_request_cleanup(void *data)
{
    (void) data;
}


ngx_int_t
ngx_im_auth_check(ngx_http_request_t *r, im_jwt_claims_t **claims,
    const char **code, const char **reason)
{
    ngx_str_t       token;
    ngx_im_auth_t  *auth;

    if (ngx_im_jwt_find_token(r, &token) != NGX_OK) {
        return NGX_DECLINED;
    }

    auth = ngx_im_jwt_check(r, &token);

    if (auth == NULL) {
        *code = "internal";
        *reason = "out of memory";
        return NGX_ERROR;
    }

    if (auth->rc == NGX_OK) {
        *claims = &auth->claims;
        return NGX_OK;
    }

    *code = (ngx_strcmp(auth->reason, "expired") == 0) ? "token_expired"
            : (auth->reason == ngx_im_jwt_ended) ? "session_revoked"
            : "unauthorized";
    *reason = auth->reason;

    return NGX_ERROR;
}


/* Once for each token of a request. */
static ngx_im_auth_t *
ngx_im_jwt_check(ngx_http_request_t *r, const ngx_str_t *token)
{
    ngx_im_auth_t       *auth;
    ngx_im_request_t    *rec;
    ngx_im_main_conf_t  *mcf;

    rec = ngx_im_request_get(r);
    if (rec == NULL) {
        return NULL;
    }

    auth = rec->auth;

    if (auth != NULL && auth->token.data == token->data
        && auth->token.len == token->len)
    {
        return auth;
    }

    /* a new one: claims of the last may be pointed at */

    auth = ngx_pcalloc(r->pool, sizeof(ngx_im_auth_t));
    if (auth == NULL) {
        return NULL;
    }

    auth->token = *token;
    mcf = ngx_http_get_module_main_conf(r, NGX_IM_MODULE);

    if (mcf->jwt_key == NULL) {
        auth->rc = NGX_ERROR;
        auth->reason = "no key is configured";

    } else {
        auth->rc = im_jwt_verify(mcf->jwt_key, (im_str_t *) token,
                                 ngx_time(), &auth->claims, &auth->reason);

        if (auth->rc == NGX_OK && ngx_im_revoked(auth->claims.sid)) {
            auth->rc = NGX_ERROR;
            auth->reason = ngx_im_jwt_ended;
        }
    }

    if (auth->rc != NGX_OK) {
        auth->rc = NGX_ERROR;

        ngx_im_log_error(NGX_LOG_INFO, r->connection->log,
                         "im: token refused: %s", auth->reason);
    }

    rec->auth = auth;

    return auth;
}


static ngx_int_t
ngx_im_jwt_find_token(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_str_t        *value;
    const ngx_str_t  *secret;

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

    secret = ngx_im_secret_token(r);

    if (secret != NULL) {
        *token = *secret;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_im_jwt_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char             *p;
    const char         *code, *reason;
    im_jwt_claims_t    *claims;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);

    /* the location inside an auth_request asks its parent's token anew */
    if (lcf->jwt == NGX_IM_JWT_OFF
        || ngx_im_auth_check(r, &claims, &code, &reason) != NGX_OK)
    {
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

    if (ngx_im_refusal_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_im_secret_init(cf);
}
