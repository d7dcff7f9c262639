/*
 * task_rows.h -- the records of a batch as rows of `messages`.
 */

#ifndef TASK_ROWS_H
#define TASK_ROWS_H

#include "im_record.h"
#include "task.h"

/* A row of `messages`, and the columns of its INSERT. */
#define TASK_ROWS_COLUMNS                                                     \
    "conv_a, conv_b, seq, msg_id, sender, time_ms, run_seq, nth, nth_a, "     \
    "cmid, body"
#define TASK_ROWS_MARKS      "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define TASK_ROWS_N_COLUMNS  11

typedef struct {
    im_record_t               message;    /* its texts are of kafka->value */
    const im_kafka_record_t  *kafka;      /* borrowed */

    /* task_tails.c: its place among the messages of its conversation */
    uint64_t                  run_seq;
    uint32_t                  nth;
    uint32_t                  nth_a;
    unsigned                  late:1;     /* not above all that is stored */
    unsigned                  done:1;     /* stored, by task_late.c */
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
/* v: room for the columns; texts are the record's own. */
void task_rows_values(const task_row_t *row, im_mysql_value_t *v);

#endif
