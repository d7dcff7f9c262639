/*
 * task_late.h -- a row that is not above its conversation's last one: it is
 * stored already, or it is late.
 *
 * On the storing thread.
 */

#ifndef TASK_LATE_H
#define TASK_LATE_H

#include "task_rows.h"

/*
 * *msg_id: of the message that has the row's place: its own, or another one's;
 * 0: the place was free, and the row is there now, with its conversation.
 * IM_OK, or as im_mysql_run, and to be called again.
 */
int task_late(im_mysql_t *mysql, task_row_t *row, uint64_t *msg_id);

#endif
