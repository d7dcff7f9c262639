/*
 * ngx_im_backlog.h -- what waits until it is known who was removed.
 */

#ifndef NGX_IM_BACKLOG_H
#define NGX_IM_BACKLOG_H

#include "ngx_im_ws.h"


typedef struct ngx_im_backlog_msg_s  ngx_im_backlog_msg_t;

typedef struct {
    ngx_im_backlog_msg_t  *first;      /* NULL: nothing is kept */
    ngx_im_backlog_msg_t  *last;
    uint64_t               gap_removals;   /* of the first one left out */
    unsigned               gap:1;      /* something was left out */
} ngx_im_backlog_t;

void ngx_im_backlog_init(size_t bytes_max);
/* Takes the record; repeat and upto are for ngx_im_fanout_record(). */
void ngx_im_backlog_add(ngx_im_backlog_t *b, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* Takes the record and leaves it out. */
void ngx_im_backlog_skip(ngx_im_backlog_t *b, Im__Record *record);
/* The number of removals that the oldest of them needs to be known. */
uint64_t ngx_im_backlog_removals(const ngx_im_backlog_t *b);
/* The oldest, which there is. */
void ngx_im_backlog_send(ngx_im_backlog_t *b, im_topic_t *topic);
/* Without sending, the gap included. */
void ngx_im_backlog_clear(ngx_im_backlog_t *b);

#endif
