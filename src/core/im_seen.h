/*
 * im_seen.h -- which pushes have been delivered already, in bounded memory.
 */

#ifndef IM_SEEN_H
#define IM_SEEN_H

#include "im_core.h"

typedef struct im_seen_s  im_seen_t;

/* bytes is rounded down to a power of two; 64 at least.  NULL: no memory. */
im_seen_t *im_seen_create(size_t bytes);
void im_seen_destroy(im_seen_t *seen);

/*
 * Notes that a message is delivered now to all connections of a user that have
 * been opened so far; `opened` is the number of the last one.  IM_OK: for the
 * first time, or the table has forgotten it.  IM_DONE: again; connections up to
 * *upto have received it, only later ones have not (im_seen_is_later).
 */
int im_seen_note(im_seen_t *seen, uint64_t msg_id, uint64_t uid,
    uint32_t opened, uint32_t *upto);

/* Numbers wrap around: later by less than 2^31. */
static inline int
im_seen_is_later(uint32_t number, uint32_t than)
{
    return (int32_t) (number - than) > 0;
}

#endif
