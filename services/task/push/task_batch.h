/*
 * task_batch.h -- records that were taken from Kafka together, and what of them
 * each Connect instance has to get.
 *
 * On the pushing thread, except where said otherwise.
 */

#ifndef TASK_BATCH_H
#define TASK_BATCH_H

#include "task_peer.h"
#include "task_route.h"

/* A record, as far as routing needs it. */
typedef struct {
    uint64_t             users[2];
    unsigned             n_users;  /* 0: malformed, or no recipient */
    uint64_t             room;     /* instead of users; 0: none */
    uint64_t             from_conn;
} task_record_t;

typedef struct task_batch_s  task_batch_t;

struct task_batch_s {
    task_batch_t        *next;
    im_kafka_record_t   *kafka;
    task_record_t       *records;
    size_t               n;
    size_t               size;     /* there is room for so many */
    size_t               bytes;    /* of all values */
    task_routes_t        routes;
    task_mark_t         *marks;    /* one for each peer; each holds it */
    unsigned             n_marks;
    unsigned             marks_size;
    uint64_t             until_us; /* then it is given up */
};

/* Takes n records over.  NULL: out of memory, they are the caller's still. */
task_batch_t *task_batch_get(const im_kafka_record_t *records, size_t n);
/* Everything of it goes. */
void task_batch_put(task_batch_t *b);

/* To all; its routes are known. */
void task_batch_send(task_batch_t *b);
/* The rest of what one peer is due.  IM_AGAIN: later. */
int task_batch_again(task_batch_t *b, task_mark_t *mark);
/* A peer does not get what it is due. */
void task_batch_give_up(task_mark_t *mark);

/* Items; any thread. */
void task_batch_stats(uint64_t *pushed, uint64_t *repeated,
    uint64_t *dropped);
void task_batch_stop(void);

#endif
