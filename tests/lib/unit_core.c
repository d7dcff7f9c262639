/*
 * unit_core.c -- see unit_core.h.
 */

#include "unit_core.h"


im_rpc_t *
core_create(const im_rpc_tls_t *tls)
{
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    memset(&conf, 0, sizeof(conf));

    if (tls != NULL) {
        conf.tls = *tls;
    }

    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    return rpc;
}


void
core_destroy(im_rpc_t *rpc)
{
    assert_int_equal(im_rpc_destroy(rpc), IM_OK);
}


const char *
core_boot(im_rpc_t *rpc)
{
    return im_rpc_boot(rpc);
}


im_rpc_server_t *
core_serve(im_rpc_t *rpc, char address[32], talk_server_t *t)
{
    return talk_serve(rpc, address, t);
}


void
core_drain(im_rpc_server_t *server, unsigned grace_ms,
    void (*done)(void *ctx), void *ctx)
{
    im_rpc_server_drain(server, grace_ms, done, ctx);
}


im_rpc_channel_t *
core_channel(im_rpc_t *rpc, const char *address, const char *boot)
{
    return im_rpc_channel_peer(rpc, address, boot, IM_RPC_LOGIC);
}


void
core_unref(im_rpc_channel_t *ch)
{
    im_rpc_channel_unref(ch);
}


im_rpc_call_t *
core_call(im_rpc_channel_t *ch, talk_outcome_t *o, const char *trace,
    unsigned timeout_ms)
{
    return talk_call(ch, o, trace, timeout_ms);
}


im_rpc_stream_t *
core_open(im_rpc_channel_t *ch, talk_outcome_t *o)
{
    return talk_open(ch, o);
}


unsigned
core_say(im_rpc_stream_t *s, unsigned from, unsigned to, size_t len)
{
    return talk_say(s, from, to, len);
}


void
core_close(im_rpc_stream_t *s)
{
    im_rpc_stream_close(s);
}


void
core_cancel(im_rpc_stream_t *s)
{
    im_rpc_stream_cancel(s);
}
