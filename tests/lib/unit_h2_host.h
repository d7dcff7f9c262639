/*
 * unit_h2_host.h -- a server of src/h2 for one test, on the loop of unit_h2.h,
 * and raw peers (unit_h2_raw.h) that call it.
 */

#ifndef UNIT_H2_HOST_H
#define UNIT_H2_HOST_H

#include "unit_h2_raw.h"
#include "unit_talk.h"

static talk_server_t     server;
static talk_outcome_t    o;
static im_rpc_t         *rpc;
static im_rpc_server_t  *listening;
static unsigned          lines;
static char              line[1024];


static inline void
on_log(void *ctx, int level, const char *msg)
{
    (void) ctx;
    (void) level;

    lines++;
    snprintf(line, sizeof(line), "%s", msg);
}


static inline int
begin(void **state)
{
    char           address[32];
    im_rpc_conf_t  conf;

    (void) state;

    memset(&server, 0, sizeof(server));
    memset(&conf, 0, sizeof(conf));
    conf.message_max = 1 << 20;
    conf.log = on_log;
    lines = 0;

    rpc = h2_create(&conf);
    assert_non_null(rpc);
    listening = talk_serve(rpc, address, &server);

    return 0;
}


static inline int
end(void **state)
{
    (void) state;

    raw_end();
    im_rpc_destroy(rpc);
    assert_null(h2_timers);

    return 0;
}


/* A caller of a server of ours. */
static inline void
caller(void)
{
    raw_connect(im_rpc_server_port(listening));
    raw_hello();
}


static const char *const  exchange[] = {
    ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Exchange",
    ":authority", "x", "te", "trailers", "content-type", "application/grpc",
    NULL
};

static const char *const  ticket[] = {
    ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
    ":authority", "x", "te", "trailers", "content-type",
    "application/grpc+proto", NULL
};


/* Others do not notice. */
static inline void
others_are_served(void)
{
    char               address[32];
    im_rpc_channel_t  *ch;

    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(listening));
    ch = im_rpc_channel_peer(rpc, address, im_rpc_boot(rpc), IM_RPC_LOGIC);
    (void) talk_call(ch, &o, NULL, 4000);
    H2_WITHIN(RAW_WAIT_MS, atomic_load(&o.done));
    assert_int_equal(o.code, IM_RPC_OK);
    im_rpc_channel_unref(ch);
}

#endif
