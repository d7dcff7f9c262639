/*
 * ngx_im_reports.h -- reports to Logic the users of a room in this worker.
 */

#ifndef NGX_IM_REPORTS_H
#define NGX_IM_REPORTS_H

#include "ngx_im_rooms.h"


void ngx_im_reports_changed(ngx_im_room_t *room, uint64_t uid);
/* Of Logic; ok is 0 if it was refused or not answered at all. */
void ngx_im_reports_on_answer(uint64_t room, uint64_t ref, ngx_uint_t ok);
/* Redis has lost all: everything is reported again. */
void ngx_im_reports_all(void);
/* Members may not know how many are there: Logic is asked, with a report. */
void ngx_im_reports_ask(ngx_im_room_t *room);
/* A link to a Logic has opened or ended: rooms whose owner it is or was ask. */
void ngx_im_reports_moved(void);
void ngx_im_reports_forget(ngx_im_room_t *room);

#endif
