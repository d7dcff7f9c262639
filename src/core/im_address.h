/*
 * im_address.h -- checks the form of addresses in a configuration.
 *
 * Names are not resolved: a resolver blocks, and a name that is unknown today
 * may exist tomorrow.
 */

#ifndef IM_ADDRESS_H
#define IM_ADDRESS_H

#include "im_core.h"

#define IM_ADDRESS_REASON_MAX  256     /* enough for any reason, with NUL */
#define IM_ADDRESS_HOST_MAX    255     /* bytes of a host */

/*
 * IM_OK, or IM_ERROR and a sentence in reason.
 *
 * A host: a name, an IPv4 address, or an IPv6 address in brackets.  A list:
 * one to max of "host:port", with commas or spaces between.
 */
int im_address_check_host(const char *host, char *reason, size_t size);
int im_address_check_list(const char *list, unsigned max, char *reason,
    size_t size);

/*
 * The parts of one "host:port", as a resolver wants them: an IPv6 address
 * without its brackets.  IM_ERROR, and a sentence in reason, if it is none.
 */
int im_address_split(const char *address, char host[IM_ADDRESS_HOST_MAX + 1],
    unsigned *port, char *reason, size_t size);

#endif
