/*
 * task_conf.c -- see task_conf.h.
 *
 * Room: services.  Runs on: main thread, before any other exists.
 */

#include <stddef.h>
#include <string.h>

#include "im_timeouts.h"
#include "task_conf.h"


task_conf_t  task_conf;


#define KEY(section, key, type, field, value, min, max, doc)                  \
    { section, key, type, offsetof(task_conf_t, field), value, min, max, doc }

const im_conf_key_t  task_conf_keys[] = {
    KEY("task", "role", IM_CONF_STR, role, "all", 0, 0,
        "push, store or all; the option --role overrides it"),
    KEY("kafka", "dead_topic", IM_CONF_STR, dead_topic, "im.dead", 0, 0,
        "topic of the records that MySQL refuses for good"),
    KEY("kafka", "session_ms", IM_CONF_UINT, session_ms,
        IM_TIMEOUT_STR(IM_KAFKA_SESSION_MS), 1000, 60000,
        "a member of a consumer group that died is replaced after this long"),
    KEY("kafka", "poll_max_ms", IM_CONF_UINT, poll_max_ms,
        IM_TIMEOUT_STR(IM_KAFKA_POLL_MAX_MS), 2000, 600000,
        "a member that hangs is replaced after this long; at least "
        "session_ms"),
    KEY("push", "group", IM_CONF_STR, push_group, "im.push", 0, 0,
        "consumer group of all instances that push"),
    KEY("push", "batch", IM_CONF_UINT, push_batch, "500", 1, 10000,
        "records taken at a time"),
    KEY("push", "confirm_ms", IM_CONF_UINT, push_confirm_ms,
        "2000", 100, 20000,
        "longest wait for an nginx worker to confirm a batch; less than "
        "poll_max_ms"),
    KEY("store", "group", IM_CONF_STR, store_group, "im.store", 0, 0,
        "consumer group of all instances that store"),
    KEY("store", "batch", IM_CONF_UINT, store_batch, "1000", 1, 10000,
        "rows of one INSERT, at most"),
    KEY("store", "fill_ms", IM_CONF_UINT, store_fill_ms, "40", 0, 500,
        "longest wait of the broker for a fuller batch; 0: none"),
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};


const char *
task_conf_check(void *conf)
{
    const char   *role;
    task_conf_t  *c = conf;

    role = (c->option != NULL) ? c->option : c->role;

    if (strcmp(role, "push") != 0 && strcmp(role, "store") != 0
        && strcmp(role, "all") != 0)
    {
        return "the role is push, store or all";
    }

    if (c->poll_max_ms < c->session_ms) {
        return "[kafka] poll_max_ms is less than session_ms";
    }

    if (strcmp(role, "store") != 0 && c->push_confirm_ms >= c->poll_max_ms) {
        return "[push] confirm_ms is not less than [kafka] poll_max_ms: a "
               "member that waits for an instance would be replaced";
    }

    c->pushes = strcmp(role, "store") != 0;
    c->stores = strcmp(role, "push") != 0;

    return NULL;
}
