/*
 * logic_fail.c -- see logic_fail.h.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "im_error.h"
#include "im_log.h"
#include "logic_fail.h"
#include "logic_probes.h"


void
logic_fail(im_rpc_req_t *req, const char *code, const char *fmt, ...)
{
    int                n;
    char               text[400];
    va_list            args;
    const im_error_t  *e;

    e = im_error_find(code, strlen(code));
    n = snprintf(text, sizeof(text), "%s: ", e->code);

    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t) n, fmt, args);
    va_end(args);

    if (e->http >= 500) {
        im_log(IM_LOG_WARN, "a call fails, trace %s: %s",
               im_rpc_req_trace(req), text);
    }

    im_rpc_fail(req, e->grpc, text,
                im_error_retry_ms(e, logic_probes_away_ms()));
}


/* The breaker of a caller counts UNAVAILABLE, and would keep it away for
 * seconds after all is well; the code in the text stays the same. */
void
logic_fail_shared(im_rpc_req_t *req, const char *code, const char *text)
{
    char               line[400];
    const im_error_t  *e;

    e = im_error_find(code, strlen(code));
    snprintf(line, sizeof(line), "%s: %s", e->code, text);

    im_rpc_fail(req, IM_RPC_RESOURCE_EXHAUSTED, line,
                im_error_retry_ms(e, logic_probes_away_ms()));
}
