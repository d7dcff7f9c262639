/*
 * task_work.h -- "pushing" and "storing" in /readyz: not programs, but our own
 * work.
 *
 * A batch can stand still though all programs answer (a disk that is full, one
 * table that is locked), and that is what an operator must learn.
 */

#ifndef TASK_WORK_H
#define TASK_WORK_H

#include "task.h"

#define TASK_WORK_ERROR_MAX  256

int task_work_start_push(void);
int task_work_start_store(void);

/* The batch in hand cannot be pushed or stored, and why; NULL: it is done, or
 * somebody else's.  Any thread. */
void task_work_push(const char *error);
void task_work_store(const char *error);

#endif
