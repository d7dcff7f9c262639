/*
 * im_rpc_int.h -- what the files of the runtime know of each other.
 *
 * Everything that completes is an im_rpc_op_t, whose address is the tag on
 * the completion queue.  Its fn runs on the home, once for each start.
 */

#ifndef IM_RPC_INT_H
#define IM_RPC_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "im_rpc.h"
#include "im_rpc_metadata.h"
#include "im_rpc_tier.h"
#include "im_tsan.h"

typedef struct im_rpc_op_s  im_rpc_op_t;

struct im_rpc_op_s {
    void         (*fn)(void *owner, int ok);
    void          *owner;
    STAILQ_ENTRY(im_rpc_op_s)  link;   /* on the hand-over list */
    int            ok;
    int            direct;     /* fn runs on the rpc thread, not on the home */
};

/* A live call of either side: destroy cancels what is on this list. */
typedef struct im_rpc_live_s  im_rpc_live_t;

struct im_rpc_live_s {
    grpc_call      *call;
    im_rpc_live_t  *prev;
    im_rpc_live_t  *next;
    int             last;              /* cancelled later than the others */
};

/* Credentials of channels, which can be replaced (im_rpc_tls.c). */
typedef struct {
    atomic_uint                refs;
    atomic_uint                version;    /* of creds */
    pthread_mutex_t            lock;       /* of creds */
    grpc_channel_credentials  *creds;
} im_rpc_creds_t;

typedef struct im_rpc_fetch_s  im_rpc_fetch_t;

/* A refusal that is logged once a minute; home only. */
typedef struct {
    uint64_t                us;        /* logged then; 0: never */
    uint64_t                n;
} im_rpc_said_t;

struct im_rpc_s {
    im_rpc_conf_t           conf;
    char                    boot[IM_RPC_BOOT_MAX + 1];
    grpc_completion_queue  *cq;
    im_rpc_creds_t         *creds;     /* to peers */
    int                     tls;       /* between the tiers */
    im_rpc_tiers_t          tiers;
    pthread_mutex_t         tls_lock;  /* of these: */
    char                   *tls_ca;
    char                   *tls_cert;
    char                   *tls_key;
    unsigned                tls_version;
    im_rpc_fetch_t         *fetches;   /* of servers */
    pthread_t               thread;
    unsigned                threads;   /* of the process, before ours */
    int                     fd;        /* eventfd, HOME_LOOP */
    pthread_mutex_t         lock;      /* of all below */
    pthread_cond_t          idle;      /* ops_n went to 0 */
    STAILQ_HEAD(, im_rpc_op_s)  done;  /* completed, for the loop */
    im_rpc_live_t           live;      /* list head */
    size_t                  last_n;    /* of them */
    im_rpc_server_t        *servers;
    im_rpc_timer_t         *timers;    /* the first is due first */
    grpc_channel           *poke;      /* wakes the rpc thread */
    im_rpc_op_t             op_poke;
    int                     poked;
    im_rpc_said_t           not_meant;
    im_rpc_said_t           forbidden;
    size_t                  ops_n;     /* started and not yet run */
    int                     stopping;
};

/* What calls and streams run on; replaced for other credentials. */
typedef struct {
    grpc_channel    *channel;
    atomic_uint      refs;
} im_rpc_wire_t;

struct im_rpc_channel_s {
    im_rpc_t        *rpc;
    atomic_uint      refs;
    unsigned         peer:1;   /* one of our tiers */
    char             boot[IM_RPC_BOOT_MAX + 1];
    im_rpc_creds_t  *creds;
    pthread_mutex_t  lock;     /* of these: */
    im_rpc_wire_t   *wire;
    unsigned         version;  /* of the credentials that it has */
    char            *name;     /* of the certificate; NULL: the address */
    char             target[300];
};

struct im_rpc_server_s {
    im_rpc_t                  *rpc;
    grpc_server               *server;
    im_rpc_server_t           *next;
    const im_rpc_handler_t    *handlers;
    void                     **methods;        /* registered, by handler */
    const ProtobufCMethodDescriptor **descriptors;
    void                      *ctx;
    unsigned                   n;
    unsigned                   port;
    int                        down;           /* shutdown was asked */
    im_rpc_op_t                shutdown;
    im_rpc_timer_t            *grace;
    void                     (*drained)(void *ctx);
    void                      *drained_ctx;
};

/* What waits to be sent on a stream (im_rpc_queue.c). */
typedef struct {
    grpc_slice         batch;          /* items, as they will be sent */
    size_t             len;            /* used of it */
    size_t             cap;
    STAILQ_HEAD(, im_rpc_queued_s)  messages;  /* whole ones; they go first */
    size_t             bytes;          /* of both kinds */
    size_t             max;
} im_rpc_queue_t;

void im_rpc_queue_init(im_rpc_queue_t *q, size_t max);
void im_rpc_queue_free(im_rpc_queue_t *q);
/* Appends an item to the batch, or a message of its own: IM_OK, IM_BUSY. */
int im_rpc_queue_add(im_rpc_queue_t *q, const ProtobufCMessage *item);
int im_rpc_queue_add_packed(im_rpc_queue_t *q, const im_str_t *item);
int im_rpc_queue_push(im_rpc_queue_t *q, const ProtobufCMessage *message);
/* The next message to send; an empty batch if nothing is queued. */
grpc_byte_buffer *im_rpc_queue_take(im_rpc_queue_t *q);

struct im_rpc_stream_s {
    im_rpc_t                 *rpc;
    im_rpc_channel_t         *channel;     /* client side, as this: */
    im_rpc_wire_t            *wire;
    grpc_call                *call;
    im_rpc_live_t             live;
    im_rpc_stream_handler_t   handler;
    void                     *ctx;
    atomic_uint               refs;
    im_rpc_timer_t           *connect;
    im_rpc_timer_t           *beat;        /* home only, as these two: */
    uint64_t                  beat_us;     /* it was set then */
    uint64_t                  heard_us;

    im_rpc_op_t               op_start;
    im_rpc_op_t               op_initial;
    im_rpc_op_t               op_status;
    im_rpc_op_t               op_recv;
    im_rpc_op_t               op_send;
    im_rpc_op_t               op_finish;

    pthread_mutex_t           lock;        /* of all below */
    im_rpc_queue_t            queue;       /* waits to be sent */
    grpc_byte_buffer         *sent;
    uint64_t                  said_us;
    unsigned                  ops;         /* outstanding */
    unsigned                  writing:1;
    unsigned                  busy:1;      /* add() has refused */
    unsigned                  ending:1;    /* close() was called */
    unsigned                  finished:1;  /* our last word is on its way */
    unsigned                  dead:1;      /* nothing can be added */
    unsigned                  server:1;
    unsigned                  started:1;   /* our metadata has gone out */

    grpc_byte_buffer         *received;
    grpc_metadata_array       initial;
    grpc_metadata_array       trailing;
    grpc_status_code          code;
    grpc_slice                details;
    int                       cancelled;
};

/* im_rpc_stream.c, under the stream's lock; op_done unlocks. */
int im_rpc_stream_batch(im_rpc_stream_t *s, grpc_op *ops, size_t n,
    im_rpc_op_t *op);
void im_rpc_stream_op_done(im_rpc_stream_t *s);

/* im_rpc_stream_send.c, under the stream's lock */
void im_rpc_stream_send_init(im_rpc_stream_t *s);
/* Nothing may be in flight.  Nothing queued: an empty batch, a heartbeat. */
void im_rpc_stream_send_start(im_rpc_stream_t *s);
/* The next batch, or our last word. */
void im_rpc_stream_write_next(im_rpc_stream_t *s);

/* im_rpc_tls.c */
int im_rpc_tls_init(im_rpc_t *rpc);
void im_rpc_tls_free(im_rpc_t *rpc);
grpc_server_credentials *im_rpc_tls_server(im_rpc_t *rpc);
im_rpc_creds_t *im_rpc_creds_create(const im_rpc_tls_t *tls);
int im_rpc_creds_set(im_rpc_creds_t *c, const im_rpc_tls_t *tls);
void im_rpc_creds_unref(im_rpc_creds_t *c);
/* Name in the certificates of a tier; NULL without TLS, or for none. */
const char *im_rpc_tls_name(im_rpc_t *rpc, im_rpc_role_t role);
/* Of the caller's certificate; all without TLS. */
unsigned im_rpc_tls_roles(im_rpc_t *rpc, grpc_call *call);
/* For the log: what it carries. */
void im_rpc_tls_caller(grpc_call *call, char *text, size_t size);

/* im_rpc_channel.c */
/* To start a call on; the caller holds a reference then. */
im_rpc_wire_t *im_rpc_channel_wire(im_rpc_channel_t *ch);
void im_rpc_wire_unref(im_rpc_wire_t *wire);
/* What every call on the channel says; the number of entries. */
size_t im_rpc_channel_metadata(im_rpc_channel_t *ch, const char *trace,
    grpc_metadata md[IM_RPC_METADATA_MAX]);
void im_rpc_channel_metadata_free(grpc_metadata *md, size_t n);

/* im_rpc_call.c */
im_rpc_mark_t im_rpc_mark_of(const grpc_metadata_array *trailing);

/* im_rpc_timer.c */
uint64_t im_rpc_now_us(void);
void im_rpc_timers_init(im_rpc_t *rpc);
void im_rpc_timers_free(im_rpc_t *rpc);
/* On the rpc thread: hands over what is due; when the next one will be. */
gpr_timespec im_rpc_timers_fire(im_rpc_t *rpc);

/* A completed op to the loop; it is woken once for all it has not taken. */
void im_rpc_hand_over(im_rpc_t *rpc, im_rpc_op_t *op);

void im_rpc_log(im_rpc_t *rpc, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Counts an op as started; IM_DONE when the runtime is stopping. */
int im_rpc_op_begin(im_rpc_t *rpc);
void im_rpc_op_count(im_rpc_t *rpc);
void im_rpc_op_end(im_rpc_t *rpc);
void im_rpc_op_init(im_rpc_op_t *op, void (*fn)(void *owner, int ok),
    void *owner);
/* Starts a batch under an op; IM_ERROR: fn will not run. */
int im_rpc_op_batch(im_rpc_t *rpc, grpc_call *call, const grpc_op *ops,
    size_t n, im_rpc_op_t *op);

void im_rpc_live_add(im_rpc_t *rpc, im_rpc_live_t *live, grpc_call *call);
void im_rpc_live_last(im_rpc_t *rpc, im_rpc_live_t *live);
void im_rpc_live_remove(im_rpc_t *rpc, im_rpc_live_t *live);
void im_rpc_live_end(im_rpc_t *rpc);

grpc_byte_buffer *im_rpc_pack(const ProtobufCMessage *message);
/* One contiguous slice of a received message; the caller unrefs it. */
int im_rpc_flatten(grpc_byte_buffer *bb, grpc_slice *slice);

/* Server side: takes a call over as a stream, and runs accept. */
void im_rpc_stream_accept(im_rpc_t *rpc, grpc_call *call,
    const im_rpc_handler_t *handler, void *server_ctx);

/* im_rpc_req.c: waits for the next call of a handler, or of what no handler
 * is for.  Out of memory: nothing waits. */
#define IM_RPC_REQ_GENERIC  0xffffffffu
void im_rpc_req_arm(im_rpc_server_t *server, unsigned index);

/* im_rpc_server.c */
void im_rpc_server_stop(im_rpc_server_t *server);
void im_rpc_server_free(im_rpc_server_t *server);

#endif
