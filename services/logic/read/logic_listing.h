/*
 * logic_listing.h -- which conversations are on a page of a user's list.
 *
 * Functions of a pool's thread.
 */

#ifndef LOGIC_LISTING_H
#define LOGIC_LISTING_H

#include "im_check.h"
#include "im_slot.h"
#include "logic.pb-c.h"
#include "logic_pool.h"

#define LOGIC_LISTING_MAX  IM_CONVERSATIONS_MAX

typedef struct {
    im_conv_t      conv;
    uint64_t       id;                 /* orders the list, the highest first */
    uint64_t       read_seq;
    uint64_t       hidden_seq;
    unsigned       pinned:1;
    unsigned       muted:1;
    unsigned       own_known:1;
    uint64_t       own_above;          /* of a group: conf/schema/0004-lists */

    uint64_t       seq;                /* of its last message, 0: none */
    uint64_t       msg_id;
    uint64_t       run_seq;
    uint64_t       nth;
    uint64_t       nth_a;

    /* It, unless it is long, and the place of the one numbered read_seq. */
    Im__Message   *last;
    unsigned       read_known:1;
    uint64_t       read_run_seq;
    uint64_t       read_nth;
    uint64_t       read_nth_a;
} logic_listed_t;

typedef struct {
    uint64_t       uid;
    uint64_t       before;             /* this id */
    size_t         limit;
    unsigned       hidden:1;           /* those, too */

    unsigned       more:1;
    uint64_t       next;               /* if there are more: before that */
    uint64_t       cut;                /* below that, not all were looked at */
    unsigned       whole:1;            /* all rows of the user were seen */
    unsigned       many:1;             /* too many for that */
    size_t         n;
    logic_listed_t rows[LOGIC_LISTING_MAX + 1];
} logic_listing_t;

/* Lists of several users, 1 to LOGIC_CALLS_MAX, with their input set and all
 * else 0: reads those that are short in one statement, so that logic_listing()
 * need not ask.  IM_OK; IM_ERROR: MySQL. */
int logic_listing_begin(logic_db_t *db, logic_listing_t **lists, size_t n);
/* IM_OK; IM_AGAIN: a list of an earlier version is not put in order yet;
 * IM_ERROR: MySQL.  After all of them it is to be freed. */
int logic_listing(logic_db_t *db, logic_listing_t *l);
/* The messages in it; a caller that has taken one leaves NULL. */
void logic_listing_free(logic_listing_t *l);

#endif
