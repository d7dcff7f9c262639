/*
 * task_tails.h -- the last message of each conversation, and the places of the
 * next ones.
 *
 * On the storing thread.
 */

#ifndef TASK_TAILS_H
#define TASK_TAILS_H

#include "task_rows.h"

/* A key of `conversations` that is hot may be behind by this much. */
#define TASK_TAILS_LAG_MS  10000

typedef struct {
    uint64_t  conv_a;
    uint64_t  conv_b;
    uint64_t  seq;           /* of the last message, 0: there is none */
    uint64_t  run_seq;       /* its places, as in conf/schema/0003-runs.sql */
    uint32_t  nth;
    uint32_t  nth_a;
    uint64_t  moved_id;      /* last_id in `conversations`, at least; 0: not
                              * known */
    unsigned  hot:1;         /* as there */
} task_tail_t;

/* A conversation of a batch. */
typedef struct {
    task_tail_t  tail;       /* after the batch */
    uint64_t     last_id;    /* highest msg_id in the batch */
    unsigned     known:1;
    unsigned     moves:1;    /* its rows in `conversations` are to be moved */
    unsigned     hot:1;      /* and to become that */
} task_turn_t;

/* For up to max rows at a time. */
int task_tails_start(size_t max);
void task_tails_stop(void);

/*
 * Records that do not follow those of the call before were perhaps stored by
 * another member up to here: nothing that is remembered counts then.
 */
void task_tails_follow(const im_kafka_record_t *kafka, size_t n);
void task_tails_forget(void);

/*
 * Gives places to rows that are not done, which are in the order of
 * task_rows.h; a row that is not above its conversation's tail becomes late and
 * gets none.  *turns: the conversations of those that got one, *n_turns of
 * them, until the next call.  IM_OK, or as im_mysql_run.
 */
int task_tails_number(im_mysql_t *mysql, task_row_t *rows, size_t n,
    task_turn_t **turns, size_t *n_turns);
/* These rows are stored, and those of `conversations` moved. */
void task_tails_written(const task_turn_t *turns, size_t n);

/* The memory: bounded, exact keys.  NULL: not remembered. */
task_tail_t *task_tails_find(uint64_t conv_a, uint64_t conv_b);
void task_tails_put(const task_tail_t *tail);
void task_tails_drop(uint64_t conv_a, uint64_t conv_b);

/* Whether the key of a conversation has to be moved for a message; if so, *hot
 * is what its rows become. */
int task_tails_moves(const task_tail_t *tail, uint64_t msg_id,
    unsigned *hot);

#endif
