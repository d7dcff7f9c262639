/*
 * ngx_im_ws_handshake.c -- from an HTTP request to a 101, or to a refusal.
 *
 * RFC 6455 section 4.2.  Cheap checks come before dear ones: what is no
 * handshake never costs the look at a token.
 */

#include "ngx_im_ws_door.h"
#include "ngx_im_headers.h"
#include "ngx_im_problem.h"
#include "ngx_im_request.h"
#include "ngx_im_worker.h"


static ngx_int_t ngx_im_ws_check_upgrade(ngx_http_request_t *r,
    ngx_uint_t has_body, u_char *accept, ngx_int_t *rc);
static ngx_int_t ngx_im_ws_check_twice(ngx_http_request_t *r, ngx_int_t *rc);
static ngx_int_t ngx_im_ws_refuse(ngx_http_request_t *r, ngx_int_t *rc,
    const char *code, const char *detail);
static ngx_int_t ngx_im_ws_check_origin(ngx_http_request_t *r);
static im_encoding_t ngx_im_ws_choose(ngx_http_request_t *r,
    const char **protocol);
static ngx_int_t ngx_im_ws_send_101(ngx_http_request_t *r,
    const u_char *accept, const char *protocol);


ngx_int_t
ngx_im_ws_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_uint_t          has_body;
    const char         *code, *reason;
    im_jwt_claims_t    *claims;
    const ngx_str_t    *ticket;
    ngx_im_ws_shake_t  *shake;

    shake = ngx_palloc(r->pool, sizeof(ngx_im_ws_shake_t));
    if (shake == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* asked before the body is discarded: that forgets its length */
    has_body = r->headers_in.content_length_n > 0 || r->headers_in.chunked;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_im_ws_check_upgrade(r, has_body, shake->accept, &rc) != NGX_OK) {
        return rc;
    }

    if (ngx_im_ws_check_origin(r) != NGX_OK) {
        return ngx_im_problem_send(r, "forbidden",
                                   "this origin may not connect");
    }

    rc = ngx_im_auth_check(r, &claims, &code, &reason);
    if (rc == NGX_ERROR) {
        return ngx_im_problem_send(r, code, "%s", reason);
    }

    shake->encoding = ngx_im_ws_choose(r, &shake->protocol);

    if (rc == NGX_DECLINED) {
        claims = NULL;                 /* the auth frame will say */

        ticket = ngx_im_secret_ticket(r);
        if (ticket != NULL) {
            return ngx_im_ws_ticket_redeem(r, ticket, shake);
        }
    }

    return ngx_im_ws_accept(r, claims, shake);
}


ngx_int_t
ngx_im_ws_accept(ngx_http_request_t *r, const im_jwt_claims_t *claims,
    const ngx_im_ws_shake_t *shake)
{
    ngx_int_t  rc;

    if (!ngx_im_worker_serves() || ngx_exiting || ngx_terminate) {
        return ngx_im_problem_unserved(r);
    }

    rc = ngx_im_ws_send_101(r, shake->accept, shake->protocol);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_im_ws_take_over(r, claims, shake->encoding);
}


/*
 * RFC 6455 section 4.2.1; a 426 names what to upgrade to (RFC 9110 section
 * 15.5.22).
 */
static ngx_int_t
ngx_im_ws_check_upgrade(ngx_http_request_t *r, ngx_uint_t has_body,
    u_char *accept, ngx_int_t *rc)
{
    ngx_str_t  version, key;

    static const ngx_str_t  websocket = ngx_string("websocket");
    static const ngx_str_t  thirteen = ngx_string("13");

    if (r != r->main) {
        *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    if (r->method != NGX_HTTP_GET) {
        return ngx_im_ws_refuse(r, rc, "method_not_allowed",
                                "a WebSocket handshake is a GET");
    }

    if (r->http_version != NGX_HTTP_VERSION_11 || has_body) {
        return ngx_im_ws_refuse(r, rc, "bad_request",
                                "a WebSocket handshake is HTTP/1.1 and "
                                "has no body");
    }

    if (ngx_im_header_has(r, "upgrade", "websocket") != NGX_OK
        || ngx_im_header_has(r, "connection", "upgrade") != NGX_OK)
    {
        if (ngx_im_header_add(r, "Upgrade", &websocket) != NGX_OK) {
            *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return NGX_DECLINED;
        }

        return ngx_im_ws_refuse(r, rc, "upgrade_required",
                                "this location speaks WebSocket");
    }

    if (ngx_im_ws_check_twice(r, rc) != NGX_OK) {
        return NGX_DECLINED;
    }

    (void) ngx_im_header_count(r, "sec-websocket-version", &version);

    if (version.len != 2 || ngx_strncmp(version.data, "13", 2) != 0) {
        if (ngx_im_header_add(r, "Upgrade", &websocket) != NGX_OK
            || ngx_im_header_add(r, "Sec-WebSocket-Version", &thirteen)
               != NGX_OK)
        {
            *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return NGX_DECLINED;
        }

        return ngx_im_ws_refuse(r, rc, "upgrade_required",
                                "Sec-WebSocket-Version must be 13");
    }

    if (ngx_im_header_count(r, "sec-websocket-key", &key) == 0
        || im_frame_accept_key((im_str_t *) &key, accept) != IM_OK)
    {
        return ngx_im_ws_refuse(r, rc, "bad_request",
                                "Sec-WebSocket-Key must be 16 bytes in "
                                "base64");
    }

    return NGX_OK;
}


/*
 * These are no lists.  Whoever sends one twice is not sure what it wants, or
 * somebody in between has read the other one.  nginx itself refuses a second
 * Host and Authorization.
 */
static ngx_int_t
ngx_im_ws_check_twice(ngx_http_request_t *r, ngx_int_t *rc)
{
    ngx_str_t    value;
    ngx_uint_t   i;

    static const char  *names[] = {
        "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Origin"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (ngx_im_header_count(r, names[i], &value) > 1) {
            *rc = ngx_im_problem_send(r, "bad_request",
                                      "%s was given more than once",
                                      names[i]);
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_ws_refuse(ngx_http_request_t *r, ngx_int_t *rc, const char *code,
    const char *detail)
{
    *rc = ngx_im_problem_send(r, code, "%s", detail);

    return NGX_DECLINED;
}


/* Browsers always send Origin; others may leave it out. */
static ngx_int_t
ngx_im_ws_check_origin(ngx_http_request_t *r)
{
    ngx_str_t             *allowed;
    ngx_uint_t             i;
    ngx_str_t              origin;
    ngx_im_ws_loc_conf_t  *wlcf;

    wlcf = ngx_http_get_module_loc_conf(r, ngx_im_ws_module);

    if (wlcf->origins == NULL) {
        return NGX_OK;
    }

    if (ngx_im_header_count(r, "origin", &origin) == 0) {
        return NGX_OK;
    }

    allowed = wlcf->origins->elts;

    for (i = 0; i < wlcf->origins->nelts; i++) {
        if (allowed[i].len == origin.len
            && ngx_strncasecmp(allowed[i].data, origin.data,
                               allowed[i].len)
               == 0)
        {
            return NGX_OK;
        }
    }

    ngx_im_log_error(NGX_LOG_INFO, r->connection->log,
                     "ws: origin \"%V\" is not in im_ws_origin",
                     &origin);

    return NGX_DECLINED;
}


/*
 * The client must be answered with a name that it has offered, letter by
 * letter: it ends the connection if it gets another one (RFC 6455, 4.1).
 */
static im_encoding_t
ngx_im_ws_choose(ngx_http_request_t *r, const char **protocol)
{
    static const char  *header = "sec-websocket-protocol";

    if (ngx_im_header_has_exact(r, header, IM_CLIENT_PROTO) == NGX_OK) {
        *protocol = IM_CLIENT_PROTO;
        return IM_ENCODING_PROTO;
    }

    *protocol = (ngx_im_header_has_exact(r, header, IM_CLIENT_JSON) == NGX_OK)
                ? IM_CLIENT_JSON : NULL;

    return IM_ENCODING_JSON;
}


static ngx_int_t
ngx_im_ws_send_101(ngx_http_request_t *r, const u_char *accept,
    const char *protocol)
{
    ngx_int_t   rc;
    ngx_str_t   key, name;

    static const ngx_str_t  websocket = ngx_string("websocket");

    key.len = IM_FRAME_ACCEPT_LEN;
    key.data = ngx_pnalloc(r->pool, key.len);
    if (key.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(key.data, accept, key.len);

    if (ngx_im_header_add(r, "Upgrade", &websocket) != NGX_OK
        || ngx_im_header_add(r, "Sec-WebSocket-Accept", &key) != NGX_OK
        || ngx_im_header_add(r, "X-IM-Instance", ngx_im_instance()) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (protocol != NULL) {
        name.data = (u_char *) protocol;
        name.len = ngx_strlen(protocol);

        if (ngx_im_header_add(r, "Sec-WebSocket-Protocol", &name) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    r->keepalive = 0;
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;

    rc = ngx_http_send_header(r);      /* adds "Connection: upgrade" */
    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return NGX_OK;
}
