/*
 * im_revoked.h -- sessions that were ended, for as long as a token of them
 * could still be shown.
 */

#ifndef IM_REVOKED_H
#define IM_REVOKED_H

#include "im_core.h"

typedef struct im_revoked_s  im_revoked_t;

/* max: sessions, 1 at least; more, and the oldest are forgotten.  NULL: out of
 * memory. */
im_revoked_t *im_revoked_create(uint32_t max);
void im_revoked_destroy(im_revoked_t *r);

/*
 * Until then (seconds), or longer if it is known for longer.  IM_OK.
 * IM_BUSY: one that had time left was forgotten for it.  IM_DECLINED: not a
 * session id.  IM_ERROR: out of memory.
 */
int im_revoked_add(im_revoked_t *r, const char *sid, uint64_t until_s,
    uint64_t now_s);
int im_revoked_has(const im_revoked_t *r, const char *sid, uint64_t now_s);

#endif
