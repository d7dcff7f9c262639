/*
 * task_rows.h -- the records of a batch as rows of `messages`.
 */

#ifndef TASK_ROWS_H
#define TASK_ROWS_H

#include "task.h"

typedef struct {
    Im__Record               *message;
    const im_kafka_record_t  *kafka;      /* borrowed */
} task_row_t;

typedef struct {
    size_t   n;              /* rows to insert: in front, one for each place */
    size_t   all;            /* with the repeats behind them */
    size_t   known;          /* repeats with the same msg_id */
} task_rows_t;

/*
 * Parses n records into rows, which has room for them, sorts by primary key
 * and folds.  What is no message and what takes another's place is a dead
 * letter afterwards.
 */
void task_rows_init(task_rows_t *r, task_row_t *rows,
    const im_kafka_record_t *kafka, size_t n);
void task_rows_free(task_rows_t *r, task_row_t *rows);

#endif
