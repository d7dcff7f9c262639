/*
 * task.h -- im-task: what its two roles share.
 *
 *   push    Kafka -> the Connect instances of the recipients    task_push.c
 *   store   Kafka -> MySQL                                      task_store.c
 *
 * The roles are two consumer groups, each on a thread of its own; one process
 * may run either or both.  The rpc thread serves only push.
 */

#ifndef TASK_H
#define TASK_H

#include "im_clock.h"
#include "im_disc.h"
#include "im_kafka.h"
#include "im_log.h"
#include "im_mysql.h"
#include "im_redis.h"
#include "im_rpc.h"
#include "stream.pb-c.h"
#include "task_conf.h"

#endif
