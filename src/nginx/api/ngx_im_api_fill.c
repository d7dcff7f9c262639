/*
 * ngx_im_api_fill.c -- captures, query arguments and JSON become a message.
 *
 * All three sources write through the same descriptor, and a field may come
 * from one of them only: a value given twice is an error, not a matter of
 * precedence.  What the client cannot say at all is who it is: `caller` comes
 * from the verified token, and what only a connection has stays empty.
 *
 * Memory: r->pool.  Strings of the message point into one block made here and
 * into the body; im_rpc_call() packs the message before any of it goes.
 */

#include "ngx_im_api.h"
#include "ngx_im_auth.h"

#include "im_check.h"
#include "im_frame.h"
#include "im_slot.h"
#include "logic.pb-c.h"


static ngx_int_t ngx_im_api_fill_caller(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx, ProtobufCMessage *message,
    im_jwt_claims_t **claims);
static ngx_int_t ngx_im_api_fill_captures(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx, ProtobufCMessage *message, im_json_mem_t *mem,
    uint64_t *seen);
static ngx_int_t ngx_im_api_fill_args(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx, ProtobufCMessage *message, im_json_mem_t *mem,
    uint64_t *seen);
static ngx_int_t ngx_im_api_decode_arg(ngx_http_request_t *r, u_char *start,
    u_char *last, im_str_t *out);
static ngx_int_t ngx_im_api_set(ngx_im_api_ctx_t *ctx,
    ProtobufCMessage *message, im_str_t *name, im_str_t *value,
    im_json_mem_t *mem, uint64_t *seen);
static size_t ngx_im_api_mem_size(ngx_http_request_t *r,
    ngx_im_api_ctx_t *ctx);
static unsigned ngx_im_api_slot(ngx_im_api_ctx_t *ctx,
    const ProtobufCMessage *message, const im_jwt_claims_t *claims);


static unsigned  ngx_im_api_turn;


ngx_int_t
ngx_im_api_fill(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    size_t                             size;
    uint64_t                           seen;
    ngx_int_t                          rc;
    im_json_mem_t                      mem;
    im_jwt_claims_t                   *claims;
    ProtobufCMessage                  *m;
    const ProtobufCMessageDescriptor  *input;

    input = ctx->method->call.rpc.input;
    size = ngx_im_api_mem_size(r, ctx);

    m = ngx_pcalloc(r->pool, input->sizeof_message);
    mem.pos = ngx_palloc(r->pool, size);

    if (m == NULL || mem.pos == NULL) {
        return NGX_ERROR;
    }

    mem.end = mem.pos + size;
    protobuf_c_message_init(input, m);

    seen = 0;
    claims = NULL;

    if (ctx->method->call.caller != NULL) {
        rc = ngx_im_api_fill_caller(r, ctx, m, &claims);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_im_api_fill_captures(r, ctx, m, &mem, &seen);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_im_api_fill_args(r, ctx, m, &mem, &seen);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->body.len != 0
        && im_json_decode(m, &ctx->body, &mem, &seen, &ctx->err) != IM_OK)
    {
        ctx->code = ctx->err.code;
        return NGX_DECLINED;
    }

    if (im_json_check_required(m, seen, &ctx->err) != IM_OK) {
        ctx->code = "missing_field";
        return NGX_DECLINED;
    }

    if (im_check(m, &ctx->err) != IM_OK) {
        ctx->code = ctx->err.code;
        return NGX_DECLINED;
    }

    ngx_im_method_stamp(&ctx->method->call, m, NULL, 0);

    ctx->message = m;
    ctx->slot = ngx_im_api_slot(ctx, m, claims);

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_fill_caller(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ProtobufCMessage *message, im_jwt_claims_t **claims)
{
    ngx_int_t     rc;
    const char   *reason;
    Im__Caller   *caller, **field;

    /* asked here too: the access phase skips the subrequest of auth_request */

    rc = ngx_im_auth_check(r, claims, &ctx->code, &reason);

    if (rc != NGX_OK) {
        if (rc == NGX_DECLINED) {
            ctx->code = "unauthorized";
            reason = "a bearer token is needed";
        }

        ngx_snprintf((u_char *) ctx->err.text, sizeof(ctx->err.text), "%s%Z",
                     reason);
        return NGX_DECLINED;
    }

    caller = ngx_palloc(r->pool, sizeof(Im__Caller));
    if (caller == NULL) {
        return NGX_ERROR;
    }

    im__caller__init(caller);
    caller->uid = (*claims)->uid;
    caller->sid = (*claims)->sid;
    caller->device = (*claims)->device;

    field = (Im__Caller **) ((u_char *) message
                             + ctx->method->call.caller->offset);
    *field = caller;

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_fill_captures(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ProtobufCMessage *message, im_json_mem_t *mem, uint64_t *seen)
{
    im_str_t                    name, value;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_im_api_capture_t       *capture;
    ngx_im_api_loc_conf_t      *alcf;
    ngx_http_variable_value_t  *v;

    alcf = ngx_http_get_module_loc_conf(r, ngx_im_api_module);

    if (alcf->captures == NULL) {
        return NGX_OK;
    }

    capture = alcf->captures->elts;

    for (i = 0; i < alcf->captures->nelts; i++) {
        v = ngx_http_get_indexed_variable(r, capture[i].index);

        if (v == NULL || v->not_found || v->len == 0) {
            continue;
        }

        name.data = capture[i].name.data;
        name.len = capture[i].name.len;
        value.data = v->data;
        value.len = v->len;

        rc = ngx_im_api_set(ctx, message, &name, &value, mem, seen);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_fill_args(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx,
    ProtobufCMessage *message, im_json_mem_t *mem, uint64_t *seen)
{
    u_char     *p, *last, *end, *eq;
    im_str_t    name, value;
    ngx_int_t   rc;

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        eq = ngx_strlchr(p, end, '=');

        if (ngx_im_api_decode_arg(r, p, eq == NULL ? end : eq, &name) != NGX_OK
            || ngx_im_api_decode_arg(r, eq == NULL ? end : eq + 1, end, &value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_im_api_set(ctx, message, &name, &value, mem, seen);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* As forms and URLSearchParams write it: %XX, and + for a space. */

static ngx_int_t
ngx_im_api_decode_arg(ngx_http_request_t *r, u_char *start, u_char *last,
    im_str_t *out)
{
    u_char  *p, *src, *dst;

    p = ngx_pnalloc(r->pool, last - start + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (dst = p, src = start; src < last; src++) {
        *dst++ = (*src == '+') ? ' ' : *src;
    }

    src = p;
    out->data = p;
    last = dst;
    dst = p;

    ngx_unescape_uri(&dst, &src, last - src, 0);

    out->len = dst - p;

    return NGX_OK;
}


static ngx_int_t
ngx_im_api_set(ngx_im_api_ctx_t *ctx, ProtobufCMessage *message,
    im_str_t *name, im_str_t *value, im_json_mem_t *mem, uint64_t *seen)
{
    int  rc;

    if (ngx_strlchr(name->data, name->data + name->len, '\0') != NULL) {
        return NGX_OK;                 /* no field is called like that */
    }

    rc = im_json_set(message, name, value, mem, seen, &ctx->err);

    if (rc == IM_OK || rc == IM_DECLINED) {
        return NGX_OK;                 /* unknown names are ignored */
    }

    ctx->code = "bad_field";

    return NGX_DECLINED;
}


/* A decoded string is never longer than it was written; lists take more. */

static size_t
ngx_im_api_mem_size(ngx_http_request_t *r, ngx_im_api_ctx_t *ctx)
{
    return ctx->body.len + r->args.len + r->uri.len
           + im_json_mem_extra(ctx->method->call.rpc.input, ctx->body.len);
}


static unsigned
ngx_im_api_slot(ngx_im_api_ctx_t *ctx, const ProtobufCMessage *message,
    const im_jwt_claims_t *claims)
{
    if (claims == NULL) {
        return ngx_im_api_turn++ % IM_SLOTS;
    }

    return ngx_im_method_slot(&ctx->method->call, message, claims->uid);
}
