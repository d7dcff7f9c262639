/*
 * task_conversations.h -- a row in `conversations` for each user of a direct
 * conversation, written with its first message.
 *
 * On the storing thread.
 */

#ifndef TASK_CONVERSATIONS_H
#define TASK_CONVERSATIONS_H

#include "task_rows.h"

/* For up to max rows at a time. */
int task_conversations_start(size_t max);
void task_conversations_stop(void);
/*
 * The rows of these messages' conversations, which are in the order of
 * task_rows.h, are there when it has returned IM_OK; else as im_mysql_insert,
 * and to be called again.
 */
int task_conversations_write(im_mysql_t *mysql, const task_row_t *rows,
    size_t n);

/* For tests: a bounded set of conversations, exact keys. */
typedef struct {
    uint64_t  conv_a;
    uint64_t  conv_b;
} task_known_t;

int task_known_has(uint64_t conv_a, uint64_t conv_b);
void task_known_add(uint64_t conv_a, uint64_t conv_b);

#endif
