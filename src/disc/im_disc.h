/*
 * im_disc.h -- one etcd watch, two views of who is alive.
 *
 * Service view: "a Logic", by policy; callers never see which.  Calls fail
 * over, instances that fail are ejected, breakers answer at once what would
 * fail anyway.  Instance view: this very Connect instance, no fail-over.
 * Both views share one table and one channel for each instance.
 *
 * When etcd is away the last view stays in force.  All functions and
 * callbacks: on the rpc home only, except where said otherwise.
 * docs/internals/discovery.md tells the story with a drawing.
 */

#ifndef IM_DISC_H
#define IM_DISC_H

#include "im_rpc.h"

typedef struct im_disc_s       im_disc_t;
typedef struct im_disc_call_s  im_disc_call_t;

/* A row.  Stable address from up to down; im_disc_pick() returns it, and
 * data is the subscriber's own (one subscriber for each service). */
typedef struct {
    const char        *service;    /* "connect", "logic", "task" */
    const char        *id;         /* unique for each start of a process */
    const char        *address;    /* host:port of its gRPC server */
    const char        *boot;       /* calls on channel are for this one only */
    im_rpc_channel_t  *channel;
    void              *data;
    unsigned           load;       /* percent, the larger of CPU and queue */
    unsigned           draining:1; /* it leaves: nothing new goes there */
} im_disc_instance_t;

typedef struct {
    const char          *endpoints;  /* "host:port,host:port" of etcd */
    const char          *prefix;     /* "/im" */
    const im_rpc_tls_t  *tls;        /* of etcd; NULL: none */
    unsigned             lease_s;    /* 2-60 */
    im_log_pt            log;
    void                *log_ctx;
} im_disc_conf_t;

im_disc_t *im_disc_create(im_rpc_t *rpc, const im_disc_conf_t *conf);
/* Revokes the leases (best effort), ends calls as CANCELLED, forgets all. */
void im_disc_destroy(im_disc_t *disc);


/* Called for every instance of the service that comes, changes (draining,
 * load) or goes; those already known at once.  Before down returns, the
 * subscriber must drop the row.  changed may be NULL. */
typedef struct {
    void  (*up)(void *ctx, im_disc_instance_t *inst);
    void  (*changed)(void *ctx, im_disc_instance_t *inst);
    void  (*down)(void *ctx, im_disc_instance_t *inst);
} im_disc_handler_t;

/* Other certificates for new connections to etcd.  Any thread; IM_ERROR:
 * those of before stay. */
int im_disc_set_tls(im_disc_t *disc, const im_rpc_tls_t *tls);

int im_disc_subscribe(im_disc_t *disc, const char *service,
    const im_disc_handler_t *handler, void *ctx);


/* What we say of ourselves under <prefix>/<service>/<id> (proto/instance.proto)
 * and our lease.  Once for each service; strings are copied. */
typedef struct {
    const char    *service;
    const char    *id;
    const char    *address;
    unsigned     (*queue)(void *ctx);  /* percent of its limit; NULL: 0 */
    /* We were missing in etcd for a while and are there again: others may
     * have taken us for dead.  May be NULL. */
    void         (*back)(void *ctx);
    void          *ctx;
} im_disc_self_t;

int im_disc_register(im_disc_t *disc, const im_disc_self_t *self);
/* Marks us as leaving; peers see it in milliseconds. */
void im_disc_drain(im_disc_t *disc, const char *service);

/*
 * A node number of our own (im_disc_node.c).  got: ids may be minted under it
 * for times in (floor_ms, limit_ms]; limit: that far from now on; lost: it may
 * be another's, mint no ids until got comes again, with another number.
 * minted_ms tells the time of the last id under it; no ids are minted any more
 * when lost has returned or im_disc_destroy is called.
 */
typedef struct {
    void      (*got)(void *ctx, unsigned node, uint64_t floor_ms,
                     uint64_t limit_ms);
    void      (*limit)(void *ctx, uint64_t limit_ms);
    void      (*lost)(void *ctx);
    uint64_t  (*minted_ms)(void *ctx);
} im_disc_node_handler_t;

/* nodes: how many numbers there are. */
int im_disc_lease_node(im_disc_t *disc, unsigned nodes,
    const im_disc_node_handler_t *handler, void *ctx);


/* Service view, for streams: the home of a slot (rendezvous hashing) among
 * those that take new work; NULL if none does. */
im_disc_instance_t *im_disc_pick(im_disc_t *disc, const char *service,
    unsigned slot);
/*
 * What a subscriber sees on a stream of its own.  Dead: it is not picked until
 * it is alive again, and the calls under way there are ended and go elsewhere.
 */
void im_disc_alive(im_disc_instance_t *inst);
void im_disc_dead(im_disc_instance_t *inst);


/* Service view, for calls. */
typedef enum {
    IM_DISC_LEAST_LOADED = 0,  /* of two at random; outstanding calls, load */
    IM_DISC_ROUND_ROBIN,
    IM_DISC_SLOT               /* the home of a slot */
} im_disc_policy_t;

#define IM_DISC_CLASSES  4     /* method classes, each with its breakers */
#define IM_DISC_TRIES    3     /* instances that one call may be sent to */

typedef struct {
    im_disc_policy_t  policy;
    unsigned          slot;
    unsigned          class;         /* < IM_DISC_CLASSES */
    unsigned          timeout_ms;    /* over all tries */
    const char       *trace;         /* as im_rpc_call_packed; copied */
    unsigned          idempotent:1;  /* may run twice: tried elsewhere even if
                                        the first may have run */
} im_disc_call_conf_t;

/*
 * Calls a service.  IM_OK: reply comes exactly once, later, and *call is good
 * until then.  IM_DECLINED: no instance can take it now (none is known, all
 * leave, or the breakers are open); im_disc_wait_ms says when to come back.
 * IM_ERROR: out of memory, or stopping.
 */
int im_disc_call(im_disc_t *disc, const char *service,
    const im_rpc_method_t *m, const ProtobufCMessage *request,
    const im_disc_call_conf_t *conf, im_rpc_reply_pt reply, void *ctx,
    im_disc_call_t **call);
void im_disc_call_cancel(im_disc_call_t *call);
unsigned im_disc_wait_ms(im_disc_t *disc, const char *service,
    unsigned class);


/* Any thread. */
typedef struct {
    uint64_t  instances;       /* rows at present */
    uint64_t  changes;         /* rows that came, changed or went */
    uint64_t  listings;
    uint64_t  breaks;          /* watches that ended badly */
    uint64_t  garbage;         /* keys or values that were refused */
    uint64_t  failovers;       /* calls that were sent to another instance */
    uint64_t  ejections;
    uint64_t  opened;          /* breakers */
    uint64_t  declined;        /* calls that no instance could take */
} im_disc_stats_t;

void im_disc_stats(im_disc_t *disc, im_disc_stats_t *stats);

/* How things are between us and etcd; on the home.  Times are monotonic
 * (im_disc_now_ms); error is valid until the next callback. */
typedef struct {
    unsigned     answers:1;    /* etcd does, as far as is known */
    unsigned     registered:1; /* all that was registered stands there */
    uint64_t     now_ms;
    uint64_t     silent_ms;    /* it has not answered since, if it does not */
    uint64_t     missing_ms;   /* not registered since */
    const char  *error;        /* the last one */
} im_disc_state_t;

void im_disc_state(im_disc_t *disc, im_disc_state_t *state);
/* 1 when the first listing has been done. */
int im_disc_ready(im_disc_t *disc);
/* Asks etcd for next to nothing, to learn whether it answers: rc is IM_OK or
 * IM_ERROR.  Home.  IM_BUSY: the last question is not answered yet.  After
 * im_disc_destroy() no answer comes. */
int im_disc_ask(im_disc_t *disc, void (*answer)(void *ctx, int rc),
    void *ctx);

#endif
