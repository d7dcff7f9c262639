/*
 * ngx_im_secret_log.c -- no token in a line that is written before, or instead
 * of, the phases of a request (see ngx_im_secret.c).
 *
 * A request that is refused while it is being read (a header too large, a
 * malformed line, a time-out) has no phases but the log phase, where our
 * handler is the first.  Its lines in the error log come even earlier: nginx
 * appends the request line to each of them by the handler of the connection's
 * log.  There is no hook for that one, so the handler of each listening socket
 * is wrapped, and puts ours before nginx's.
 *
 * Not covered is what nginx itself prints in the message: the level debug, and
 * an HTTP/2 or HTTP/3 request whose :path is malformed (level info).
 */

#include "ngx_im_request.h"


static ngx_int_t ngx_im_secret_log_handler(ngx_http_request_t *r);
static void ngx_im_secret_flush(ngx_http_request_t *r);
static void ngx_im_secret_init_connection(ngx_connection_t *c);
static u_char *ngx_im_secret_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_uint_t ngx_im_arg_is(const u_char *p, const u_char *last,
    const ngx_str_t *name);
static ngx_int_t ngx_im_hex(u_char c);


static ngx_log_handler_pt  ngx_im_secret_next_log;

static ngx_str_t  ngx_im_secret_names[] = {
    ngx_string("access_token"), ngx_string("ticket")
};


static ngx_int_t
ngx_im_secret_log_handler(ngx_http_request_t *r)
{
    ngx_im_request_t  *rec;

    rec = ngx_im_request_find(r);

    if (rec == NULL || !rec->seen) {
        /* never judged: refused, and perhaps answered by an error_page */
        ngx_im_secret_blot_line(r->main);
    }

    if (rec != NULL) {
        ngx_im_secret_flush(r);
    }

    return NGX_OK;
}


/* The log reads variables as they were kept, even those that may not be. */
static void
ngx_im_secret_flush(ngx_http_request_t *r)
{
    ngx_str_t                  *name;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        name = &v[i].name;

        if ((name->len == 4 && ngx_strncmp(name->data, "args", 4) == 0)
            || (name->len == 12
                && ngx_strncmp(name->data, "query_string", 12) == 0)
            || (name->len > 4 && ngx_strncmp(name->data, "arg_", 4) == 0)
            || (name->len > 3 && ngx_strncmp(name->data, "im_", 3) == 0))
        {
            if (r->variables[i].no_cacheable) {
                r->variables[i].valid = 0;
                r->variables[i].not_found = 0;
            }
        }
    }
}


void
ngx_im_secret_blot_line(ngx_http_request_t *r)
{
    u_char      *p;
    ngx_str_t    line;
    ngx_uint_t   i;

    line = r->request_line;

    if (line.data == NULL && r->request_start != NULL) {
        /* not complete: what nginx would log of it */
        line.data = r->request_start;

        for (p = line.data; p < r->header_in->last; p++) {
            if (*p == CR || *p == LF) {
                break;
            }
        }

        line.len = p - line.data;
    }

    for (i = 0; i < 2; i++) {
        ngx_im_arg_blot(&line, &ngx_im_secret_names[i]);
        ngx_im_arg_blot(&r->unparsed_uri, &ngx_im_secret_names[i]);
    }
}


static void
ngx_im_secret_init_connection(ngx_connection_t *c)
{
    ngx_uint_t  ready;

    /* else nginx would read, and perhaps close, before we are in */

    ready = c->read->ready;
    c->read->ready = 0;

    ngx_http_init_connection(c);

    if (c->fd == (ngx_socket_t) -1) {
        return;                        /* it could not be set up */
    }

    if (c->log->handler != ngx_im_secret_log_error) {
        ngx_im_secret_next_log = c->log->handler;
        c->log->handler = ngx_im_secret_log_error;
    }

    if (ready) {
        c->read->ready = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/*
 * Before the phases it is not known whether an argument is ours: the line shows
 * a copy without its value, and the request is left as it is.
 */
static u_char *
ngx_im_secret_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_str_t            line;
    ngx_http_request_t  *r;
    ngx_im_request_t    *rec;
    ngx_http_log_ctx_t  *ctx;
    u_char               copy[NGX_MAX_ERROR_STR];

    ctx = log->data;
    r = (ctx != NULL && ctx->request != NULL) ? ctx->request->main : NULL;
    rec = (r != NULL) ? ngx_im_request_find(r) : NULL;

    if (r == NULL || (rec != NULL && rec->seen)) {
        return ngx_im_secret_next_log(log, buf, len);
    }

    if (r->request_line.data == NULL) {

        if (r->unparsed_uri.data == NULL) {
            ngx_im_secret_blot_line(r);    /* it is refused: not complete */
        }

        return ngx_im_secret_next_log(log, buf, len);
    }

    line = r->request_line;

    r->request_line.data = copy;
    r->request_line.len = ngx_min(line.len, sizeof(copy));
    ngx_memcpy(copy, line.data, r->request_line.len);

    ngx_im_arg_blot(&r->request_line, &ngx_im_secret_names[0]);
    ngx_im_arg_blot(&r->request_line, &ngx_im_secret_names[1]);

    p = ngx_im_secret_next_log(log, buf, len);
    r->request_line = line;

    return p;
}


ngx_int_t
ngx_im_arg_next(u_char **pos, u_char *last, const ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *p, *end, *eq;

    for (p = *pos; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, '&');
        end = (end == NULL) ? last : end;
        eq = ngx_strlchr(p, end, '=');

        if (eq != NULL && ngx_im_arg_is(p, eq, name)) {
            value->data = eq + 1;
            value->len = end - value->data;
            *pos = ngx_min(end + 1, last);

            return NGX_OK;
        }
    }

    *pos = last;

    return NGX_DECLINED;
}


/* Without regard to case, as ngx_http_arg(), and decoded. */
static ngx_uint_t
ngx_im_arg_is(const u_char *p, const u_char *last, const ngx_str_t *name)
{
    u_char     c;
    size_t     i;
    ngx_int_t  high, low;

    for (i = 0; i < name->len; i++) {

        if (p == last) {
            return 0;
        }

        c = *p++;

        if (c == '%' && last - p >= 2) {
            high = ngx_im_hex(p[0]);
            low = ngx_im_hex(p[1]);

            if (high >= 0 && low >= 0) {
                c = (u_char) (high << 4 | low);
                p += 2;
            }
        }

        if (ngx_tolower(c) != name->data[i]) {
            return 0;
        }
    }

    return p == last;
}


static ngx_int_t
ngx_im_hex(u_char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


void
ngx_im_arg_blot(ngx_str_t *text, const ngx_str_t *name)
{
    u_char     *p, *last, *end;
    ngx_str_t   value;

    if (text->data == NULL) {
        return;
    }

    last = text->data + text->len;

    p = ngx_strlchr(text->data, last, '?');
    if (p == NULL) {
        return;
    }

    p++;

    while (ngx_im_arg_next(&p, last, name, &value) == NGX_OK) {

        /* a request line goes on with the protocol */

        end = ngx_strlchr(value.data, value.data + value.len, ' ');

        if (end != NULL && (last - end < 6
                            || ngx_strncmp(end, " HTTP/", 6) == 0))
        {
            value.len = end - value.data;
        }

        ngx_memset(value.data, '*', value.len);
    }
}


ngx_int_t
ngx_im_secret_init_log(ngx_http_core_main_conf_t *cmcf)
{
    ngx_array_t          *a;
    ngx_http_handler_pt  *h;

    a = &cmcf->phases[NGX_HTTP_LOG_PHASE].handlers;

    if (ngx_array_push(a) == NULL) {
        return NGX_ERROR;
    }

    h = a->elts;
    ngx_memmove(h + 1, h, (a->nelts - 1) * sizeof(ngx_http_handler_pt));
    *h = ngx_im_secret_log_handler;

    return NGX_OK;
}


/* In a worker, when its listening sockets are all there. */
void
ngx_im_secret_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_listening_t  *ls;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        /* a stream of HTTP/3 has no request line while it is being read */

        if (ls[i].handler == ngx_http_init_connection
            && ls[i].type == SOCK_STREAM)
        {
            ls[i].handler = ngx_im_secret_init_connection;
        }
    }
}
