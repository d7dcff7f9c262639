/*
 * im_crash.h -- a process that dies at a chosen line, for tests.
 *
 * A promise about a crash between two steps needs a test of that crash.  A
 * build with IM_CRASH_POINTS (make CRASH=1 BUILD=build/crash daemons) ends as
 * `kill -9` would, without writing buffers or running destructors, at the point
 * that the environment names:
 *
 *     IM_CRASH_AT=store.inserted        the first time that it is reached
 *     IM_CRASH_AT=store.inserted:3      the third time
 *
 * In every other build a point generates no code.
 */

#ifndef IM_CRASH_H
#define IM_CRASH_H

#ifdef IM_CRASH_POINTS

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IM_CRASH_STATUS  137       /* as a shell reports kill -9 */

#define IM_CRASH_POINT(name)                                                  \
    do {                                                                      \
        static atomic_ulong  im_crash_times;                                  \
                                                                              \
        im_crash_at(name, &im_crash_times);                                   \
    } while (0)


/* Any thread: the environment of a daemon never changes. */
static inline void
im_crash_at(const char *name, atomic_ulong *times)
{
    size_t          len;
    const char     *at;
    unsigned long   nth;

    at = getenv("IM_CRASH_AT");
    len = strlen(name);

    if (at == NULL || strncmp(at, name, len) != 0
        || (at[len] != '\0' && at[len] != ':'))
    {
        return;
    }

    nth = (at[len] == ':') ? strtoul(at + len + 1, NULL, 10) : 1;

    if (atomic_fetch_add(times, 1) + 1 == nth) {
        _exit(IM_CRASH_STATUS);
    }
}

#else

#define IM_CRASH_POINT(name)  do { } while (0)

#endif

#endif
