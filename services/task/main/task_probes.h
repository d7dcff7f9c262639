/*
 * task_probes.h -- what im-task needs for its roles, and whether it is there.
 */

#ifndef TASK_PROBES_H
#define TASK_PROBES_H

#include "task.h"

int task_probes_start(int pushes, int stores);
/* For the push role, once there is discovery. */
int task_probes_start_etcd(im_rpc_t *rpc, im_disc_t *disc);
/* Before what they look at is destroyed; also of what was half started. */
void task_probes_stop(void);
/* Until Redis and MySQL are up, as far as they are needed; IM_DONE: a signal
 * asks to stop.  Main thread. */
int task_probes_wait_stores(void);

/* Any thread. */
int task_probes_kafka_is_up(void);

#endif
