/*
 * im_rpc.h -- gRPC C core and protobuf-c behind a small C interface.
 *
 * One runtime a process, created after fork only.  It owns one completion
 * queue and one thread (the rpc thread).  Callbacks run on the runtime's home:
 * the rpc thread itself (daemons), or the event loop of an nginx worker, which
 * watches im_rpc_fd() and calls im_rpc_dispatch().
 *
 * Threads: unless said otherwise a function may be called from any thread.  No
 * callback runs before the function that starts it has returned to the home's
 * loop, and never inside it.  Messages are packed before a function returns,
 * so nothing of the caller's is kept.
 *
 * No gRPC type is visible here.
 */

#ifndef IM_RPC_H
#define IM_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "im_core.h"

#ifdef IM_RPC_H2
#include "im_h2_names.h"       /* the second implementation: src/h2 */
#endif

typedef struct im_rpc_s         im_rpc_t;
typedef struct im_rpc_channel_s im_rpc_channel_t;
typedef struct im_rpc_call_s    im_rpc_call_t;
typedef struct im_rpc_stream_s  im_rpc_stream_t;
typedef struct im_rpc_server_s  im_rpc_server_t;
typedef struct im_rpc_req_s     im_rpc_req_t;
typedef struct im_rpc_timer_s   im_rpc_timer_t;

/* gRPC status codes that we use (grpc/status.h has all). */
#define IM_RPC_OK                   0
#define IM_RPC_CANCELLED            1
#define IM_RPC_UNKNOWN              2
#define IM_RPC_INVALID_ARGUMENT     3
#define IM_RPC_DEADLINE_EXCEEDED    4
#define IM_RPC_NOT_FOUND            5
#define IM_RPC_ALREADY_EXISTS       6
#define IM_RPC_PERMISSION_DENIED    7
#define IM_RPC_RESOURCE_EXHAUSTED   8
#define IM_RPC_FAILED_PRECONDITION  9
#define IM_RPC_UNIMPLEMENTED       12
#define IM_RPC_INTERNAL            13
#define IM_RPC_UNAVAILABLE         14
#define IM_RPC_UNAUTHENTICATED     16

typedef enum {
    IM_RPC_HOME_THREAD = 0,    /* callbacks on the rpc thread */
    IM_RPC_HOME_LOOP           /* callbacks inside im_rpc_dispatch() */
} im_rpc_home_t;

/*
 * The tiers.  With TLS a certificate says of which tier a process is, by a DNS
 * name: nginx.<name>, logic.<name>, task.<name> of im_rpc_tls_t.  Without TLS
 * nobody can tell, and whoever calls is believed.
 */
typedef enum {
    IM_RPC_NGINX = 1,
    IM_RPC_LOGIC = 2,
    IM_RPC_TASK = 4
} im_rpc_role_t;

/*
 * Mutual TLS: PEM text, NUL-terminated (core/im_pem.h reads and checks the
 * files).  All NULL: no TLS.  Both sides show a certificate of this authority
 * that carries the name of their tier, not that of an instance, since
 * addresses come and go.  name: 1 to IM_RPC_NAME_MAX bytes; that of a stranger
 * is the name that its certificate must carry, NULL for its address.  All is
 * copied.
 */
typedef struct {
    const char    *ca;
    const char    *cert;
    const char    *key;
    const char    *name;
} im_rpc_tls_t;

typedef struct {
    im_rpc_home_t  home;
    size_t         message_max;       /* bytes of one gRPC message, both ways */
    size_t         stream_queue_max;  /* bytes waiting on a stream: then BUSY */
    im_rpc_tls_t   tls;
    im_log_pt      log;
    void          *log_ctx;
} im_rpc_conf_t;

#define IM_RPC_PROTOCOL   1           /* of the calls between our tiers */
#define IM_RPC_BOOT_MAX   32          /* bytes of a boot id */
#define IM_RPC_TRACE_MAX  64          /* bytes of a trace id */
#define IM_RPC_NAME_MAX   100         /* bytes of im_rpc_tls_t.name */

/* What is known of the request of a call that ended. */
typedef enum {
    IM_RPC_ANSWERED = 0,       /* the peer's handler made this status */
    IM_RPC_NOT_SENT,           /* surely no handler saw it: try elsewhere */
    IM_RPC_MAYBE_SENT          /* a handler may have run */
} im_rpc_sent_t;

/* What happened to a call or stream that ended. */
typedef struct {
    int            code;       /* IM_RPC_... */
    im_rpc_sent_t  sent;
    const char    *message;    /* NUL-terminated, valid in the callback */
    unsigned       retry_ms;   /* the handler: when to try again; 0: unknown */
} im_rpc_status_t;


/* Runtime.  create blocks all signals around its threads.  NULL: out of memory
 * or descriptors, or tls is not whole (logged). */
im_rpc_t *im_rpc_create(const im_rpc_conf_t *conf);
/*
 * Other certificates, for connections that are made from here on, both ways;
 * what is connected stays.  IM_ERROR: not usable (logged), nothing has
 * changed.
 */
int im_rpc_set_tls(im_rpc_t *rpc, const im_rpc_tls_t *tls);
/* Random, of this runtime: 16 hex digits.  Servers refuse who means another. */
const char *im_rpc_boot(im_rpc_t *rpc);
int im_rpc_fd(im_rpc_t *rpc);                  /* HOME_LOOP: edge-triggered */
void im_rpc_dispatch(im_rpc_t *rpc);           /* HOME_LOOP: on its thread */
int im_rpc_post(im_rpc_t *rpc, void (*fn)(void *ctx), void *ctx);
/*
 * Stops everything: cancels calls and streams, runs their last callbacks (on
 * the calling thread if HOME_LOOP), joins the thread, frees.  Channels and
 * servers must not be used after it.  On the home loop or the main thread.
 * Takes NULL.  IM_BUSY: operations did not end in time (logged); the runtime
 * and its thread stay, and whoever frees what callbacks use must not go on.
 */
int im_rpc_destroy(im_rpc_t *rpc);

/* One-shot timer; fn runs on the home.  Cancel on the home only; the handle is
 * dead once fn has run or cancel has returned. */
im_rpc_timer_t *im_rpc_timer(im_rpc_t *rpc, unsigned ms,
    void (*fn)(void *ctx), void *ctx);
void im_rpc_timer_cancel(im_rpc_timer_t *timer);


/*
 * Channel: one connection to one address "host:port" or "unix:/path".  Created
 * with one reference; calls and streams hold their own.  Lazy, reconnects by
 * itself (100 ms to 1 s apart), pings.
 *
 * A peer is one of our own tiers: calls name our protocol and the boot id of
 * the process that is meant, and a server that is another one refuses them
 * before any handler runs.  boot NULL: whoever is there.  With TLS its
 * certificate must be one of `role`.  A stranger (etcd) gets plain gRPC with
 * TLS settings of its own.
 */
im_rpc_channel_t *im_rpc_channel_peer(im_rpc_t *rpc, const char *address,
    const char *boot, im_rpc_role_t role);
im_rpc_channel_t *im_rpc_channel_stranger(im_rpc_t *rpc, const char *address,
    const im_rpc_tls_t *tls);
/* As im_rpc_set_tls(); of a stranger. */
int im_rpc_channel_set_tls(im_rpc_channel_t *ch, const im_rpc_tls_t *tls);
void im_rpc_channel_unref(im_rpc_channel_t *ch);


/* Method of a protoc-c service descriptor; IM_DECLINED if there is none. */
typedef struct {
    char                              path[96];    /* "/im.Logic/Send" */
    const ProtobufCMessageDescriptor *input;
    const ProtobufCMessageDescriptor *output;
} im_rpc_method_t;

int im_rpc_method_find(im_rpc_method_t *m,
    const ProtobufCServiceDescriptor *service, const char *name);

/* Unary call.  reply is NULL unless status->code is 0; both are valid inside
 * the callback only.  The callback comes exactly once, also after cancel and
 * destroy.  timeout_ms > 0.  NULL if out of memory or stopping. */
typedef void (*im_rpc_reply_pt)(void *ctx, const im_rpc_status_t *status,
    const ProtobufCMessage *reply);

im_rpc_call_t *im_rpc_call(im_rpc_channel_t *ch, const im_rpc_method_t *m,
    const ProtobufCMessage *request, unsigned timeout_ms,
    im_rpc_reply_pt reply, void *ctx);
/* The same for a packed request (copied).  trace: NULL, or an id that the
 * handler's log lines will carry; more than IM_RPC_TRACE_MAX is cut. */
im_rpc_call_t *im_rpc_call_packed(im_rpc_channel_t *ch,
    const im_rpc_method_t *m, const im_str_t *request, unsigned timeout_ms,
    const char *trace, im_rpc_reply_pt reply, void *ctx);
void im_rpc_call_cancel(im_rpc_call_t *call);  /* home only, before reply */
/* Last words: im_rpc_destroy cancels the call only after IM_RPC_LEAVE_MS, all
 * others at once.  Home only, before reply. */
void im_rpc_call_last(im_rpc_call_t *call);


/*
 * Stream, either side.  Sending: items of the batch's repeated field 1 are
 * appended to a waiting batch; one batch is in flight at a time, and while it
 * is, the next collects.  add() only packs; flush() starts the write if none
 * is in flight (a completed write starts the next by itself).
 */
typedef struct {
    /* Client side, once: a handler of the peer has taken the stream.  May be
     * NULL. */
    void         (*on_open)(void *ctx, im_rpc_stream_t *s);
    /* One received batch, packed.  Valid in the callback.  The next read is
     * armed when it returns. */
    void         (*on_batch)(void *ctx, im_rpc_stream_t *s,
                             const uint8_t *data, size_t len);
    /* After a BUSY the queue has fallen below half.  May be NULL. */
    void         (*on_writable)(void *ctx, im_rpc_stream_t *s);
    /* Exactly once, last.  Releases the stream's own reference after it. */
    void         (*on_close)(void *ctx, im_rpc_stream_t *s,
                             const im_rpc_status_t *status);
    /*
     * Heartbeat, both sides alike; 0: none.  A side that has said nothing for
     * beat_ms sends an empty batch, which no on_batch sees; a side that has
     * heard nothing for dead_ms ends the stream as UNAVAILABLE.  TCP and
     * HTTP/2 pings would take a stopped process for a living one.
     */
    unsigned       beat_ms;
    unsigned       dead_ms;
} im_rpc_stream_handler_t;

/* Client side.  ctx is set before any callback.  The stream waits until the
 * channel is connected, at most timeout_ms, else on_close. */
im_rpc_stream_t *im_rpc_stream_open(im_rpc_channel_t *ch,
    const im_rpc_method_t *m, unsigned connect_timeout_ms,
    const im_rpc_stream_handler_t *handler, void *ctx);

/* IM_OK, IM_BUSY (queue full, nothing taken), IM_ERROR (closed). */
int im_rpc_stream_add(im_rpc_stream_t *s, const ProtobufCMessage *item);
int im_rpc_stream_add_packed(im_rpc_stream_t *s, const im_str_t *item);
void im_rpc_stream_flush(im_rpc_stream_t *s);
/* One whole message, not an item of a batch (etcd's streams). */
int im_rpc_stream_send(im_rpc_stream_t *s, const ProtobufCMessage *message);
void im_rpc_stream_close(im_rpc_stream_t *s);      /* flush, then half-close */
void im_rpc_stream_cancel(im_rpc_stream_t *s);     /* now; drops the queue */
void im_rpc_stream_ref(im_rpc_stream_t *s);
void im_rpc_stream_unref(im_rpc_stream_t *s);


/* Server. */
typedef struct {
    const char    *name;       /* method in the service descriptor */
    /* Who may call it, by the certificate: IM_RPC_NGINX | ...  Others are
     * refused as PERMISSION_DENIED.  A row without one is not served. */
    unsigned       roles;
    /* Bytes of a packed request.  A longer one is refused before it is
     * unpacked, as INVALID_ARGUMENT; 0: only message_max. */
    size_t         request_max;
    /* Unary: must end in exactly one im_rpc_reply or im_rpc_fail, from any
     * thread.  in is valid until then (it belongs to req). */
    void         (*unary)(void *ctx, im_rpc_req_t *req,
                          const ProtobufCMessage *in);
    /* Stream: called on a new one; returns the stream's ctx. */
    void        *(*accept)(void *ctx, im_rpc_stream_t *s);
    im_rpc_stream_handler_t  stream;
} im_rpc_handler_t;

/* address "127.0.0.1:0" or "unix:/path"; the table ends with name NULL and
 * must outlive the server.  NULL: cannot bind, or a row of the table has no
 * roles (logged). */
im_rpc_server_t *im_rpc_serve(im_rpc_t *rpc, const char *address,
    const ProtobufCServiceDescriptor *service,
    const im_rpc_handler_t *handlers, void *ctx);
unsigned im_rpc_server_port(im_rpc_server_t *server);
/* Stop accepting, let calls finish for grace_ms, cancel the rest; done runs on
 * the home. */
void im_rpc_server_drain(im_rpc_server_t *server, unsigned grace_ms,
    void (*done)(void *ctx), void *ctx);

void im_rpc_reply(im_rpc_req_t *req, const ProtobufCMessage *out);
/* retry_ms: when the caller may try again, 0: that is not known. */
void im_rpc_fail(im_rpc_req_t *req, int code, const char *message,
    unsigned retry_ms);
int im_rpc_req_left_ms(im_rpc_req_t *req);         /* until its deadline */
/* Calls that were refused before any handler since the process was started:
 * meant for another process, or of a tier that may not.  Any thread. */
typedef struct {
    uint64_t  not_meant;
    uint64_t  forbidden;
} im_rpc_refused_t;

void im_rpc_refused(im_rpc_refused_t *refused);
/* The caller's trace id, "-" without one; valid while req is. */
const char *im_rpc_req_trace(im_rpc_req_t *req);

#endif
