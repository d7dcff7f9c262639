/*
 * im_instance.c -- see im_instance.h.
 *
 * The random part tells a process from an earlier one with the same pid.
 *
 * Room: services.  Any thread.
 */

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "im_clock.h"
#include "im_instance.h"
#include "im_text.h"


void
im_instance_name(char *out, size_t size)
{
    char      host[64];
    char     *p;
    uint32_t  r;

    if (gethostname(host, sizeof(host)) != 0) {
        snprintf(host, sizeof(host), "host");
    }

    host[sizeof(host) - 1] = '\0';

    for (p = host; *p; p++) {
        if (!im_text_is_name(p, 1)) {
            *p = '-';
        }
    }

    if (getrandom(&r, sizeof(r), 0) != sizeof(r)) {
        r = (uint32_t) im_mono_us();
    }

    snprintf(out, size, "%s-%d-%08x", host, (int) getpid(), r);
}
