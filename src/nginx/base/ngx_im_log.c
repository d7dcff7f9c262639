/*
 * ngx_im_log.c -- lines of the error log that hold text of others.
 *
 * nginx writes what it is given: a name, an origin or a reason of a peer with
 * CR, LF or ESC in it would forge lines or act on a terminal.  So each of our
 * lines with a %s or %V of others is made here, and escaped as a whole
 * (core/im_text.h).  Lines that hold only numbers and our own words use
 * ngx_log_error().
 *
 * Runs on: event loop; ngx_im_log() also on the rpc thread, as nginx's own
 * pool threads log.
 */

#include "ngx_im.h"
#include "im_text.h"


#define NGX_IM_LOG_MAX  1024


void
ngx_im_log_error(ngx_uint_t level, ngx_log_t *log, const char *fmt, ...)
{
    u_char   *last;
    va_list   args;
    u_char    text[NGX_IM_LOG_MAX];
    char      line[NGX_IM_LOG_MAX + NGX_IM_LOG_MAX / 2];

    if (log->log_level < level) {
        return;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    (void) im_text_print(line, sizeof(line), (char *) text,
                         (size_t) (last - text));

    ngx_log_error(level, log, 0, "%s", line);
}


/* im_log_pt: what the lower rooms report. */
void
ngx_im_log(void *ctx, int level, const char *msg)
{
    /* syslog's levels and nginx's differ by one from "error" on */
    ngx_im_log_error((ngx_uint_t) (level + 1), ngx_cycle->log, "im: %s", msg);
}
