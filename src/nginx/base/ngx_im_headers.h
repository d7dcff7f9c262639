/*
 * ngx_im_headers.h -- request headers, as RFC 9110 section 5.3 reads them.
 */

#ifndef NGX_IM_HEADERS_H
#define NGX_IM_HEADERS_H

#include "ngx_im.h"

/* How often a header was given; *value: of the first.  What may be given once
 * only is refused by the caller if this is more than 1. */
ngx_uint_t ngx_im_header_count(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* Whether a list has a member, over all lines of this name: they are one list.
 * NGX_OK or NGX_DECLINED. */
ngx_int_t ngx_im_header_has(ngx_http_request_t *r, const char *name,
    const char *member);
/* The same where case matters: a sub-protocol is told from another by it. */
ngx_int_t ngx_im_header_has_exact(ngx_http_request_t *r, const char *name,
    const char *member);

#endif
