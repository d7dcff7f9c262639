/*
 * im_disc_int.h -- what the two halves of discovery share: the view
 * (im_disc.c) and our own lease (im_disc_lease.c).
 */

#ifndef IM_DISC_INT_H
#define IM_DISC_INT_H

#include <stdatomic.h>

#include <uthash.h>

#include "im_disc.h"
#include "im_etcd.h"
#include "im_slot.h"

#define DISC_NAME_MAX  160
#define DISC_REGS_MAX  4

typedef struct disc_service_s  disc_service_t;
typedef struct disc_row_s      disc_row_t;

struct disc_row_s {
    im_disc_instance_t   pub;
    char                 key[2 * DISC_NAME_MAX];    /* service/id */
    char                 id[DISC_NAME_MAX];
    char                 address[DISC_NAME_MAX];
    disc_service_t      *svc;
    disc_row_t          *svc_next;
    unsigned             round;                     /* last listing seen in */
    UT_hash_handle       hh;
};

struct disc_service_s {
    char                       name[DISC_NAME_MAX];
    disc_service_t            *next;
    disc_row_t                *rows;
    unsigned                   count;
    int                        stale;               /* slots must be made */
    disc_row_t                *slots[IM_SLOTS];
    const im_disc_handler_t   *handler;
    void                      *ctx;
};

/* A key of ours. */
typedef struct {
    char                 service[DISC_NAME_MAX];
    char                 key[2 * DISC_NAME_MAX];    /* empty: unused */
    char                 value[DISC_NAME_MAX];
    int                  held;
    void               (*removed)(void *ctx);
    void                *removed_ctx;
    im_disc_t           *disc;
} disc_reg_t;

struct im_disc_s {
    im_rpc_t            *rpc;
    im_etcd_t           *etcd;
    char                 root[DISC_NAME_MAX];       /* "<prefix>/" */
    im_log_pt            log;
    void                *log_ctx;
    atomic_int           ready;
    unsigned             down:1;
    unsigned             lost:1;                    /* etcd does not answer */
    unsigned             listing:1;

    disc_row_t          *rows;
    disc_service_t      *services;
    unsigned             round;
    int64_t              revision;
    im_rpc_stream_t     *watch;
    im_rpc_timer_t      *retry;
    im_rpc_timer_t      *refresh;

    unsigned             lease_s;
    int64_t              lease;                     /* 0: none */
    uint64_t             heard_ms;                  /* last keep-alive */
    unsigned             granting:1;
    im_rpc_stream_t     *keep_alive;
    im_rpc_timer_t      *beat;
    disc_reg_t           regs[DISC_REGS_MAX];

    unsigned             nodes;                     /* 0: none is wanted */
    unsigned             node_try;
    int                  node_held;
    int                  node_asking;
    char                 node_key[2 * DISC_NAME_MAX];
    void               (*node_got)(void *ctx, unsigned node);
    void               (*node_lost)(void *ctx);
    void                *node_ctx;
};

void im_disc_lease_start(im_disc_t *d);
/* Puts our keys again if a listing does not hold them. */
void im_disc_lease_check(im_disc_t *d,
    const Etcdserverpb__RangeResponse *list);
/* A key was deleted; if it is ours, puts it again. */
void im_disc_lease_gone(im_disc_t *d, const ProtobufCBinaryData *key);
void im_disc_lease_stop(im_disc_t *d);
void im_disc_lease_free(im_disc_t *d);

void im_disc_release(im_disc_t *d);
void im_disc_log(im_disc_t *d, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void im_disc_log_down(im_disc_t *d, const char *why);
void im_disc_log_up(im_disc_t *d);

#endif
