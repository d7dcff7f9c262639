/*
 * ngx_im_secret.c -- tokens that come in a URL, and why no log shows them.
 *
 * A browser cannot set headers on a WebSocket, so im_ws takes access_token=...
 * and ticket=... from the arguments, and a token from the list of
 * sub-protocols.  What stands in a URL stands in $request, $request_uri, $args
 * and in the suffix of each line of the error log.  So it is kept in the
 * request's record and overwritten with asterisks, in place and in every copy
 * that nginx has made; lengths do not change.
 *
 * When: another application of the same server may have an access_token of its
 * own, which must reach it.  Three rules, each as early as it can be known:
 *
 *   post-read     the value was signed with our key: it is a token of ours
 *   post-read     the address is that of a `location = ...` with im_ws
 *   rewrite       the location that was found, or that a rewrite or redirect
 *                 has led to, has im_ws
 *
 * So a token that is worth anything is never seen by a later phase, by
 * whatever address it came, and what is not ours is left alone.  To blot all
 * and to restore the value in front of other locations was rejected: a rewrite
 * has copied it by then.  ngx_im_secret_log.c sees to what is logged before
 * these phases.
 *
 * The argument is found as it decodes: access%5Ftoken is access_token, in any
 * case.  If it is given twice the first one that is not empty is used, and all
 * are overwritten.
 */

#include "ngx_im_request.h"
#include "im_frame.h"


#define NGX_IM_SECRET_SEARCH_MIN  16   /* bytes; shorter ones are no secret */


static ngx_int_t ngx_im_secret_post_read_handler(ngx_http_request_t *r);
static ngx_int_t ngx_im_secret_rewrite_handler(ngx_http_request_t *r);
static void ngx_im_secret_judge(ngx_http_request_t *r);
static ngx_uint_t ngx_im_secret_is_ours(ngx_http_request_t *r,
    const ngx_str_t *value);
static ngx_uint_t ngx_im_secret_is_ws(ngx_http_request_t *r);
static ngx_int_t ngx_im_secret_take(ngx_http_request_t *r,
    const ngx_str_t *name, ngx_im_secret_t *secret);
static ngx_int_t ngx_im_secret_own_args(ngx_http_request_t *r);
static void ngx_im_secret_blot_value(ngx_str_t *text, const ngx_str_t *value);
static ngx_int_t ngx_im_secret_decode(ngx_pool_t *pool, const ngx_str_t *value,
    ngx_str_t *decoded);
static ngx_int_t ngx_im_secret_protocol(ngx_http_request_t *r,
    ngx_str_t *token);


static const ngx_str_t  ngx_im_secret_token_name = ngx_string("access_token");
static const ngx_str_t  ngx_im_secret_ticket_name = ngx_string("ticket");


static ngx_int_t
ngx_im_secret_post_read_handler(ngx_http_request_t *r)
{
    if (r->args.len != 0) {
        ngx_im_secret_judge(r);
    }

    return NGX_DECLINED;
}


/* Takes tokens and tickets that are ours out of the arguments. */
static void
ngx_im_secret_judge(ngx_http_request_t *r)
{
    u_char            *p, *last;
    ngx_str_t          value;
    ngx_uint_t         found, ours, is_ws;
    ngx_im_request_t  *rec;

    found = 0;
    ours = 0;

    p = r->args.data;
    last = p + r->args.len;

    while (!ours
           && ngx_im_arg_next(&p, last, &ngx_im_secret_token_name, &value)
              == NGX_OK)
    {
        found = 1;
        ours = ngx_im_secret_is_ours(r, &value);
    }

    p = r->args.data;

    if (!found
        && ngx_im_arg_next(&p, last, &ngx_im_secret_ticket_name, &value)
           != NGX_OK)
    {
        return;
    }

    rec = ngx_im_request_get(r);

    if (rec == NULL) {
        ngx_im_secret_blot_line(r);
        return;
    }

    rec->seen = 1;
    is_ws = ngx_im_secret_is_ws(r);

    if (ours || is_ws) {
        (void) ngx_im_secret_take(r, &ngx_im_secret_token_name, &rec->token);
    }

    if (is_ws) {
        (void) ngx_im_secret_take(r, &ngx_im_secret_ticket_name,
                                  &rec->ticket);
    }
}


static ngx_int_t
ngx_im_secret_rewrite_handler(ngx_http_request_t *r)
{
    ngx_im_request_t   *rec;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);

    if (lcf->ws == NULL) {
        return NGX_DECLINED;
    }

    rec = ngx_im_request_get(r);
    if (rec == NULL) {
        ngx_im_secret_blot_line(r);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_im_secret_take(r, &ngx_im_secret_token_name, &rec->token)
        != NGX_OK
        || ngx_im_secret_take(r, &ngx_im_secret_ticket_name, &rec->ticket)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_im_secret_is_ours(ngx_http_request_t *r, const ngx_str_t *value)
{
    ngx_str_t            token;
    ngx_im_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, NGX_IM_MODULE);

    if (mcf->jwt_key == NULL || value->len == 0) {
        return 0;
    }

    if (ngx_im_secret_decode(r->pool, value, &token) != NGX_OK) {
        return 1;
    }

    return im_jwt_is_signed(mcf->jwt_key, (im_str_t *) &token);
}


/* Whether the address is that of a `location = ...` with im_ws, which nginx
 * prefers to any other location. */
static ngx_uint_t
ngx_im_secret_is_ws(ngx_http_request_t *r)
{
    ngx_uint_t           i;
    ngx_im_ws_place_t   *place;
    ngx_im_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, NGX_IM_MODULE);

    if (mcf->ws_places == NULL) {
        return 0;
    }

    place = mcf->ws_places->elts;

    for (i = 0; i < mcf->ws_places->nelts; i++) {

        if (place[i].server
            == ngx_http_get_module_srv_conf(r, ngx_http_core_module)
            && place[i].uri.len == r->uri.len
            && ngx_memcmp(place[i].uri.data, r->uri.data, r->uri.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Keeps the first value that is not empty, overwrites all. */
static ngx_int_t
ngx_im_secret_take(ngx_http_request_t *r, const ngx_str_t *name,
    ngx_im_secret_t *secret)
{
    u_char      *p, *last;
    size_t       i;
    ngx_str_t    value, raw;
    ngx_uint_t   found;

    found = 0;
    secret->here = 0;

    p = r->args.data;

    if (ngx_im_arg_next(&p, r->args.data + r->args.len, name, &value)
        != NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_im_secret_own_args(r) != NGX_OK) {
        return NGX_ERROR;
    }

    p = r->args.data;
    last = p + r->args.len;

    while (ngx_im_arg_next(&p, last, name, &value) == NGX_OK) {

        for (i = 0; i < value.len && value.data[i] == '*'; i++) { /* void */ }

        if (i == value.len) {
            /* empty, or taken before, or not a secret at all */

            if (!found && secret->value.len == 0) {
                secret->value = value;
            }

            found |= (i != 0);
            continue;
        }

        raw.len = value.len;
        raw.data = ngx_pstrdup(r->pool, &value);

        if (raw.data == NULL
            || (!found && ngx_im_secret_decode(r->pool, &raw, &secret->value)
                          != NGX_OK))
        {
            return NGX_ERROR;
        }

        found = 1;
        ngx_memset(value.data, '*', value.len);

        /* by its value too: a rewrite may have given it this name */

        ngx_im_secret_blot_value(&r->main->request_line, &raw);
        ngx_im_secret_blot_value(&r->main->unparsed_uri, &raw);
    }

    ngx_im_arg_blot(&r->main->request_line, name);
    ngx_im_arg_blot(&r->main->unparsed_uri, name);

    secret->here = (found && secret->value.len != 0);

    return NGX_OK;
}


/* Arguments of a rewrite or redirect may be those of the configuration, which
 * is no place to write to. */
static ngx_int_t
ngx_im_secret_own_args(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t  *uri;

    uri = &r->unparsed_uri;

    if (uri->data != NULL && r->args.data >= uri->data
        && r->args.data + r->args.len <= uri->data + uri->len)
    {
        return NGX_OK;
    }

    p = ngx_pstrdup(r->pool, &r->args);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->args.data = p;

    return NGX_OK;
}


static void
ngx_im_secret_blot_value(ngx_str_t *text, const ngx_str_t *value)
{
    u_char  *p, *last;

    if (value->len < NGX_IM_SECRET_SEARCH_MIN || text->len < value->len) {
        return;
    }

    last = text->data + text->len - value->len;

    for (p = text->data; p <= last; p++) {
        if (*p == *value->data
            && ngx_memcmp(p, value->data, value->len) == 0)
        {
            ngx_memset(p, '*', value->len);
        }
    }
}


static ngx_int_t
ngx_im_secret_decode(ngx_pool_t *pool, const ngx_str_t *value,
    ngx_str_t *decoded)
{
    u_char  *dst, *src;

    if (ngx_strlchr(value->data, value->data + value->len, '%') == NULL) {
        *decoded = *value;
        return NGX_OK;
    }

    decoded->data = ngx_pnalloc(pool, value->len);
    if (decoded->data == NULL) {
        return NGX_ERROR;
    }

    src = value->data;
    dst = decoded->data;

    ngx_unescape_uri(&dst, &src, value->len, 0);

    decoded->len = dst - decoded->data;

    return NGX_OK;
}


const ngx_str_t *
ngx_im_secret_token(ngx_http_request_t *r)
{
    ngx_im_request_t   *rec;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);

    if (lcf->ws == NULL || r != r->main) {
        return NULL;
    }

    rec = ngx_im_request_get(r);

    if (rec == NULL) {
        return NULL;
    }

    if (rec->protocol.len != 0
        || ngx_im_secret_protocol(r, &rec->protocol) == NGX_OK)
    {
        return &rec->protocol;
    }

    return rec->token.here ? &rec->token.value : NULL;
}


const ngx_str_t *
ngx_im_secret_ticket(ngx_http_request_t *r)
{
    ngx_im_request_t   *rec;
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, NGX_IM_MODULE);

    /*
     * Access is granted to a ticket unseen, since im_ws redeems it: so not
     * where an if{} has put another handler in its place.
     */

    if (lcf->ws == NULL || r != r->main || r->content_handler != lcf->ws) {
        return NULL;
    }

    rec = ngx_im_request_find(r);

    return (rec != NULL && rec->ticket.here) ? &rec->ticket.value : NULL;
}


/* "Sec-WebSocket-Protocol: im.v1.json, bearer.<token>", on any line of it. */
static ngx_int_t
ngx_im_secret_protocol(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char           *p, *end, *last;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const ngx_str_t  name = ngx_string("sec-websocket-protocol");
    static const ngx_str_t  bearer = ngx_string("bearer.");

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != name.len
                || ngx_strncasecmp(h[i].key.data, name.data, name.len) != 0)
            {
                continue;
            }

            last = h[i].value.data + h[i].value.len;

            for (p = h[i].value.data; p < last; p = end + 1) {
                end = ngx_strlchr(p, last, ',');
                end = (end == NULL) ? last : end;

                while (p < end && (*p == ' ' || *p == '\t')) {
                    p++;
                }

                if ((size_t) (end - p) <= bearer.len
                    || ngx_strncasecmp(p, bearer.data, bearer.len) != 0)
                {
                    continue;
                }

                token->data = p + bearer.len;
                token->len = end - token->data;

                while (token->len != 0
                       && (token->data[token->len - 1] == ' '
                           || token->data[token->len - 1] == '\t'))
                {
                    token->len--;
                }

                return NGX_OK;
            }
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_im_secret_init(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    static const ngx_uint_t           phases[] = {
        NGX_HTTP_POST_READ_PHASE, NGX_HTTP_REWRITE_PHASE
    };
    static const ngx_http_handler_pt  handlers[] = {
        ngx_im_secret_post_read_handler, ngx_im_secret_rewrite_handler
    };

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /* of a phase the handler that was added last runs first, but for the log
     * phase, which runs as it was filled */

    for (i = 0; i < 2; i++) {
        h = ngx_array_push(&cmcf->phases[phases[i]].handlers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = handlers[i];
    }

    return ngx_im_secret_init_log(cmcf);
}
