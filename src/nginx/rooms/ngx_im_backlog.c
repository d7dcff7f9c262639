/*
 * ngx_im_backlog.c -- records of a room that may not be shown yet, in order.
 *
 * All backlogs of a worker together are bounded by as many bytes as the
 * messages that are being sent, im_ws_fanout_queue.  After a record that did
 * not fit none does, though there may be room again: what is left out then lies
 * behind all that is kept, and is one gap.
 */

#include "ngx_im_backlog.h"
#include "ngx_im_fanout.h"


#define NGX_IM_BACKLOG_OVERHEAD  256       /* counted for each record */


struct ngx_im_backlog_msg_s {
    ngx_im_backlog_msg_t  *next;
    Im__Record            *record;
    size_t                 size;
    uint32_t               upto;
    unsigned               repeat:1;
};


static void ngx_im_backlog_free_msg(ngx_im_backlog_msg_t *msg);


static size_t  ngx_im_backlog_max;
static size_t  ngx_im_backlog_bytes;


void
ngx_im_backlog_init(size_t bytes_max)
{
    ngx_im_backlog_max = bytes_max;
}


void
ngx_im_backlog_add(ngx_im_backlog_t *b, Im__Record *record, ngx_uint_t repeat,
    uint32_t upto)
{
    size_t                 size;
    ngx_im_backlog_msg_t  *msg;

    size = sizeof(ngx_im_backlog_msg_t) + NGX_IM_BACKLOG_OVERHEAD
           + record->body.len;

    msg = (b->gap || ngx_im_backlog_bytes + size > ngx_im_backlog_max)
          ? NULL : ngx_calloc(sizeof(ngx_im_backlog_msg_t), ngx_cycle->log);

    if (msg == NULL) {
        ngx_im_backlog_skip(b, record);
        return;
    }

    msg->record = record;
    msg->size = size;
    msg->repeat = repeat;
    msg->upto = upto;

    ngx_im_backlog_bytes += size;

    if (b->last == NULL) {
        b->first = msg;

    } else {
        b->last->next = msg;
    }

    b->last = msg;
}


void
ngx_im_backlog_skip(ngx_im_backlog_t *b, Im__Record *record)
{
    if (!b->gap) {
        b->gap = 1;
        b->gap_removals = record->removals;
    }

    im__record__free_unpacked(record, NULL);
}


uint64_t
ngx_im_backlog_removals(const ngx_im_backlog_t *b)
{
    return (b->first != NULL) ? b->first->record->removals : b->gap_removals;
}


void
ngx_im_backlog_send(ngx_im_backlog_t *b, im_topic_t *topic)
{
    ngx_im_backlog_msg_t  *msg;

    msg = b->first;
    b->first = msg->next;

    if (b->first == NULL) {
        b->last = NULL;
    }

    ngx_im_fanout_record(topic, msg->record, msg->repeat, msg->upto);

    msg->record = NULL;                /* the fan-out's now */
    ngx_im_backlog_free_msg(msg);
}


void
ngx_im_backlog_clear(ngx_im_backlog_t *b)
{
    ngx_im_backlog_msg_t  *msg;

    while (b->first != NULL) {
        msg = b->first;
        b->first = msg->next;
        ngx_im_backlog_free_msg(msg);
    }

    b->last = NULL;
    b->gap = 0;
}


static void
ngx_im_backlog_free_msg(ngx_im_backlog_msg_t *msg)
{
    ngx_im_backlog_bytes -= msg->size;

    im__record__free_unpacked(msg->record, NULL);
    ngx_free(msg);
}
