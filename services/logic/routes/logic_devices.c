/*
 * logic_devices.c -- see logic_devices.h.
 *
 * Pure decisions: who asks and who is told is in logic_presence.c.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_alive.h"
#include "logic_devices.h"


static int devices_word(im_str_t *word, const char **p, const char *end);
static size_t devices_class(const im_str_t *device);


int
logic_route_parse(logic_route_t *r, const char *value, size_t len)
{
    size_t       i;
    im_str_t     since;
    const char  *p, *end;

    p = value;
    end = value + len;

    memset(r, 0, sizeof(*r));

    if (devices_word(&r->instance, &p, end) != IM_OK
        || devices_word(&r->sid, &p, end) != IM_OK
        || devices_word(&r->device, &p, end) != IM_OK)
    {
        return IM_DECLINED;
    }

    if (devices_word(&since, &p, end) != IM_OK || since.len > 15) {
        return IM_OK;                  /* of an older Logic */
    }

    for (i = 0; i < since.len; i++) {
        if (since.data[i] < '0' || since.data[i] > '9') {
            r->since_ms = 0;
            return IM_OK;
        }

        r->since_ms = r->since_ms * 10 + (uint64_t) (since.data[i] - '0');
    }

    return IM_OK;
}


/* The next word; p moves behind the blank that ends it. */
static int
devices_word(im_str_t *word, const char **p, const char *end)
{
    const char  *blank;

    blank = memchr(*p, ' ', (size_t) (end - *p));
    if (blank == NULL) {
        blank = end;
    }

    if (blank == *p) {
        return IM_DECLINED;
    }

    word->data = (unsigned char *) *p;
    word->len = (size_t) (blank - *p);
    *p = (blank < end) ? blank + 1 : end;

    return IM_OK;
}


int
logic_route_alive(const logic_route_t *r)
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
