/*
 * unit_core.h -- unit_talk.h by the C core, for tests whose own side is another
 * implementation.
 */

#ifndef UNIT_CORE_H
#define UNIT_CORE_H

#include "unit_talk.h"

im_rpc_t *core_create(const im_rpc_tls_t *tls);
void core_destroy(im_rpc_t *rpc);
const char *core_boot(im_rpc_t *rpc);
im_rpc_server_t *core_serve(im_rpc_t *rpc, char address[32],
    talk_server_t *t);
void core_drain(im_rpc_server_t *server, unsigned grace_ms,
    void (*done)(void *ctx), void *ctx);
im_rpc_channel_t *core_channel(im_rpc_t *rpc, const char *address,
    const char *boot);
void core_unref(im_rpc_channel_t *ch);
im_rpc_call_t *core_call(im_rpc_channel_t *ch, talk_outcome_t *o,
    const char *trace, unsigned timeout_ms);
im_rpc_stream_t *core_open(im_rpc_channel_t *ch, talk_outcome_t *o);
unsigned core_say(im_rpc_stream_t *s, unsigned from, unsigned to, size_t len);
void core_close(im_rpc_stream_t *s);
void core_cancel(im_rpc_stream_t *s);

#endif
