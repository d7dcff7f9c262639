/*
 * task_conversations.h -- what a stored message changes in `conversations`.
 *
 * On the storing thread.
 */

#ifndef TASK_CONVERSATIONS_H
#define TASK_CONVERSATIONS_H

#include "task_tails.h"

/* For up to max rows at a time. */
int task_conversations_start(size_t max);
void task_conversations_stop(void);

/*
 * In the transaction that has inserted these rows: results as of im_mysql_run.
 * turns: their conversations, in order; rows that are done are left out.
 */
int task_conversations_write(im_mysql_t *mysql, const task_row_t *rows,
    size_t n, const task_turn_t *turns, size_t n_turns);
/* The same for a single row that was late. */
int task_conversations_late(im_mysql_t *mysql, const task_row_t *row);
/* Of a row that was there already: its conversation is there, too, then. */
int task_conversations_known(im_mysql_t *mysql, const task_row_t *row);

#endif
