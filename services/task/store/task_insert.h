/*
 * task_insert.h -- rows into MySQL.
 *
 * On the storing thread, except task_insert_stats.
 */

#ifndef TASK_INSERT_H
#define TASK_INSERT_H

#include "task_rows.h"

/* For up to max rows at a time. */
int task_insert_start(size_t max);
void task_insert_stop(void);

/* Stores rows that are in the order of task_rows.h; those that MySQL refuses,
 * and those whose place is taken, are dead letters then.  IM_OK, or as
 * task_store_again(). */
int task_insert(task_row_t *rows, size_t n);

/* *stored: rows that were new; *known: rows that were there already. */
void task_insert_stats(uint64_t *stored, uint64_t *known);

#endif
