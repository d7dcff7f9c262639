/*
 * ngx_im_api_body.c -- is this request ours, and what is its whole body.
 *
 * The body is read unbuffered, into one piece of memory of our own: so a
 * chunked body is refused by the byte that is too much, nothing is ever
 * written to a file, and client_body_buffer_size does not matter.
 *
 *   handler -> (nginx reads) -> on_body -> read_body ... -> ngx_im_api_call
 */

#include "ngx_im_api.h"
#include "ngx_im_headers.h"
#include "ngx_im_problem.h"


#define NGX_IM_API_CHUNK  2048     /* first allocation for a chunked body */


static ngx_im_api_method_t *ngx_im_api_find(ngx_http_request_t *r,
    ngx_im_api_loc_conf_t *alcf);
static ngx_int_t ngx_im_api_check_type(ngx_http_request_t *r);
static void ngx_im_api_on_body(ngx_http_request_t *r);
static void ngx_im_api_read_body(ngx_http_request_t *r);
static ngx_int_t ngx_im_api_collect(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static ngx_int_t ngx_im_api_reserve(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx, size_t len);
static ngx_int_t ngx_im_api_too_large(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static ngx_int_t ngx_im_api_body_failed(ngx_http_request_t *r, ngx_int_t rc);


ngx_int_t
ngx_im_api_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_im_api_ctx_t       *ctx;
    ngx_im_api_method_t    *method;
    ngx_im_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_im_api_module);

    method = ngx_im_api_find(r, alcf);

    if (method == NULL) {
        if (ngx_im_header_add(r, "Allow", &alcf->allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_im_problem_send(r, "method_not_allowed",
                                   "this address takes %V", &alcf->allow);
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_im_api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->method = method;
    ctx->max_body = alcf->max_body;

    ngx_http_set_ctx(r, ctx, ngx_im_api_module);

    if (r != r->main) {
        /* headers and body are those of the request that auth_request guards */
        r->main->count++;
        ngx_im_api_call(r);

        return NGX_DONE;
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {

        if (ngx_im_api_check_type(r) != NGX_OK) {
            return ngx_im_problem_send(r, "unsupported", "the body must be "
                                       "application/json in UTF-8");
        }

        if (r->headers_in.content_length_n > (off_t) ctx->max_body) {
            return ngx_im_api_too_large(r, ctx);
        }
    }

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_im_api_on_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return ngx_im_api_body_failed(r, rc);
    }

    return NGX_DONE;
}


ngx_int_t
ngx_im_api_not_found_handler(ngx_http_request_t *r)
{
    return ngx_im_problem_send(r, "not_found", "there is no such endpoint");
}


static ngx_im_api_method_t *
ngx_im_api_find(ngx_http_request_t *r, ngx_im_api_loc_conf_t *alcf)
{
    ngx_uint_t            i, http;
    ngx_im_api_method_t  *method;

    http = (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET : r->method;
    method = alcf->methods->elts;

    for (i = 0; i < alcf->methods->nelts; i++) {
        if (method[i].http == http) {
            return &method[i];
        }
    }

    return NULL;
}


/* RFC 8259 section 11: application/json; it has no charset, many send one. */

static ngx_int_t
ngx_im_api_check_type(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t   type;

    static const size_t  json = sizeof("application/json") - 1;

    /* given twice, it says nothing */

    if (ngx_im_header_count(r, "content-type", &type) != 1) {
        return NGX_DECLINED;
    }

    if (type.len < json
        || ngx_strncasecmp(type.data, (u_char *) "application/json", json)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = type.data + json;
    last = type.data + type.len;

    if (p < last && *p != ';' && *p != ' ' && *p != '\t') {
        return NGX_DECLINED;
    }

    p = ngx_strlcasestrn(p, last, (u_char *) "charset=", 8 - 1);
    if (p == NULL) {
        return NGX_OK;
    }

    p += 8;

    if (p < last && *p == '"') {
        p++;
    }

    if (last - p >= 5 && ngx_strncasecmp(p, (u_char *) "utf-8", 5) == 0) {
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* Called by nginx once, as soon as the first part of the body is there. */

static void
ngx_im_api_on_body(ngx_http_request_t *r)
{
    if (r->reading_body) {
        r->read_event_handler = ngx_im_api_read_body;
    }

    ngx_im_api_read_body(r);
}


static void
ngx_im_api_read_body(ngx_http_request_t *r)
{
    ngx_int_t          rc;
    ngx_im_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_im_api_module);

    for ( ;; ) {
        rc = ngx_im_api_collect(r, ctx);

        if (rc != NGX_OK) {
            ngx_http_finalize_request(r, rc == NGX_DECLINED
                                         ? ngx_im_api_too_large(r, ctx) : rc);
            return;
        }

        if (!r->reading_body) {
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc == NGX_ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, ngx_im_api_body_failed(r, rc));
            return;
        }

        /* a full buffer is not an event to wait for: empty it, read on */

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            return;
        }
    }

    ngx_im_api_call(r);
}


static ngx_int_t
ngx_im_api_collect(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    size_t        len;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *next;

    if (r->request_body == NULL) {     /* somebody has discarded it */
        return NGX_OK;
    }

    cl = r->request_body->bufs;
    r->request_body->bufs = NULL;

    for ( /* void */ ; cl != NULL; cl = next) {
        next = cl->next;
        b = cl->buf;
        ngx_free_chain(r->pool, cl);

        if (b->in_file) {              /* read before us, by `mirror` say */
            return NGX_DECLINED;
        }

        len = b->last - b->pos;

        if (len == 0) {                /* the last buffer may be void */
            continue;
        }

        if (len > ctx->max_body - ctx->body.len) {
            return NGX_DECLINED;
        }

        if (ngx_im_api_reserve(r, ctx, len) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(ctx->body.data + ctx->body.len, b->pos, len);
        ctx->body.len += len;

        b->pos = b->last;              /* nginx may use it again */
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_reserve(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx, size_t len)
{
    size_t   cap, need;
    u_char  *p;

    need = ctx->body.len + len;

    if (need <= ctx->cap) {
        return NGX_OK;
    }

    if (r->headers_in.content_length_n > 0 && !r->headers_in.chunked) {
        cap = (size_t) r->headers_in.content_length_n;

    } else {
        cap = ngx_max(2 * ctx->cap, NGX_IM_API_CHUNK);
        cap = ngx_min(cap, ctx->max_body);
    }

    cap = ngx_max(cap, need);

    p = ngx_pnalloc(r->pool, cap);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ctx->body.len != 0) {
        ngx_memcpy(p, ctx->body.data, ctx->body.len);
        ngx_pfree(r->pool, ctx->body.data);
    }

    ctx->body.data = p;
    ctx->cap = cap;

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_too_large(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    return ngx_im_problem_send(r, "too_large",
                               "the body is larger than %uz bytes",
                               ctx->max_body);
}


/* What nginx says of a body: gone, late, or not what its framing promised. */

static ngx_int_t
ngx_im_api_body_failed(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc != NGX_HTTP_BAD_REQUEST || r->connection->error) {
        return rc;
    }

    r->keepalive = 0;          /* where the next request starts is unknown */

    return ngx_im_problem_send(r, "bad_request",
                               "the body's chunks are malformed");
}
