/*
 * im_rpc_channel.c -- connections: their limits of time, TLS, and what every
 * call on one says about whom it is meant for.
 *
 * Addresses are handed out again: the port of a process that died may be the
 * next one's.  So each call to a peer names the boot id that discovery knows,
 * and our protocol; a server that is another one refuses (im_rpc_server.c).
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
    grpc_channel_credentials *creds, const char *name);
static grpc_channel_credentials *channel_creds(const im_rpc_tls_t *tls);


im_rpc_channel_t *
im_rpc_channel_peer(im_rpc_t *rpc, const char *address, const char *boot)
{
    im_rpc_channel_t  *ch;

    ch = channel_open(rpc, address, rpc->creds, rpc->conf.tls.name);

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
    im_rpc_channel_t          *ch;
    grpc_channel_credentials  *creds;

    creds = channel_creds(tls);
    if (creds == NULL) {
        return NULL;
    }

    ch = channel_open(rpc, address, creds, tls ? tls->name : NULL);
    grpc_channel_credentials_release(creds);

    return ch;
}


static im_rpc_channel_t *
channel_open(im_rpc_t *rpc, const char *address,
    grpc_channel_credentials *creds, const char *name)
{
    char                target[300];
    const char         *scheme;
    grpc_channel_args   args;
    im_rpc_channel_t   *ch;

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
          .value.string = (char *) name },
    };

    ch = calloc(1, sizeof(im_rpc_channel_t));
    if (ch == NULL) {
        return NULL;
    }

    /* an address of numbers must not wake the resolver's thread */

    scheme = "";

    if (address[strspn(address, "0123456789.:")] == '\0') {
        scheme = "ipv4:";

    } else if (address[0] == '[') {
        scheme = "ipv6:";
    }

    snprintf(target, sizeof(target), "%s%s", scheme, address);

    args.num_args = sizeof(a) / sizeof(a[0]) - (name == NULL);
    args.args = a;

    ch->channel = grpc_channel_create(target, creds, &args);
    ch->rpc = rpc;
    atomic_init(&ch->refs, 1);

    return ch;
}


void
im_rpc_channel_unref(im_rpc_channel_t *ch)
{
    if (ch != NULL && atomic_fetch_sub(&ch->refs, 1) == 1) {
        grpc_channel_destroy(ch->channel);
        free(ch);
    }
}


void
im_rpc_channel_kick(im_rpc_channel_t *ch)
{
    grpc_channel_reset_connect_backoff(ch->channel);
}


size_t
im_rpc_channel_metadata(im_rpc_channel_t *ch, const char *trace,
    grpc_metadata md[IM_RPC_METADATA_MAX])
{
    size_t  n, len;

    memset(md, 0, IM_RPC_METADATA_MAX * sizeof(grpc_metadata));

    if (!ch->peer) {
        /* etcd then ends a stream on a member that has lost its leader */
        md[0].key = grpc_slice_from_static_string("hasleader");
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


/* Credentials of the runtime, for its channels to peers and its servers. */
int
im_rpc_creds_init(im_rpc_t *rpc)
{
    im_rpc_tls_t               *tls = &rpc->conf.tls;
    grpc_ssl_pem_key_cert_pair  pair;

    if (tls->ca == NULL) {
        rpc->creds = grpc_insecure_credentials_create();
        rpc->server_creds = grpc_insecure_server_credentials_create();
        return IM_OK;
    }

    if (tls->cert == NULL || tls->key == NULL) {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: TLS between the tiers needs a "
                   "certificate and its key");
        return IM_ERROR;
    }

    pair.cert_chain = tls->cert;
    pair.private_key = tls->key;

    rpc->creds = channel_creds(tls);
    rpc->server_creds = grpc_ssl_server_credentials_create_ex(tls->ca, &pair,
        1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);

    if (rpc->creds == NULL || rpc->server_creds == NULL) {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: the TLS text is not usable");
        return IM_ERROR;
    }

    /* they have copies; the caller may overwrite his */
    tls->ca = tls->cert = tls->key = NULL;

    return IM_OK;
}


void
im_rpc_creds_free(im_rpc_t *rpc)
{
    if (rpc->creds != NULL) {
        grpc_channel_credentials_release(rpc->creds);
    }

    if (rpc->server_creds != NULL) {
        grpc_server_credentials_release(rpc->server_creds);
    }
}


/* A stranger may ask for no certificate: cert and key may be missing. */
static grpc_channel_credentials *
channel_creds(const im_rpc_tls_t *tls)
{
    grpc_ssl_pem_key_cert_pair  pair;

    if (tls == NULL || tls->ca == NULL) {
        return grpc_insecure_credentials_create();
    }

    pair.cert_chain = tls->cert;
    pair.private_key = tls->key;

    return grpc_ssl_credentials_create(tls->ca, tls->cert ? &pair : NULL,
                                       NULL, NULL);
}
