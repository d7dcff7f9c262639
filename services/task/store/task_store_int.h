/*
 * task_store_int.h -- what the storing thread offers to the steps of a batch.
 */

#ifndef TASK_STORE_INT_H
#define TASK_STORE_INT_H

int task_store_is_stopping(void);

/*
 * The database is away or busy: serves the group for a while, which is longer
 * with each of *tries; error is why.  IM_OK: to be tried again; IM_DONE:
 * stopping; IM_DECLINED: the partitions have moved, the batch is somebody
 * else's.
 */
int task_store_again(unsigned *tries, const char *error);

#endif
