/*
 * logic_sync_int.h -- one request for sync, shared by the files of logic_sync.
 */

#ifndef LOGIC_SYNC_INT_H
#define LOGIC_SYNC_INT_H

#include "im_slot.h"
#include "logic_page.h"
#include "logic_voids.h"

#define LOGIC_SYNC_CURSORS_MAX  IM_CURSORS_MAX
#define LOGIC_SYNC_VOIDS_MAX    1024   /* ranges read for a page */

/* A range that the answer names. */
typedef struct {
    Im__Void           out;
    unsigned           proven:1;   /* by us: to be written down */
} logic_sync_void_t;

typedef struct {
    const Im__Cursor  *cursor;
    im_conv_t          conv;
    uint64_t           counter;    /* last number that Redis gave, 0: none */
    uint64_t           head;       /* last number that is stored, 0: none */
    uint64_t           void_top;   /* last one that is written down as void */
    logic_page_t       page;
    logic_void_t      *known;      /* written down, above the cursor */
    size_t             n_known;
    const char        *error;      /* code: the cursor is refused */
    unsigned           read:1;     /* MySQL is asked */
    unsigned           settled:1;  /* before MySQL was asked, the log was */

    /* what logic_sync_judge() makes of it */
    unsigned           judged:1;
    unsigned           pending:1;
    unsigned           cut:1;      /* what was read above a gap is left out */
    unsigned           lags:1;     /* rows may still come, that were acked */
    unsigned           waits:1;    /* a settled log would decide more */
    Im__Synced         out;
    logic_sync_void_t *voids;
} logic_sync_item_t;

typedef struct {
    logic_parked_t          parked;    /* first */
    logic_db_t             *db;        /* of the thread that it is on */
    const Im__SyncRequest  *request;
    uint64_t                uid;
    size_t                  limit;     /* messages of each conversation */
    uint64_t                start_ms;  /* of the request, by our clock */
    uint64_t                start_us;  /* monotonic */
    uint64_t                until_us;  /* then the answer is given */
    uint64_t                now_ms;    /* what gaps are judged by; 0: unknown */
    unsigned                look_ms;   /* until the next look */
    int                     first;     /* look: what came of it, or IM_AGAIN */
    unsigned                memory:1;  /* is out */
    size_t                  n;
    logic_sync_item_t      *items;
} logic_sync_t;

/* Queues the question for the counters of Redis.  IM_OK, IM_ERROR. */
int logic_sync_ask(logic_sync_t *sync);
/* Takes the replies, first that of logic_sessions_check_append(); asks nothing.
 * IM_OK, or it has been answered. */
int logic_sync_begin(logic_sync_t *sync);
/* 1: it names rooms. */
int logic_sync_has_rooms(const logic_sync_t *sync);
/* Which of them may not be read.  IM_OK; IM_ERROR: MySQL, and it has been
 * answered. */
int logic_sync_rooms(logic_sync_t *sync);

/* logic_sync_whole.c.  IM_OK: one conversation was to be read, and all up to
 * its counter is in its page; IM_DECLINED: more has to be asked; IM_ERROR. */
int logic_sync_whole(logic_sync_t *sync);
/* The same for several, 1 to LOGIC_CALLS_MAX: sets `first` of those that can
 * share a statement.  IM_OK; IM_ERROR: MySQL. */
int logic_sync_whole_many(logic_db_t *db, logic_sync_t **syncs, size_t n);
/* What MySQL has above the cursors: how far, then pages of those that are not
 * judged.  IM_OK, IM_ERROR. */
int logic_sync_heads(logic_sync_t *sync);
int logic_sync_pages(logic_sync_t *sync);
/* The page of an item: up to `part` bytes, the first message up to `room`. */
int logic_sync_page(logic_sync_t *sync, logic_sync_item_t *item, size_t part,
    size_t room);
/* Frees the pages and what was made of them. */
void logic_sync_forget(logic_sync_item_t *item);

/* Rows above what is stored may be missing that have been acked.  Before its
 * page is read. */
int logic_sync_lags(const logic_sync_item_t *item);
/* Fills item->out and says whether to wait.  IM_OK; IM_ERROR: memory. */
int logic_sync_judge(logic_sync_t *sync, logic_sync_item_t *item);
/* The voids that were proven: the next reader need not wait for a settled
 * log. */
void logic_sync_write_down(const logic_sync_t *sync);
/* When the answer is given, whatever is not known by then; monotonic us.  The
 * items have their heads, and may be judged already. */
uint64_t logic_sync_until(const logic_sync_t *sync);

#endif
