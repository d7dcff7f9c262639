/*
 * im_log.c -- one line for an event: time, level, a sentence.
 *
 * A line is written by one write(2), so lines of threads do not mix.  What
 * callers log may hold text of others: each line is cleaned here (im_text.h).
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "im_clock.h"
#include "im_log.h"
#include "im_text.h"


#define LOG_SELDOM_US  10000000


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
    size_t           n, len;
    char             text[1024], line[2048];
    va_list          args;
    ssize_t          rc;
    struct tm        tm;
    struct timespec  ts;

    if (level > log_level) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);

    n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t) snprintf(line + n, sizeof(line) - n, ".%03dZ %s ",
                           (int) (ts.tv_nsec / 1000000), log_names[level]);

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    len = strlen(text);
    n += im_text_print(line + n, sizeof(line) - n - 1, text, len);

    line[n++] = '\n';
    rc = write(STDERR_FILENO, line, n);
    (void) rc;                         /* nowhere to complain */
}


void
im_log_lower(void *ctx, int level, const char *msg)
{
    (void) ctx;
    im_log(level, "%s", msg);
}


void
im_log_seldom(im_log_seldom_t *s, int level, const char *fmt, ...)
{
    char      text[800];
    va_list   args;
    uint64_t  now, next;
    unsigned  left_out;

    now = im_mono_us();
    next = atomic_load(&s->next_us);

    if (now < next
        || !atomic_compare_exchange_strong(&s->next_us, &next,
                                           now + LOG_SELDOM_US))
    {
        atomic_fetch_add(&s->left_out, 1);
        return;
    }

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    left_out = atomic_exchange(&s->left_out, 0);

    if (left_out == 0) {
        im_log(level, "%s", text);

    } else {
        im_log(level, "%s (and %u more times before)", text, left_out);
    }
}
