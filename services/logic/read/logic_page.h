/*
 * logic_page.h -- stored messages on their way from MySQL into a reply.
 */

#ifndef LOGIC_PAGE_H
#define LOGIC_PAGE_H

#include "im_check.h"
#include "im_slot.h"
#include "logic.pb-c.h"
#include "logic_pool.h"

#define LOGIC_PAGE_LIMIT      50           /* messages, if nobody says */
#define LOGIC_PAGE_LIMIT_MAX  IM_PAGE_MAX
#define LOGIC_PAGE_BYTES_MAX  (128 * 1024) /* of a reply; see logic_page.c */
#define LOGIC_PAGE_MESSAGE    128          /* a message without its body */

/* What a statement of a page selects, in this order. */
#define LOGIC_PAGE_COLUMNS    "seq, msg_id, sender, time_ms, cmid, body"
#define LOGIC_PAGE_N_COLUMNS  6

typedef struct {
    im_conv_t        conv;
    Im__Message    **messages;
    size_t           n;
    size_t           limit;
    size_t           bytes;
    size_t           bytes_max;
    size_t           first_max;    /* for the first message */
    unsigned         more:1;       /* a row did not fit */
    unsigned         failed:1;     /* out of memory */
} logic_page_t;

int logic_page_create(logic_page_t *page, const im_conv_t *conv,
    size_t limit, size_t bytes_max);
void logic_page_free(logic_page_t *page);
/* Runs a statement whose LIMIT is limit + 1.  IM_ERROR: MySQL has failed, or
 * the memory is out (page->failed). */
int logic_page_read(logic_db_t *db, const char *sql,
    const im_mysql_value_t *v, size_t n, logic_page_t *page);
/* For a statement that reads more than this page: adds a row.  IM_DONE: the
 * page takes no more, for good. */
int logic_page_row(logic_page_t *page, const im_mysql_value_t *v);
/* Forgets the messages from the n-th on. */
void logic_page_cut(logic_page_t *page, size_t n);

/* A row of LOGIC_PAGE_COLUMNS; one allocation, free() ends it. */
Im__Message *logic_page_message(const im_conv_t *conv,
    const im_mysql_value_t *v);
size_t logic_page_cost(const Im__Message *m);

/* Whether a request names a conversation: NULL, or the code of a refusal. */
const char *logic_page_named(int has_with, uint64_t with, int has_room,
    const char **text);
/*
 * The conversation that is named, if uid may read it: IM_OK, or the request has
 * been answered.
 */
int logic_page_conversation(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    int has_with, uint64_t with, int has_room, uint64_t room,
    im_conv_t *conv);

/* Fails with what logic_page_read has not got. */
void logic_page_failed(logic_db_t *db, im_rpc_req_t *req, int memory);

#endif
