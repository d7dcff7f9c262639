/*
 * ngx_im_refusal.c -- the answer to a request that `im_jwt` refuses.
 *
 *     access handler: 401, and a note in the request's record
 *       -> satisfy any: another module lets it pass: precontent, note forgotten
 *       -> error_page of the site: a redirect, the note is of another address
 *       -> nginx's own page: header and body filter put ours in its place
 *
 * Nothing may be sent from the access handler: with `satisfy any` a later
 * module may still let the request pass, and error_page and auth_delay look at
 * the status alone.  To look for an error_page there and to send our body if
 * there is none was rejected: it would end the request before the other
 * modules were asked.
 *
 * The filters stand in front of all others, as if a content handler had sent
 * our body.  They are put there when a worker starts: this module's own place
 * among the modules depends on how nginx was built.
 */

#include "ngx_im_request.h"
#include "ngx_im_problem.h"


static void ngx_im_refusal_forget(ngx_http_request_t *r);
static ngx_int_t ngx_im_refusal_precontent_handler(ngx_http_request_t *r);
static ngx_int_t ngx_im_refusal_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_im_refusal_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_im_refusal_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_im_refusal_next_body_filter;


ngx_int_t
ngx_im_refusal_note(ngx_http_request_t *r, const char *code,
    const char *reason)
{
    ngx_im_request_t  *rec;

    static const ngx_str_t  bearer = ngx_string("Bearer");

    /* that of the request before, if an error_page is guarded, too */
    ngx_im_refusal_forget(r);

    rec = ngx_im_request_get(r);

    if (rec == NULL
        || im_error_find(code, ngx_strlen(code))->http
           != NGX_HTTP_UNAUTHORIZED
        || ngx_im_header_add(r, "WWW-Authenticate", &bearer) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rec->refusal.code = code;
    rec->refusal.reason = reason;
    rec->refusal.uri_changes = r->uri_changes;
    rec->refusal.header = ngx_im_header_last(r);

    /* `satisfy any` hides it if another module lets the request pass */
    r->headers_out.www_authenticate = rec->refusal.header;

    return NGX_HTTP_UNAUTHORIZED;
}


/* Takes an earlier one back. */
static void
ngx_im_refusal_forget(ngx_http_request_t *r)
{
    ngx_im_request_t  *rec;

    rec = ngx_im_request_find(r);

    if (rec != NULL && rec->refusal.code != NULL) {
        rec->refusal.code = NULL;
        rec->refusal.header->hash = 0;
    }
}


/* Access was granted in the end. */
static ngx_int_t
ngx_im_refusal_precontent_handler(ngx_http_request_t *r)
{
    ngx_im_request_t   *rec;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);
    rec = ngx_im_request_find(r);

    /* not that of a request whose error_page is served now */

    if (rec != NULL && rec->refusal.uri_changes == r->uri_changes
        && lcf->jwt != NGX_IM_JWT_OFF && r == r->main)
    {
        ngx_im_refusal_forget(r);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_im_refusal_header_filter(ngx_http_request_t *r)
{
    ngx_str_t          detail;
    ngx_im_request_t  *rec;

    /* set by nginx when it answers a status itself, and by nobody else */

    if (r->err_status != NGX_HTTP_UNAUTHORIZED || r != r->main) {
        return ngx_im_refusal_next_header_filter(r);
    }

    rec = ngx_im_request_find(r);

    if (rec == NULL || rec->refusal.code == NULL
        || rec->refusal.uri_changes != r->uri_changes)
    {
        return ngx_im_refusal_next_header_filter(r);
    }

    detail.data = (u_char *) rec->refusal.reason;
    detail.len = ngx_strlen(detail.data);

    if (ngx_im_problem_body(r, im_error_find(rec->refusal.code,
                                             ngx_strlen(rec->refusal.code)),
                            &detail, 0, &rec->refusal.body)
        != NGX_OK
        || ngx_im_reply_headers(r, &ngx_im_problem_type, &rec->refusal.body)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_set_ctx(r, rec, NGX_IM_MODULE);

    return ngx_im_refusal_next_header_filter(r);
}


static ngx_int_t
ngx_im_refusal_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t         *b;
    ngx_chain_t        out;
    ngx_im_request_t  *rec;

    rec = ngx_http_get_module_ctx(r, NGX_IM_MODULE);

    if (rec == NULL || in == NULL) {
        return ngx_im_refusal_next_body_filter(r, in);
    }

    /* nginx's page: constant memory, nobody waits for it to be sent */

    if (rec->refusal.sent) {
        return ngx_im_refusal_next_body_filter(r, NULL);
    }

    rec->refusal.sent = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    ngx_im_reply_buf(r, b, &rec->refusal.body);

    out.buf = b;
    out.next = NULL;

    return ngx_im_refusal_next_body_filter(r, &out);
}


ngx_int_t
ngx_im_refusal_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_im_refusal_precontent_handler;

    return NGX_OK;
}


void
ngx_im_refusal_init_process(void)
{
    if (ngx_http_top_header_filter == ngx_im_refusal_header_filter) {
        return;
    }

    ngx_im_refusal_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_im_refusal_header_filter;

    ngx_im_refusal_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_im_refusal_body_filter;
}
