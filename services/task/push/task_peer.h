/*
 * task_peer.h -- the Connect instances and one push stream to each.
 *
 * A peer is known from discovery, or expected because Redis names it.  Items go
 * out in order on one stream; the instance answers with the number of items it
 * has taken.  Nobody waits for a peer here: one that cannot take an item now
 * (its stream has ended, its queue or its window is full, etcd does not name
 * it yet) is `behind`, and gets nothing more until the pushing thread has
 * resumed it with all of its pending items, the oldest first.  So a client
 * never sees a later message first, and a dead or frozen peer delays no other.
 *
 * On the pushing thread, except where said otherwise.
 */

#ifndef TASK_PEER_H
#define TASK_PEER_H

#include "task.h"

typedef struct task_peer_s  task_peer_t;

/* What a batch has for one peer. */
typedef struct {
    task_peer_t   *peer;       /* holds a reference */
    unsigned       due;        /* items */
    unsigned       handed;     /* of these, given to its stream */
    unsigned       stream;     /* number of that stream */
    unsigned       done:1;     /* was seen to be confirmed */
    uint64_t       sent;       /* confirmed when the peer has taken these */
} task_mark_t;

typedef enum {
    TASK_PEER_WAITS = 0,       /* for its stream, or for its answer */
    TASK_PEER_DONE,            /* the peer has taken all */
    TASK_PEER_GONE             /* there is no such instance */
} task_peer_state_t;

/* Subscribes; on the rpc thread. */
int task_peer_start(im_disc_t *disc);
/* Forgets all peers; after the runtime was destroyed. */
void task_peer_stop(void);

/* A reference, to be given back with task_peer_release.  A name that etcd does
 * not know, or not any more, is expected for a second; NULL: it is dead. */
task_peer_t *task_peer_find(const char *id, size_t len);
void task_peer_hold(task_peer_t *peer);
void task_peer_release(task_peer_t *peer);

/*
 * Appends an item of the mark's batch; the first one opens the stream.  IM_OK;
 * IM_AGAIN: not now, it comes with task_peer_resume.
 */
int task_peer_send(task_mark_t *mark, const Im__PushItem *item);
/* Ends the items of a batch. */
void task_peer_flush(task_peer_t *peer);
/* Before a batch is looked through for its peer once more: `handed` is what
 * need not be sent again.  Returns how many went out on an older stream. */
unsigned task_peer_rewind(task_mark_t *mark);

/* To be asked of all marks of a peer that was resumed: what was confirmed is
 * known of one stream back only. */
task_peer_state_t task_peer_state(task_mark_t *mark);
/* Opens streams that have ended anew, and returns a peer (a reference) that
 * can take what it is due.  NULL: there is none now. */
task_peer_t *task_peer_resume(void);
/* 1: a peer has had enough to do for a moment, or all have, and they do it:
 * nobody should get more now. */
int task_peer_lags(void);
/* Its pending items were dropped: it is notified, so that its clients sync. */
void task_peer_missed(task_peer_t *peer);
/* Sleeps until a peer has confirmed something or a stream has changed. */
void task_peer_wait(unsigned ms);

/* Known to etcd; any thread. */
unsigned task_peer_count(void);

#endif
