/*
 * im_disc.h -- one etcd watch, two views of who is alive.
 *
 * Service view: which Logic is home to this slot (rendezvous over slots, so
 * that a change moves only its own share).  Instance view: where is this very
 * Connect instance (no fail-over).  Both views share one table and one channel
 * for each instance.
 *
 * When etcd is away the last view stays in force.  All functions and
 * callbacks: on the rpc home only, except where said otherwise.
 */

#ifndef IM_DISC_H
#define IM_DISC_H

#include "im_rpc.h"

typedef struct im_disc_s  im_disc_t;

/* A row.  Stable address from up to down; pick and find return it, and
 * data is the subscriber's own (one subscriber for each service). */
typedef struct {
    const char        *service;    /* "connect", "logic", "task" */
    const char        *id;         /* unique for each start of a process */
    const char        *address;    /* host:port of its gRPC server */
    im_rpc_channel_t  *channel;
    void              *data;
} im_disc_instance_t;

typedef struct {
    const char        *endpoints;  /* "host:port,host:port" of etcd */
    const char        *prefix;     /* "/im" */
    unsigned           lease_s;    /* 2-60 */
    im_log_pt          log;
    void              *log_ctx;
} im_disc_conf_t;

im_disc_t *im_disc_create(im_rpc_t *rpc, const im_disc_conf_t *conf);
/* Revokes the lease (waits at most 500 ms for it), forgets all. */
void im_disc_destroy(im_disc_t *disc);

/* Called for every instance of the service that comes or goes; those already
 * known at once.  Before down returns, the subscriber must drop the row. */
typedef struct {
    void  (*up)(void *ctx, im_disc_instance_t *inst);
    void  (*down)(void *ctx, im_disc_instance_t *inst);
} im_disc_handler_t;

int im_disc_subscribe(im_disc_t *disc, const char *service,
    const im_disc_handler_t *handler, void *ctx);

/* Registers <prefix>/<service>/<id> = address under this process's lease and
 * keeps it there.  Once for each service. */
int im_disc_register(im_disc_t *disc, const char *service, const char *id,
    const char *address);
/* Takes the registration away now; done on the home. */
void im_disc_unregister(im_disc_t *disc, const char *service,
    void (*done)(void *ctx), void *ctx);

/* Home of a slot among the instances of a service; NULL if there is none. */
im_disc_instance_t *im_disc_pick(im_disc_t *disc, const char *service,
    unsigned slot);
im_disc_instance_t *im_disc_find(im_disc_t *disc, const char *service,
    const char *id);
unsigned im_disc_count(im_disc_t *disc, const char *service);

/*
 * Leases a node number: creates <prefix>/node/<n> for the first free n, under
 * the same lease.  got(ctx, n) when it is held; lost(ctx) when the lease was
 * lost (mint no ids until got comes again, maybe with another number).
 */
int im_disc_lease_node(im_disc_t *disc, unsigned nodes,
    void (*got)(void *ctx, unsigned node), void (*lost)(void *ctx),
    void *ctx);

/* Any thread: 1 when the first listing has been done. */
int im_disc_ready(im_disc_t *disc);

#endif
