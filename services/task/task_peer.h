/*
 * task_peer.h -- the Connect instances and one push stream to each.
 *
 * A peer is known from discovery and lives as long as etcd names it.  Items go
 * out in order on one stream; the instance answers with the number of items it
 * has taken.  When a stream breaks while the instance is alive, nothing more is
 * sent to it until the pushing thread has opened a new one and has repeated
 * what was not confirmed: so a client never sees a later message first.
 *
 * task_peer_on_*: on the rpc thread.  All else: on the pushing thread, except
 * where said otherwise.
 */

#ifndef TASK_PEER_H
#define TASK_PEER_H

#include "task.h"

typedef struct task_peer_s  task_peer_t;

/* What an item waits for. */
typedef struct {
    task_peer_t   *peer;       /* borrowed */
    uint64_t       sent;       /* confirmed when the peer has taken these */
    unsigned       stream;     /* number of the stream it went out on */
} task_mark_t;

typedef enum {
    TASK_PEER_WAITS = 0,
    TASK_PEER_DONE,            /* confirmed, or the peer is gone */
    TASK_PEER_BROKEN           /* the stream it went out on has ended */
} task_peer_state_t;

/* Subscribes; on the rpc thread. */
int task_peer_start(im_disc_t *disc);
/* Forgets all peers; after the runtime was destroyed. */
void task_peer_stop(void);

/* A reference, to be given back with task_peer_release, also when the peer is
 * gone.  NULL: etcd does not name it. */
task_peer_t *task_peer_find(const char *id, size_t len);
void task_peer_hold(task_peer_t *peer);
void task_peer_release(task_peer_t *peer);

/*
 * Appends an item; the first one opens the stream.  Waits up to wait_ms when
 * the stream's queue is full.  IM_OK; IM_BUSY: the instance does not keep up,
 * the item was dropped; IM_DECLINED: the stream is broken, repeat after
 * task_peer_repair.  *mark tells what to wait for.
 */
int task_peer_send(task_peer_t *peer, const Im__PushItem *item,
    unsigned wait_ms, task_mark_t *mark);
void task_peer_flush(task_peer_t *peer);

task_peer_state_t task_peer_state(const task_mark_t *mark);
/* Opens a new stream instead of a broken one; IM_AGAIN: too early. */
int task_peer_repair(task_peer_t *peer);
/* Sleeps until a peer has confirmed something or a stream has ended. */
void task_peer_wait(unsigned ms);

/* Any thread. */
unsigned task_peer_count(void);

#endif
