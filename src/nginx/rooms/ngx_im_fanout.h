/*
 * ngx_im_fanout.h -- one message to all who are in a topic, in turns.
 */

#ifndef NGX_IM_FANOUT_H
#define NGX_IM_FANOUT_H

#include "ngx_im_rooms.h"


void ngx_im_fanout_init(size_t queue_max);
/* Takes the record, which has been unpacked.  repeat: only to connections
 * later than upto. */
void ngx_im_fanout_record(im_topic_t *topic, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* Messages were left out: all members get sync_needed. */
void ngx_im_fanout_gap(ngx_im_room_t *room);
/* Of the moment: a slow reader gets sync_needed instead.  IM_BUSY: too much
 * waits, it is not sent. */
int ngx_im_fanout_event(im_topic_t *topic, const Im__Frame *frame);
/* Without sending. */
void ngx_im_fanout_free(ngx_im_room_t *room);

#endif
