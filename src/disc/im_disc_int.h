/*
 * im_disc_int.h -- what the parts of discovery share:
 *
 *   im_disc.c        etcd -> rows: list, watch
 *   im_disc_rows.c   rows: what a key changes, and who is told
 *   im_disc_pick.c   rows -> one row: the service view's choice
 *   im_disc_call.c   a call by the service view, and its fail-over
 *
 *   im_disc_state.c  counters, and whether etcd answers
 *   im_disc_lease.c  the leases that our own keys live by
 *   im_disc_node.c   the number that makes our ids unique
 *   im_disc_self.c   our own keys
 *   im_disc_value.c  keys and values, read and written
 */

#ifndef IM_DISC_INT_H
#define IM_DISC_INT_H

#include <stdatomic.h>

#include "im_hash.h"
#include "im_breaker.h"
#include "im_disc.h"
#include "im_etcd.h"
#include "im_slot.h"
#include "im_timeouts.h"
#include "instance.pb-c.h"

#define DISC_NAME_MAX   160
#define DISC_KEY_MAX    (3 * DISC_NAME_MAX)
#define DISC_VALUE_MAX  512
#define DISC_REGS_MAX   4

typedef struct disc_service_s  disc_service_t;
typedef struct disc_row_s      disc_row_t;
typedef struct disc_bad_s      disc_bad_t;

/* A value, read. */
typedef struct {
    char                 address[DISC_NAME_MAX];
    char                 boot[IM_RPC_BOOT_MAX + 1];
    unsigned             load;
    unsigned             draining;
} disc_value_t;

typedef enum {
    DISC_UNKNOWN = 0,
    DISC_ALIVE,
    DISC_DEAD
} disc_life_t;

struct disc_row_s {
    im_disc_instance_t   pub;
    char                 key[2 * DISC_NAME_MAX];    /* service/id */
    char                 id[DISC_NAME_MAX];
    disc_value_t         value;
    disc_service_t      *svc;
    disc_row_t          *svc_next;
    unsigned             round;                     /* last listing seen in */
    UT_hash_handle       hh;

    /* im_disc_pick.c, im_disc_call.c */
    uint64_t             serial;
    disc_life_t          life;
    im_disc_call_t      *calls;                     /* under way */
    unsigned             outstanding;
    unsigned             fails;                     /* in a row, transport */
    unsigned             eject_ms;                  /* length of the last */
    uint64_t             ejected_until_ms;          /* 0: it is not */
    im_breaker_t         breakers[IM_DISC_CLASSES];
    unsigned             picked:1;                  /* holds slots */
};

struct disc_service_s {
    char                       name[DISC_NAME_MAX];
    im_disc_t                 *disc;
    disc_service_t            *next;
    disc_row_t                *rows;
    unsigned                   count;
    const im_disc_handler_t   *handler;
    void                      *ctx;

    /* im_disc_pick.c */
    disc_row_t                *slots[IM_SLOTS];     /* NULL: nobody */
    uint64_t                   weights[IM_SLOTS];
    uint64_t                   back_ms;             /* next one is let in */
    uint64_t                   turn;                /* round robin */
    uint64_t                   dice;
};

/* A key of ours. */
typedef struct {
    char                 service[DISC_NAME_MAX];
    char                 address[DISC_NAME_MAX];
    char                 key[DISC_KEY_MAX];         /* empty: unused */
    unsigned           (*queue)(void *ctx);
    void               (*back)(void *ctx);
    void                *ctx;
    unsigned             cpu_pct;                   /* as published */
    unsigned             queue_pct;
    uint64_t             missing_ms;                /* not held since */
    unsigned             held:1;
    unsigned             known:1;                   /* it was held before */
    unsigned             putting:1;
    unsigned             dirty:1;                   /* etcd has not the last */
    unsigned             draining:1;
    im_disc_t           *disc;
} disc_reg_t;

typedef struct {
    int64_t              id;                        /* 0: none */
    unsigned             ttl_s;
    uint64_t             asked_ms;                  /* 0: no answer is due */
    uint64_t             heard_ms;                  /* etcd counts from here */
    unsigned             granting:1;
} disc_lease_t;

/* im_disc_node.c */
typedef struct {
    const im_disc_node_handler_t  *handler;
    void                *ctx;
    uint64_t           (*clock_ms)(void);           /* since 1970 */
    uint64_t            *floors;                    /* as listed */
    unsigned             nodes;                     /* 0: none is wanted */
    unsigned             n;                         /* held, or tried */
    unsigned             tries;
    unsigned             held:1;
    unsigned             asking:1;
    unsigned             none:1;                    /* none is free: logged */
    int64_t              lease;                     /* that we asked with */
    int64_t              revision;                  /* of the list, our key */
    uint64_t             floor_ms;
    uint64_t             limit_ms;
    uint64_t             want_ms;                   /* limit, being written */
    char                 key[DISC_KEY_MAX];
    char                 floor_key[DISC_KEY_MAX];
} disc_node_t;

struct im_disc_s {
    im_rpc_t            *rpc;
    im_etcd_t           *etcd;
    char                 root[DISC_NAME_MAX];       /* "<prefix>/" */
    im_log_pt            log;
    void                *log_ctx;
    atomic_int           ready;
    unsigned             down:1;
    unsigned             lost:1;                    /* etcd does not answer */
    uint64_t             lost_ms;                   /* since then */
    char                 error[DISC_NAME_MAX];      /* the last one */
    unsigned             listing:1;
    unsigned             asking:1;
    void               (*answer)(void *ctx, int rc);    /* im_disc_ask() */
    void                *answer_ctx;

    disc_row_t          *rows;
    disc_service_t      *services;
    disc_bad_t          *bad;                       /* logged once */
    unsigned             round;
    uint64_t             serial;
    int64_t              revision;
    im_rpc_stream_t     *watch;
    unsigned             watch_at;                  /* endpoint */
    im_rpc_timer_t      *retry;
    im_rpc_timer_t      *refresh;
    im_disc_call_t      *orphans;                   /* their row has gone */

    disc_lease_t         lease;                     /* of the instance */
    disc_lease_t         node_lease;
    im_rpc_stream_t     *keep_alive;
    unsigned             keep_alive_at;             /* endpoint */
    unsigned             keep_alive_tries;          /* since the last beat */
    im_rpc_timer_t      *beat;
    im_rpc_timer_t      *fence;
    im_rpc_timer_t      *load;
    uint64_t             load_wall_us;
    uint64_t             load_cpu_us;
    disc_reg_t           regs[DISC_REGS_MAX];

    im_rpc_timer_t      *check;
    disc_node_t          node;

    struct {
        atomic_ullong    instances, changes, listings, breaks, garbage,
                         failovers, ejections, opened, declined;
    }                    stats;
};

/* im_disc_state.c */
/* etcd does not answer, or does: logged once for each change. */
void im_disc_etcd_lost(im_disc_t *d, const char *why);
void im_disc_etcd_back(im_disc_t *d);

/* im_disc_value.c */
/* IM_ERROR: *why says what is wrong with it. */
int im_disc_value_read(disc_value_t *v, const ProtobufCBinaryData *data,
    const char **why);
/* NUL-terminated, less than DISC_VALUE_MAX bytes. */
void im_disc_value_write(char *out, const Im__Instance *value);
/* service and id of DISC_NAME_MAX; IM_ERROR: it has another form. */
int im_disc_key_split(im_disc_t *d, const ProtobufCBinaryData *key,
    char *service, char *id);
/* Logs a key that is not used once for each change, and counts it. */
void im_disc_garbage(im_disc_t *d, const Etcdserverpb__KeyValue *kv,
    const char *why);
void im_disc_garbage_forget(im_disc_t *d);

/* im_disc_pick.c; now_ms: monotonic. */
void im_disc_pick_up(disc_row_t *row);
void im_disc_pick_changed(disc_row_t *row);
void im_disc_pick_down(disc_row_t *row);
/* tried: serials of rows that are not to be picked, n of them. */
disc_row_t *im_disc_pick_row(disc_service_t *svc,
    const im_disc_call_conf_t *conf, const uint64_t *tried, unsigned n,
    uint64_t now_ms);
/* A call ended at the row: what follows for it. */
void im_disc_pick_judge(disc_row_t *row, unsigned class, unsigned probe,
    const im_rpc_status_t *status, uint64_t now_ms);

/* im_disc_call.c */
void im_disc_call_end_all(disc_row_t *row);    /* they go elsewhere */
void im_disc_call_row_gone(disc_row_t *row);   /* they are waited for */
void im_disc_call_stop(im_disc_t *d);

/* im_disc_lease.c */
void im_disc_lease_start(im_disc_t *d);
void im_disc_lease_want(im_disc_t *d);
/* A key was deleted; if it was ours, it comes back. */
void im_disc_lease_gone(im_disc_t *d, const ProtobufCBinaryData *key);
void im_disc_lease_stop(im_disc_t *d);

/* im_disc_node.c */
int im_disc_node_init(im_disc_t *d, unsigned nodes,
    const im_disc_node_handler_t *handler, void *ctx,
    uint64_t (*clock_ms)(void));
/* Does what is due; nothing without a lease. */
void im_disc_node_check(im_disc_t *d);
/* Its lease or its key has gone. */
void im_disc_node_lost(im_disc_t *d);
int im_disc_node_gone(im_disc_t *d, const ProtobufCBinaryData *key);
/* IM_OK: the number is given back, floor and all; else there was none. */
int im_disc_node_release(im_disc_t *d);

/* im_disc_self.c */
/* Puts what etcd does not hold; nothing without a lease. */
void im_disc_self_put(im_disc_t *d);
int im_disc_self_is_any(im_disc_t *d);
/* The same for what a listing does not hold, or holds of somebody else. */
void im_disc_self_check(im_disc_t *d,
    const Etcdserverpb__RangeResponse *list);
void im_disc_self_written(im_disc_t *d, const Etcdserverpb__KeyValue *kv);
int im_disc_self_gone(im_disc_t *d, const ProtobufCBinaryData *key);
void im_disc_self_lost(im_disc_t *d);
int im_disc_is_key(const ProtobufCBinaryData *key, const char *ours);

/* im_disc_rows.c */
void im_disc_rows_put(im_disc_t *d, const Etcdserverpb__KeyValue *kv);
void im_disc_rows_delete(im_disc_t *d, const ProtobufCBinaryData *key);
/* Takes those out that were not put in this round. */
void im_disc_rows_sweep(im_disc_t *d);
/* Creates it if it is new; NULL: out of memory. */
disc_service_t *im_disc_service_get(im_disc_t *d, const char *name);

/* im_disc.c */
void im_disc_release(im_disc_t *d);
uint64_t im_disc_now_ms(void);
uint64_t im_disc_wall_ms(void);                /* since 1970 */
void im_disc_log(im_disc_t *d, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
