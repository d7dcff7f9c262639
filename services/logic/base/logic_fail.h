/*
 * logic_fail.h -- refusals of requests.
 */

#ifndef LOGIC_FAIL_H
#define LOGIC_FAIL_H

#include "im_rpc.h"

/* Fails a request with a code of im_error.h and a sentence. */
void logic_fail(im_rpc_req_t *req, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what all instances lack, and a probe has logged: no reason for
 * the caller to leave this one alone. */
void logic_fail_shared(im_rpc_req_t *req, const char *code,
    const char *text);

#endif
