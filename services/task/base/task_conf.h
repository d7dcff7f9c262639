/*
 * task_conf.h -- the configuration of im-task.
 */

#ifndef TASK_CONF_H
#define TASK_CONF_H

#include "im_conf.h"

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
    /* not keys: */
    const char        *option;       /* --role, which overrides role */
    int                pushes;       /* what the role means; set by the check */
    int                stores;
} task_conf_t;

extern task_conf_t  task_conf;
extern const im_conf_key_t  task_conf_keys[];

/* Checks what a table cannot, and fills in pushes and stores: NULL, or a
 * sentence. */
const char *task_conf_check(void *conf);

#endif
