/*
 * im_instance.h -- the name of this process among all instances.
 */

#ifndef IM_INSTANCE_H
#define IM_INSTANCE_H

#include <stddef.h>

/* "<host>-<pid>-<8 hex>", unique for each start; NUL-terminated. */
void im_instance_name(char *out, size_t size);

#endif
