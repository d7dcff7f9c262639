/*
 * im_log.c -- one line for an event: time, level, a sentence.
 *
 * A line is written by one write(2), so lines of threads do not mix.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "im_daemon.h"
#include "im_log.h"


static int  log_level = IM_LOG_NOTICE;


static const char  *log_names[] = {
    "", "", "", "err", "warn", "notice", "info", "debug"
};


int
im_log_set_level(const char *name)
{
    int  i;

    for (i = IM_LOG_ERR; i <= IM_LOG_DEBUG; i++) {
        if (strcmp(log_names[i], name) == 0) {
            log_level = i;
            return IM_OK;
        }
    }

    return IM_ERROR;
}


void
im_log(int level, const char *fmt, ...)
{
    int              n;
    char             line[1024];
    va_list          args;
    ssize_t          rc;
    struct tm        tm;
    struct timespec  ts;

    if (level > log_level) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);

    n = (int) strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += snprintf(line + n, sizeof(line) - (size_t) n, ".%03dZ %s ",
                  (int) (ts.tv_nsec / 1000000), log_names[level]);

    va_start(args, fmt);
    n += vsnprintf(line + n, sizeof(line) - (size_t) n - 1, fmt, args);
    va_end(args);

    if (n > (int) sizeof(line) - 2) {
        n = (int) sizeof(line) - 2;
    }

    line[n++] = '\n';
    rc = write(STDERR_FILENO, line, (size_t) n);
    (void) rc;                         /* nowhere to complain */
}


void
im_log_lower(void *ctx, int level, const char *msg)
{
    (void) ctx;
    im_log(level, "%s", msg);
}


void
im_dependency_down(im_dependency_t *d, const char *why)
{
    if (!d->down) {
        d->down = 1;
        im_log(IM_LOG_WARN, "%s: %s; waiting for it", d->name, why);
    }
}


void
im_dependency_up(im_dependency_t *d)
{
    if (d->down) {
        d->down = 0;
        im_log(IM_LOG_NOTICE, "%s: is back", d->name);
    }
}
