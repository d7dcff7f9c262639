/*
 * ngx_im_ws_module.c -- `im_ws;`: the Connect tier's door.
 *
 *     handler: checks, 101 --> pending list --> posted event: take-over
 *
 * The HTTP request cannot be freed inside its own content handler, whose
 * callers still use it.  So the handler sends the 101, puts the connection on
 * a list and posts one event for the worker; the event runs when they have all
 * returned, frees the request and leaves a connection of a few hundred bytes.
 * nginx's ngx_http_set_keepalive() is the model.
 *
 * Reading order: here, ngx_im_ws_session.c (what is said), ngx_im_ws_read.c and
 * ngx_im_ws_write.c (bytes), ngx_im_link.c (to Logic), ngx_im_push.c (from Task).
 */

#include "ngx_im_ws.h"
#include "ngx_im_problem.h"


#define NGX_IM_WS_ID_INDEX_BITS  20    /* place in cycle->connections */
#define NGX_IM_WS_ID_TURN_BITS   20    /* use of that place */


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


static ngx_int_t ngx_im_ws_handler(ngx_http_request_t *r);
static ngx_int_t ngx_im_ws_check_upgrade(ngx_http_request_t *r,
    ngx_uint_t has_body, u_char *accept, ngx_int_t *rc);
static ngx_int_t ngx_im_ws_check_origin(ngx_http_request_t *r);
static im_encoding_t ngx_im_ws_choose(ngx_http_request_t *r,
    const char **protocol);
static ngx_int_t ngx_im_ws_send_101(ngx_http_request_t *r, u_char *accept,
    const char *protocol);
static ngx_int_t ngx_im_ws_add_header(ngx_http_request_t *r, const char *name,
    const u_char *value, size_t len);
static ngx_table_elt_t *ngx_im_ws_find_header(ngx_http_request_t *r,
    const char *name);
static ngx_int_t ngx_im_ws_has_token(const ngx_str_t *list, const char *token);
static ngx_int_t ngx_im_ws_postpone(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, im_encoding_t encoding);
static void ngx_im_ws_request_gone(void *data);
static void ngx_im_ws_pending_handler(ngx_event_t *ev);
static void ngx_im_ws_take_over(ngx_im_ws_pending_t *p);
static void ngx_im_ws_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static char *ngx_im_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_im_ws_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void *ngx_im_ws_create_loc_conf(ngx_conf_t *cf);
static char *ngx_im_ws_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_im_ws_pending_t  *ngx_im_ws_pending;

static ngx_event_t  ngx_im_ws_pending_event = {
    .handler = ngx_im_ws_pending_handler
};


static ngx_command_t  ngx_im_ws_commands[] = {

    { ngx_string("im_ws"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_im_ws,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("im_ws_max_message"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, max_message),
      NULL },

    { ngx_string("im_ws_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, ping),
      NULL },

    { ngx_string("im_ws_idle"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, idle),
      NULL },

    { ngx_string("im_ws_auth_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, auth_timeout),
      NULL },

    { ngx_string("im_ws_send_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_ws_loc_conf_t, send_queue),
      NULL },

    { ngx_string("im_ws_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_im_ws_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_ws_module_ctx = {
    NULL,                              /* preconfiguration */
    NULL,                              /* postconfiguration */
    NULL,                              /* create main configuration */
    NULL,                              /* init main configuration */
    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */
    ngx_im_ws_create_loc_conf,         /* create location configuration */
    ngx_im_ws_merge_loc_conf           /* merge location configuration */
};


ngx_module_t  ngx_im_ws_module = {
    NGX_MODULE_V1,
    &ngx_im_ws_module_ctx,             /* module context */
    ngx_im_ws_commands,                /* module directives */
    NGX_HTTP_MODULE,                   /* module type */
    NULL,                              /* init master */
    NULL,                              /* init module */
    NULL,                              /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    NULL,                              /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_im_ws_handler(ngx_http_request_t *r)
{
    u_char            accept[28];
    ngx_int_t         rc;
    ngx_uint_t        has_body;
    const char       *code, *reason, *protocol;
    im_encoding_t     encoding;
    im_jwt_claims_t  *claims;

    /* asked before the body is discarded: that forgets its length */
    has_body = r->headers_in.content_length_n > 0 || r->headers_in.chunked;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_im_ws_check_upgrade(r, has_body, accept, &rc) != NGX_OK) {
        return rc;
    }

    if (ngx_im_ws_check_origin(r) != NGX_OK) {
        return ngx_im_problem_send(r, "forbidden",
                                   "this origin may not connect");
    }

    rc = ngx_im_auth_check(r, &claims, &code, &reason);
    if (rc == NGX_ERROR) {
        return ngx_im_problem_send(r, code, "%s", reason);
    }

    if (rc == NGX_DECLINED) {
        claims = NULL;                 /* the auth frame will say */
    }

    if (ngx_im_rpc() == NULL || ngx_exiting || ngx_terminate) {
        return ngx_im_problem_send(r, "unavailable",
                                   "this server is not in service");
    }

    encoding = ngx_im_ws_choose(r, &protocol);

    rc = ngx_im_ws_send_101(r, accept, protocol);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_im_ws_postpone(r, claims, encoding);
}


/* RFC 6455 section 4.2.1.  NGX_DECLINED: the request was refused, *rc is what
 * the handler returns. */
static ngx_int_t
ngx_im_ws_check_upgrade(ngx_http_request_t *r, ngx_uint_t has_body,
    u_char *accept, ngx_int_t *rc)
{
    ngx_table_elt_t  *upgrade, *connection, *version, *key;

    if (r != r->main) {
        *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    if (r->method != NGX_HTTP_GET) {
        *rc = ngx_im_problem_send(r, "method_not_allowed",
                                  "a WebSocket handshake is a GET");
        return NGX_DECLINED;
    }

    if (r->http_version != NGX_HTTP_VERSION_11 || has_body) {
        *rc = ngx_im_problem_send(r, "bad_request",
                                  "a WebSocket handshake is HTTP/1.1 and "
                                  "has no body");
        return NGX_DECLINED;
    }

    upgrade = ngx_im_ws_find_header(r, "upgrade");
    connection = ngx_im_ws_find_header(r, "connection");

    if (upgrade == NULL || connection == NULL
        || ngx_im_ws_has_token(&upgrade->value, "websocket") != NGX_OK
        || ngx_im_ws_has_token(&connection->value, "upgrade") != NGX_OK)
    {
        if (ngx_im_ws_add_header(r, "Upgrade", (u_char *) "websocket", 9)
            != NGX_OK)
        {
            *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return NGX_DECLINED;
        }

        *rc = ngx_im_problem_send(r, "upgrade_required",
                                  "this location speaks WebSocket");
        return NGX_DECLINED;
    }

    version = ngx_im_ws_find_header(r, "sec-websocket-version");

    if (version == NULL || version->value.len != 2
        || ngx_strncmp(version->value.data, "13", 2) != 0)
    {
        if (ngx_im_ws_add_header(r, "Sec-WebSocket-Version", (u_char *) "13",
                                 2)
            != NGX_OK)
        {
            *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return NGX_DECLINED;
        }

        *rc = ngx_im_problem_send(r, "upgrade_required",
                                  "Sec-WebSocket-Version must be 13");
        return NGX_DECLINED;
    }

    key = ngx_im_ws_find_header(r, "sec-websocket-key");

    if (key == NULL
        || im_frame_accept_key((im_str_t *) &key->value, accept) != IM_OK)
    {
        *rc = ngx_im_problem_send(r, "bad_request",
                                  "Sec-WebSocket-Key must be 16 bytes in "
                                  "base64");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Browsers always send Origin; others may leave it out. */
static ngx_int_t
ngx_im_ws_check_origin(ngx_http_request_t *r)
{
    ngx_str_t             *allowed;
    ngx_uint_t             i;
    ngx_table_elt_t       *origin;
    ngx_im_ws_loc_conf_t  *wlcf;

    wlcf = ngx_http_get_module_loc_conf(r, ngx_im_ws_module);

    if (wlcf->origins == NULL) {
        return NGX_OK;
    }

    origin = ngx_im_ws_find_header(r, "origin");
    if (origin == NULL) {
        return NGX_OK;
    }

    allowed = wlcf->origins->elts;

    for (i = 0; i < wlcf->origins->nelts; i++) {
        if (allowed[i].len == origin->value.len
            && ngx_strncasecmp(allowed[i].data, origin->value.data,
                               allowed[i].len)
               == 0)
        {
            return NGX_OK;
        }
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "ws: origin \"%V\" is not in im_ws_origin",
                  &origin->value);

    return NGX_DECLINED;
}


/* First sub-protocol of the client that we speak; JSON if it names none. */
static im_encoding_t
ngx_im_ws_choose(ngx_http_request_t *r, const char **protocol)
{
    ngx_table_elt_t  *offer;

    *protocol = NULL;

    offer = ngx_im_ws_find_header(r, "sec-websocket-protocol");
    if (offer == NULL) {
        return IM_ENCODING_JSON;
    }

    if (ngx_im_ws_has_token(&offer->value, IM_CLIENT_PROTO) == NGX_OK) {
        *protocol = IM_CLIENT_PROTO;
        return IM_ENCODING_PROTO;
    }

    if (ngx_im_ws_has_token(&offer->value, IM_CLIENT_JSON) == NGX_OK) {
        *protocol = IM_CLIENT_JSON;
    }

    return IM_ENCODING_JSON;
}


static ngx_int_t
ngx_im_ws_send_101(ngx_http_request_t *r, u_char *accept,
    const char *protocol)
{
    u_char           *p;
    ngx_int_t         rc;
    const ngx_str_t  *instance;

    p = ngx_pnalloc(r->pool, 28);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(p, accept, 28);

    instance = ngx_im_instance();

    if (ngx_im_ws_add_header(r, "Upgrade", (u_char *) "websocket", 9)
        != NGX_OK
        || ngx_im_ws_add_header(r, "Sec-WebSocket-Accept", p, 28) != NGX_OK
        || ngx_im_ws_add_header(r, "X-IM-Instance", instance->data,
                                instance->len)
           != NGX_OK
        || (protocol != NULL
            && ngx_im_ws_add_header(r, "Sec-WebSocket-Protocol",
                                    (u_char *) protocol, ngx_strlen(protocol))
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->keepalive = 0;
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;

    rc = ngx_http_send_header(r);      /* adds "Connection: upgrade" */
    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_ws_postpone(ngx_http_request_t *r, const im_jwt_claims_t *claims,
    im_encoding_t encoding)
{
    uint64_t              index;
    ngx_connection_t     *c;
    ngx_im_ws_pending_t  *p;
    static uint64_t       boot, turn;

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

    /*
     * The id names the place in cycle->connections, so that a look-up needs no
     * table; the turn tells the users of one place apart, the random part the
     * instances.
     */

    while (boot == 0) {
        boot = ((uint64_t) ngx_random() ^ ((uint64_t) ngx_pid << 8)
                ^ (uint64_t) ngx_time())
               & 0xffffff;
    }

    index = c - ngx_cycle->connections;
    turn = (turn + 1) & ((1 << NGX_IM_WS_ID_TURN_BITS) - 1);

    p->ws->id = boot << (NGX_IM_WS_ID_INDEX_BITS + NGX_IM_WS_ID_TURN_BITS)
                | turn << NGX_IM_WS_ID_INDEX_BITS | index;
    p->ws->connection = c;
    p->ws->conf = ngx_http_get_module_loc_conf(r, ngx_im_ws_module);
    p->ws->encoding = encoding;
    p->ws->heard_s = ngx_time();

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
            ngx_im_ws_take_over(p);

        } else {
            ngx_free(p->ws);
        }

        ngx_free(p);
    }
}


static void
ngx_im_ws_take_over(ngx_im_ws_pending_t *p)
{
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

    if (extra > 0
        && ngx_im_ws_part_keep(&ws->frame, r->header_in->pos, extra, 0)
           != IM_OK)
    {
        extra = 0;
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


ngx_im_ws_t *
ngx_im_ws_by_id(uint64_t id)
{
    uint64_t           index;
    ngx_im_ws_t       *ws;
    ngx_connection_t  *c;

    index = id & ((1 << NGX_IM_WS_ID_INDEX_BITS) - 1);

    if (index >= ngx_cycle->connection_n) {
        return NULL;
    }

    c = &ngx_cycle->connections[index];

    if (c->fd == (ngx_socket_t) -1
        || c->read->handler != ngx_im_ws_read_handler)
    {
        return NULL;
    }

    ws = c->data;

    return (ws != NULL && ws->id == id && !ws->dead) ? ws : NULL;
}


void
ngx_im_ws_set_state(ngx_im_ws_t *ws, ngx_im_ws_state_e state)
{
    static const char  *names[] = { "auth", "login", "open", "closing" };

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "ws %uL %s -> %s", ws->id, names[ws->state], names[state]);

    ws->state = state;
}


static ngx_int_t
ngx_im_ws_add_header(ngx_http_request_t *r, const char *name,
    const u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = len;
    h->lowcase_key = NULL;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_im_ws_find_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


/* Whether a comma-separated list has a token, without regard to case. */
static ngx_int_t
ngx_im_ws_has_token(const ngx_str_t *list, const char *token)
{
    size_t   len;
    u_char  *p, *start, *end, *last;

    len = ngx_strlen(token);
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
            && ngx_strncasecmp(start, (u_char *) token, len) == 0)
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static char *
ngx_im_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_im_loc_conf_t         *lcf;
    ngx_im_main_conf_t        *mcf;
    ngx_im_ws_loc_conf_t      *wlcf = conf;
    ngx_http_core_loc_conf_t  *clcf;

    if (wlcf->enable == 1) {
        return "is duplicate";
    }

    wlcf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_im_ws_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_im_module);
    mcf->ws = 1;

    lcf = ngx_http_conf_get_module_loc_conf(cf, ngx_im_module);
    lcf->jwt_argument = 1;

    return NGX_CONF_OK;
}


static char *
ngx_im_ws_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t             *value, *s;
    ngx_uint_t             i;
    ngx_im_ws_loc_conf_t  *wlcf = conf;

    if (wlcf->origins == NGX_CONF_UNSET_PTR) {
        wlcf->origins = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (wlcf->origins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        s = ngx_array_push(wlcf->origins);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        *s = value[i];
    }

    return NGX_CONF_OK;
}


static void *
ngx_im_ws_create_loc_conf(ngx_conf_t *cf)
{
    ngx_im_ws_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_im_ws_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->max_message = NGX_CONF_UNSET_SIZE;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->idle = NGX_CONF_UNSET_MSEC;
    conf->auth_timeout = NGX_CONF_UNSET_MSEC;
    conf->send_queue = NGX_CONF_UNSET_SIZE;
    conf->origins = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_im_ws_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_main_conf_t    *mcf;
    ngx_im_ws_loc_conf_t  *prev = parent;
    ngx_im_ws_loc_conf_t  *conf = child;

    ngx_conf_merge_size_value(conf->max_message, prev->max_message, 65536);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 30000);
    ngx_conf_merge_msec_value(conf->idle, prev->idle, 75000);
    ngx_conf_merge_msec_value(conf->auth_timeout, prev->auth_timeout, 5000);
    ngx_conf_merge_size_value(conf->send_queue, prev->send_queue, 262144);
    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_im_module);

    if (mcf->etcd.len == 0 || mcf->jwt_key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws needs im_etcd and im_jwt_key_file in "
                           "http{}");
        return NGX_CONF_ERROR;
    }

    if (conf->max_message < 256 || conf->max_message > 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_max_message: %uz is not in 256-1m",
                           conf->max_message);
        return NGX_CONF_ERROR;
    }

    if (conf->send_queue < 4096 || conf->send_queue > 64 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_send_queue: %uz is not in 4k-64m",
                           conf->send_queue);
        return NGX_CONF_ERROR;
    }

    if (conf->ping < 1000 || conf->idle <= conf->ping) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_ping must be 1s at least, and im_ws_idle "
                           "longer");
        return NGX_CONF_ERROR;
    }

    if (conf->auth_timeout < 100 || conf->auth_timeout > 60000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_auth_timeout: %M ms is not in 100ms-60s",
                           conf->auth_timeout);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
