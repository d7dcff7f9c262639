/*
 * ngx_im_problem.h -- answers with a body of ours: JSON, and refusals as
 * problem details (RFC 9457) with the stable codes of im_error.h.
 *
 * Both send functions return what a content handler returns, so they end one
 * directly, or through ngx_http_finalize_request() anywhere else.
 */

#ifndef NGX_IM_PROBLEM_H
#define NGX_IM_PROBLEM_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "im_error.h"


/*
 * Refuses a request.  detail_fmt is of ngx_sprintf()'s kind and may be NULL;
 * the text is cut at 512 bytes.  401 gets WWW-Authenticate, what may succeed
 * later gets Retry-After, here of a second.  A header that belongs to one
 * refusal only (Allow, Upgrade) is set by the caller before.
 */
ngx_int_t ngx_im_problem_send(ngx_http_request_t *r, const char *code,
    const char *detail_fmt, ...);

/* The same for an entry of the table; detail may be NULL or empty, retry_ms
 * is when a retryable one may work again, 0 for the usual second. */
ngx_int_t ngx_im_problem_send_error(ngx_http_request_t *r,
    const im_error_t *error, const ngx_str_t *detail, ngx_msec_t retry_ms);

/* Its body alone, in r->pool, and the type that goes with it; retry_ms 0: it
 * does not say when. */
ngx_int_t ngx_im_problem_body(ngx_http_request_t *r, const im_error_t *error,
    const ngx_str_t *detail, ngx_msec_t retry_ms, ngx_str_t *body);
extern const ngx_str_t  ngx_im_problem_type;

/* This worker does not serve the messenger now (ngx_im_worker.c). */
ngx_int_t ngx_im_problem_unserved(ngx_http_request_t *r);

/* Sends status, type and body; an empty body is none at all. */
ngx_int_t ngx_im_reply_send(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, const ngx_str_t *body);

/* Adds a response header; name is a literal, value lives as long as r. */
ngx_int_t ngx_im_header_add(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);
/* The one that was added last. */
ngx_table_elt_t *ngx_im_header_last(ngx_http_request_t *r);

/* What a reply of ours has in front of and in its body. */
ngx_int_t ngx_im_reply_headers(ngx_http_request_t *r, const ngx_str_t *type,
    const ngx_str_t *body);
void ngx_im_reply_buf(ngx_http_request_t *r, ngx_buf_t *b,
    const ngx_str_t *body);

#endif
