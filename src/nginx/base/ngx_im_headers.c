/*
 * ngx_im_headers.c -- request headers, as RFC 9110 section 5.3 reads them.
 *
 * Lines of one name are one list, in their order, and an intermediary may join
 * or split them.  Empty members of a list mean nothing (section 5.6.1.2).
 * nginx has fields for few of the headers that a handshake needs, so the list
 * of all headers is walked; it is short.
 */

#include "ngx_im_headers.h"


typedef ngx_int_t (*ngx_im_header_cmp_pt)(u_char *a, u_char *b, size_t n);


static ngx_table_elt_t *ngx_im_header_next(ngx_http_request_t *r,
    const char *name, ngx_list_part_t **part, ngx_uint_t *i);
static ngx_int_t ngx_im_header_search(ngx_http_request_t *r, const char *name,
    const char *member, ngx_im_header_cmp_pt cmp);
static ngx_int_t ngx_im_header_exactly(u_char *a, u_char *b, size_t n);
static ngx_int_t ngx_im_header_lists(const ngx_str_t *list,
    const char *member, ngx_im_header_cmp_pt cmp);


ngx_uint_t
ngx_im_header_count(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;
    i = 0;
    part = &r->headers_in.headers.part;

    ngx_str_null(value);

    for ( ;; ) {
        h = ngx_im_header_next(r, name, &part, &i);
        if (h == NULL) {
            return n;
        }

        if (n++ == 0) {
            *value = h->value;
        }
    }
}


ngx_int_t
ngx_im_header_has(ngx_http_request_t *r, const char *name, const char *member)
{
    return ngx_im_header_search(r, name, member, ngx_strncasecmp);
}


ngx_int_t
ngx_im_header_has_exact(ngx_http_request_t *r, const char *name,
    const char *member)
{
    return ngx_im_header_search(r, name, member, ngx_im_header_exactly);
}


static ngx_int_t
ngx_im_header_exactly(u_char *a, u_char *b, size_t n)
{
    return ngx_memcmp(a, b, n);
}


static ngx_int_t
ngx_im_header_search(ngx_http_request_t *r, const char *name,
    const char *member, ngx_im_header_cmp_pt cmp)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    i = 0;
    part = &r->headers_in.headers.part;

    for ( ;; ) {
        h = ngx_im_header_next(r, name, &part, &i);
        if (h == NULL) {
            return NGX_DECLINED;
        }

        if (ngx_im_header_lists(&h->value, member, cmp) == NGX_OK) {
            return NGX_OK;
        }
    }
}


/* The next line of this name, at *part and *i or behind. */
static ngx_table_elt_t *
ngx_im_header_next(ngx_http_request_t *r, const char *name,
    ngx_list_part_t **part, ngx_uint_t *i)
{
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    while (*part != NULL) {
        while (*i < (*part)->nelts) {
            h = (ngx_table_elt_t *) (*part)->elts + (*i)++;

            if (h->key.len == len
                && ngx_strncasecmp(h->key.data, (u_char *) name, len) == 0)
            {
                return h;
            }
        }

        *part = (*part)->next;
        *i = 0;
    }

    return NULL;
}


static ngx_int_t
ngx_im_header_lists(const ngx_str_t *list, const char *member,
    ngx_im_header_cmp_pt cmp)
{
    size_t   len;
    u_char  *p, *start, *end, *last;

    len = ngx_strlen(member);
    p = list->data;
    last = list->data + list->len;

    while (p < last) {
        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        start = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - start) == len
            && cmp(start, (u_char *) member, len) == 0)
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
