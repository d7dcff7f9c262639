/*
 * logic_devices.h -- the connections of one user: what Redis holds of each,
 * and which of them may be there at the same time.
 */

#ifndef LOGIC_DEVICES_H
#define LOGIC_DEVICES_H

#include "im_core.h"
#include "im_keys.h"

typedef enum {
    LOGIC_DEVICES_ALL = 0,
    LOGIC_DEVICES_ONE_PER_CLASS,   /* class: the name up to the first '.' */
    LOGIC_DEVICES_ONE
} logic_devices_policy_t;

/* 1 unless its instance is gone, by etcd. */
int logic_route_alive(const im_keys_route_t *r);

/* IM_DECLINED: not a policy. */
int logic_devices_policy(const char *word, logic_devices_policy_t *policy);
/* 1 if a connection of this device makes one of the other end. */
int logic_devices_replaces(logic_devices_policy_t policy,
    const im_str_t *device, const im_str_t *other);

#endif
