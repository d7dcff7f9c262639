/*
 * ngx_im_removals.h -- nothing for who was removed meanwhile.
 */

#ifndef NGX_IM_REMOVALS_H
#define NGX_IM_REMOVALS_H

#include "ngx_im_rooms.h"


ngx_int_t ngx_im_removals_init(void);
/* As ngx_im_fanout_record(), once it is known who has been removed. */
void ngx_im_removals_record(im_topic_t *topic, Im__Record *record,
    ngx_uint_t repeat, uint32_t upto);
/* A removal that has been carried out here has this number. */
void ngx_im_removals_told(ngx_im_room_t *room, uint64_t number);
/* Without sending what is held. */
void ngx_im_removals_drop(ngx_im_room_t *room);

#endif
