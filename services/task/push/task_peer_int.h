/*
 * task_peer_int.h -- what task_peer.c and task_peer_stream.c share.
 *
 * One lock for the table and for what the rpc thread reports.  It is held
 * while an item is packed: the pushing thread is the only one that packs, and
 * what the rpc thread does under it takes no time.
 */

#ifndef TASK_PEER_INT_H
#define TASK_PEER_INT_H

#include <pthread.h>

#include "im_hash.h"
#include "task_peer.h"

struct task_peer_s {
    UT_hash_handle     hh;
    char              *id;
    unsigned           refs;
    im_rpc_channel_t  *channel;    /* the discovery's; NULL: absent */
    im_rpc_stream_t   *stream;
    unsigned           streams;    /* number of the current stream */
    unsigned           broken:1;   /* a stream has ended, and none is open */
    unsigned           behind:1;   /* it is due something that it has not got */
    unsigned           busy:1;     /* its queue is full */
    unsigned           full:1;     /* its window is */
    unsigned           missed:1;   /* to be notified of dropped items */
    unsigned           ended;      /* the last stream that had items */
    uint64_t           sent;       /* on the current stream */
    uint64_t           received;   /* of these, as it reports */
    uint64_t           confirmed;  /* of those on the stream that ended */
    uint64_t           told;       /* the item that notified it; 0: none */
    uint64_t           opened_us;
    uint64_t           heard_us;   /* since it is busy or full */
    uint64_t           pressed_us; /* busy or full first; 0: has caught up */
    uint64_t           until_us;   /* absent: dead from then on */
};

extern pthread_mutex_t   task_peer_lock;
extern pthread_cond_t    task_peer_wake;
extern task_peer_t      *task_peer_table;
extern im_rpc_method_t   task_peer_method;
extern unsigned          task_peer_troubled;   /* 1: task_peer_resume must
                                                  look */

/* All under the lock. */
void task_peer_unref(task_peer_t *peer);
/* Its stream has ended, or is being cancelled: all that is not confirmed is
 * due again. */
void task_peer_lost(task_peer_t *peer);

#endif
