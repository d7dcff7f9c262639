/*
 * logic_devices.h -- the connections of one user: what Redis holds of each,
 * and which of them may be there at the same time.
 */

#ifndef LOGIC_DEVICES_H
#define LOGIC_DEVICES_H

#include "im_core.h"

typedef enum {
    LOGIC_DEVICES_ALL = 0,
    LOGIC_DEVICES_ONE_PER_CLASS,   /* class: the name up to the first '.' */
    LOGIC_DEVICES_ONE
} logic_devices_policy_t;

/* A value of im:u:{uid}: "<instance> <sid> <device> <since_ms>". */
typedef struct {
    im_str_t       instance;
    im_str_t       sid;
    im_str_t       device;
    uint64_t       since_ms;       /* 0: not told */
} logic_route_t;

/* IM_DECLINED: it is none.  The parts point into the value. */
int logic_route_parse(logic_route_t *r, const char *value, size_t len);
/* 1 unless etcd says that its instance is gone. */
int logic_route_alive(const logic_route_t *r);

/* IM_DECLINED: not a policy. */
int logic_devices_policy(const char *word, logic_devices_policy_t *policy);
/* 1 if a connection of this device makes one of the other end. */
int logic_devices_replaces(logic_devices_policy_t policy,
    const im_str_t *device, const im_str_t *other);

#endif
