/*
 * logic_fence.h -- nothing that we gave up can come into a partition any more.
 *
 * Kafka appends the records of one producer to a partition in the order in
 * which the producer numbered them, and refuses one that comes behind a later
 * one.  So a record of no meaning is produced after a message was given up, a
 * fence: once it is confirmed, the message is in the log below it, or never
 * will be.  That holds for a request that a frozen broker finds in its socket
 * when it goes on, and for one that waits for a follower.
 */

#ifndef LOGIC_FENCE_H
#define LOGIC_FENCE_H

#include "im_core.h"

typedef struct {
    unsigned         producer;     /* which of our producers */
    unsigned         partition;
    uint64_t         number;       /* of a ticket: the last fence before */
} logic_fence_t;

/* Before the first ticket: makes one record for logic_fence_on_report(), with a
 * copy of fence.  Any thread; it must not wait. */
typedef int (*logic_fence_pt)(const logic_fence_t *fence);
void logic_fence_register(logic_fence_pt produce);

/* A ticket of now, for what was given up before.  Any thread. */
void logic_fence_ticket(unsigned partition, logic_fence_t *fence);
/*
 * IM_OK: a later fence was confirmed.  IM_AGAIN: not yet; one is under way from
 * now on.  IM_DECLINED: the producer has been replaced, and another one's
 * fences mean nothing.  One thread.
 */
int logic_fence_passed(const logic_fence_t *fence);

/* How one ended, with what was given to make it (report thread); a producer was
 * replaced, after all its reports have come. */
void logic_fence_on_report(const logic_fence_t *fence, int ok);
void logic_fence_on_replaced(void);

#endif
