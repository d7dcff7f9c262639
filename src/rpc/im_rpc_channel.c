/*
 * im_rpc_channel.c -- connections: their limits of time, and what every call
 * on one says about whom it is meant for.
 *
 * Addresses are handed out again: the port of a process that died may be the
 * next one's.  So each call to a peer names the boot id that discovery knows,
 * and our protocol; a server that is another one refuses (im_rpc_req.c).
 * Certificates, and what a wire is: im_rpc_tls.c.
 *
 * Room: rpc.  Any thread.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_rpc_int.h"
#include "im_timeouts.h"


static im_rpc_channel_t *channel_open(im_rpc_t *rpc, const char *address,
    im_rpc_creds_t *creds, const char *name);
static im_rpc_wire_t *channel_wire_create(im_rpc_channel_t *ch);
static grpc_channel *channel_create(im_rpc_channel_t *ch);


im_rpc_channel_t *
im_rpc_channel_peer(im_rpc_t *rpc, const char *address, const char *boot,
    im_rpc_role_t role)
{
    const char        *name;
    im_rpc_channel_t  *ch;

    name = im_rpc_tls_name(rpc, role);

    if (rpc->tls && name == NULL) {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: %s is of no tier that is known",
                   address);
        return NULL;
    }

    atomic_fetch_add(&rpc->creds->refs, 1);
    ch = channel_open(rpc, address, rpc->creds, name);

    if (ch != NULL) {
        ch->peer = 1;
        snprintf(ch->boot, sizeof(ch->boot), "%s", boot ? boot : "");
    }

    return ch;
}


im_rpc_channel_t *
im_rpc_channel_stranger(im_rpc_t *rpc, const char *address,
    const im_rpc_tls_t *tls)
{
    im_rpc_creds_t  *creds;

    creds = im_rpc_creds_create(tls);
    if (creds == NULL) {
        return NULL;
    }

    return channel_open(rpc, address, creds, tls ? tls->name : NULL);
}


int
im_rpc_channel_set_tls(im_rpc_channel_t *ch, const im_rpc_tls_t *tls)
{
    return im_rpc_creds_set(ch->creds, tls);
}


/* Takes the reference to the credentials. */
static im_rpc_channel_t *
channel_open(im_rpc_t *rpc, const char *address, im_rpc_creds_t *creds,
    const char *name)
{
    const char        *scheme;
    im_rpc_channel_t  *ch;

    ch = calloc(1, sizeof(im_rpc_channel_t));
    if (ch == NULL) {
        im_rpc_creds_unref(creds);
        return NULL;
    }

    ch->rpc = rpc;
    ch->creds = creds;
    atomic_init(&ch->refs, 1);
    pthread_mutex_init(&ch->lock, NULL);

    /* an address of numbers must not wake the resolver's thread */

    scheme = "";

    if (address[strspn(address, "0123456789.:")] == '\0') {
        scheme = "ipv4:";

    } else if (address[0] == '[') {
        scheme = "ipv6:";
    }

    snprintf(ch->target, sizeof(ch->target), "%s%s", scheme, address);

    if (name != NULL) {
        ch->name = strdup(name);
    }

    ch->wire = (name == NULL || ch->name != NULL) ? channel_wire_create(ch)
                                                  : NULL;

    if (ch->wire == NULL) {
        im_rpc_channel_unref(ch);
        return NULL;
    }

    return ch;
}


static im_rpc_wire_t *
channel_wire_create(im_rpc_channel_t *ch)
{
    im_rpc_wire_t  *wire;

    wire = calloc(1, sizeof(im_rpc_wire_t));
    if (wire == NULL) {
        return NULL;
    }

    atomic_init(&wire->refs, 1);
    wire->channel = channel_create(ch);

    return wire;
}


static grpc_channel *
channel_create(im_rpc_channel_t *ch)
{
    im_rpc_t           *rpc = ch->rpc;
    grpc_channel       *channel;
    grpc_channel_args   args;

    grpc_arg  a[] = {
        { .type = GRPC_ARG_INTEGER, .key = "grpc.enable_http_proxy",
          .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.use_local_subchannel_pool",
          .value.integer = 1 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length",
          .value.integer = (int) rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_send_message_length",
          .value.integer = (int) rpc->conf.message_max },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_time_ms",
          .value.integer = IM_RPC_PING_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_timeout_ms",
          .value.integer = IM_RPC_PING_WAIT_MS },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.keepalive_permit_without_calls", .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER,
          .key = "grpc.http2.max_pings_without_data", .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.initial_reconnect_backoff_ms",
          .value.integer = IM_RPC_BACKOFF_MIN_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.min_reconnect_backoff_ms",
          .value.integer = IM_RPC_CONNECT_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.max_reconnect_backoff_ms",
          .value.integer = IM_RPC_BACKOFF_MAX_MS },
        { .type = GRPC_ARG_INTEGER, .key = "grpc.client_idle_timeout_ms",
          .value.integer = INT_MAX },
        { .type = GRPC_ARG_STRING, .key = "grpc.ssl_target_name_override",
          .value.string = ch->name },
    };

    args.num_args = sizeof(a) / sizeof(a[0]) - (ch->name == NULL);
    args.args = a;

    pthread_mutex_lock(&ch->creds->lock);

    channel = grpc_channel_create(ch->target, ch->creds->creds, &args);
    ch->version = atomic_load(&ch->creds->version);

    pthread_mutex_unlock(&ch->creds->lock);

    return channel;
}


im_rpc_wire_t *
im_rpc_channel_wire(im_rpc_channel_t *ch)
{
    im_rpc_wire_t  *wire, *old;

    old = NULL;

    pthread_mutex_lock(&ch->lock);

    if (ch->version != atomic_load(&ch->creds->version)) {
        wire = channel_wire_create(ch);

        if (wire != NULL) {
            old = ch->wire;
            ch->wire = wire;
        }
    }

    wire = ch->wire;
    atomic_fetch_add(&wire->refs, 1);

    pthread_mutex_unlock(&ch->lock);

    im_rpc_wire_unref(old);

    return wire;
}


void
im_rpc_wire_unref(im_rpc_wire_t *wire)
{
    if (wire != NULL && atomic_fetch_sub(&wire->refs, 1) == 1) {
        grpc_channel_destroy(wire->channel);
        free(wire);
    }
}


void
im_rpc_channel_unref(im_rpc_channel_t *ch)
{
    if (ch != NULL && atomic_fetch_sub(&ch->refs, 1) == 1) {
        im_rpc_wire_unref(ch->wire);
        im_rpc_creds_unref(ch->creds);
        pthread_mutex_destroy(&ch->lock);
        free(ch->name);
        free(ch);
    }
}


size_t
im_rpc_channel_metadata(im_rpc_channel_t *ch, const char *trace,
    grpc_metadata md[IM_RPC_METADATA_MAX])
{
    size_t  n, len;

    memset(md, 0, IM_RPC_METADATA_MAX * sizeof(grpc_metadata));

    if (!ch->peer) {
        /* etcd then ends a stream on a member that has lost its leader */
        md[0].key = grpc_slice_from_static_string(IM_RPC_MD_LEADER);
        md[0].value = grpc_slice_from_static_string("true");
        return 1;
    }

    n = 0;

    md[n].key = grpc_slice_from_static_string(IM_RPC_MD_PROTOCOL);
    md[n++].value = grpc_slice_from_static_string(
                        IM_RPC_STR(IM_RPC_PROTOCOL));

    if (ch->boot[0] != '\0') {
        md[n].key = grpc_slice_from_static_string(IM_RPC_MD_BOOT);
        md[n++].value = grpc_slice_from_copied_string(ch->boot);
    }

    if (trace != NULL && trace[0] != '\0') {
        len = strnlen(trace, IM_RPC_TRACE_MAX);
        md[n].key = grpc_slice_from_static_string(IM_RPC_MD_TRACE);
        md[n++].value = grpc_slice_from_copied_buffer(trace, len);
    }

    return n;
}


void
im_rpc_channel_metadata_free(grpc_metadata *md, size_t n)
{
    while (n > 0) {
        grpc_slice_unref(md[--n].value);
    }
}
