/*
 * im_rpc_tls.c -- certificates: who we are to others, who others are to us,
 * and what happens when the files change.
 *
 * A certificate says by its DNS names of which tier a process is:
 * nginx.<name>, logic.<name>, task.<name>.  It may carry several of them.  The
 * side that dials asks for the name of the tier that it wants, the core
 * compares; the side that is dialled looks the caller's names up for each call
 * (im_rpc_req.c), since the core checks the authority only.  Names are
 * compared as they are: a wildcard stands for no tier.
 *
 * New certificates are for new connections.  A server asks for them at each
 * handshake and is told whether there are others than it has.  A channel has
 * its credentials for good, so ours holds a "wire", a channel of the core,
 * which is replaced before the first call or stream that finds other
 * credentials; what runs on the old wire keeps it until it ends, so no stream
 * is dropped:
 *
 *   set ---> version 2        call ---> channel: version 1?  --yes--> new wire
 *                                          |                            |
 *      streams of before ---> old wire     +---------- no -------> same wire
 *
 * Not chosen: the core's file watcher, which reads files every second, as the
 * user of a worker, and checks nothing; nor to destroy the old channel at
 * once, whose calls the core may then fail.
 *
 * Room: rpc.  Any thread; a server asks on threads of the core.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "im_rpc_int.h"


/* What a server was given last. */
struct im_rpc_fetch_s {
    im_rpc_t        *rpc;
    unsigned         version;          /* 0: nothing yet */
    im_rpc_fetch_t  *next;
};


static grpc_channel_credentials *tls_channel_creds(const im_rpc_tls_t *tls);
static int tls_keep(im_rpc_t *rpc, const im_rpc_tls_t *tls);
static void tls_forget(im_rpc_t *rpc);
static grpc_ssl_certificate_config_reload_status tls_on_fetch(void *data,
    grpc_ssl_server_certificate_config **config);


/* Of the runtime: for its channels to peers and its servers. */
int
im_rpc_tls_init(im_rpc_t *rpc)
{
    const im_rpc_tls_t  *tls = &rpc->conf.tls;

    pthread_mutex_init(&rpc->tls_lock, NULL);

    if (tls->ca != NULL
        && (tls->cert == NULL || tls->key == NULL
            || im_rpc_tiers_init(&rpc->tiers, tls->name) != IM_OK))
    {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: TLS between the tiers needs a "
                   "certificate, its key and a name of 1 to %d bytes",
                   IM_RPC_NAME_MAX);
        return IM_ERROR;
    }

    rpc->creds = im_rpc_creds_create(tls);

    if (rpc->creds == NULL
        || (tls->ca != NULL && tls_keep(rpc, tls) != IM_OK))
    {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: the TLS text is not usable");
        return IM_ERROR;
    }

    rpc->tls = (tls->ca != NULL);

    /* there are copies; the caller may overwrite his */
    memset(&rpc->conf.tls, 0, sizeof(im_rpc_tls_t));

    return IM_OK;
}


/* When no thread of the core can ask any more. */
void
im_rpc_tls_free(im_rpc_t *rpc)
{
    im_rpc_fetch_t  *f;

    while (rpc->fetches != NULL) {
        f = rpc->fetches;
        rpc->fetches = f->next;
        free(f);
    }

    tls_forget(rpc);
    pthread_mutex_destroy(&rpc->tls_lock);
}


int
im_rpc_set_tls(im_rpc_t *rpc, const im_rpc_tls_t *tls)
{
    if (!rpc->tls || tls->ca == NULL || tls->cert == NULL || tls->key == NULL)
    {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: TLS cannot be switched on or off "
                   "while we run");
        return IM_ERROR;
    }

    if (tls_keep(rpc, tls) != IM_OK
        || im_rpc_creds_set(rpc->creds, tls) != IM_OK)
    {
        im_rpc_log(rpc, IM_LOG_ERR, "rpc: the TLS text is not usable");
        return IM_ERROR;
    }

    return IM_OK;
}


/* What servers are given when they ask. */
static int
tls_keep(im_rpc_t *rpc, const im_rpc_tls_t *tls)
{
    char  *ca, *cert, *key;

    ca = strdup(tls->ca);
    cert = strdup(tls->cert);
    key = strdup(tls->key);

    if (ca == NULL || cert == NULL || key == NULL) {
        free(ca);
        free(cert);
        free(key);
        return IM_ERROR;
    }

    pthread_mutex_lock(&rpc->tls_lock);

    tls_forget(rpc);
    rpc->tls_ca = ca;
    rpc->tls_cert = cert;
    rpc->tls_key = key;
    rpc->tls_version++;

    pthread_mutex_unlock(&rpc->tls_lock);

    return IM_OK;
}


static void
tls_forget(im_rpc_t *rpc)
{
    free(rpc->tls_ca);
    free(rpc->tls_cert);

    if (rpc->tls_key != NULL) {
        OPENSSL_cleanse(rpc->tls_key, strlen(rpc->tls_key));
        free(rpc->tls_key);
    }

    rpc->tls_ca = rpc->tls_cert = rpc->tls_key = NULL;
}


/* For one server; the caller releases them.  NULL: out of memory. */
grpc_server_credentials *
im_rpc_tls_server(im_rpc_t *rpc)
{
    im_rpc_fetch_t                       *f;
    grpc_ssl_server_credentials_options  *options;

    if (!rpc->tls) {
        return grpc_insecure_server_credentials_create();
    }

    f = calloc(1, sizeof(im_rpc_fetch_t));
    if (f == NULL) {
        return NULL;
    }

    f->rpc = rpc;
    f->next = rpc->fetches;
    rpc->fetches = f;

    options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
                  GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                  tls_on_fetch, f);

    return grpc_ssl_server_credentials_create_with_options(options);
}


/* At each handshake, on a thread of the core; it makes a new context of its
 * own only for what is new. */
static grpc_ssl_certificate_config_reload_status
tls_on_fetch(void *data, grpc_ssl_server_certificate_config **config)
{
    im_rpc_t                                   *rpc;
    im_rpc_fetch_t                             *f = data;
    grpc_ssl_pem_key_cert_pair                  pair;
    grpc_ssl_certificate_config_reload_status   rc;

    rpc = f->rpc;
    rc = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;

    pthread_mutex_lock(&rpc->tls_lock);

    if (f->version != rpc->tls_version) {
        pair.cert_chain = rpc->tls_cert;
        pair.private_key = rpc->tls_key;
        *config = grpc_ssl_server_certificate_config_create(rpc->tls_ca,
                                                            &pair, 1);
        f->version = rpc->tls_version;
        rc = (*config != NULL) ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                               : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }

    pthread_mutex_unlock(&rpc->tls_lock);

    return rc;
}


im_rpc_creds_t *
im_rpc_creds_create(const im_rpc_tls_t *tls)
{
    im_rpc_creds_t  *c;

    c = calloc(1, sizeof(im_rpc_creds_t));
    if (c == NULL) {
        return NULL;
    }

    c->creds = tls_channel_creds(tls);

    if (c->creds == NULL) {
        free(c);
        return NULL;
    }

    pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->refs, 1);
    atomic_init(&c->version, 1);

    return c;
}


/* A stranger may ask for no certificate: cert and key may be missing. */
static grpc_channel_credentials *
tls_channel_creds(const im_rpc_tls_t *tls)
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


int
im_rpc_creds_set(im_rpc_creds_t *c, const im_rpc_tls_t *tls)
{
    grpc_channel_credentials  *old, *creds;

    creds = tls_channel_creds(tls);
    if (creds == NULL) {
        return IM_ERROR;
    }

    pthread_mutex_lock(&c->lock);
    old = c->creds;
    c->creds = creds;
    atomic_fetch_add(&c->version, 1);
    pthread_mutex_unlock(&c->lock);

    grpc_channel_credentials_release(old);

    return IM_OK;
}


void
im_rpc_creds_unref(im_rpc_creds_t *c)
{
    if (c != NULL && atomic_fetch_sub(&c->refs, 1) == 1) {
        grpc_channel_credentials_release(c->creds);
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
}


const char *
im_rpc_tls_name(im_rpc_t *rpc, im_rpc_role_t role)
{
    return rpc->tls ? im_rpc_tier_name(&rpc->tiers, role) : NULL;
}


unsigned
im_rpc_tls_roles(im_rpc_t *rpc, grpc_call *call)
{
    unsigned                      roles;
    grpc_auth_context            *context;
    const grpc_auth_property     *p;
    grpc_auth_property_iterator   it;

    if (!rpc->tls) {
        return ~0u;                    /* nobody can tell: all are believed */
    }

    roles = 0;
    context = grpc_call_auth_context(call);
    it = grpc_auth_context_find_properties_by_name(context,
                                               GRPC_PEER_DNS_PROPERTY_NAME);

    for (p = grpc_auth_property_iterator_next(&it); p != NULL;
         p = grpc_auth_property_iterator_next(&it))
    {
        roles |= im_rpc_tier_role(&rpc->tiers, p->value, p->value_length);
    }

    grpc_auth_context_release(context);

    return roles;
}


void
im_rpc_tls_caller(grpc_call *call, char *text, size_t size)
{
    size_t                        n;
    grpc_auth_context            *context;
    const grpc_auth_property     *p;
    grpc_auth_property_iterator   it;

    n = 0;
    text[0] = '\0';
    context = grpc_call_auth_context(call);
    it = grpc_auth_context_find_properties_by_name(context,
                                               GRPC_PEER_DNS_PROPERTY_NAME);

    for (p = grpc_auth_property_iterator_next(&it); p != NULL && n < size - 1;
         p = grpc_auth_property_iterator_next(&it))
    {
        n += (size_t) snprintf(text + n, size - n, "%s%.*s",
                               n > 0 ? ", " : "", (int) p->value_length,
                               p->value);
    }

    grpc_auth_context_release(context);

    if (text[0] == '\0') {
        snprintf(text, size, "no DNS name");
    }
}
