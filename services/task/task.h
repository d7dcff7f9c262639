/*
 * task.h -- im-task: configuration and what its two roles share.
 *
 *   push    Kafka -> the Connect instances of the recipients    task_push.c
 *   store   Kafka -> MySQL                                      task_store.c
 *
 * The roles are two consumer groups, each on a thread of its own; one process
 * may run either or both.  The rpc thread serves only push.
 */

#ifndef TASK_H
#define TASK_H

#include "im_daemon.h"
#include "im_disc.h"
#include "im_kafka.h"
#include "im_mysql.h"
#include "im_redis.h"
#include "im_rpc.h"
#include "stream.pb-c.h"

typedef struct {
    im_daemon_conf_t   common;
    char              *role;
    char              *dead_topic;
    unsigned           session_ms;
    unsigned           poll_max_ms;
    char              *push_group;
    unsigned           push_batch;
    unsigned           push_confirm_ms;
    char              *store_group;
    unsigned           store_batch;
    unsigned           store_fill_ms;
} task_conf_t;

extern task_conf_t  task_conf;

#endif
