/*
 * im_h2_request.c -- one request to a server of ours: arrived, answered.
 *
 * What is refused before any handler says so in its trailer, so that the caller
 * may go elsewhere: another process is meant, another protocol is spoken, the
 * certificate is not of a tier that may (src/rpc/im_rpc_req.c has the same
 * rules).  What is no gRPC at all is answered as HTTP: 415 for another
 * content-type, 405 for another method than POST.
 *
 * A request belongs to its handler until that has answered, also when the
 * caller has gone meanwhile; then the answer goes nowhere.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_h2_int.h"


struct im_rpc_req_s {
    im_h2_exchange_t         x;            /* first */
    im_rpc_server_t         *server;
    const im_rpc_handler_t  *handler;      /* NULL: none yet */
    const im_rpc_method_t   *method;
    ProtobufCMessage        *in;
    unsigned                 messages;
    unsigned                 with_handler:1;   /* it has not answered yet */
    unsigned                 too_large:1;
    unsigned                 gone:1;       /* so has the caller */
    im_h2_event_t            done;
};


static void request_on_head(im_h2_exchange_t *x);
static int request_is_grpc(im_rpc_req_t *req);
static int request_find(im_rpc_req_t *req);
static int request_is_meant(im_rpc_req_t *req);
static int request_may_call(im_rpc_req_t *req);
static void request_refuse(im_rpc_req_t *req, int code, const char *text);
static void request_http(im_rpc_req_t *req, const char *status);
static void request_log_refused(im_rpc_t *rpc, im_h2_said_t *said,
    const char *text);
static void request_on_message(im_h2_exchange_t *x, const uint8_t *data,
    size_t len);
static void request_on_half(im_h2_exchange_t *x);
static void request_on_deadline(void *data);
static void request_answered(im_rpc_req_t *req);
static void request_on_end(void *data);
static void request_on_done(void *owner);


static const im_h2_hooks_t  request_hooks = {
    .on_head = request_on_head,
    .on_message = request_on_message,
    .on_half = request_on_half,
    .on_end = request_on_end
};

static atomic_ullong  request_not_meant;   /* of this process */
static atomic_ullong  request_forbidden;


/* Its metadata begin to come. */
im_h2_exchange_t *
im_h2_request_create(im_h2_conn_t *c)
{
    im_rpc_req_t  *req;

    req = calloc(1, sizeof(im_rpc_req_t));
    if (req == NULL) {
        return NULL;
    }

    im_h2_exchange_init(&req->x, c->rpc, &request_hooks);
    im_h2_event_init(&req->done, request_on_done, req);
    req->x.server = 1;
    req->server = c->server;

    return &req->x;
}


/* They are complete. */
static void
request_on_head(im_h2_exchange_t *x)
{
    uint64_t       ms;
    im_rpc_req_t  *req = (im_rpc_req_t *) x;

    if (!request_is_grpc(req) || !request_find(req) || !request_is_meant(req)
        || !request_may_call(req))
    {
        return;
    }

    if (req->handler->unary == NULL) {
        im_h2_stream_accept(x, req->handler, req->server->ctx);
        return;
    }

    if (x->head.timeout_us != 0) {
        x->deadline_us = im_h2_now_us() + x->head.timeout_us;
        ms = (x->head.timeout_us + 999) / 1000;

        /* a longer one needs no timer */

        if (ms < INT32_MAX
            && im_h2_exchange_timer(x, (unsigned) ms, request_on_deadline)
               != IM_OK)
        {
            request_refuse(req, IM_RPC_RESOURCE_EXHAUSTED, "out of memory");
        }
    }
}


/* 0: it has been answered. */
static int
request_is_grpc(im_rpc_req_t *req)
{
    im_h2_head_t  *h = &req->x.head;

    if (!h->post) {
        request_http(req, "405");

    } else if (!h->grpc) {
        request_http(req, "415");

    } else if (!h->trailers) {
        request_refuse(req, IM_RPC_INTERNAL,
                       "bad_request: the field \"te: trailers\" is missing");

    } else if (h->bad_timeout) {
        request_refuse(req, IM_RPC_INTERNAL,
                       "bad_request: grpc-timeout is malformed");

    } else if (h->encoded) {
        request_refuse(req, IM_RPC_UNIMPLEMENTED,
                       "bad_request: this grpc-encoding is not known");

    } else {
        return 1;
    }

    return 0;
}


static int
request_find(im_rpc_req_t *req)
{
    unsigned          i;
    im_rpc_server_t  *server;

    server = req->server;

    for (i = 0; i < server->n; i++) {
        if (strcmp(server->methods[i].path, req->x.head.path) == 0) {
            req->handler = &server->handlers[i];
            req->method = &server->methods[i];
            return 1;
        }
    }

    im_h2_exchange_answer(&req->x, IM_RPC_UNIMPLEMENTED,
                          "not_found: no such method", 0);

    return 0;
}


static int
request_is_meant(im_rpc_req_t *req)
{
    char           text[160];
    im_rpc_t      *rpc;
    im_h2_head_t  *h = &req->x.head;

    rpc = req->x.rpc;

    if (h->protocol[0] != '\0'
        && strcmp(h->protocol, IM_RPC_STR(IM_RPC_PROTOCOL)) != 0)
    {
        snprintf(text, sizeof(text), "unavailable: protocol %s is not %d",
                 h->protocol, IM_RPC_PROTOCOL);

    } else if (h->boot[0] != '\0' && strcmp(h->boot, rpc->boot) != 0) {
        snprintf(text, sizeof(text), "unavailable: boot id %s is not %s",
                 h->boot, rpc->boot);

    } else {
        return 1;
    }

    atomic_fetch_add(&request_not_meant, 1);
    request_log_refused(rpc, &rpc->not_meant, text);
    request_refuse(req, IM_RPC_FAILED_PRECONDITION, text);

    return 0;
}


static int
request_may_call(im_rpc_req_t *req)
{
    char           text[800], caller[200], wanted[400];
    im_rpc_t      *rpc;
    im_h2_conn_t  *c;

    rpc = req->x.rpc;
    c = req->x.conn;

    if (c->roles & req->handler->roles) {
        return 1;
    }

    im_h2_tls_caller(c->ssl, caller, sizeof(caller));
    im_rpc_tier_wanted(&rpc->tiers, req->handler->roles, wanted,
                       sizeof(wanted));
    snprintf(text, sizeof(text), "%s is for %s, the caller's certificate "
             "carries %s", req->handler->name, wanted, caller);

    atomic_fetch_add(&request_forbidden, 1);
    request_log_refused(rpc, &rpc->forbidden, text);
    request_refuse(req, IM_RPC_PERMISSION_DENIED, "unavailable: the caller's "
                   "certificate is not of a tier that may call this");

    return 0;
}


static void
request_refuse(im_rpc_req_t *req, int code, const char *text)
{
    req->x.refused = 1;
    im_h2_exchange_answer(&req->x, code, text, 0);
}


/* To a caller that does not speak gRPC. */
static void
request_http(im_rpc_req_t *req, const char *status)
{
    nghttp2_nv         nv;
    im_h2_exchange_t  *x = &req->x;

    memset(&nv, 0, sizeof(nv));
    nv.name = (uint8_t *) ":status";
    nv.namelen = sizeof(":status") - 1;
    nv.value = (uint8_t *) status;
    nv.valuelen = strlen(status);

    x->answered = 1;
    (void) nghttp2_submit_response(x->conn->session, x->id, &nv, 1, NULL);
    im_h2_conn_dirty(x->conn);
}


static void
request_log_refused(im_rpc_t *rpc, im_h2_said_t *said, const char *text)
{
    if (im_h2_says(said)) {
        im_h2_log(rpc, IM_LOG_WARN, "rpc: a call was refused (%llu so far), "
                  "%s", (unsigned long long) said->n, text);
    }
}


void
im_rpc_refused(im_rpc_refused_t *refused)
{
    refused->not_meant = atomic_load(&request_not_meant);
    refused->forbidden = atomic_load(&request_forbidden);
}


static void
request_on_message(im_h2_exchange_t *x, const uint8_t *data, size_t len)
{
    size_t         max;
    im_rpc_req_t  *req = (im_rpc_req_t *) x;

    max = req->handler->request_max;

    if (req->messages++ > 0) {
        return;                        /* request_on_half() refuses it */
    }

    if (max != 0 && len > max) {
        req->too_large = 1;
        return;
    }

    req->in = protobuf_c_message_unpack(req->method->input, NULL, len, data);
}


static void
request_on_half(im_h2_exchange_t *x)
{
    im_rpc_req_t  *req = (im_rpc_req_t *) x;

    if (x->answered || req->handler == NULL) {
        return;
    }

    if (req->messages != 1) {
        request_refuse(req, IM_RPC_INTERNAL,
                       "bad_request: a unary call has one message");

    } else if (req->too_large) {
        im_h2_exchange_answer(x, IM_RPC_INVALID_ARGUMENT,
                              "too_large: the request is too long", 0);

    } else if (req->in == NULL) {
        im_h2_exchange_answer(x, IM_RPC_INVALID_ARGUMENT,
                              "bad_request: the message is malformed", 0);

    } else {
        req->with_handler = 1;
        req->handler->unary(req->server->ctx, req, req->in);
    }
}


/* The caller does not wait any more; what the handler answers goes nowhere. */
static void
request_on_deadline(void *data)
{
    im_h2_exchange_end(data, IM_RPC_DEADLINE_EXCEEDED, "Deadline Exceeded");
}


void
im_rpc_reply(im_rpc_req_t *req, const ProtobufCMessage *out)
{
    if (req->x.conn != NULL && !req->x.answered) {
        req->x.out = im_h2_buf_pack(out);

        if (req->x.out != NULL) {
            im_h2_exchange_answer(&req->x, IM_RPC_OK, "", 0);

        } else {
            im_h2_exchange_answer(&req->x, IM_RPC_RESOURCE_EXHAUSTED,
                                  "out of memory", 0);
        }
    }

    request_answered(req);
}


void
im_rpc_fail(im_rpc_req_t *req, int code, const char *message,
    unsigned retry_ms)
{
    im_h2_exchange_answer(&req->x, code, message, retry_ms);
    request_answered(req);
}


/* The handler may still look at its request until it returns. */
static void
request_answered(im_rpc_req_t *req)
{
    req->with_handler = 0;

    if (req->gone) {
        im_h2_raise(req->x.rpc, &req->done);
    }
}


static void
request_on_end(void *data)
{
    im_rpc_req_t  *req = data;

    req->gone = 1;

    if (!req->with_handler) {
        request_on_done(req);
    }
}


static void
request_on_done(void *owner)
{
    im_rpc_req_t  *req = owner;

    im_h2_lower(req->x.rpc, &req->done);

    if (req->in != NULL) {
        protobuf_c_message_free_unpacked(req->in, NULL);
    }

    im_h2_exchange_free(&req->x);
    free(req);
}


int
im_rpc_req_left_ms(im_rpc_req_t *req)
{
    uint64_t  now, left;

    if (req->x.deadline_us == 0) {
        return INT32_MAX;
    }

    now = im_h2_now_us();

    if (req->x.deadline_us <= now) {
        return 0;
    }

    left = (req->x.deadline_us - now) / 1000;

    return (left < INT32_MAX) ? (int) left : INT32_MAX;
}


const char *
im_rpc_req_trace(im_rpc_req_t *req)
{
    char  *p;

    for (p = req->x.head.trace; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            *p = '?';                  /* it goes into log lines */
        }
    }

    return (req->x.head.trace[0] != '\0') ? req->x.head.trace : "-";
}
