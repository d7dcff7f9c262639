/*
 * im_h2_int.h -- what the files of this implementation know of each other.
 *
 *   im_h2.c            the runtime: events, turns of the loop, its end
 *   im_h2_conn.c       a connection: socket, pings, its end
 *   im_h2_out.c        what it writes
 *   im_h2_session.c    frames in, by nghttp2's callbacks
 *   im_h2_exchange.c   one gRPC call on one HTTP/2 stream, either side
 *   im_h2_head.c       its metadata, read and written
 *   im_h2_queue.c      messages on their way out
 *   im_h2_channel.c    connects, and backs off
 *   im_h2_lookup.c     addresses of names
 *   im_h2_call.c       unary calls;  im_h2_stream.c  streams
 *   im_h2_server.c     a port;  im_h2_request.c  requests that come there
 *   im_h2_tls.c        certificates;  im_h2_secure.c  TLS on a connection
 *
 * One thread, the loop's.  Nothing that ends is freed where it ends: its event
 * does that, at the end of the turn, when no function of nghttp2 is running.
 */

#ifndef IM_H2_INT_H
#define IM_H2_INT_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "im_h2.h"
#include "im_rpc_metadata.h"
#include "im_rpc_tier.h"
#include "im_timeouts.h"

#define IM_H2_READ           65536     /* bytes of one read */
#define IM_H2_READS          16        /* of one connection in one turn */
#define IM_H2_OUT_MAX        (256 * 1024)  /* bytes that wait for a socket */
#define IM_H2_SMALL          256       /* a shorter payload is copied */
#define IM_H2_PREFIX         5         /* bytes before a message */
#define IM_H2_WINDOW         (1024 * 1024)       /* of a stream */
#define IM_H2_CONN_WINDOW    (4 * 1024 * 1024)   /* of a connection */
#define IM_H2_STREAMS_MAX    256       /* that a peer may have open */
#define IM_H2_PARTS_MAX      (16 * 1024 * 1024)  /* unfinished messages */
#define IM_H2_HEAD_MAX       16384     /* bytes of metadata, as HTTP/2 counts */
#define IM_H2_CONNS_MAX      1024      /* of a server */
#define IM_H2_WAITING_MAX    4096      /* exchanges without a connection */
#define IM_H2_BUDGET         1000      /* frames that make work and no sense */
#define IM_H2_BUDGET_S       100       /* the same, of each second */
#define IM_H2_ADDRESSES_MAX  8         /* of a name */
#define IM_H2_TEXT           256       /* of a status */
#define IM_H2_WHY            128       /* of the end of a connection */

typedef struct im_h2_conn_s      im_h2_conn_t;
typedef struct im_h2_exchange_s  im_h2_exchange_t;
typedef struct im_h2_event_s     im_h2_event_t;
typedef struct im_h2_creds_s     im_h2_creds_t;
typedef struct im_h2_lookup_s    im_h2_lookup_t;

/* Runs at the end of the turn, once for each time that it is raised. */
struct im_h2_event_s {
    void           (*fn)(void *owner);
    void            *owner;
    im_h2_event_t   *next;
    unsigned         raised:1;
};

/* A circle; the head is one, too. */
typedef struct im_h2_link_s  im_h2_link_t;

struct im_h2_link_s {
    im_h2_link_t    *prev;
    im_h2_link_t    *next;
};

#define im_h2_of(link, type, member)                                          \
    ((type *) ((char *) (link) - offsetof(type, member)))

/* A message on its way out: its prefix, and what is packed behind it. */
typedef struct {
    unsigned         refs;
    size_t           len;              /* with the prefix */
    size_t           cap;
    uint8_t          data[];
} im_h2_buf_t;

typedef struct im_h2_queued_s  im_h2_queued_t;

typedef struct {
    im_h2_buf_t      *batch;           /* items, as they will be sent */
    im_h2_queued_t   *messages;        /* whole ones; they go first */
    im_h2_queued_t  **tail;
    size_t            bytes;           /* of both kinds, without prefixes */
    size_t            max;
} im_h2_queue_t;

/* Metadata of a side, as far as we know them. */
typedef struct {
    size_t            bytes;
    int               http_status;
    int               status;          /* grpc-status; -1: none */
    unsigned          retry_ms;
    uint64_t          timeout_us;      /* 0: none */
    im_rpc_mark_t     mark;
    unsigned          grpc:1;          /* its content-type */
    unsigned          trailers:1;      /* te */
    unsigned          post:1;
    unsigned          encoded:1;       /* by what we have not offered */
    unsigned          bad_timeout:1;
    char              path[96];
    char              protocol[16];
    char              boot[IM_RPC_BOOT_MAX + 1];
    char              trace[IM_RPC_TRACE_MAX + 1];
    char              message[IM_H2_TEXT];
} im_h2_head_t;

/* What an exchange does for its owner; all but on_end may be NULL, and run
 * while a frame is read or written: nothing is freed there. */
typedef struct {
    void  (*on_head)(im_h2_exchange_t *x);     /* x->head: initial metadata */
    void  (*on_message)(im_h2_exchange_t *x, const uint8_t *data, size_t len);
    void  (*on_half)(im_h2_exchange_t *x);     /* the peer says nothing more */
    void  (*on_begun)(im_h2_exchange_t *x);    /* our metadata have gone out */
    void  (*fill)(im_h2_exchange_t *x);        /* sets out, or last, or none */
    void  (*on_taken)(im_h2_exchange_t *x);    /* out has gone out */
    void  (*on_end)(void *x);                  /* code and text are set */
} im_h2_hooks_t;

struct im_h2_exchange_s {
    im_rpc_t             *rpc;
    im_h2_conn_t         *conn;        /* NULL: none yet, or any more */
    im_rpc_channel_t     *channel;     /* client side: a reference */
    const im_h2_hooks_t  *hooks;
    im_h2_link_t          link;        /* of the connection, or of those that
                                        * wait at a channel */
    im_h2_link_t          live;        /* of the runtime */
    im_h2_event_t         end;
    void                 *timer;       /* deadline, or limit of the wait */
    uint64_t              deadline_us; /* 0: none */
    int32_t               id;
    im_h2_head_t          head;

    uint8_t               prefix[IM_H2_PREFIX];    /* of a message coming in */
    size_t                prefix_n;
    size_t                need;        /* bytes of it */
    uint8_t              *part;        /* as far as it has come in pieces */
    size_t                part_n;
    size_t                part_cap;

    im_h2_buf_t          *out;
    size_t                out_at;      /* bytes of it that have gone out */

    im_rpc_mark_t         mark;        /* of the peer's trailer */
    int                   code;
    char                  text[IM_H2_TEXT];
    unsigned              server:1;
    unsigned              waits:1;     /* for a connection, also after a
                                        * failed try */
    unsigned              waiting:1;   /* it is on the list of its channel */
    unsigned              leaving:1;   /* im_rpc_call_last() */
    unsigned              begun:1;     /* our metadata have gone out */
    unsigned              deferred:1;  /* nghttp2 waits for us to have data */
    unsigned              last:1;      /* nothing comes after out */
    unsigned              opened:1;    /* server: metadata are submitted */
    unsigned              answered:1;  /* server: so is the status, or will
                                        * be after the last message */
    unsigned              half:1;      /* the peer says nothing more */
    unsigned              refused:1;   /* surely unseen by any handler */
    unsigned              ended:1;
};

/* A piece of what a connection has to write: of a buffer, or of `frames`. */
typedef struct {
    im_h2_buf_t          *buf;         /* NULL: of frames */
    size_t                at;
    size_t                len;
} im_h2_piece_t;

typedef enum {
    IM_H2_CONNECTING = 0,              /* TCP */
    IM_H2_SECURING,                    /* TLS */
    IM_H2_SETTLING,                    /* the peer's settings have not come */
    IM_H2_READY,
    IM_H2_ENDING,                      /* its last frames are written */
    IM_H2_CLOSED                       /* freed at the end of the turn */
} im_h2_state_t;

struct im_h2_conn_s {
    im_rpc_t             *rpc;
    im_rpc_channel_t     *channel;     /* client side; NULL: it has gone */
    im_rpc_server_t      *server;
    im_h2_link_t          link;        /* of the runtime */
    im_h2_link_t          exchanges;   /* list head */
    unsigned              exchange_n;
    int                   fd;
    void                 *watch;
    void                 *timer;       /* hello, ping, last frames */
    nghttp2_session      *session;
    SSL                  *ssl;
    im_h2_state_t         state;
    unsigned              version;     /* of the credentials */
    unsigned              roles;       /* of the peer's certificate */
    uint64_t              heard_us;
    size_t                parts;       /* bytes of unfinished messages */
    unsigned              budget;
    uint64_t              budget_us;   /* it was filled up then */

    uint8_t              *frames;      /* what is not in a buffer */
    size_t                frames_n;
    size_t                frames_cap;
    im_h2_piece_t        *pieces;
    size_t                pieces_n;
    size_t                pieces_at;   /* the first that is not written */
    size_t                pieces_cap;
    size_t                out;         /* bytes not written yet */

    char                  peer[64];
    char                  why[IM_H2_WHY];
    unsigned              dirty:1;     /* has something to write */
    unsigned              again:1;     /* more can be read */
    unsigned              blocked:1;   /* the socket takes nothing */
    unsigned              pinging:1;
    unsigned              leaving:1;   /* takes no new exchange */
    unsigned              counted:1;   /* server: of its connections */
};

/* A line that is logged once a minute. */
typedef struct {
    uint64_t              us;          /* 0: never */
    uint64_t              n;
} im_h2_said_t;

#define IM_H2_SAID  16

typedef struct {
    im_h2_said_t          said;
    char                  peer[64];
} im_h2_said_peer_t;

struct im_rpc_s {
    im_rpc_conf_t         conf;
    im_h2_loop_t          loop;
    char                  boot[IM_RPC_BOOT_MAX + 1];
    im_h2_event_t        *events;
    im_h2_event_t       **events_tail;
    im_h2_link_t          conns;
    im_h2_link_t          live;        /* exchanges */
    im_h2_link_t          timers;
    im_rpc_server_t      *servers;
    im_h2_creds_t        *creds;       /* to peers */
    SSL_CTX              *server_ctx;
    int                   tls;
    im_rpc_tiers_t        tiers;
    nghttp2_session_callbacks  *callbacks;
    nghttp2_option       *option;
    im_h2_said_t          not_meant;
    im_h2_said_t          forbidden;
    im_h2_said_peer_t     peers[IM_H2_SAID];
    unsigned              posted:1;
    unsigned              stopping:1;
    uint8_t               read[IM_H2_READ];
};

typedef struct {
    socklen_t             len;
    struct sockaddr_storage  addr;
} im_h2_address_t;

typedef struct {
    unsigned              n;
    im_h2_address_t       list[IM_H2_ADDRESSES_MAX];
} im_h2_addresses_t;

typedef enum {
    IM_H2_IDLE = 0,
    IM_H2_LOOKING_UP,
    IM_H2_DIALLING,
    IM_H2_CONNECTED,
    IM_H2_BACKING_OFF
} im_h2_channel_state_t;

struct im_rpc_channel_s {
    im_rpc_t             *rpc;
    unsigned              refs;
    unsigned              peer:1;      /* one of our tiers */
    im_h2_channel_state_t state;
    char                  boot[IM_RPC_BOOT_MAX + 1];
    im_h2_creds_t        *creds;
    char                 *name;        /* of the certificate; NULL: the host */
    char                  address[300];
    im_h2_conn_t         *conn;        /* for what begins now */
    im_h2_link_t          waiting;     /* list head */
    unsigned              waiting_n;
    void                 *timer;
    unsigned              backoff_ms;
    im_h2_lookup_t       *lookup;
    im_h2_addresses_t     addresses;
    unsigned              address_i;
    char                  why[IM_H2_WHY];      /* of the last failure */
};

struct im_rpc_server_s {
    im_rpc_t                 *rpc;
    im_rpc_server_t          *next;
    const im_rpc_handler_t   *handlers;
    im_rpc_method_t          *methods;
    void                     *ctx;
    unsigned                  n;
    unsigned                  port;
    unsigned                  conns;
    void                     *watch;
    void                     *grace;
    void                    (*drained)(void *ctx);
    void                     *drained_ctx;
    im_h2_event_t             done;
    im_h2_event_t             more;            /* to be accepted */
    int                       fd;
    unsigned                  down:1;
    char                      path[108];       /* of a UNIX socket */
};

struct im_h2_creds_s {
    unsigned              refs;
    unsigned              version;     /* of ctx */
    SSL_CTX              *ctx;         /* NULL: no TLS */
};


static inline void
im_h2_link_init(im_h2_link_t *head)
{
    head->prev = head;
    head->next = head;
}


static inline void
im_h2_link_add(im_h2_link_t *head, im_h2_link_t *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}


static inline void
im_h2_link_remove(im_h2_link_t *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link;
    link->next = link;
}


/* im_h2.c */
uint64_t im_h2_now_us(void);
void im_h2_event_init(im_h2_event_t *e, void (*fn)(void *owner), void *owner);
void im_h2_raise(im_rpc_t *rpc, im_h2_event_t *e);
/* It will not run. */
void im_h2_lower(im_rpc_t *rpc, im_h2_event_t *e);
/* There is something to do at the end of this turn. */
void im_h2_post(im_rpc_t *rpc);
void im_h2_log(im_rpc_t *rpc, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether a line is to be logged, that of before being a minute old. */
int im_h2_says(im_h2_said_t *said);
/* What a peer of a server did; once a minute for each address. */
void im_h2_log_peer(im_h2_conn_t *c, const char *what);

/* im_h2_conn.c */
/* Takes the descriptor, also if it fails (NULL: why is written). */
im_h2_conn_t *im_h2_conn_create(im_rpc_t *rpc, int fd, int server,
    SSL_CTX *ctx, const char *name, int peer, char why[IM_H2_WHY]);
/* The TCP connection is there. */
void im_h2_conn_start(im_h2_conn_t *c);
void im_h2_conn_dirty(im_h2_conn_t *c);
void im_h2_conn_read(im_h2_conn_t *c);
/* On the peer's settings; on an answer to a ping. */
void im_h2_conn_ready(im_h2_conn_t *c);
void im_h2_conn_pong(im_h2_conn_t *c);
/* Takes nothing new, and is closed when its last exchange has ended. */
void im_h2_conn_leave(im_h2_conn_t *c);
/* Says GOAWAY with an error, and closes; why: a reason for the log. */
void im_h2_conn_refuse(im_h2_conn_t *c, uint32_t error, const char *why);
/* The same, where nghttp2 has said GOAWAY already. */
void im_h2_conn_end(im_h2_conn_t *c, const char *why);
/* Now; its exchanges end as UNAVAILABLE. */
void im_h2_conn_close(im_h2_conn_t *c, const char *why);
void im_h2_conn_free(im_h2_conn_t *c);

/* im_h2_out.c */
/* Writes what there is, as far as the socket takes it. */
void im_h2_conn_flush(im_h2_conn_t *c);
/* Of nghttp2: the next bytes of an exchange, and their frame. */
ssize_t im_h2_out_read(nghttp2_session *session, int32_t id, uint8_t *buf,
    size_t len, uint32_t *flags, nghttp2_data_source *source, void *data);
int im_h2_out_data(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *head, size_t len, nghttp2_data_source *source, void *data);
/* Appends bytes to what is written. */
int im_h2_out_put(im_h2_conn_t *c, const uint8_t *data, size_t len);
void im_h2_out_free(im_h2_conn_t *c);

/* im_h2_session.c */
int im_h2_session_init(im_rpc_t *rpc);
void im_h2_session_free(im_rpc_t *rpc);
int im_h2_session_start(im_h2_conn_t *c);

/* im_h2_exchange.c */
void im_h2_exchange_init(im_h2_exchange_t *x, im_rpc_t *rpc,
    const im_h2_hooks_t *hooks);
/* Both sides: x is of this HTTP/2 stream from here on. */
void im_h2_exchange_attach(im_h2_exchange_t *x, im_h2_conn_t *c, int32_t id);
/* The opposite; the HTTP/2 stream may then become another one's. */
void im_h2_exchange_detach(im_h2_exchange_t *x);
/* Client side: sends the request on a connection that is ready. */
void im_h2_exchange_begin(im_h2_exchange_t *x, im_h2_conn_t *c);
int im_h2_exchange_timer(im_h2_exchange_t *x, unsigned ms, im_h2_fn_pt fn);
/* Once; on_end follows.  fmt: as printf(). */
void im_h2_exchange_end(im_h2_exchange_t *x, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Its HTTP/2 stream is closed. */
void im_h2_exchange_closed(im_h2_exchange_t *x, uint32_t error);
/* Its connection is. */
void im_h2_exchange_lost(im_h2_exchange_t *x, const char *why);
/* A whole set of metadata; end: the peer's last word. */
void im_h2_exchange_head(im_h2_exchange_t *x, int end);
void im_h2_exchange_half(im_h2_exchange_t *x);
void im_h2_exchange_data(im_h2_exchange_t *x, const uint8_t *data, size_t len);
im_rpc_sent_t im_h2_exchange_sent(im_h2_exchange_t *x);
/* Releases all that it holds; after on_end, or before it was attached. */
void im_h2_exchange_free(im_h2_exchange_t *x);

/* There is something to send, or to end. */
void im_h2_exchange_resume(im_h2_exchange_t *x);
/* Server side: initial metadata, then what fill() gives, then a status. */
int im_h2_exchange_open(im_h2_exchange_t *x);
/* Server side: the status of an exchange whose metadata are out, or all. */
void im_h2_exchange_answer(im_h2_exchange_t *x, int code, const char *text,
    unsigned retry_ms);

/* im_h2_head.c */
#define IM_H2_FIELDS  16
void im_h2_head_init(im_h2_head_t *h);
void im_h2_head_take(im_h2_head_t *h, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len);
/* Numbers of fields, which point into x, text and constants. */
size_t im_h2_head_request(im_h2_exchange_t *x, nghttp2_nv nv[IM_H2_FIELDS],
    char text[IM_H2_TEXT]);
size_t im_h2_head_response(nghttp2_nv nv[IM_H2_FIELDS]);
/* text: of IM_H2_TRAILER bytes. */
#define IM_H2_TRAILER  (3 * IM_H2_TEXT + 32)
size_t im_h2_head_trailer(int code, const char *message, int refused,
    unsigned retry_ms, nghttp2_nv nv[IM_H2_FIELDS], char *text);
/* gRPC's status of an answer that has none: of HTTP/2, of HTTP. */
int im_h2_head_code_of_error(uint32_t error);
int im_h2_head_code_of_http(int status);

/* im_h2_queue.c */
im_h2_buf_t *im_h2_buf_pack(const ProtobufCMessage *message);
im_h2_buf_t *im_h2_buf_copy(const uint8_t *data, size_t len);
void im_h2_buf_release(im_h2_buf_t *buf);
void im_h2_queue_init(im_h2_queue_t *q, size_t max);
void im_h2_queue_free(im_h2_queue_t *q);
/* IM_OK, IM_BUSY. */
int im_h2_queue_add(im_h2_queue_t *q, const ProtobufCMessage *item);
int im_h2_queue_add_packed(im_h2_queue_t *q, const im_str_t *item);
int im_h2_queue_push(im_h2_queue_t *q, const ProtobufCMessage *message);
/* The next message; an empty one if nothing is queued.  NULL: no memory. */
im_h2_buf_t *im_h2_queue_take(im_h2_queue_t *q);

/* im_h2_channel.c */
/* Sends it on, or lets it wait, or ends it. */
void im_h2_channel_take(im_rpc_channel_t *ch, im_h2_exchange_t *x);
void im_h2_channel_ready(im_rpc_channel_t *ch, im_h2_conn_t *c);
/* c is closed, or takes nothing new. */
void im_h2_channel_lost(im_rpc_channel_t *ch, im_h2_conn_t *c,
    const char *why);

/* im_h2_lookup.c */
/* IM_OK: found; IM_AGAIN: done() will run, unless it is cancelled; IM_ERROR:
 * why is written. */
int im_h2_lookup(im_rpc_t *rpc, const char *address, im_h2_addresses_t *found,
    im_h2_lookup_t **lookup, void (*done)(void *ctx, const char *why),
    void *ctx, char why[IM_H2_WHY]);
void im_h2_lookup_cancel(im_h2_lookup_t *l);

/* im_h2_tls.c */
int im_h2_tls_init(im_rpc_t *rpc);
void im_h2_tls_free(im_rpc_t *rpc);
im_h2_creds_t *im_h2_creds_create(const im_rpc_tls_t *tls);
int im_h2_creds_set(im_h2_creds_t *c, const im_rpc_tls_t *tls);
void im_h2_creds_unref(im_h2_creds_t *c);
/* Of the peer's certificate; all without TLS. */
unsigned im_h2_tls_roles(im_rpc_t *rpc, SSL *ssl);
void im_h2_tls_caller(SSL *ssl, char *text, size_t size);

/* im_h2_secure.c */
/* name: what the certificate must carry; peer: compared as it is. */
SSL *im_h2_secure_create(SSL_CTX *ctx, int fd, int server, const char *name,
    int peer);
void im_h2_secure_close(SSL *ssl);
/* IM_OK, IM_AGAIN (write: it wants to write), IM_ERROR (why is written). */
int im_h2_secure_handshake(SSL *ssl, int *write, char why[IM_H2_WHY]);
/* Bytes, 0: the end, IM_AGAIN, IM_ERROR. */
ssize_t im_h2_secure_read(SSL *ssl, uint8_t *data, size_t len);
ssize_t im_h2_secure_write(SSL *ssl, const uint8_t *data, size_t len);

/* im_h2_stream.c */
/* Server side: the exchange of a request becomes a stream. */
void im_h2_stream_accept(im_h2_exchange_t *from,
    const im_rpc_handler_t *handler, void *server_ctx);

/* im_h2_server.c */
void im_h2_server_stop(im_rpc_server_t *server);
void im_h2_server_free(im_rpc_server_t *server);
void im_h2_server_conn_gone(im_rpc_server_t *server);

/* im_h2_request.c */
im_h2_exchange_t *im_h2_request_create(im_h2_conn_t *c);

#endif
