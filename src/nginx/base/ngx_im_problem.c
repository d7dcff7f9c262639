/*
 * ngx_im_problem.c -- answers with a body of ours.
 *
 * nginx's own error pages are HTML, which no client of an API wants, so a
 * refusal is a complete response of its own and not a returned status.  The
 * body is {"type","title","status","code","retryable","retry_after_ms",
 * "detail"}: programs read "code", people read the rest.  When to try again is
 * in the body in ms, and in Retry-After in whole seconds, rounded up, because
 * it may not be shorter.  Nothing here is cacheable.
 */

#include "ngx_im_problem.h"

#include "ngx_im_worker.h"

#include "im_timeouts.h"
#include "im_utf8.h"


#define NGX_IM_DETAIL_MAX  512


const ngx_str_t  ngx_im_problem_type = ngx_string("application/problem+json");


static u_char *ngx_im_problem_clean(u_char *start, u_char *last);
static ngx_int_t ngx_im_problem_headers(ngx_http_request_t *r,
    const im_error_t *error, ngx_msec_t retry_ms);


ngx_int_t
ngx_im_problem_send(ngx_http_request_t *r, const char *code,
    const char *detail_fmt, ...)
{
    u_char     *last;
    va_list     args;
    ngx_str_t   detail;
    u_char      buf[NGX_IM_DETAIL_MAX];

    ngx_str_null(&detail);

    if (detail_fmt != NULL) {
        va_start(args, detail_fmt);
        last = ngx_vslprintf(buf, buf + sizeof(buf), detail_fmt, args);
        va_end(args);

        detail.data = buf;
        detail.len = last - buf;
    }

    return ngx_im_problem_send_error(r, im_error_find(code, ngx_strlen(code)),
                                     &detail, 0);
}


ngx_int_t
ngx_im_problem_send_error(ngx_http_request_t *r, const im_error_t *error,
    const ngx_str_t *detail, ngx_msec_t retry_ms)
{
    ngx_str_t  body;

    if (retry_ms == 0) {
        retry_ms = IM_RETRY_MS;
    }

    if (ngx_im_problem_body(r, error, detail, retry_ms, &body) != NGX_OK
        || ngx_im_problem_headers(r, error, retry_ms) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_im_reply_send(r, error->http, &ngx_im_problem_type, &body);
}


ngx_int_t
ngx_im_problem_body(ngx_http_request_t *r, const im_error_t *error,
    const ngx_str_t *detail, ngx_msec_t retry_ms, ngx_str_t *body)
{
    size_t   len;
    u_char  *p, *last;
    u_char   text[NGX_IM_DETAIL_MAX];

    last = text;

    if (detail != NULL && detail->len != 0) {
        last = ngx_cpymem(text, detail->data,
                          ngx_min(detail->len, sizeof(text)));
        last = ngx_im_problem_clean(text, last);
    }

    len = sizeof("{\"type\":\"urn:im:error:\",\"title\":\"\",\"status\":,"
                 "\"code\":\"\",\"retryable\":false,\"retry_after_ms\":,"
                 "\"detail\":\"\"}")
          + 2 * ngx_strlen(error->code) + ngx_strlen(error->title)
          + 2 * NGX_INT_T_LEN
          + (last - text) + ngx_escape_json(NULL, text, last - text);

    body->data = ngx_pnalloc(r->pool, len);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(body->data, "{\"type\":\"urn:im:error:%s\","
                    "\"title\":\"%s\",\"status\":%ui,\"code\":\"%s\","
                    "\"retryable\":%s",
                    error->code, error->title, (ngx_uint_t) error->http,
                    error->code, error->retryable ? "true" : "false");

    if (error->retryable && retry_ms != 0) {
        p = ngx_sprintf(p, ",\"retry_after_ms\":%M", retry_ms);
    }

    if (last != text) {
        p = ngx_cpymem(p, ",\"detail\":\"", sizeof(",\"detail\":\"") - 1);
        p = (u_char *) ngx_escape_json(p, text, last - text);
        *p++ = '"';
    }

    *p++ = '}';
    body->len = p - body->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "im: refused, %ui %s", (ngx_uint_t) error->http,
                   error->code);

    return NGX_OK;
}


/* Why is in the error log, once; not here, for each client to read. */
ngx_int_t
ngx_im_problem_unserved(ngx_http_request_t *r)
{
    static const ngx_str_t  detail =
        ngx_string("this server is not in service");

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "im: this worker does not serve the messenger now");

    return ngx_im_problem_send_error(r, im_error_find("unavailable", 11),
                                     &detail, ngx_im_worker_retry_ms());
}


/* A detail may quote the client, or be cut inside a character. */

static u_char *
ngx_im_problem_clean(u_char *start, u_char *last)
{
    u_char  *p;

    if (im_utf8_check(start, last - start) == IM_OK) {
        return last;
    }

    for (p = start; p < last; p++) {
        if (*p >= 0x80) {
            *p = '?';
        }
    }

    return last;
}


static ngx_int_t
ngx_im_problem_headers(ngx_http_request_t *r, const im_error_t *error,
    ngx_msec_t retry_ms)
{
    ngx_str_t  after;

    static const ngx_str_t  bearer = ngx_string("Bearer");

    if (error->http == NGX_HTTP_UNAUTHORIZED) {

        if (ngx_im_header_add(r, "WWW-Authenticate", &bearer) != NGX_OK) {
            return NGX_ERROR;
        }

        /* auth_request copies it from here to the request it guards */
        r->headers_out.www_authenticate = ngx_im_header_last(r);
    }

    if (error->retryable) {
        after.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (after.data == NULL) {
            return NGX_ERROR;
        }

        /* whole seconds (RFC 9110, 10.2.3), rounded up */

        after.len = ngx_sprintf(after.data, "%M", (retry_ms + 999) / 1000)
                    - after.data;

        return ngx_im_header_add(r, "Retry-After", &after);
    }

    return NGX_OK;
}


ngx_int_t
ngx_im_header_add(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->lowcase_key = NULL;
    h->value = *value;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


ngx_table_elt_t *
ngx_im_header_last(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = r->headers_out.headers.last->elts;

    return h + r->headers_out.headers.last->nelts - 1;
}


ngx_int_t
ngx_im_reply_send(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, const ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = status;

    if (body->len == 0) {
        r->header_only = 1;
    }

    if (ngx_im_reply_headers(r, type, body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    ngx_im_reply_buf(r, b, body);

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_im_reply_headers(ngx_http_request_t *r, const ngx_str_t *type,
    const ngx_str_t *body)
{
    static const ngx_str_t  no_store = ngx_string("no-store");

    r->headers_out.content_length_n = body->len;

    if (body->len != 0) {
        r->headers_out.content_type = *type;
        r->headers_out.content_type_len = type->len;
        r->headers_out.content_type_lowcase = NULL;
    }

    return ngx_im_header_add(r, "Cache-Control", &no_store);
}


void
ngx_im_reply_buf(ngx_http_request_t *r, ngx_buf_t *b, const ngx_str_t *body)
{
    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;
}
