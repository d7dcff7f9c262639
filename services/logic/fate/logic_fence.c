/*
 * logic_fence.c -- see logic_fence.h.
 *
 * A fence is a record of the conversation IM_CONV_FENCE, which is nobody's.
 * im-task steps over it; one of an earlier version stores it as a message of a
 * room that nobody can be in.
 *
 * Not more than one of a partition is under way.  librdkafka sends it when the
 * broker is back, and gives it up after [kafka] delivery_ms like any other.
 *
 * The producer may be replaced between the decision to make one and its
 * production, so it carries whose it was to be: a report of another one's is
 * ignored.
 */

#include <pthread.h>
#include <string.h>

#include "logic_fence.h"
#include "logic_settle.h"


typedef struct {
    uint64_t         made;
    uint64_t         confirmed;    /* the number of the last that was */
    unsigned         under_way:1;
} fence_partition_t;


static pthread_mutex_t     fence_lock = PTHREAD_MUTEX_INITIALIZER;
static fence_partition_t   fence_parts[LOGIC_SETTLE_PARTITIONS];
static unsigned            fence_producer;
static logic_fence_pt      fence_produce;


void
logic_fence_register(logic_fence_pt produce)
{
    fence_produce = produce;
}


void
logic_fence_ticket(unsigned partition, logic_fence_t *fence)
{
    pthread_mutex_lock(&fence_lock);
    fence->producer = fence_producer;
    fence->partition = partition;
    fence->number = fence_parts[partition].made;
    pthread_mutex_unlock(&fence_lock);
}


int
logic_fence_passed(const logic_fence_t *fence)
{
    int                 rc, make;
    logic_fence_t       made;
    fence_partition_t  *part;

    rc = IM_AGAIN;
    make = 0;

    pthread_mutex_lock(&fence_lock);

    part = &fence_parts[fence->partition];

    if (fence->producer != fence_producer) {
        rc = IM_DECLINED;

    } else if (part->confirmed > fence->number) {
        rc = IM_OK;

    } else if (!part->under_way) {
        part->under_way = 1;
        made = *fence;
        made.number = ++part->made;
        make = 1;
    }

    pthread_mutex_unlock(&fence_lock);

    if (make && fence_produce(&made) != IM_OK) {
        logic_fence_on_report(&made, 0);
    }

    return rc;
}


void
logic_fence_on_report(const logic_fence_t *fence, int ok)
{
    fence_partition_t  *part;

    pthread_mutex_lock(&fence_lock);

    part = &fence_parts[fence->partition];

    if (fence->producer == fence_producer) {
        part->under_way = 0;
        part->confirmed = ok ? fence->number : part->confirmed;
    }

    pthread_mutex_unlock(&fence_lock);
}


void
logic_fence_on_replaced(void)
{
    pthread_mutex_lock(&fence_lock);
    memset(fence_parts, 0, sizeof(fence_parts));
    fence_producer++;
    pthread_mutex_unlock(&fence_lock);
}
