/*
 * logic_sync_int.h -- one request for sync, shared by the files of logic_sync.
 */

#ifndef LOGIC_SYNC_INT_H
#define LOGIC_SYNC_INT_H

#include "im_slot.h"
#include "logic_page.h"
#include "logic_settle.h"

typedef struct {
    const Im__Cursor  *cursor;
    im_conv_t          conv;
    uint64_t           counter;    /* last number that Redis gave, 0: none */
    uint64_t           head;       /* last number that is stored, 0: none */
    logic_page_t       page;
    const char        *error;      /* code: the cursor is refused */
    unsigned           read:1;     /* MySQL was asked */
    unsigned           settled:1;  /* and has all that was appended before */
    Im__Synced         out;
    Im__Void          *voids;
} logic_sync_item_t;

typedef struct {
    logic_db_t         *db;
    uint64_t            uid;
    size_t              limit;     /* messages of each conversation */
    size_t              bytes;     /* of all pages */
    uint64_t            start_ms;  /* of the request, by our clock */
    uint64_t            start_us;  /* monotonic */
    uint64_t            now_ms;    /* what gaps are judged by; 0: not asked */
    uint64_t            marked;    /* partitions whose end was sampled, */
    uint64_t            reached;   /* that are settled, */
    uint64_t            asked;     /* that were looked at in this round */
    unsigned            full:1;    /* no page takes more */
    unsigned            memory:1;  /* is out */
    size_t              n;
    logic_sync_item_t  *items;
    logic_settle_t      marks[LOGIC_SETTLE_PARTITIONS];
} logic_sync_t;

/* Numbers may be missing behind the page that have been acked. */
int logic_sync_lags(const logic_sync_item_t *item);
/* The first gap of the page is old enough to be void. */
int logic_sync_gap_old(logic_sync_t *sync, const logic_sync_item_t *item);
/* Fills item->out. */
int logic_sync_answer(logic_sync_t *sync, logic_sync_item_t *item);

#endif
