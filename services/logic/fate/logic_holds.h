/*
 * logic_holds.h -- who may still produce under a number.
 *
 * A number is held by the try that it was given to, and by each repeat that
 * got it early enough to produce under it again, in whichever Logic.  A
 * holder that was refused for good, and whose record is certainly not in the
 * log, releases it.  The last one to do so knows that the number is void.  One
 * that was confirmed, or that died, never releases.
 */

#ifndef LOGIC_HOLDS_H
#define LOGIC_HOLDS_H

#include "im_redis.h"

#define LOGIC_HOLDS_MAX  256       /* of one call */

typedef enum {
    LOGIC_HOLD_UNKNOWN = 0,        /* Redis does not (any more) know it */
    LOGIC_HOLD_OTHERS,             /* others hold it, and decide */
    LOGIC_HOLD_LAST                /* no repeat gets it any more: void */
} logic_hold_e;

typedef struct {
    unsigned         slot;
    unsigned char    field[16];    /* as in logic_seq_t */
    uint64_t         msg_id;       /* of the first try */
    uint64_t         id;           /* of this try; the first's own is msg_id */
    uint64_t         seq;          /* out, of LOGIC_HOLD_LAST */
    logic_hold_e     result;       /* out */
} logic_hold_t;

/* Releases up to LOGIC_HOLDS_MAX, in one pipeline; may be repeated.  IM_OK, or
 * IM_ERROR: Redis does not answer. */
int logic_holds_release(im_redis_t *redis, logic_hold_t *holds, size_t n);

#endif
