/*
 * im_revoked.h -- sessions that were ended, kept as long as a token of them
 * could still be presented.
 */

#ifndef IM_REVOKED_H
#define IM_REVOKED_H

#include "im_core.h"

typedef struct im_revoked_s  im_revoked_t;

/* max: sessions, 1 at least; above it the oldest are dropped.  NULL: out of
 * memory. */
im_revoked_t *im_revoked_create(uint32_t max);
void im_revoked_destroy(im_revoked_t *r);

/*
 * Keeps sid until until_s, or longer if it was added with a later time.  IM_OK.
 * IM_BUSY: another session, with time left, was dropped for it.  IM_DECLINED:
 * not a session id.  IM_ERROR: out of memory.
 */
int im_revoked_add(im_revoked_t *r, const char *sid, uint64_t until_s,
    uint64_t now_s);
int im_revoked_has(const im_revoked_t *r, const char *sid, uint64_t now_s);

#endif
