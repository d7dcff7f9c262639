/*
 * ngx_im_users.c -- uid -> the user's connections in this worker.
 *
 * Open addressing with linear probing and backward-shift deletion (Knuth,
 * TAOCP 6.4, algorithm R): no tombstones, so a table that saw a million log-ins
 * is as fast as a new one.  An entry is 16 bytes; the connections of one user
 * are chained through their own structs.  At most 3/4 full, doubled in one
 * step (a table of 64k entries: under a millisecond).
 */

#include "ngx_im_users.h"


typedef struct {
    uint64_t      uid;
    ngx_im_ws_t  *first;       /* NULL: the entry is free */
} ngx_im_users_entry_t;


static ngx_im_users_entry_t *ngx_im_users_slot(uint64_t uid);
static int ngx_im_users_grow(void);


static ngx_im_users_entry_t  *ngx_im_users;
static size_t                 ngx_im_users_mask;
static size_t                 ngx_im_users_count;
static ngx_uint_t             ngx_im_users_wraps;   /* entries moved round */

uint32_t                      ngx_im_users_opened;


static ngx_inline size_t
ngx_im_users_hash(uint64_t uid)
{
    /* Fibonacci hashing: uids are dense, their products are not */
    return (size_t) ((uid * 0x9e3779b97f4a7c15ULL) >> 20) & ngx_im_users_mask;
}


ngx_im_ws_t *
ngx_im_users_find(uint64_t uid)
{
    if (ngx_im_users == NULL) {
        return NULL;
    }

    return ngx_im_users_slot(uid)->first;
}


int
ngx_im_users_add(ngx_im_ws_t *ws)
{
    ngx_im_users_entry_t  *e;

    if (ngx_im_users == NULL
        || (ngx_im_users_count + 1) * 4 > (ngx_im_users_mask + 1) * 3)
    {
        if (ngx_im_users_grow() != IM_OK) {
            return IM_ERROR;
        }
    }

    e = ngx_im_users_slot(ws->sub.uid);

    if (e->first == NULL) {
        e->uid = ws->sub.uid;
        ngx_im_users_count++;
    }

    ws->opened = ++ngx_im_users_opened;
    ws->user_next = e->first;
    e->first = ws;

    return IM_OK;
}


void
ngx_im_users_remove(ngx_im_ws_t *ws)
{
    size_t                  hole, i, home;
    ngx_im_ws_t           **p;
    ngx_im_users_entry_t   *e;

    e = ngx_im_users_slot(ws->sub.uid);

    for (p = &e->first; *p != NULL; p = &(*p)->user_next) {
        if (*p == ws) {
            *p = ws->user_next;
            break;
        }
    }

    if (e->first != NULL) {
        return;
    }

    ngx_im_users_count--;
    hole = e - ngx_im_users;

    for (i = (hole + 1) & ngx_im_users_mask;
         ngx_im_users[i].first != NULL;
         i = (i + 1) & ngx_im_users_mask)
    {
        home = ngx_im_users_hash(ngx_im_users[i].uid);

        /* an entry may move back only if its home is not behind the hole */
        if (((i - home) & ngx_im_users_mask)
            >= ((i - hole) & ngx_im_users_mask))
        {
            ngx_im_users_wraps += (i < hole);
            ngx_im_users[hole] = ngx_im_users[i];
            ngx_im_users[i].first = NULL;
            hole = i;
        }
    }
}


/*
 * From the end of the table to its begin: a removal moves entries that way, so
 * none escapes; the few that move round the end, and a table that has grown,
 * start the walk again.
 */
ngx_int_t
ngx_im_users_walk(ngx_im_users_walk_t *w, ngx_uint_t max,
    int (*fn)(ngx_im_ws_t *ws))
{
    ngx_im_ws_t  *ws;

    if (ngx_im_users == NULL) {
        return NGX_OK;
    }

    if (w->size != ngx_im_users_mask + 1 || w->wraps != ngx_im_users_wraps) {
        w->size = ngx_im_users_mask + 1;
        w->wraps = ngx_im_users_wraps;
        w->left = w->size;
    }

    while (w->left > 0) {
        for (ws = ngx_im_users[w->left - 1].first; ws != NULL;
             ws = ws->user_next)
        {
            if (fn(ws) == IM_BUSY) {
                return NGX_AGAIN;
            }

            max -= (max > 0);
        }

        w->left--;

        if (max == 0) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* The entry of uid, or the free one where it belongs. */
static ngx_im_users_entry_t *
ngx_im_users_slot(uint64_t uid)
{
    size_t  i;

    i = ngx_im_users_hash(uid);

    while (ngx_im_users[i].first != NULL && ngx_im_users[i].uid != uid) {
        i = (i + 1) & ngx_im_users_mask;
    }

    return &ngx_im_users[i];
}


static int
ngx_im_users_grow(void)
{
    size_t                 i, n;
    ngx_im_users_entry_t  *old, *e;

    old = ngx_im_users;
    n = (old == NULL) ? 0 : ngx_im_users_mask + 1;

    e = ngx_calloc((n ? n * 2 : 1024) * sizeof(ngx_im_users_entry_t),
                   ngx_cycle->log);
    if (e == NULL) {
        return IM_ERROR;
    }

    ngx_im_users = e;
    ngx_im_users_mask = (n ? n * 2 : 1024) - 1;

    for (i = 0; i < n; i++) {
        if (old[i].first != NULL) {
            *ngx_im_users_slot(old[i].uid) = old[i];
        }
    }

    ngx_free(old);

    return IM_OK;
}


void
ngx_im_users_free(void)
{
    ngx_free(ngx_im_users);
    ngx_im_users = NULL;
    ngx_im_users_count = 0;
}
