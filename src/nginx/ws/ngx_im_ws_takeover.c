/*
 * ngx_im_ws_takeover.c -- the HTTP request ends, the connection stays.
 *
 *     handler: 101 --> pending list --> posted event: take-over
 *
 * The HTTP request cannot be freed inside its own content handler, whose
 * callers still use it.  So after the 101 the connection goes on a list and
 * one event is posted for the worker; the event runs when they have all
 * returned, frees the request and leaves a connection of a few hundred bytes.
 * nginx's ngx_http_set_keepalive() is the model.
 */

#include "ngx_im_ws_door.h"
#include "ngx_im_ws_out.h"
#include "ngx_im_ws_session.h"


/* Between the 101 and the take-over. */
typedef struct ngx_im_ws_pending_s  ngx_im_ws_pending_t;

struct ngx_im_ws_pending_s {
    ngx_http_request_t   *request;     /* NULL: it died first */
    ngx_http_cleanup_t   *cleanup;
    ngx_im_ws_t          *ws;
    ngx_im_ws_pending_t  *next;
    im_jwt_claims_t       claims;
    unsigned              verified:1;
};


static void ngx_im_ws_request_gone(void *data);
static void ngx_im_ws_pending_handler(ngx_event_t *ev);
static void ngx_im_ws_take_over_now(ngx_im_ws_pending_t *p);
static void ngx_im_ws_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);


static ngx_im_ws_pending_t  *ngx_im_ws_pending;

static ngx_event_t  ngx_im_ws_pending_event = {
    .handler = ngx_im_ws_pending_handler
};


ngx_int_t
ngx_im_ws_take_over(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, im_encoding_t encoding)
{
    ngx_connection_t     *c;
    ngx_im_ws_pending_t  *p;

    c = r->connection;

    p = ngx_calloc(sizeof(ngx_im_ws_pending_t), c->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p->ws = ngx_calloc(sizeof(ngx_im_ws_t), c->log);
    p->cleanup = ngx_http_cleanup_add(r, 0);

    if (p->ws == NULL || p->cleanup == NULL) {
        ngx_free(p->ws);
        ngx_free(p);
        return NGX_ERROR;
    }

    p->ws->id = ngx_im_ws_next_id(c);
    p->ws->connection = c;
    p->ws->conf = ngx_http_get_module_loc_conf(r, ngx_im_ws_module);
    p->ws->limits = ngx_http_get_module_loc_conf(r, ngx_im_limit_module);
    p->ws->encoding = encoding;
    p->ws->heard_s = ngx_time();

    /* now: the realip module takes its address back with the request */
    ngx_im_limit_address(c->sockaddr, &p->ws->address);

    if (claims != NULL) {
        p->claims = *claims;
        p->verified = 1;
    }

    p->request = r;
    p->cleanup->handler = ngx_im_ws_request_gone;
    p->cleanup->data = p;

    p->next = ngx_im_ws_pending;
    ngx_im_ws_pending = p;

    if (!ngx_im_ws_pending_event.posted) {
        ngx_im_ws_pending_event.log = ngx_cycle->log;
        ngx_post_event(&ngx_im_ws_pending_event, &ngx_posted_events);
    }

    r->read_event_handler = ngx_http_block_reading;
    r->main->count++;

    return NGX_DONE;
}

static void
ngx_im_ws_request_gone(void *data)
{
    ngx_im_ws_pending_t  *p = data;

    p->request = NULL;
}


static void
ngx_im_ws_pending_handler(ngx_event_t *ev)
{
    ngx_im_ws_pending_t  *p;

    while (ngx_im_ws_pending != NULL) {
        p = ngx_im_ws_pending;
        ngx_im_ws_pending = p->next;

        if (p->request != NULL) {
            ngx_im_ws_take_over_now(p);

        } else {
            ngx_free(p->ws);
        }

        ngx_free(p);
    }
}


static void
ngx_im_ws_take_over_now(ngx_im_ws_pending_t *p)
{
    int                     kept;
    size_t                  extra;
    ngx_im_ws_t            *ws;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_connection_t  *hc;

    r = p->request;
    c = r->connection;
    hc = r->http_connection;
    ws = p->ws;

    p->cleanup->handler = NULL;

    if (r->out != NULL || c->buffered) {
        /* 200 bytes did not fit into a fresh socket's buffer */
        ngx_free(ws);
        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        ngx_http_run_posted_requests(c);
        return;
    }

    extra = r->header_in->last - r->header_in->pos;
    kept = IM_OK;

    if (extra > 0) {
        kept = ngx_im_ws_part_keep(&ws->frame, r->header_in->pos, extra, 0);
    }

    ngx_http_free_request(r, 0);       /* runs the log phase, too */

    c->data = ws;
    c->destroyed = 0;
    ngx_im_ws_free_buffers(c, hc);

    c->log->handler = NULL;
    c->log->data = NULL;
    c->log->action = "serving websocket";

    c->read->handler = ngx_im_ws_read_handler;
    c->write->handler = ngx_im_ws_write_handler;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    (void) ngx_tcp_nodelay(c);

    c->idle = 1;                       /* a graceful exit calls read_handler */

    if (kept != IM_OK) {
        ngx_im_ws_destroy(ws);         /* its first frames would be missing */
        return;
    }

    ngx_im_ws_session_start(ws, p->verified ? &p->claims : NULL);

    if (!ws->dead) {
        ngx_im_ws_resume(ws);
    }
}


/* What an HTTP connection holds between requests. */
static void
ngx_im_ws_free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl;

    if (c->buffer != NULL && c->buffer->start != NULL) {
        if (ngx_pfree(c->pool, c->buffer->start) == NGX_OK) {
            c->buffer->start = NULL;
        }

        c->buffer = NULL;
    }

    for (cl = hc->free; cl != NULL; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    for (cl = hc->busy; cl != NULL; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        c->ssl->buffer = 0;            /* a record a frame, no 16 KB buffer */
        ngx_ssl_free_buffer(c);
    }
#endif
}
