/*
 * im_address.c -- see im_address.h.
 *
 * Room: core.
 */

#include <stdio.h>
#include <string.h>

#include "im_address.h"


static int address_take(const char *s, size_t len, im_str_t *part,
    unsigned *number, char *reason, size_t size);
static int address_check_text(const char *s, size_t len, char *reason,
    size_t size);


int
im_address_check_host(const char *host, char *reason, size_t size)
{
    return address_check_text(host, strlen(host), reason, size);
}


int
im_address_check_list(const char *list, unsigned max, char *reason,
    size_t size)
{
    size_t    len;
    im_str_t  part;
    unsigned  n, port;

    n = 0;

    for ( ;; ) {
        list += strspn(list, ", ");
        len = strcspn(list, ", ");

        if (len == 0) {
            break;
        }

        if (++n > max) {
            snprintf(reason, size, "there are more than %u addresses", max);
            return IM_ERROR;
        }

        if (address_take(list, len, &part, &port, reason, size) != IM_OK) {
            return IM_ERROR;
        }

        list += len;
    }

    if (n == 0) {
        snprintf(reason, size, "there is no address");
        return IM_ERROR;
    }

    return IM_OK;
}


int
im_address_split(const char *address, char host[IM_ADDRESS_HOST_MAX + 1],
    unsigned *port, char *reason, size_t size)
{
    size_t    len, skip;
    im_str_t  part;

    len = strlen(address);

    if (address_take(address, len, &part, port, reason, size) != IM_OK) {
        return IM_ERROR;
    }

    skip = (part.data[0] == '[');

    memcpy(host, part.data + skip, part.len - 2 * skip);
    host[part.len - 2 * skip] = '\0';

    return IM_OK;
}


/* Takes host:port apart; the host is part of s. */
static int
address_take(const char *s, size_t len, im_str_t *part, unsigned *number,
    char *reason, size_t size)
{
    size_t    i, host;
    unsigned  port;

    for (i = 0; i + 2 < len; i++) {
        if (strncmp(s + i, "://", 3) == 0) {
            snprintf(reason, size, "\"%.*s\": host:port is wanted, without a "
                     "scheme", (int) len, s);
            return IM_ERROR;
        }
    }

    host = len;

    while (host > 0 && s[host - 1] != ':' && s[host - 1] != ']') {
        host--;
    }

    if (host == 0 || s[host - 1] != ':') {
        snprintf(reason, size, "\"%.*s\" has no port", (int) len, s);
        return IM_ERROR;
    }

    port = 0;

    for (i = host; i < len && s[i] >= '0' && s[i] <= '9' && port < 65536; i++)
    {
        port = port * 10 + (unsigned) (s[i] - '0');
    }

    if (i != len || port == 0 || port > 65535) {
        snprintf(reason, size, "\"%.*s\": the port is not in 1-65535",
                 (int) len, s);
        return IM_ERROR;
    }

    part->data = (unsigned char *) s;
    part->len = host - 1;
    *number = port;

    return address_check_text(s, host - 1, reason, size);
}


static int
address_check_text(const char *s, size_t len, char *reason, size_t size)
{
    size_t       i;
    const char  *allowed;

    if (len == 0 || len > IM_ADDRESS_HOST_MAX) {
        snprintf(reason, size, "a host has 1 to %d bytes",
                 IM_ADDRESS_HOST_MAX);
        return IM_ERROR;
    }

    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
              ".-_";
    i = 0;

    if (s[0] == '[') {
        allowed = "0123456789abcdefABCDEF:.";
        i = 1;

        if (len < 4 || s[len - 1] != ']') {
            i = len + 1;               /* nothing is right in it */
        }

        len--;
    }

    while (i < len && strchr(allowed, s[i]) != NULL) {
        i++;
    }

    if (i != len) {
        snprintf(reason, size, "\"%.*s\" is not a host name, an IPv4 address "
                 "or an [IPv6 address]", (int) len + (s[0] == '['), s);
        return IM_ERROR;
    }

    return IM_OK;
}
