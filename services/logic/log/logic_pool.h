/*
 * logic_pool.h -- a few threads for calls that block.
 */

#ifndef LOGIC_POOL_H
#define LOGIC_POOL_H

#include <sys/queue.h>

#include "logic_db.h"
#include "logic_settle.h"

typedef struct logic_parked_s  logic_parked_t;

logic_pool_t *logic_pool_create(const char *name, unsigned threads,
    unsigned queue_max);
int logic_pool_start(logic_pool_t *pool);
/* Any thread, from create to destroy.  A full queue answers "busy" at once, a
 * pool that was stopped "unavailable". */
void logic_pool_run(logic_pool_t *pool, logic_job_pt job, im_rpc_req_t *req,
    const ProtobufCMessage *in);
/*
 * From a job that can answer several calls at once: those of the same job that
 * wait, as many as are a share for each thread.  The first one, calls[0], is
 * the caller's.  How many there are with it, 1 to LOGIC_CALLS_MAX.
 */
size_t logic_pool_share(logic_db_t *db, logic_job_pt job, logic_call_t *calls);
/* Such a job asks before each call for which it blocks.  0: nobody waits for it
 * any more, or the pool stops; the call has been refused. */
int logic_pool_goes_on(logic_db_t *db, im_rpc_req_t *req);

/* A request that waits for the store and has no thread meanwhile: in memory
 * that it owns. */
struct logic_parked_s {
    logic_wait_t     wait;         /* first; partitions and until_us are set */
    im_rpc_req_t    *req;
    /* n of them go on, as a job, 1 to LOGIC_CALLS_MAX: what each waited for is
     * reached, or it is too late. */
    void           (*resume)(logic_db_t *db, logic_parked_t **parked,
                             size_t n);
    /* Frees it: the pool has refused req, and never resumes it. */
    void           (*drop)(logic_parked_t *parked);

    logic_pool_t    *pool;         /* the pool's */
    TAILQ_ENTRY(logic_parked_s)  link;
};

/*
 * From a job of the pool, which then returns at once: parked may be gone
 * already.  IM_AGAIN: resume or drop will be called.  IM_BUSY: as many are
 * parked as the queue takes, or the pool stops; the job goes on, unsettled.
 */
int logic_pool_park(logic_db_t *db, logic_parked_t *parked);

/* Lets the calls that run end, or what they ask now if they are one of several
 * of a job; refuses those that wait, joins. */
void logic_pool_stop(logic_pool_t *pool);
/* When nobody calls any more; takes NULL. */
void logic_pool_destroy(logic_pool_t *pool);

#endif
