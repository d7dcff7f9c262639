/*
 * im_revoked.c -- see im_revoked.h.
 *
 * A ring in the order of arrival, which is nearly that of expiry, with hash
 * chains through it.  The ring grows while there is something to keep, up to
 * the maximum; then the oldest entry makes room.  A worker of a quiet site
 * holds a few kilobytes.
 *
 * Room: core.
 */

#include <stdlib.h>
#include <string.h>

#include "im_hash128.h"
#include "im_revoked.h"


#define REVOKED_MIN   64
#define REVOKED_NONE  UINT32_MAX


typedef struct {
    uint64_t         until_s;
    uint32_t         next;             /* in its bucket */
    char             sid[IM_SID_LEN];
} revoked_entry_t;

struct im_revoked_s {
    uint32_t         max;
    uint32_t         cap;              /* of ring; buckets are as many */
    uint32_t         first;            /* the oldest */
    uint32_t         n;
    revoked_entry_t *ring;
    uint32_t        *heads;
};


static int revoked_grow(im_revoked_t *r);
static void revoked_pop(im_revoked_t *r);
static void revoked_push(im_revoked_t *r, const char *sid, uint64_t until_s);
static revoked_entry_t *revoked_find(const im_revoked_t *r, const char *sid);
static uint32_t revoked_bucket(const im_revoked_t *r, const char *sid);


im_revoked_t *
im_revoked_create(uint32_t max)
{
    im_revoked_t  *r;

    r = calloc(1, sizeof(im_revoked_t));

    if (r != NULL) {
        r->max = max;
    }

    return r;
}


void
im_revoked_destroy(im_revoked_t *r)
{
    if (r != NULL) {
        free(r->ring);
        free(r->heads);
        free(r);
    }
}


int
im_revoked_add(im_revoked_t *r, const char *sid, uint64_t until_s,
    uint64_t now_s)
{
    int               rc;
    revoked_entry_t  *e;

    if (strlen(sid) != IM_SID_LEN) {
        return IM_DECLINED;
    }

    e = revoked_find(r, sid);

    if (e != NULL) {
        e->until_s = (until_s > e->until_s) ? until_s : e->until_s;
        return IM_OK;
    }

    while (r->n > 0 && r->ring[r->first].until_s <= now_s) {
        revoked_pop(r);
    }

    rc = IM_OK;

    if (r->n == r->cap && r->cap < r->max) {
        if (revoked_grow(r) != IM_OK && r->n == 0) {
            return IM_ERROR;
        }
    }

    if (r->n == r->cap) {
        revoked_pop(r);
        rc = IM_BUSY;
    }

    revoked_push(r, sid, until_s);

    return rc;
}


/* All entries move to a larger ring: some 2 ms for 100,000. */
static int
revoked_grow(im_revoked_t *r)
{
    uint32_t       i;
    im_revoked_t   more;

    more = *r;
    more.first = 0;
    more.n = 0;
    more.cap = r->cap ? r->cap * 2 : REVOKED_MIN;

    if (more.cap > r->max) {
        more.cap = r->max;
    }

    more.ring = malloc(more.cap * sizeof(revoked_entry_t));
    more.heads = malloc(more.cap * sizeof(uint32_t));

    if (more.ring == NULL || more.heads == NULL) {
        free(more.ring);
        free(more.heads);
        return IM_ERROR;
    }

    memset(more.heads, 0xff, more.cap * sizeof(uint32_t));

    for (i = 0; i < r->n; i++) {
        revoked_push(&more, r->ring[(r->first + i) % r->cap].sid,
                     r->ring[(r->first + i) % r->cap].until_s);
    }

    free(r->ring);
    free(r->heads);
    *r = more;

    return IM_OK;
}


static void
revoked_pop(im_revoked_t *r)
{
    uint32_t  *p;

    p = &r->heads[revoked_bucket(r, r->ring[r->first].sid)];

    while (*p != r->first) {
        p = &r->ring[*p].next;
    }

    *p = r->ring[r->first].next;
    r->first = (r->first + 1) % r->cap;
    r->n--;
}


static void
revoked_push(im_revoked_t *r, const char *sid, uint64_t until_s)
{
    uint32_t          at, b;
    revoked_entry_t  *e;

    at = (r->first + r->n) % r->cap;
    e = &r->ring[at];

    memcpy(e->sid, sid, IM_SID_LEN);
    e->until_s = until_s;

    b = revoked_bucket(r, sid);
    e->next = r->heads[b];
    r->heads[b] = at;
    r->n++;
}


int
im_revoked_has(const im_revoked_t *r, const char *sid, uint64_t now_s)
{
    revoked_entry_t  *e;

    if (strlen(sid) != IM_SID_LEN) {
        return 0;
    }

    e = revoked_find(r, sid);

    return e != NULL && e->until_s > now_s;
}


static revoked_entry_t *
revoked_find(const im_revoked_t *r, const char *sid)
{
    uint32_t  i;

    if (r->n == 0) {
        return NULL;
    }

    for (i = r->heads[revoked_bucket(r, sid)];
         i != REVOKED_NONE;
         i = r->ring[i].next)
    {
        if (memcmp(r->ring[i].sid, sid, IM_SID_LEN) == 0) {
            return &r->ring[i];
        }
    }

    return NULL;
}


static uint32_t
revoked_bucket(const im_revoked_t *r, const char *sid)
{
    uint64_t       h;
    unsigned char  hash[16];

    im_hash128(sid, IM_SID_LEN, hash);
    memcpy(&h, hash, sizeof(h));

    return (uint32_t) (h % r->cap);
}
