/*
 * logic_devices.c -- see logic_devices.h.
 *
 * Pure decisions: logic_presence.c asks and notifies.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_alive.h"
#include "logic_devices.h"


static size_t devices_class(const im_str_t *device);


int
logic_route_alive(const im_keys_route_t *r)
{
    return logic_alive((const char *) r->instance.data, r->instance.len)
           != IM_DECLINED;
}


int
logic_devices_policy(const char *word, logic_devices_policy_t *policy)
{
    if (strcmp(word, "all") == 0) {
        *policy = LOGIC_DEVICES_ALL;

    } else if (strcmp(word, "one_per_class") == 0) {
        *policy = LOGIC_DEVICES_ONE_PER_CLASS;

    } else if (strcmp(word, "one") == 0) {
        *policy = LOGIC_DEVICES_ONE;

    } else {
        return IM_DECLINED;
    }

    return IM_OK;
}


int
logic_devices_replaces(logic_devices_policy_t policy, const im_str_t *device,
    const im_str_t *other)
{
    size_t  len;

    if (policy != LOGIC_DEVICES_ONE_PER_CLASS) {
        return policy == LOGIC_DEVICES_ONE;
    }

    len = devices_class(device);

    return len == devices_class(other)
           && memcmp(device->data, other->data, len) == 0;
}


static size_t
devices_class(const im_str_t *device)
{
    const unsigned char  *dot;

    dot = memchr(device->data, '.', device->len);

    return (dot != NULL) ? (size_t) (dot - device->data) : device->len;
}
